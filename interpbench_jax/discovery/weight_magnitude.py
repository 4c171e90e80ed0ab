"""A baseline: edges are scored by the product of the weights at their ends."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from interpbench_jax.discovery.batch import ContrastBatch, Loss
from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.model.bilinear import product
from interpbench_jax.model.network import Network, TransformerNetwork, as_network


@functools.partial(jax.jit, static_argnames=("network", "loss"))
def weight_magnitude(
    params: Params, network: TransformerConfig | Network, batch: ContrastBatch, loss: Loss
) -> Float[Array, "writer reader"]:
    """Frobenius norm of a writer's output map times a reader's input map.

    The input's output map has a row per token and a row per position. A gated MLP reads through
    both of its maps; heads that share keys or values read through the shared map. Biases, and norms
    with their scales, are ignored.

    Args:
      params: weights.
      network: a transformer's or decoder's shape.
      batch: unused.
      loss: unused.

    Raises:
      ValueError: the model is not a transformer of this package.

    Source: composition scores, unnormalised: Elhage et al. 2021, A Mathematical Framework for
    Transformer Circuits.
    """
    del batch, loss
    whole = as_network(network)
    if not isinstance(whole, TransformerNetwork):
        raise ValueError(f"weight_magnitude needs a transformer, got {type(network).__name__}")
    n_layers, n_heads = whole.config.n_layers, whole.config.n_heads
    blocks = [params[f"blocks_{layer}"] for layer in range(n_layers)]
    # All maps as Gram matrices over the residual stream: |A B|^2 is the trace of A^T A B B^T.
    embeddings = [params["embed"]["W_E"]]
    if "pos_embed" in params:
        embeddings.append(params["pos_embed"]["W_pos"])
    writes, reads = [_gram(jnp.concatenate(embeddings))[None]], []
    for block in blocks:
        attention, mlp = block["attn"], block["mlp"]
        writes += [jax.vmap(_gram)(attention["W_O"]), _gram(mlp["W_out"])[None]]
        for x in "QKV":
            maps = jax.vmap(_gram)(attention[f"W_{x}"].mT)
            reads.append(jnp.repeat(maps, n_heads // len(maps), 0))
        inputs = [mlp[name] for name in ("W_in", "W_gate") if name in mlp]
        reads.append(_gram(jnp.concatenate(inputs, 1).T)[None])
    tied = "W_U" not in params["unembed"]
    unembedding = params["embed"]["W_E"] if tied else params["unembed"]["W_U"].T
    reads.append(_gram(unembedding)[None])
    squares = product("wde,rde->wr", jnp.concatenate(writes), jnp.concatenate(reads))
    return jnp.sqrt(jnp.maximum(squares, 0.0)) * whole.graph.valid


def _gram(rows: Float[Array, "row d_model"]) -> Float[Array, "d_model d_model"]:
    return jnp.matmul(rows.T, rows, precision="highest")
