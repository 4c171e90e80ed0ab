"""The algorithm for indirect object identification, as a causal model.

It finds repeated tokens, passes on their earlier positions, and inhibits the tokens at these
positions; the name that remains is the answer. It follows InterpBench's high-level model.
"""

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
        # Sums are 0 except at names and inhibited tokens, so one of the first tokens has the sum 0.
        first = jnp.arange(min(d_vocab, 2 * len(all_tokens) + 1))
        candidates = jnp.concatenate([first, all_tokens, s_inhibition])
        here = (all_tokens[:, None] == candidates[None]) & names[all_tokens][:, None]
        inhibited = s_inhibition[:, None] == candidates[None]
        sums = jnp.cumsum(_NAME * here + _INHIBITED * inhibited, 0)
        sums = jnp.where(candidates[None] == _NONE, jnp.iinfo(sums.dtype).min, sums)
        largest = sums == sums.max(1, keepdims=True)
        return jnp.where(largest, candidates[None], d_vocab).min(1)

    return CausalModel(
        variables={
            "all_tokens": all_tokens,
            "duplicate": duplicate,
            "s_inhibition": s_inhibition,
            "name_mover": name_mover,
        },
        output=lambda name_mover: name_mover,
    )
