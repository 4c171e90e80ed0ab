"""A baseline: edges matter as much as the product of the weights at their ends."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from interpbench_jax.discovery.batch import ContrastBatch, Loss
from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.model.network import Network, as_network


@functools.partial(jax.jit, static_argnames=("network", "loss"))
def weight_magnitude(
    params: Params, network: TransformerConfig | Network, batch: ContrastBatch, loss: Loss
) -> Float[Array, "writer reader"]:
    """Frobenius norm of a writer's output map times a reader's input map.

    The input's map has a row per token and one per position. Left out are all biases, and
    LayerNorm with its scales.

    Args:
      params: weights.
      network: their shape; for transformers only.
      batch: of no effect.
      loss: of no effect.

    Raises:
      ValueError: the model is no transformer of this package.

    Source: composition scores, unnormalised: Elhage et al. 2021, A Mathematical Framework for
    Transformer Circuits.
    """
    del batch, loss
    if not isinstance(network, TransformerConfig):
        raise ValueError(f"weight_magnitude knows transformers only, got {type(network).__name__}")
    blocks = [params[f"blocks_{layer}"] for layer in range(network.n_layers)]
    # Everything as its Gram matrix over the residual stream: |A B|^2 is the trace of A^T A B B^T.
    writes = [(_gram(params["embed"]["W_E"]) + _gram(params["pos_embed"]["W_pos"]))[None]]
    reads = []
    for block in blocks:
        writes += [jax.vmap(_gram)(block["attn"]["W_O"]), _gram(block["mlp"]["W_out"])[None]]
        reads += [jax.vmap(_gram)(block["attn"][f"W_{x}"].mT) for x in "QKV"]
        reads.append(_gram(block["mlp"]["W_in"].T)[None])
    reads.append(_gram(params["unembed"]["W_U"].T)[None])
    squares = jnp.einsum("wde,rde->wr", jnp.concatenate(writes), jnp.concatenate(reads))
    return jnp.sqrt(jnp.maximum(squares, 0.0)) * as_network(network).graph.valid


def _gram(rows: Float[Array, "row d_model"]) -> Float[Array, "d_model d_model"]:
    return jnp.matmul(rows.T, rows, precision="highest")
