"""Every format, written and read back: bit for bit, on random graphs, scores and circuits."""

import json
import re
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from interpbench_jax.model import Circuit, transformer_graph
from interpbench_jax.zoo.formats import (
    Discovered,
    Naming,
    from_edge_list,
    from_named_scores,
    read_eap_ig,
    read_edge_lines,
    read_score_arrays,
    read_table,
    same_discovery,
    to_eap_ig,
    to_edge_list,
    to_named_scores,
    write_edge_lines,
    write_score_arrays,
    write_table,
)
from tests.golden_files import GOLDEN

# Runtime shape checks draw random numbers, so graphs are built inside the tests.
SIZES = st.tuples(st.integers(1, 3), st.integers(1, 3))
NAMINGS: tuple[Naming, ...] = ("ours", "auto-circuit", "transformer-lens")
SEEDS = st.integers(0, 2**32 - 1)
SPECIAL = (0.0, -0.0, np.inf, -np.inf, 5e-324, -1e308, 1 / 3, 2.0**53 + 1)


def numbers(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Floats of all sizes and special ones, except NaN."""
    rng = np.random.default_rng(seed)
    drawn = rng.normal(size=shape) * 10.0 ** rng.integers(-300, 300, shape)
    return np.where(rng.random(shape) < 0.5, drawn, rng.choice(SPECIAL, shape))


def scored(sizes: tuple[int, int], seed: int) -> Discovered:
    graph = transformer_graph(*sizes)
    values = numbers(seed, graph.valid.shape)
    return Discovered(graph=graph, scores=np.where(graph.valid, values, 0.0))


def drawn_circuit(sizes: tuple[int, int], seed: int, *, whole_heads: bool = False) -> Circuit:
    graph, rng = transformer_graph(*sizes), np.random.default_rng(seed)
    share = rng.choice([0.0, 0.1, 0.5, 1.0])
    if not whole_heads:
        return Circuit.from_mask(graph, rng.random(graph.valid.shape) < share)
    heads = rng.random(graph.head_valid.shape) < share
    return Circuit.from_mask(graph, heads[:, graph.reader_head_index] & graph.valid)


def bits(found: Discovered) -> bytes:
    assert found.scores is not None
    return found.scores.tobytes()


@given(SIZES, SEEDS, st.sampled_from(NAMINGS))
def test_tables_and_objects(sizes: tuple[int, int], seed: int, naming: Naming) -> None:
    found = scored(sizes, seed)
    assert isinstance(found.scores, np.ndarray)
    table = read_table(write_table(found.scores, found.graph, naming=naming), found.graph)
    assert bits(table) == bits(found) and not table.heads_merged
    data = json.loads(to_named_scores(found.scores, found.graph, naming=naming))
    assert bits(from_named_scores(data, found.graph)) == bits(found)


@given(SIZES, SEEDS, st.integers(1, 1_000))
def test_scores_in_eap_ig(sizes: tuple[int, int], seed: int, d_model: int) -> None:
    found = scored(sizes, seed)
    assert found.scores is not None
    if found.scores.any():
        back = read_eap_ig(to_eap_ig(found, d_model=d_model), found.graph, d_model=d_model)
        assert bits(back) == bits(found) and back.circuit is None


@given(SIZES, SEEDS)
def test_scores_of_nodes_in_eap_ig(sizes: tuple[int, int], seed: int) -> None:
    graph = transformer_graph(*sizes)
    found = Discovered(graph=graph, scores=numbers(seed, (graph.n_writers,)))
    assert same_discovery(read_eap_ig(to_eap_ig(found, d_model=4), graph), found)


@given(SIZES, SEEDS, st.sampled_from(NAMINGS))
def test_circuits(sizes: tuple[int, int], seed: int, naming: Naming) -> None:
    circuit = drawn_circuit(sizes, seed)
    graph, expected = circuit.graph, Discovered(graph=circuit.graph, circuit=circuit)
    listed = from_edge_list(json.loads(to_edge_list(circuit, naming=naming)), graph)
    assert same_discovery(listed, expected)
    lines = read_edge_lines(write_edge_lines(circuit, naming=naming), graph)
    assert same_discovery(lines, expected)
    if circuit.edges:
        assert same_discovery(read_eap_ig(to_eap_ig(expected, d_model=4), graph), expected)


@given(SIZES, SEEDS, st.sampled_from(NAMINGS))
def test_circuits_with_heads_merged(sizes: tuple[int, int], seed: int, naming: Naming) -> None:
    circuit = drawn_circuit(sizes, seed, whole_heads=True)
    text = to_edge_list(circuit, naming=naming, heads_merged=True)
    found = from_edge_list(json.loads(text), circuit.graph)
    assert found.circuit == circuit
    into_heads = any("<" in reader for _, reader in circuit.edges)
    assert found.heads_merged == into_heads
    assert len(json.loads(text)) == len(circuit.head_edges)


@given(SIZES, SEEDS)
def test_both_scores_and_circuit(sizes: tuple[int, int], seed: int) -> None:
    found = scored(sizes, seed)
    assert found.scores is not None
    chosen = Circuit.from_mask(found.graph, (found.scores > 0) & found.graph.valid)
    both = Discovered(graph=found.graph, scores=found.scores, circuit=chosen)
    if chosen.edges:
        assert same_discovery(read_eap_ig(to_eap_ig(both, d_model=4), found.graph), both)


@pytest.mark.parametrize("of_nodes", [False, True])
def test_our_own_arrays(tmp_path: Path, of_nodes: bool) -> None:
    graph = transformer_graph(2, 2)
    scores = np.where(graph.valid, np.random.default_rng(0).normal(size=graph.valid.shape), 0.0)
    given = {"eap": scores, "own:method": -scores} | ({"nap": scores[:, -1]} if of_nodes else {})
    write_score_arrays(tmp_path / "scores.npz", given, graph)
    found = read_score_arrays((tmp_path / "scores.npz").read_bytes(), graph)
    assert {name: bits(one) for name, one in found.items()} == {
        name: values.tobytes() for name, values in given.items()
    }


def test_lists_of_interpbench() -> None:
    """The original's files of case 13: the circuit and all edges, heads merged and separate."""
    graph = transformer_graph(2, 4)
    lists = json.loads((GOLDEN / "case13" / "gt_circuit.json").read_text())
    truth = from_edge_list(lists["gt_edges"], graph)
    assert truth.circuit is not None and truth.heads_merged
    assert truth.circuit.head_edges == {("input", "a0.h0"), ("a0.h0", "m0"), ("m0", "logits")}
    every = from_edge_list(lists["all_edges"], graph).circuit
    assert every is not None
    assert every.mask.sum() == len(graph.edges) - 1 and not every.mask[0, -1]  # input->logits
    again = json.loads(to_edge_list(truth.circuit, heads_merged=True))
    outputs = [[name.replace("hook_mlp_in", "hook_mlp_out") for name in edge] for edge in again]
    assert sorted(outputs) == sorted(lists["gt_edges"])

    # ACDC's list separates positions, and has connections within a node.
    inner = re.compile(r"hook_[qkv]_input|hook_pos_embed")
    acdc = [edge for edge in lists["full_edges_acdc_hooks"] if not inner.search(edge[0])]
    acdc = [[edge[0].replace("hook_embed", "blocks.0.hook_resid_pre"), edge[1]] for edge in acdc]
    apart = from_edge_list(acdc, graph)
    assert apart.circuit is not None and not apart.heads_merged
    assert np.array_equal(apart.circuit.mask, graph.valid)
    assert sorted(json.loads(to_edge_list(apart.circuit))) == sorted(acdc)
