"""Alignments of algorithms with networks of the compiled model's size, and compressed ones."""

import dataclasses

import jax
import pytest

from interpbench_jax.alignment import align
from interpbench_jax.compiler import compile_case
from interpbench_jax.siit import SiitConfig, make_problem, train_siit


@pytest.mark.parametrize("case", ["3", pytest.param("8", marks=pytest.mark.slow)])
def test_same_size_keeps_nodes_and_trains(case: str) -> None:
    """Case 3 has other nodes in the compressed model, which has more heads."""
    compiled = compile_case(case, same_size=True)
    alignment = align(compiled)
    sizes = ("n_layers", "n_heads", "d_model", "d_head", "d_mlp")
    for size in sizes:
        assert getattr(alignment.network, size) == getattr(compiled.config, size)
    assert alignment.nodes == tuple(variable.node for variable in compiled.variables)
    assert alignment.circuit.edges == compiled.circuit.edges
    problem = make_problem(compiled, alignment, jax.random.key(0), n_pairs=200)
    assert len(problem.free_nodes) == len(alignment.free_nodes)
    config = SiitConfig(max_batches=2, round_batches=2, batch_size=8, validation_pairs=8)
    result = train_siit(problem, alignment.network, config)
    assert result.rounds.tolist() == [1] and not result.diverged[0]


def test_a_compressed_model_has_the_nodes_of_the_original() -> None:
    alignment = align(compile_case("3"))
    assert "a1.h2" in alignment.nodes and "m0" in alignment.nodes
    assert dataclasses.asdict(alignment.network)["n_heads"] == 4
