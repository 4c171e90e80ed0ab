"""Products have the same value under every transformation, in every form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from interpbench_jax.model import EdgePatch, Graph, forward
from interpbench_jax.model.bilinear import product, spelled_out_product

SPECS = ["hepb,hekb->hpkb", "hpkb,hekb->hepb"]
SIZES = dict(zip("hepkb", (2, 3, 5, 4, 6), strict=True))


def factors(spec, seed=0):
    """Two arrays of the sizes above; no two axes of one have the same size."""
    rng = np.random.default_rng(seed)
    shapes = ([SIZES[x] for x in letters] for letters in spec.split("->")[0].split(","))
    return [jnp.asarray(rng.standard_normal(shape), jnp.float32) for shape in shapes]


def forms(spec):
    """Both, as functions of the factors."""
    return [
        lambda left, right: product(spec, left, right),
        lambda left, right: spelled_out_product(spec, left, right, "e"),
    ]


@pytest.mark.parametrize("spec", SPECS)
def test_forms_are_einsum(spec):
    left, right = factors(spec)
    expected = np.einsum(spec, left, right)
    for form in forms(spec):
        np.testing.assert_allclose(form(left, right), expected, atol=1e-5)
        np.testing.assert_allclose(jax.jit(form)(left, right), expected, atol=1e-5)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("axes", [(0, None), (None, 2), (1, 3)])
def test_mapped_over_an_axis(spec, axes):
    left, right = (
        factor if axis is None else jnp.stack([factor, 2 * factor], axis)
        for factor, axis in zip(factors(spec), axes, strict=True)
    )
    given = list(zip((left, right), axes, strict=True))
    for form in forms(spec):
        mapped = jax.vmap(form, axes)(left, right)
        first, last = (
            form(*(f if a is None else jnp.take(f, i, a) for f, a in given)) for i in (0, 1)
        )
        np.testing.assert_allclose(mapped, jnp.stack([first, last]), atol=1e-5)


@pytest.mark.parametrize("spec", SPECS)
def test_first_and_second_derivatives_in_both_modes(spec):
    with jax.enable_x64(True):
        given = tuple(factor.astype(jnp.float64) for factor in factors(spec))
        for form in forms(spec):
            check_grads(jax.jit(form), given, order=2, modes=["fwd", "rev"])


@pytest.mark.slow
def test_a_masked_run_can_be_differentiated_forward_and_twice(params, config, tokens, other_tokens):
    """Through attention, MLPs and all maps: Hessians by forward and reverse mode are equal."""
    valid = Graph.of(config).valid
    _, source = forward(params, config, other_tokens)

    def loss(share):
        """The loss as a function of the first writer's edges; all others are half patched."""
        mask = jnp.full(valid.shape, 0.5).at[0].set(share)
        return (forward(params, config, tokens, EdgePatch(mask, source))[0] ** 2).mean()

    at, along = jnp.linspace(0.1, 0.9, valid.shape[1]), jnp.ones(valid.shape[1])
    gradient = jax.jit(jax.grad(loss))
    _, rise = jax.jit(lambda x: jax.jvp(loss, (x,), (along,)))(at)
    np.testing.assert_allclose(rise, gradient(at).sum(), rtol=1e-4)
    hessian = jax.jit(jax.hessian(loss))(at)  # forward over reverse
    assert jnp.abs(hessian).max() > 1e-2
    np.testing.assert_allclose(hessian, jax.jit(jax.jacrev(jax.grad(loss)))(at), atol=1e-4)
