"""How many patched runs fit into memory at once."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest

from interpbench_jax.model.chunks import _BUDGET, runs_at_once

ROWS, POSITIONS, WRITERS, D_MODEL, OUTPUTS = 64, 128, 10, 16, 1_024
# Only their shapes matter.
LOGITS: Any = jax.ShapeDtypeStruct((ROWS, POSITIONS, OUTPUTS), jnp.float32)
WRITTEN: Any = jax.ShapeDtypeStruct((ROWS, POSITIONS, WRITERS, D_MODEL), jnp.float32)


def test_on_a_cpu_runs_follow_one_another() -> None:
    assert jax.default_backend() == "cpu"
    assert runs_at_once(jnp.zeros((1, 1, 1)), jnp.zeros((1, 1, 1, 1))) == 1


def test_elsewhere_outputs_attention_and_logits_fit_into_the_budget(
    monkeypatch: pytest.MonkeyPatch, no_shape_checks: None
) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    numbers = ROWS * POSITIONS * (WRITERS * D_MODEL + POSITIONS * WRITERS + OUTPUTS)
    for parallel in (1, 3):
        found = runs_at_once(LOGITS, WRITTEN, parallel=parallel)
        assert found * parallel * numbers <= _BUDGET < (found + 1) * parallel * numbers
    assert runs_at_once(LOGITS, WRITTEN, parallel=_BUDGET) == 1
    assert runs_at_once(LOGITS, None) == 1
