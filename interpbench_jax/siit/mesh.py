"""Populations distributed over devices: one axis for members, one for the pairs of a batch.

The same program runs on one CPU, on several accelerators and in several processes (after
`jax.distributed.initialize`); the results are the same, up to the order of sums.
"""

import contextlib
import os
import warnings
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

POPULATION, DATA = "population", "data"
# With fewer pairs, each operation is too small for a core or an accelerator.
_FEWEST_PAIRS = 64

_Tree = TypeVar("_Tree")


def cores_as_devices(n_members: int, batch_size: int) -> None:
    """Makes CPU cores into JAX devices, as many as can be used, for `device_mesh`.

    Members are then trained in parallel, and remaining cores share a member's batches: separate
    work on each core is faster than dividing every small operation among the cores. Has no effect
    on accelerators, or after JAX has been used, as its devices are then fixed.

    Args:
      n_members: size of the population.
      batch_size: pairs per batch.
    """
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    population, data = _grid(n_cores or 1, n_members, batch_size)
    with contextlib.suppress(RuntimeError):  # JAX has been used
        jax.config.update("jax_num_cpu_devices", population * data)


def device_mesh(n_members: int, batch_size: int) -> Mesh | None:
    """As many devices as can be used, in a `population` x `data` grid; None for a single device.

    Every device gets the same number of members, or equal parts of their batches of at least 64
    pairs each; members are distributed first. With several processes, each contributes the same
    number of devices. Warns if devices are left over.

    Args:
      n_members: size of the population.
      batch_size: pairs per batch.

    Raises:
      ValueError: there are several processes, and not all of them can be used.
    """
    devices = jax.devices()
    by_process: dict[int, list[jax.Device]] = {}
    for device in devices:
        by_process.setdefault(device.process_index, []).append(device)
    n_processes = len(by_process)
    population, data = _grid(len(devices), n_members, batch_size, multiple_of=n_processes)
    each = population * data // n_processes
    used = [device for own in by_process.values() for device in own[:each]]
    if len(used) < len(devices):
        warnings.warn(
            f"{len(used)} of {len(devices)} devices are used: {n_members} members with batches of "
            f"{batch_size} cannot be divided among more",
            stacklevel=1,  # a fixed place, so that it is shown once
        )
    if len(used) == 1:
        return None
    return Mesh(np.array(used).reshape(population, data), (POPULATION, DATA))


def _grid(
    n_devices: int, n_members: int, batch_size: int, *, multiple_of: int = 1
) -> tuple[int, int]:
    """The largest grid of devices: numbers of devices for members and for parts of a batch.

    Among grids of equal size, the one with the most devices for members.

    Raises:
      ValueError: no grid has a multiple of `multiple_of` devices.
    """
    grids = [
        (population, data)
        for population in range(1, min(n_devices, n_members) + 1)
        for data in range(1, n_devices // population + 1)
        if n_members % population == 0
        and batch_size % data == 0
        and (data == 1 or batch_size // data >= _FEWEST_PAIRS)
        and population * data % multiple_of == 0
    ]
    if not grids:
        raise ValueError(
            f"{n_members} members with batches of {batch_size} cannot be divided among "
            f"{multiple_of} processes"
        )
    return max(grids, key=lambda grid: (grid[0] * grid[1], grid[0]))


def spread_members(tree: _Tree, mesh: Mesh, *, axis: int = 0) -> _Tree:
    """Distributes arrays with an axis over members over the devices.

    With several processes, each passes the full arrays and keeps its part.
    """
    return _put(tree, NamedSharding(mesh, PartitionSpec(*[None] * axis, POPULATION)))


def copy_everywhere(tree: _Tree, mesh: Mesh) -> _Tree:
    """Puts a copy of every array on every device."""
    return _put(tree, NamedSharding(mesh, PartitionSpec()))


def gather(tree: _Tree, mesh: Mesh) -> _Tree:
    """Collects arrays from the devices, so that each process can read them in full."""
    replicated = NamedSharding(mesh, PartitionSpec())
    return jax.jit(lambda x: x, out_shardings=replicated)(tree)


def _put(tree: _Tree, sharding: NamedSharding) -> _Tree:
    def put(leaf: jax.Array) -> jax.Array:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(put(jax.random.key_data(leaf)))
        whole = np.asarray(leaf)
        return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])

    return jax.tree.map(put, tree)


def own_pairs(pairs: Array, *, axis: int = 0) -> Array:
    """This device's part of an axis over pairs, inside a function that runs on every device."""
    n = pairs.shape[axis] // jax.lax.axis_size(DATA)
    return jax.lax.dynamic_slice_in_dim(pairs, jax.lax.axis_index(DATA) * n, n, axis)


def sum_over_devices(tree: _Tree) -> _Tree:
    """The sum of the devices' results, inside a function that runs on every device.

    All arrays are exchanged in one message: with small models, latency dominates.
    """
    flat, unravel = ravel_pytree(tree)
    return unravel(jax.lax.psum(flat, DATA))
