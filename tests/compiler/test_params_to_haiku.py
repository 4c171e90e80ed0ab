"""Tracr's model runs with our weights; `test_compiled` has the round trip."""

import copy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interpbench_jax.cases import get_case
from interpbench_jax.compiler import (
    compile_case,
    compile_with_tracr,
    haiku_to_params,
    params_to_haiku,
)
from interpbench_jax.model import forward


@pytest.fixture(scope="module")
def case_3():
    return compile_with_tracr(get_case("3"))


def test_tracrs_model_runs_with_our_weights(case_3) -> None:
    """Also with weights other than the compiled ones."""
    params, config = haiku_to_params(case_3)
    tokens = jnp.asarray(
        compile_case("3").codec.encode_indices(np.array([[0, 1, 2, 3], [3, 3, 0, 1]]))
    )
    run = jax.jit(case_3.assembled.forward)
    compiled = run(case_3.assembled.params, tokens).transformer_output
    back = run(params_to_haiku(params, case_3), tokens).transformer_output
    jax.tree.map(np.testing.assert_array_equal, back, compiled)

    rng = np.random.default_rng(0)
    others = {
        name: part
        if name == "unembed"
        else jax.tree.map(lambda w: w + rng.normal(size=w.shape).astype(np.float32) / 10, part)
        for name, part in params.items()
    }
    logits, _ = forward(others, config, tokens)
    theirs = run(params_to_haiku(others, case_3), tokens)
    np.testing.assert_allclose(logits[..., 0], theirs.unembedded_output, atol=1e-4)
    assert np.abs(theirs.transformer_output.output - compiled.output).max() > 0.1


def test_weights_that_haiku_cannot_have_are_named(case_3) -> None:
    params, _ = haiku_to_params(case_3)
    changed = copy.deepcopy(params)
    changed["unembed"]["b_U"] = changed["unembed"]["b_U"] + 1
    with pytest.raises(ValueError, match=r"unembed\.b_U differs from the compiled model"):
        params_to_haiku(changed, case_3)
    changed = copy.deepcopy(params)
    changed["blocks_1"]["mlp"]["W_in"] = np.zeros((3, 3))
    with pytest.raises(ValueError, match=r"blocks_1\.mlp\.W_in has shape \(3, 3\), expected"):
        params_to_haiku(changed, case_3)
    del changed["blocks_0"]["attn"]["b_O"]
    with pytest.raises(ValueError, match=r"blocks_0\.attn\.b_O is missing"):
        params_to_haiku(changed, case_3)
    with pytest.raises(ValueError, match="unknown weight blocks_9"):
        params_to_haiku({**params, "blocks_9": {}}, case_3)
