"""Every sequence has one use: training, validation or testing."""

import dataclasses

import jax
import numpy as np
import pytest

from interpbench_jax.cases import (
    PADDING,
    CaseInputs,
    Mixture,
    all_sequences,
    case_names,
    get_case,
    sample_sequences,
)
from interpbench_jax.cases.samplers import all_same
from interpbench_jax.tasks import Part, Split, pairs_per_part
from interpbench_jax.tasks.splits import places

KEY = jax.random.key(0)
PARTS: tuple[Part, ...] = ("train", "validation", "test")


def rows(*sequences: np.ndarray) -> set[bytes]:
    return {row.tobytes() for row in np.concatenate(sequences).astype(np.int32)}


def test_splits_stay_the_same() -> None:
    """Models on disk were trained on these splits."""
    found = places(np.array([[0, 1, 2, 3], [3, 2, 1, 0], [0, 0, 0, 0]]))
    np.testing.assert_allclose(
        found, [0.029176370978902244, 0.5366142881122377, 0.2703261511852292], rtol=1e-12
    )


def test_splits_are_uniform_and_ignore_padding() -> None:
    sequences = all_sequences(get_case("13"))
    found = places(sequences)
    assert len(np.unique(found)) == len(sequences)
    counts, _ = np.histogram(found, 20, (0, 1))
    assert abs(counts / len(found) - 0.05).max() < 0.005
    for column in sequences.T:  # no single token decides
        for token in range(3):
            assert (found[column == token] < 0.2).mean() == pytest.approx(0.2, abs=0.02)
    padded = np.pad(sequences, ((0, 0), (0, 3)), constant_values=PADDING)
    np.testing.assert_array_equal(places(padded), found)


@pytest.mark.parametrize(
    ("name", "min_length"), [("3", None), ("3", 2), ("15", None), ("13", None), ("17", None)]
)
def test_parts_share_no_sequence_and_pairs_are_distinct(name: str, min_length) -> None:
    """Few sequences (listed), many (drawn), drawn by a sampler, and of several lengths."""
    split = Split.of(CaseInputs(get_case(name), min_length))
    assert split.divided
    found = {part: split.pairs(part, 2_000, KEY) for part in PARTS}
    sequences = [rows(*pairs) for pairs in found.values()]
    assert not sequences[0] & sequences[1] | sequences[0] & sequences[2]
    assert not sequences[1] & sequences[2]
    for part, (base, source) in found.items():
        assert split.contains(base, part).all() and split.contains(source, part).all()
        assert ((base == PADDING) == (source == PADDING)).all()
        assert len(rows(np.concatenate([base, source], 1))) == len(base) > 500
        if name != "3" or part == "train":
            assert len(base) == 2_000
    again = split.pairs("test", 2_000, KEY)
    np.testing.assert_array_equal(found["test"], again)


def test_few_pairs_are_all_pairs() -> None:
    split = Split.of(CaseInputs(get_case("3")))
    every = all_sequences(get_case("3"))
    own = every[split.contains(every, "test")]
    base, source = split.pairs("test", 5_000, KEY)
    assert len(rows(np.concatenate([base, source], 1))) == len(base) == len(own) ** 2
    assert rows(base) == rows(source) == rows(own)


def test_parts_do_not_depend_on_the_number_of_pairs() -> None:
    split = Split.of(CaseInputs(get_case("3")))
    assert rows(*split.pairs("test", 100, KEY)) <= rows(*split.pairs("test", 10_000, KEY))


def test_a_larger_share_held_out_has_the_smaller_test() -> None:
    sequences = sample_sequences(get_case("17"), 1_000, KEY)
    small, large = (Split.of(CaseInputs(get_case("17")), held_out=share) for share in (0.1, 0.4))
    tested = small.contains(sequences, "test")
    assert 20 < tested.sum() < 80
    assert (large.contains(sequences, "test") >= tested).all()


@pytest.mark.parametrize(
    "case",
    [
        dataclasses.replace(get_case("3"), n_ctx=3),  # 16 sequences
        dataclasses.replace(get_case("17"), sampler=Mixture(((1.0, all_same),))),  # draws 10
    ],
)
def test_too_few_sequences_are_not_divided(case) -> None:
    split = Split.of(CaseInputs(case))
    assert not split.divided
    assert split.describe() == {
        "divided": False,
        "held_out": 0.0,
        "sequences": len(case.vocab) ** (case.n_ctx - 1),
    }
    tested, trained = (split.pairs(part, 1_000, KEY) for part in ("test", "train"))
    np.testing.assert_array_equal(tested, trained)
    assert len(rows(*trained)) == (16 if case.n_ctx == 3 else 10)


def test_sequences_too_common_to_divide_are_in_every_part() -> None:
    """Half of case 124's inputs are 11 sequences; a part without them would lack an answer."""
    split = Split.of(CaseInputs(get_case("124")))
    assert split.divided and split.describe()["common"] == 11
    same = np.repeat(np.arange(11)[:, None], 9, 1)
    for part in PARTS:
        assert split.contains(same, part).all()
        base, _ = split.pairs(part, 1_000, KEY)
        assert len(rows(base[(base == base[:, :1]).all(1)])) == 11
    others = [rows(*split.pairs(part, 1_000, KEY)) - rows(same) for part in PARTS]
    assert not others[0] & others[1] | others[0] & others[2] | others[1] & others[2]


@pytest.mark.slow
def test_only_case_124_has_common_sequences() -> None:
    """Inputs of all other cases have probabilities of less than 1 %, or are not divided."""
    splits = {name: Split.of(CaseInputs(get_case(name))) for name in case_names()}
    assert [name for name, split in splits.items() if split.describe().get("common")] == ["124"]


def test_pairs_are_divided_as_sequences_are() -> None:
    assert pairs_per_part(100_000, 0.2) == {"train": 80_000, "validation": 10_000, "test": 10_000}
    assert pairs_per_part(400_000, 0.2) == {"train": 320_000, "validation": 10_000, "test": 10_000}
    with pytest.raises(ValueError, match="holding out 0.1 of 2 pairs leaves a part empty"):
        pairs_per_part(2, 0.1)
    with pytest.raises(ValueError, match="leaves a part empty"):
        pairs_per_part(2, 0.999)


def test_bad_numbers_are_named() -> None:
    with pytest.raises(ValueError, match="held_out must lie between 0 and 1, got 1.5"):
        Split.of(CaseInputs(get_case("3")), held_out=1.5)
    with pytest.raises(ValueError, match="must be at least 1, got 0"):
        Split.of(CaseInputs(get_case("3"))).pairs("test", 0, KEY)
