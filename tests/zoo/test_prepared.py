"""Faults of a task that are found before training."""

import dataclasses
from collections.abc import Callable

import jax
import pytest

from interpbench_jax.siit import SiitConfig, members
from interpbench_jax.tasks import CausalModel
from interpbench_jax.zoo import prepare
from tests.siit.test_edges import PARITY

FEW = SiitConfig(patches="edges", n_pairs=500, edge_rows=64, checked_sets=2, checked_pairs=8)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (lambda parity: parity + 1, "the algorithm has label 2, expected one of the 2 from 0"),
        (lambda parity: parity - 1, "the algorithm has no answer to some pairs"),
        (lambda parity: parity / 2, "for which a network has one output; d_vocab_out is 2"),
    ],
)
def test_answers_that_the_network_cannot_give(
    output: Callable[[jax.Array], jax.Array], message: str
) -> None:
    model = CausalModel(variables=PARITY.model.variables, output=output)
    with pytest.raises(ValueError, match=message):
        prepare(dataclasses.replace(PARITY, model=model), members(FEW))
