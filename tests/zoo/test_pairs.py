"""Pairs to judge a model by are pairs that it has never seen."""

import jax
import numpy as np
import pytest

from interpbench_jax.cases import distinct_pairs, get_case
from interpbench_jax.zoo import load_model, unseen_pairs
from tests.models import untrained_model


def rows(pairs: tuple[np.ndarray, np.ndarray]) -> set[bytes]:
    return {row.tobytes() for row in np.concatenate(pairs, 1)}


@pytest.mark.parametrize("name", ["3", "13"])
def test_none_was_trained_on(name: str) -> None:
    model = load_model(name)
    base, source = distinct_pairs(
        get_case(name), model.card["config"]["n_pairs"], jax.random.key(0)
    )
    n_trained = len(base) - round(len(base) * model.card["config"]["held_out"])
    trained = rows((base[:n_trained], source[:n_trained]))
    for seed in (0, 1):
        drawn = unseen_pairs(model, 2_000, seed)
        assert len(rows(drawn)) == len(drawn[0]) == 2_000
        assert not rows(drawn) & trained
    assert rows(unseen_pairs(model, 2_000, 2)) != rows(drawn)


def test_few_pairs_are_all_that_were_held_out() -> None:
    """Case 3 has 256 sequences, and 20 % of all pairs are not trained on."""
    model = load_model("3")
    base, source = distinct_pairs(get_case("3"), 100_000, jax.random.key(0))
    held_out = rows((base[-13_107:], source[-13_107:]))
    assert rows(unseen_pairs(model, 20_000, seed=1)) == held_out


def test_a_model_without_a_record_has_seen_nothing() -> None:
    base, _ = unseen_pairs(untrained_model("3"), 500, seed=1)
    assert len(base) == 500 or len(base) == 65_536


def test_at_least_one_pair() -> None:
    with pytest.raises(ValueError, match="n_pairs must be at least 1, got 0"):
        unseen_pairs(load_model("3"), 0, seed=1)
