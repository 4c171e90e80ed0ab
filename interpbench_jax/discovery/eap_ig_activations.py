"""EAP with integrated gradients along the output of each layer."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from interpbench_jax.discovery.attribution import attribution, path_shares
from interpbench_jax.discovery.batch import ContrastBatch, Loss
from interpbench_jax.discovery.rows import Part, Rows
from interpbench_jax.model import NodePatch, Params, TransformerConfig
from interpbench_jax.model.network import Network, as_network


@functools.partial(jax.jit, static_argnames=("network", "loss", "steps"))
def eap_ig_activations(
    params: Params,
    network: TransformerConfig | Network,
    batch: ContrastBatch,
    loss: Loss,
    *,
    steps: int = 5,
) -> Float[Array, "writer reader"]:
    """EAP with gradients averaged along a path from clean to source, one layer at a time.

    Each group of writers (the input, the heads of a layer, an MLP) has its own path, which scores
    only this group's edges; earlier writers stay clean. This is the formula of Marks et al. and
    MIB; the released EAP-IG code sums the gradients of all edges on every path.

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      batch: inputs and the source of patches.
      loss: `(logits, batch) -> scalar`.
      steps: gradients are computed at shares 0, 1/steps, ..., 1 - 1/steps of the path. The clean
        point, which all paths share, is computed once.

    Returns:
      Scores as in `eap`: positive where patching hurts.

    Raises:
      ValueError: `steps` is smaller than 1.

    Source: Marks et al. 2024, Sparse Feature Circuits; "EAP-IG-activations" in MIB (Mueller et al.
    2025).
    """
    later = path_shares(steps)[1:]
    graph = as_network(network).graph
    groups = jnp.asarray(graph.writer_groups, float)
    n_writers = groups.shape[1]
    # The clean point scores all edges; every later point scores the edges of its group.
    masks = jnp.concatenate(
        [jnp.zeros((1, n_writers)), jnp.einsum("s,gw->gsw", later, groups).reshape(-1, n_writers)]
    )
    scored = jnp.concatenate([jnp.ones((1, n_writers)), jnp.repeat(groups, steps - 1, axis=0)])

    def add(total: Array, point: tuple[Array, Array]) -> tuple[Array, None]:
        mask, rows = point

        def patch(part: Part, _: Rows) -> NodePatch:
            return NodePatch(mask, part.source)

        scores = attribution(params, network, batch, loss, patch)
        return total + scores * rows[:, None], None

    total, _ = jax.lax.scan(add, jnp.zeros(graph.valid.shape), (masks, scored))
    return total / steps
