"""Attention of tiny heads, with the batch as the innermost axis.

There are two implementations of one function. `_matmul` is the textbook form. `_unrolled` writes
the short sums over head dimensions and positions as elementwise operations, which is several times
faster on a CPU for heads with few dimensions (`benchmarks/attention_forms.py` measures both).
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from interpbench_jax.model.backward import DERIVATIVE, Backward
from interpbench_jax.model.bilinear import spelled_out_product

# Beyond this many multiply-adds per attention entry the unrolled form compiles too slowly.
_UNROLL_LIMIT = 16

Heads = Float[Array, "head d_head pos batch"]
Qkv = Float[Array, "3 head d_head pos batch"]
Padding = Bool[Array, "pos batch"] | None


def attend(
    qkv: Qkv, *, causal: bool, padding: Padding = None, backward: Backward = DERIVATIVE
) -> Heads:
    """Softmax attention of every head.

    Args:
      qkv: queries, keys and values.
      causal: whether position p attends only to keys up to p.
      padding: true at keys that are masked out.
      backward: the backward pass.

    Returns:
      The attention-weighted values, before the output projection.
    """
    d_head, pos = qkv.shape[2:4]
    small = max(d_head, pos) <= _UNROLL_LIMIT
    if small and jax.default_backend() == "cpu":
        return _unrolled(causal, qkv, padding, backward)
    return _matmul(causal, qkv, padding, backward)


def _matmul(causal: bool, qkv: Qkv, padding: Padding, backward: Backward) -> Heads:
    q, k, v = backward.qkv(*qkv)
    scores = attention_scores(q, k) / math.sqrt(q.shape[1])
    weights = attention_softmax(scores, causal, padding, backward)
    return jnp.einsum("hpkb,hekb->hepb", weights, v, precision="highest")


def attention_scores(q: Heads, k: Heads) -> Float[Array, "head pos key batch"]:
    """The products of all queries with all keys, not yet scaled."""
    return jnp.einsum("hepb,hekb->hpkb", q, k, precision="highest")


def attention_softmax(
    scores: Float[Array, "head pos key batch"],
    causal: bool,
    padding: Padding,
    backward: Backward = DERIVATIVE,
) -> Float[Array, "head pos key batch"]:
    """Softmax of attention scores over keys; masked keys get no weight."""
    if causal:
        seen = np.tril(np.ones(scores.shape[1:3], bool))[None, :, :, None]
        scores = jnp.where(seen, scores, -jnp.inf)
    if padding is not None:
        scores = jnp.where(padding[None, None], -jnp.inf, scores)
    return backward.softmax(scores, axis=2)


def _unrolled(causal: bool, qkv: Qkv, padding: Padding, backward: Backward) -> Heads:
    parts = (part[0] for part in jnp.split(qkv, 3))  # slices have costlier gradients
    q, k, v = backward.qkv(*parts)
    scores = spelled_out_product("hepb,hekb->hpkb", q, k, "e") / math.sqrt(q.shape[1])
    weights = attention_softmax(scores, causal, padding, backward)
    return spelled_out_product("hpkb,hekb->hepb", weights, v, "e")
