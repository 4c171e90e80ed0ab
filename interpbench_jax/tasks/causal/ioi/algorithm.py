"""The algorithm for indirect object identification, as a causal model.

Tokens that came before are found, their positions passed on, and the tokens at these positions
inhibited; what is left of the names is the answer. As in InterpBench's high-level model.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from interpbench_jax.tasks.causal.causal_model import CausalModel

_NAME, _INHIBITED = 10, -15
_NONE = -1


def ioi_model(is_name: Bool[np.ndarray, " d_vocab"]) -> CausalModel:
    """The causal model; its answer counts at the last position of a sentence.

    Variables, with the heads that use them in a transformer:

    - `all_tokens`: the token at every position.
    - `duplicate`: where a token stood before, its earlier position; else -1.
    - `s_inhibition`: the token at that position; else -1.
    - `name_mover`: every name counts 10 for each time it occurred so far, and every inhibited token
      -15; the token with the largest sum (the first of equals).

    The three heads read the input as well: positions come from there. What tokens stand there they
    learn from `all_tokens` alone.

    Args:
      is_name: which tokens are names.

    Source: Gupta et al. 2024, InterpBench; Wang et al. 2023 for the circuit in GPT-2.
    """
    names = jnp.asarray(is_name)
    d_vocab = len(is_name)

    def all_tokens(tokens: Int[Array, " pos"]) -> Int[Array, " pos"]:
        return tokens

    def duplicate(tokens: Int[Array, " pos"], all_tokens: Int[Array, " pos"]) -> Array:
        position = jnp.arange(len(tokens))
        before = position[None, :] < position[:, None]
        same = all_tokens[:, None] == all_tokens[None, :]
        return jnp.where(before & same, position[None, :], _NONE).max(1)

    def s_inhibition(
        tokens: Int[Array, " pos"], all_tokens: Int[Array, " pos"], duplicate: Int[Array, " pos"]
    ) -> Array:
        del tokens
        return jnp.where(duplicate >= 0, all_tokens[duplicate], _NONE)

    def name_mover(
        tokens: Int[Array, " pos"], all_tokens: Int[Array, " pos"], s_inhibition: Int[Array, " pos"]
    ) -> Array:
        del tokens
        here = jax.nn.one_hot(all_tokens, d_vocab, dtype=jnp.int32) * names[None]
        inhibited = jax.nn.one_hot(s_inhibition, d_vocab, dtype=jnp.int32)  # -1 is no token
        return jnp.cumsum(_NAME * here + _INHIBITED * inhibited, 0).argmax(1)

    return CausalModel(
        variables={
            "all_tokens": all_tokens,
            "duplicate": duplicate,
            "s_inhibition": s_inhibition,
            "name_mover": name_mover,
        },
        output=lambda name_mover: name_mover,
    )
