"""Which member of a population becomes the model."""

from typing import Any

import jax.numpy as jnp
import pytest

from interpbench_jax.siit import Scores, TrainResult
from interpbench_jax.zoo.make import best_member


@pytest.mark.parametrize(
    ("of_nodes", "of_edges", "best"),
    [
        ((0.9, 0.99, 0.98), (0.9, 0.9, 0.95), 2),  # none meets the bar: the largest worst score
        ((0.994, 0.996), (1.0, 0.991), 1),  # only the second meets it: 99.5 % and 99 %
        ((0.996, 1.0), (0.992, 0.994), 1),
        ((0.999, 0.999), (0.999, 0.999), 0),
        ((float("nan"), 0.5), (0.5, 0.5), 1),
    ],
)
def test_one_that_meets_the_bar_comes_first(
    of_nodes: tuple[float, ...], of_edges: tuple[float, ...], best: int
) -> None:
    unused: Any = None
    nodes, edges = jnp.array(of_nodes), jnp.array(of_edges)
    result = TrainResult(
        params=unused,
        scores=Scores(nodes, nodes[:, None], nodes[:, None], edges[:, None]),
        worst=jnp.minimum(nodes, edges),
        worst_of_nodes=nodes,
        history=unused,
        rounds=unused,
        diverged=unused,
    )
    assert best_member(result) == best
