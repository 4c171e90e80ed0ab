"""Models in a shared shape: they compute the same, and compile once."""

from typing import Any

import jax
import numpy as np

from interpbench_jax.benchmark import make_contrast, run_methods
from interpbench_jax.benchmark.plan import bundled_models
from interpbench_jax.benchmark.shared_shapes import in_shared_shape, rows_for
from interpbench_jax.model import forward
from interpbench_jax.zoo import bundled_names, load_model


def test_a_padded_model_and_batch_give_the_same_scores() -> None:
    model = load_model("8")
    padded = in_shared_shape(model)
    assert model.config.d_vocab < padded.config.d_vocab == 32
    assert rows_for(20) == 200
    own, shared = (
        run_methods(one, ("eap_ig_inputs",), make_contrast(one, 0, n_inputs=20, n_rows=n_rows))[0]
        for one, n_rows in ((model, None), (padded, rows_for(20)))
    )
    np.testing.assert_allclose(own.scores, shared.scores, rtol=1e-4, atol=1e-6)


def test_models_that_the_plan_gives_one_shape_share_a_compiled_program() -> None:
    by_shape: dict[str, list[str]] = {}
    for source in bundled_models(bundled_names()):
        by_shape.setdefault(source.shape, []).append(source.name)
    names = max(by_shape.values(), key=len)[:3]
    models = [in_shared_shape(load_model(name)) for name in names]
    assert len(models) == 3 and len({model.config for model in models}) == 1
    compiled: Any = jax.jit(forward, static_argnames="config")
    tokens = np.zeros((2, models[0].config.n_ctx), np.int32)
    for model in models:
        compiled(model.params, config=model.config, tokens=tokens)
    assert compiled._cache_size() == 1
