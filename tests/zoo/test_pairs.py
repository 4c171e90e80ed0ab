"""Pairs for evaluating a model, and whether they are held out."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from interpbench_jax.compiler import compile_case
from interpbench_jax.zoo import evaluation_pairs, held_out_statement, load_model
from interpbench_jax.zoo.description import data_of_card
from interpbench_jax.zoo.model import DataRecord
from tests.models import untrained_model


def rows(*sequences: np.ndarray) -> set[bytes]:
    return {row.tobytes() for row in np.concatenate(sequences)}


@pytest.mark.parametrize("share", [0.1, 0.4])
def test_pairs_kept_for_tests_are_held_out(share: float) -> None:
    task = compile_case("13")
    split = task.split(share)
    model = dataclasses.replace(load_model("13"), data=DataRecord(held_out=share))
    indices = {token: place for place, token in enumerate(task.codec.token_ids)}
    for seed in (0, 1):
        found = evaluation_pairs(model, 500, seed)
        base, source, _ = found.pairs
        assert len(base) == len(rows(np.concatenate([base, source], 1))) == 500
        tokens = np.concatenate([base, source])[:, 1:]
        sequences = np.array([[indices[token] for token in row] for row in tokens.tolist()])
        assert split.contains(sequences, "test").all()
        assert found.held_out is True and found.statement.startswith("on held-out")
    assert rows(evaluation_pairs(model, 500, 2).pairs.base) != rows(base)


def test_pairs_of_older_models_are_not_called_held_out() -> None:
    """Their cards have settings but no record of a split, like those of older bundled models."""
    model = load_model("siit/3")
    found = evaluation_pairs(model, 500, 1)
    assert found.held_out is False
    assert found.statement == held_out_statement(model)
    assert found.statement.startswith("NOT held out: trained on pairs of all sequences")


def test_a_task_too_small_to_divide_is_not_called_held_out() -> None:
    model = dataclasses.replace(load_model("3"), data=DataRecord(held_out=0.0))
    found = evaluation_pairs(model, 100_000, 1)
    assert found.held_out is False
    assert "NOT held out: the task has too few sequences" in found.statement
    assert len(found.pairs.base) == 256**2  # all of them


@pytest.mark.parametrize("split", [None, 3, {}, {"divided": "yes"}, {"divided": True}])
def test_cards_without_a_record_claim_nothing(split: Any) -> None:
    model = untrained_model("3")
    record = data_of_card({"config": {}, "split": split}, model.config)
    assert record == DataRecord()
    found = evaluation_pairs(model, 500, seed=1)
    assert found.held_out is None and len(found.pairs.base) == 500
    assert found.statement == "perhaps NOT held out: the model's card does not say"


def test_cards_of_earlier_versions_give_the_split() -> None:
    model = untrained_model("3")
    card = {"config": {"min_length": 2}, "split": {"divided": True, "held_out": 0.2}}
    assert data_of_card(card, model.config) == DataRecord(min_length=2, held_out=0.2)
    card["split"] = {"divided": False, "held_out": 0.0}
    assert data_of_card(card, model.config).held_out == 0


def test_at_least_one_pair() -> None:
    with pytest.raises(ValueError, match="n_pairs must be at least 1, got 0"):
        evaluation_pairs(load_model("3"), 0, seed=1)
