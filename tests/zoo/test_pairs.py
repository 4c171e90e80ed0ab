"""Pairs to judge a model by, and whether the model has seen them."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from interpbench_jax.cases import Split, get_case
from interpbench_jax.zoo import BenchmarkModel, evaluation_pairs, held_out_statement, load_model
from tests.models import untrained_model


def rows(*sequences: np.ndarray) -> set[bytes]:
    return {row.tobytes() for row in np.concatenate(sequences)}


def with_card(model: BenchmarkModel, **changes: Any) -> BenchmarkModel:
    return dataclasses.replace(model, card=model.card | changes)


@pytest.mark.parametrize("share", [0.1, 0.4])
def test_what_the_card_says_was_kept_for_tests_is_held_out(share: float) -> None:
    split = Split.of(get_case("13"), held_out=share)
    model = with_card(load_model("13"), split=split.describe())
    for seed in (0, 1):
        pairs = evaluation_pairs(model, 500, seed)
        assert len(pairs.base) == len(rows(np.concatenate([pairs.base, pairs.source], 1))) == 500
        assert split.contains(np.concatenate([pairs.base, pairs.source]), "test").all()
        assert pairs.held_out is True and "not trained on" in pairs.statement
    assert rows(evaluation_pairs(model, 500, 2).base) != rows(pairs.base)


def test_models_from_before_the_division_are_not_called_held_out() -> None:
    """Their card has settings, but no record of what was kept: so have those in the package."""
    model = dataclasses.replace(load_model("3"))
    model.card.pop("split", None)
    found = evaluation_pairs(model, 500, 1)
    assert found.held_out is False
    assert found.statement == held_out_statement(model)
    assert found.statement.startswith("NOT held out: trained on pairs of all sequences")


def test_a_case_too_small_to_divide_is_not_called_held_out() -> None:
    model = with_card(load_model("3"), split={"divided": False, "held_out": 0.0, "sequences": 16})
    found = evaluation_pairs(model, 100_000, 1)
    assert found.held_out is False
    assert "NOT held out: the case has too few sequences (16)" in found.statement
    assert len(found.base) == 256**2  # all there are


@pytest.mark.parametrize("split", [None, 3, {}, {"divided": "yes"}, {"divided": True}])
def test_of_a_model_without_a_record_nothing_is_claimed(split: Any) -> None:
    model = with_card(untrained_model("3"), split=split)
    found = evaluation_pairs(model, 500, seed=1)
    assert found.held_out is None and len(found.base) == 500
    assert found.statement == "perhaps trained on: the model's card does not tell"


def test_at_least_one_pair() -> None:
    with pytest.raises(ValueError, match="n_pairs must be at least 1, got 0"):
        evaluation_pairs(load_model("3"), 0, seed=1)
