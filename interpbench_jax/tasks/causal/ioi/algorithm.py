"""The algorithm for indirect object identification, as a causal model.

It finds repeated tokens, passes on their earlier positions, and inhibits the tokens at these
positions; the name that remains is the answer. It follows InterpBench's high-level model.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from interpbench_jax.tasks.causal.causal_model import CausalModel

_NAME, _INHIBITED = 10, -15
_NONE = -1


def ioi_model(is_name: Bool[np.ndarray, " d_vocab"]) -> CausalModel:
    """The causal model; only its answer at the last position of a sentence counts.

    Variables:

    - `all_tokens`: the token at every position.
    - `duplicate`: the earlier position of a repeated token; -1 for other tokens.
    - `s_inhibition`: the token at that position, or -1.
    - `name_mover`: the token with the largest sum (the first in case of ties), where each
      occurrence of a name so far adds 10 and each inhibition of a token adds -15.

    The heads that hold the last three also read the input, but only for positions. They read the
    tokens from `all_tokens` alone.

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
        inhibited = jax.nn.one_hot(s_inhibition, d_vocab, dtype=jnp.int32)  # all zeros for -1
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
