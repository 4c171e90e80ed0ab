"""Relevance patching: EAP with the coefficients of layer-wise relevance propagation."""

import functools

import jax
from jaxtyping import Array, Float

from interpbench_jax.discovery.attribution import attribution
from interpbench_jax.discovery.batch import ContrastBatch, Loss
from interpbench_jax.model import Backward, Params, TransformerConfig, with_backward
from interpbench_jax.model.network import Network

_BACKWARD = Backward(
    constant_norms=True,
    constant_attention=True,
    proportional_activations=True,
    gate_share=0.5,
)


@functools.partial(jax.jit, static_argnames=("network", "loss"))
def relp(
    params: Params, network: TransformerConfig | Network, batch: ContrastBatch, loss: Loss
) -> Float[Array, "writer reader"]:
    """`eap`, where nonlinear operations count as multiplications by constants.

    Attention weights and the divisors of normalisations are constants, an activation f multiplies
    by f(x) / x, and each of two hidden values that are multiplied gets half of the gradient. Edges
    to queries and keys thus have score 0.

    Args:
      params: weights.
      network: a transformer's shape, or another transformer.
      batch: inputs and the source of patches.
      loss: `(logits, batch) -> scalar`.

    Returns:
      Scores as in `eap`: positive where patching hurts.

    Raises:
      ValueError: the network is not a transformer.

    Source: Rezaei Jafari et al. 2025, RelP: Faithful and Efficient Circuit Discovery via Relevance
    Patching.
    """
    return attribution(params, with_backward(network, _BACKWARD), batch, loss)
