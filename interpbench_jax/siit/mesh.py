"""Populations spread over devices: one axis for members, one for the pairs of a batch.

The same program runs on one CPU, on several accelerators and in several processes (after
`jax.distributed.initialize`); what is computed does not change, up to the order of sums.
"""

import contextlib
import math
import os
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

POPULATION, DATA = "population", "data"
# With fewer pairs a core has too little to do in each operation.
_FEWEST_PAIRS = 64

_Tree = TypeVar("_Tree")


def cores_as_devices(n_members: int, batch_size: int) -> None:
    """Makes devices of a CPU's cores, as many as can be used, for `device_mesh` to find.

    Members are then trained side by side, and cores that are left over share a member's batches:
    work on one core each beats small operations of which every one is divided among cores. Changes
    nothing once JAX has been used, as it then keeps the devices that it has, and nothing for
    accelerators.

    Args:
      n_members: size of the population.
      batch_size: pairs per batch.
    """
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    population = math.gcd(n_cores or 1, n_members)
    left = (n_cores or 1) // population
    data = max(
        n
        for n in range(1, left + 1)
        if left % n == 0 and batch_size % n == 0 and (n == 1 or batch_size // n >= _FEWEST_PAIRS)
    )
    with contextlib.suppress(RuntimeError):  # JAX has been used
        jax.config.update("jax_num_cpu_devices", population * data)


def device_mesh(n_members: int, batch_size: int) -> Mesh | None:
    """All devices in a `population` x `data` grid; none where there is only one device.

    Members are spread first; devices left over share batches.

    Args:
      n_members: size of the population.
      batch_size: pairs per batch.

    Raises:
      ValueError: the devices cannot all be used.
    """
    devices = jax.devices()
    if len(devices) == 1:
        return None
    population = math.gcd(len(devices), n_members)
    data = math.gcd(len(devices) // population, batch_size)
    if population * data != len(devices):
        raise ValueError(
            f"{len(devices)} devices cannot be filled by {n_members} members with batches of "
            f"{batch_size}: their number must divide the product"
        )
    return Mesh(np.array(devices).reshape(population, data), (POPULATION, DATA))


def spread_members(tree: _Tree, mesh: Mesh, *, axis: int = 0) -> _Tree:
    """Puts arrays with an axis over members where the members are.

    In several processes, each has the whole arrays and keeps its part.
    """
    return _put(tree, NamedSharding(mesh, PartitionSpec(*[None] * axis, POPULATION)))


def copy_everywhere(tree: _Tree, mesh: Mesh) -> _Tree:
    """Puts a copy of every array on every device."""
    return _put(tree, NamedSharding(mesh, PartitionSpec()))


def gather(tree: _Tree, mesh: Mesh) -> _Tree:
    """Collects arrays from the devices, so that each process can read the whole."""
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
    """Within a function that runs on every device: its part of an axis over pairs."""
    n = pairs.shape[axis] // jax.lax.axis_size(DATA)
    return jax.lax.dynamic_slice_in_dim(pairs, jax.lax.axis_index(DATA) * n, n, axis)


def mean_over_devices(tree: _Tree, weight: Array) -> _Tree:
    """Within such a function: the mean of what the devices found on their pairs.

    One exchange of all arrays together: on small models each one costs more than it carries.

    Args:
      tree: what this device found. It may be NaN where the weight is 0: a mean over nothing.
      weight: how much it counts for.
    """
    flat, unravel = ravel_pytree(tree)
    weighted = jnp.where(weight > 0, flat * weight, 0)
    return unravel(jax.lax.psum(weighted, DATA) / jax.lax.psum(weight, DATA))
