"""What all attribution methods share: gradients at readers, times differences of writers."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from interpbench_jax.discovery.objective import ContrastBatch, Loss
from interpbench_jax.model import NodePatch, Params, Patch, TransformerConfig
from interpbench_jax.model.network import EdgeNetwork, as_edge_network

# Numbers that one chunk of rows may hold at once; a gibibyte of float32.
_BUDGET = 2**28


def attribution(
    params: Params,
    config: TransformerConfig | EdgeNetwork,
    batch: ContrastBatch,
    loss: Loss,
    patch: Patch | None = None,
    *,
    difference: Float[Array, "batch pos writer d_model"] | None = None,
) -> Float[Array, "writer reader"]:
    """To first order, by how much the loss rises when an edge is patched on top of a patch.

    The gradient of the loss with respect to what reader r sees, times the difference that writer w
    would make, summed over inputs, positions and dimensions. Exact in any chunking: the loss is
    taken over the whole batch, only what lies before it is done in chunks of rows.

    Args:
      params: weights.
      config: their shape, or another network.
      batch: inputs and what patches put in.
      loss: `(logits, batch) -> scalar`.
      patch: where the gradient is taken; its mask must be the same for all rows.
      difference: of each writer; by default from what it writes under the patch to the source.
    """
    network = as_edge_network(config)
    n_rows, n_pos, n_writers, width = batch.source.shape
    per_row = n_pos * width * (2 * len(network.graph.readers) + 4 * n_writers)
    chunk = min(n_rows, max(1, _BUDGET // per_row))
    shift = jnp.zeros((chunk, n_pos, len(network.graph.readers), width))
    given = (batch, patch, difference)

    def run(rows: tuple, added: Array) -> tuple[Array, Array]:
        of_rows, patch, _ = rows
        return network.run(params, of_rows.clean, patch, added)

    def contract(rows: tuple, written: Array, gradient: Array) -> Float[Array, "writer reader"]:
        of_rows, _, difference = rows
        change = of_rows.source - written if difference is None else difference
        return jnp.einsum("bpwd,bprd->wr", change, gradient)

    if chunk == n_rows:
        logits, pull_back, written = jax.vjp(lambda s: run(given, s), shift, has_aux=True)
        (gradient,) = pull_back(jax.grad(loss)(logits, batch))
        return contract(given, written, gradient) * network.graph.valid

    # The last chunk is filled up with copies of the last row, from which nothing flows back.
    n_chunks = -(-n_rows // chunk)
    wanted = jnp.arange(n_chunks * chunk).reshape(n_chunks, chunk)
    chunks = jnp.minimum(wanted, n_rows - 1)
    logits = jax.lax.map(lambda here: run(_take(given, here), shift)[0], chunks)
    d_logits = jax.grad(loss)(logits.reshape(-1, *logits.shape[2:])[:n_rows], batch)

    def add(total: Array, chosen: tuple[Array, Array]) -> tuple[Array, None]:
        here, asked = chosen
        rows = _take(given, here)
        _, pull_back, written = jax.vjp(lambda s: run(rows, s), shift, has_aux=True)
        (gradient,) = pull_back(jnp.where((asked < n_rows)[:, None, None], d_logits[here], 0))
        return total + contract(rows, written, gradient), None

    zero = jnp.zeros(network.graph.valid.shape)
    return jax.lax.scan(add, zero, (chunks, wanted))[0] * network.graph.valid


def attribution_along(
    params: Params,
    config: TransformerConfig | EdgeNetwork,
    batch: ContrastBatch,
    loss: Loss,
    masks: Float[Array, "point writer"],
) -> Float[Array, "writer reader"]:
    """The mean attribution along a path on which writers go from clean to source.

    Args:
      params: weights.
      config: their shape, or another network.
      batch: inputs and what patches put in.
      loss: `(logits, batch) -> scalar`.
      masks: per point of the path, how far each writer has gone. Differences are those between the
        ends, at every point.
    """
    difference = batch.source - batch.written

    def add(total: Array, mask: Array) -> tuple[Array, None]:
        patch = NodePatch(mask, batch.source)
        scores = attribution(params, config, batch, loss, patch, difference=difference)
        return total + scores, None

    zero = jnp.zeros(as_edge_network(config).graph.valid.shape)
    return jax.lax.scan(add, zero, masks)[0] / len(masks)


def path_shares(steps: int) -> Float[Array, " step"]:
    """Shares of the way from clean to source: 0, 1/steps, ..., 1 - 1/steps.

    Raises:
      ValueError: `steps` is smaller than 1.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    return jnp.arange(steps) / steps


def _take(given: tuple[ContrastBatch, Patch | None, Array | None], rows: Array) -> PyTree:
    batch, patch, difference = given
    batch = jax.tree.map(lambda array: array[rows], batch)
    if patch is not None:
        patch = patch._replace(source=patch.source[rows])
    return batch, patch, None if difference is None else difference[rows]
