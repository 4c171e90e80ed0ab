"""EAP with a backward pass that accounts for self-repair in attention."""

import functools

import jax
from jaxtyping import Array, Float

from interpbench_jax.discovery.attribution import attribution
from interpbench_jax.discovery.batch import ContrastBatch, Loss
from interpbench_jax.model import Backward, Params, TransformerConfig, with_backward
from interpbench_jax.model.network import Network

_BACKWARD = Backward(constant_norms=True, softmax_temperature=2.0, qkv_shares=(0.25, 0.25, 0.5))


@functools.partial(jax.jit, static_argnames=("network", "loss"))
def gim(
    params: Params, network: TransformerConfig | Network, batch: ContrastBatch, loss: Loss
) -> Float[Array, "writer reader"]:
    """Gradient interaction modifications: `eap` with three changes of the gradient.

    A softmax hides that an attention score matters if the others make up for it, so its derivative
    is taken at temperature 2. Where values are multiplied, each gets its share of the gradient: one
    half for attention weights and values, and half of that for queries and keys. The divisors of
    normalisations are constants.

    Args:
      params: weights.
      network: a transformer's shape, or another transformer.
      batch: inputs and the source of patches.
      loss: `(logits, batch) -> scalar`.

    Returns:
      Scores as in `eap`: positive where patching hurts.

    Raises:
      ValueError: the network is not a transformer.

    Source: Edin et al. 2025, GIM: Improved Interpretability for Large Language Models.
    """
    return attribution(params, with_backward(network, _BACKWARD), batch, loss)
