"""Attention of decoders: rotary positions, sliding windows, capped scores.

Axes are ordered as everywhere inside the model: features first, the batch last.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from interpbench_jax.model.attention import Heads, attention_scores
from interpbench_jax.model.backward import Backward
from interpbench_jax.model.decoders.config import Attention, DecoderConfig


def attend_back(
    q: Heads,
    k: Heads,
    v: Heads,
    attention: Attention,
    config: DecoderConfig,
    backward: Backward,
) -> Heads:
    """Softmax attention of every head over the current and earlier positions.

    Args:
      q: queries, after rotation.
      k: keys, after rotation; as many as queries.
      v: values.
      attention: the layer's attention options.
      config: gives the scale and the cap of scores.
      backward: the backward pass.

    Returns:
      The attention-weighted values, before the output projection.
    """
    q, k, v = backward.qkv(q, k, v)
    scale = config.attention_scale or config.d_head**-0.5
    scores = capped(attention_scores(q, k) * scale, config.attention_cap)
    seen = _seen(q.shape[2], attention.window)[None, :, :, None]
    weights = backward.softmax(jnp.where(seen, scores, -jnp.inf), axis=2)
    return jnp.einsum("hpkb,hekb->hepb", weights, v, precision="highest")


def turn(x: Heads, rotary: tuple[float, ...]) -> Heads:
    """Rotates pairs of dimensions by an angle that grows with the position.

    The product of a query and a key then depends on the distance between them.

    Source: Su et al. 2021, RoFormer; in the layout of GPT-NeoX, where the two dimensions of a pair
    are not adjacent.
    """
    if not rotary:
        return x
    n = len(rotary)
    angles = np.asarray(rotary)[:, None] * np.arange(x.shape[2])
    cos, sin = (jnp.asarray(f(angles)[None, :, :, None], jnp.float32) for f in (np.cos, np.sin))
    first, second, rest = x[:, :n], x[:, n : 2 * n], x[:, 2 * n :]
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin, rest], 1)


def for_every_head(x: Float[Array, "kv_head ..."], n_heads: int) -> Float[Array, "head ..."]:
    """Repeats keys or values that several consecutive heads share."""
    return x if len(x) == n_heads else jnp.repeat(x, n_heads // len(x), 0)


def capped(x: Array, cap: float | None) -> Array:
    """Maps values smoothly into `(-cap, cap)`; `None` leaves them as they are."""
    return x if cap is None else cap * jnp.tanh(x / cap)


def _seen(n_pos: int, window: int | None) -> np.ndarray:
    """Which keys each position attends to, `[pos, key]`."""
    distance = np.arange(n_pos)[:, None] - np.arange(n_pos)[None]
    return (distance >= 0) & (distance < (n_pos if window is None else window))
