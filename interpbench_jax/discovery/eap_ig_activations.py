"""EAP with integrated gradients along what each layer writes."""

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
    """EAP with gradients averaged while a writer, and those beside it, go from clean to source.

    Each group of writers (the input, the heads of a layer, an MLP) has a path of its own, which
    scores that group's own edges; what was written before stays clean. That is the formula of Marks
    et al. and MIB; the released EAP-IG code adds up the gradients of all edges on every path.

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      batch: inputs and what patches put in.
      loss: `(logits, batch) -> scalar`.
      steps: gradients are taken at shares 0, 1/steps, ..., 1 - 1/steps of the way; the clean
        point, the first of all paths, once for all.

    Returns:
      As `eap`: positive where patching hurts.

    Raises:
      ValueError: `steps` is smaller than 1.

    Source: Marks et al. 2024, Sparse Feature Circuits; "EAP-IG-activations" in MIB (Mueller et al.
    2025).
    """
    later = path_shares(steps)[1:]
    graph = as_network(network).graph
    groups = jnp.asarray(graph.writer_groups, float)
    n_writers = groups.shape[1]
    # The clean point scores all edges; every later one those of its group.
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
