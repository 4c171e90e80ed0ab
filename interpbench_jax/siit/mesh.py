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
from jax.sharding import Mesh, NamedSharding, PartitionSpec

POPULATION, DATA = "population", "data"

_Tree = TypeVar("_Tree")


def cores_as_devices(n_members: int) -> None:
    """Makes devices of a CPU's cores, as many as divide a population evenly.

    Members are then trained side by side. Changes nothing once JAX has been used, as it then keeps
    the devices that it has, and nothing for accelerators.

    Args:
      n_members: size of the population.
    """
    with contextlib.suppress(RuntimeError):  # JAX has been used
        jax.config.update("jax_num_cpu_devices", math.gcd(os.cpu_count() or 1, n_members))


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


def split_pairs(tree: _Tree, mesh: Mesh, *, axis: int = 0) -> _Tree:
    """Within a compiled function: divides an axis over the pairs of a batch among devices."""
    spec = PartitionSpec(*[None] * axis, DATA)
    return jax.lax.with_sharding_constraint(tree, NamedSharding(mesh, spec))
