"""Products of two arrays that are fast on a CPU and differentiable in every mode.

Two properties of `einsum`'s derivatives make tiny models slow on a CPU. JAX transposes a matrix
product into one whose factor order makes XLA copy the larger factor, and it transposes an unrolled
sum into slices that are padded and added. A `custom_vjp` would fix both, but forbids forward mode.
This primitive is bilinear, and its transposes are products of the same kind: gradients, `jvp`,
Hessians and `vmap` follow from that.

All products are computed in full float32. By default accelerators round the factors to fewer bits;
on a GPU this changed some EAP scores by more than their own size.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Num


def product(spec: str, left: Num[Array, "..."], right: Num[Array, "..."]) -> Array:
    """`einsum` of two arrays that keeps the order of its factors in every derivative.

    Args:
      spec: an `einsum` specification with its output; a letter occurs at most once in each array.
      left: the first factor.
      right: the second factor.
    """
    return _bind(spec, left, right, spelled_out=None)


def spelled_out_product(
    spec: str, left: Num[Array, "..."], right: Num[Array, "..."], letter: str = ""
) -> Num[Array, "..."]:
    """`einsum` of two arrays over one short axis, as elementwise operations that XLA fuses.

    Args:
      spec: an `einsum` specification with its output; one letter occurs in both arrays and not in
        the output.
      left: the first factor.
      right: the second factor.
      letter: a short axis of the output that is unrolled as well, if any. It has no effect if the
        output lacks it, which can happen in a derivative.
    """
    return _bind(spec, left, right, spelled_out=letter)


_product = Primitive("interpbench_product")


def _bind(spec: str, left: Array, right: Array, **how: Any) -> Array:
    return _product.bind(jnp.asarray(left), jnp.asarray(right), spec=spec, **how)


def _letters(spec: str) -> tuple[str, str, str]:
    factors, out = spec.split("->")
    left, right = factors.split(",")
    return left, right, out


def _evaluate(left: Array, right: Array, *, spec: str, spelled_out: str | None) -> Array:
    if spelled_out is None:
        return jnp.einsum(spec, left, right, precision="highest")
    of_left, of_right, out = _letters(spec)
    sizes = dict(zip(of_left + of_right, left.shape + right.shape, strict=True))
    (summed,) = (set(of_left) & set(of_right)) - set(out)

    def part(letters: str, factor: Array, at: dict[str, int], kept: str) -> Array:
        """A factor at fixed indices of some axes; the other axes are in the output's order."""
        chosen = factor[tuple(at.get(letter, slice(None)) for letter in letters)]
        rest = [letter for letter in letters if letter not in at]
        chosen = chosen.transpose([rest.index(letter) for letter in kept if letter in rest])
        return jnp.expand_dims(chosen, [i for i, x in enumerate(kept) if x not in rest])

    def total(at: dict[str, int], kept: str) -> Array:
        places = [at | {summed: index} for index in range(sizes[summed])]
        terms = (
            part(of_left, left, place, kept) * part(of_right, right, place, kept)
            for place in places
        )
        return functools.reduce(jnp.add, terms)

    if not spelled_out or spelled_out not in out:
        return total({}, out)
    kept = out.replace(spelled_out, "")
    rows = [total({spelled_out: index}, kept) for index in range(sizes[spelled_out])]
    return jnp.stack(rows, out.index(spelled_out))


def _shape(left: Any, right: Any, **how: Any) -> Any:
    found = jax.eval_shape(functools.partial(_evaluate, **how), left, right)
    return left.update(shape=found.shape, dtype=found.dtype)


def _transpose_left(d_out: Array, left: Any, right: Array, *, spec: str, **how: Any) -> Array:
    del left
    of_left, of_right, out = _letters(spec)
    if how["spelled_out"] is None:
        return _bind(f"{of_right},{out}->{of_left}", right, d_out, **how)
    return _bind(f"{out},{of_right}->{of_left}", _computed_once(d_out), right, **how)


def _transpose_right(d_out: Array, left: Array, right: Any, *, spec: str, **how: Any) -> Array:
    del right
    of_left, of_right, out = _letters(spec)
    if how["spelled_out"] is not None:
        d_out = _computed_once(d_out)
    return _bind(f"{of_left},{out}->{of_right}", left, d_out, **how)


def _computed_once(d_out: Array) -> Array:
    """Keeps XLA from recomputing an array inside every product that uses it."""
    return lax.optimization_barrier(d_out)


def _batch(
    factors: tuple[Array, Array], axes: tuple[int | None, int | None], *, spec: str, **how: Any
) -> tuple[Array, int]:
    """The mapped axis is one more letter, the first of the output."""
    new = next(letter for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if letter not in spec)
    of_left, of_right, out = _letters(spec)
    with_axis = [
        letters if axis is None else letters[:axis] + new + letters[axis:]
        for letters, axis in zip((of_left, of_right), axes, strict=True)
    ]
    return _bind(f"{','.join(with_axis)}->{new}{out}", *factors, **how), 0


_product.def_impl(functools.partial(jax.jit, static_argnames=("spec", "spelled_out"))(_evaluate))
_product.def_abstract_eval(_shape)
ad.defbilinear(_product, _transpose_left, _transpose_right)
batching.primitive_batchers[_product] = _batch
mlir.register_lowering(_product, mlir.lower_fun(_evaluate, multiple_results=False))
