"""Attention of tiny heads, with the batch as the innermost axis.

Two forms of one function. `_matmul` is what one would write; `_unrolled` spells the few sums over
head dimensions and positions out as elementwise work, which on a CPU is several times faster for
heads of a handful of dimensions (`benchmarks/attention_forms.py` measures both).
"""

import functools
import math
from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

# Beyond this many multiply-adds per attention entry the unrolled form compiles too slowly.
_UNROLL_LIMIT = 16

Heads = Float[Array, "head d_head pos batch"]
Qkv = Float[Array, "3 head d_head pos batch"]
Padding = Bool[Array, "pos batch"] | None


def attend(qkv: Qkv, *, causal: bool, padding: Padding = None) -> Heads:
    """Softmax attention of every head.

    Args:
      qkv: queries, keys and values.
      causal: whether position p sees only keys up to p.
      padding: where keys are not to be seen.

    Returns:
      The attention-weighted values, before the output projection.
    """
    d_head, pos = qkv.shape[2:4]
    small = max(d_head, pos) <= _UNROLL_LIMIT
    if small and jax.default_backend() == "cpu":
        return _unrolled(causal, qkv, padding)
    return _matmul(causal, qkv, padding)


def _matmul(causal: bool, qkv: Qkv, padding: Padding = None) -> Heads:
    q, k, v = qkv
    d_head = q.shape[1]
    scores = jnp.einsum("hepb,hekb->hpkb", q, k) / math.sqrt(d_head)
    weights = _softmax(scores, causal, padding)
    return jnp.einsum("hpkb,hekb->hepb", weights, v)


def _softmax(
    scores: Float[Array, "head pos key batch"], causal: bool, padding: Padding
) -> Float[Array, "head pos key batch"]:
    if causal:
        seen = np.tril(np.ones(scores.shape[1:3], bool))[None, :, :, None]
        scores = jnp.where(seen, scores, -jnp.inf)
    if padding is not None:
        scores = jnp.where(padding[None, None], -jnp.inf, scores)
    return jax.nn.softmax(scores, axis=2)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _unrolled(causal: bool, qkv: Qkv, padding: Padding = None) -> Heads:
    return _unrolled_forward(causal, qkv, padding)[0]


def _unrolled_forward(causal: bool, qkv: Qkv, padding: Padding) -> tuple[Heads, tuple]:
    q, k, v = qkv
    _, d_head, pos, _ = q.shape
    dims, keys = range(d_head), range(pos)
    scores = _total(q[:, e, :, None, :] * k[:, e, None, :, :] for e in dims) / math.sqrt(d_head)
    weights = _softmax(scores, causal, padding)
    out = jnp.stack([_total(weights[:, :, j] * v[:, e, None, j, :] for j in keys) for e in dims], 1)
    return out, (qkv, weights)


def _unrolled_backward(causal: bool, saved: tuple, d_out: Heads) -> tuple[Qkv, None]:
    del causal  # masked entries have weight 0 and so no gradient
    (q, k, v), weights = saved
    _, d_head, pos, _ = q.shape
    dims, positions = range(d_head), range(pos)
    # The barriers keep XLA from computing these arrays anew inside every product that uses them.
    weights, d_out = lax.optimization_barrier((weights, d_out))
    d_weights = _total(d_out[:, e, :, None, :] * v[:, e, None, :, :] for e in dims)
    d_scores = weights * (d_weights - (weights * d_weights).sum(2, keepdims=True))
    d_scores = lax.optimization_barrier(d_scores / math.sqrt(d_head))

    def products(per_position) -> Heads:
        return jnp.stack([_total(per_position(e, i) for i in positions) for e in dims], 1)

    d_q = products(lambda e, j: d_scores[:, :, j] * k[:, e, None, j, :])
    d_k = products(lambda e, i: d_scores[:, i] * q[:, e, i, None, :])
    d_v = products(lambda e, i: weights[:, i] * d_out[:, e, i, None, :])
    return jnp.stack([d_q, d_k, d_v]), None


_unrolled.defvjp(_unrolled_forward, _unrolled_backward)


def _total(terms: Iterable[Array]) -> Array:
    """The sum of a few arrays of one shape, spelled out so that XLA fuses it."""
    return functools.reduce(jnp.add, terms)
