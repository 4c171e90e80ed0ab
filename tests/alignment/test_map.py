"""The map from an algorithm's edges to a network's, written out for small examples."""

from dataclasses import dataclass

import numpy as np
import pytest
from jaxtyping import Array

from interpbench_jax.alignment import Alignment, Site
from interpbench_jax.alignment.alignment import group_masks, group_union
from interpbench_jax.model import Circuit, Graph, TransformerConfig, transformer_graph
from interpbench_jax.model.network import Network
from interpbench_jax.tasks.causal import CausalModel


def earlier(tokens_q: Array, tokens_k: Array) -> Array:
    return (tokens_q[-1] == tokens_k[:-1]).any()


MODEL = CausalModel(
    variables={"earlier": earlier, "twice": lambda tokens, earlier: 2 * tokens * earlier},
    output=lambda twice: twice,
)
NETWORK = transformer_graph(2, 2)
SHAPE = TransformerConfig(
    n_layers=2, n_heads=2, d_model=4, d_head=2, d_mlp=4, n_ctx=3, d_vocab=4, d_vocab_out=2
)


@dataclass(frozen=True)
class Wired(Network):
    """A network of which only the graph matters."""

    wiring: Graph

    @property
    def graph(self):
        return self.wiring

    def run(self, params, tokens, patch=None, nudge=None):
        raise NotImplementedError


def aligned(graph: Graph = NETWORK, /, **nodes: str) -> Alignment:
    places = {"input": "input", **nodes}
    sites = tuple((name, Site((node,))) for name, node in places.items())
    if graph is NETWORK:
        return Alignment(MODEL.circuit, SHAPE, sites)
    return Alignment(MODEL.circuit, Wired(graph), sites)


def test_edges_written_out() -> None:
    alignment = aligned(earlier="a0.h1", twice="m1")
    assert alignment.edges_of(("input", "earlier<q>")) == (("input", "a0.h1<q>"),)
    assert alignment.circuit.edges == {
        *(("input", "a0.h1<q>"), ("input", "a0.h1<k>")),
        *(("input", "m1"), ("a0.h1", "m1"), ("m1", "logits")),
    }
    assert alignment.aligned_nodes == ("a0.h1", "m1")
    assert alignment.free_nodes == ("a0.h0", "m0", "a1.h0", "a1.h1")
    assert (alignment.outside | alignment.circuit.mask).sum() == len(NETWORK.edges)
    assert not (alignment.outside & alignment.circuit.mask).any()


def test_a_reader_without_kinds_is_all_inputs_of_a_head_and_kinds_are_one_input_of_an_mlp() -> None:
    alignment = aligned(earlier="m0", twice="a1.h0")
    assert alignment.circuit.edges == {
        ("input", "m0"),
        *((writer, f"a1.h0<{kind}>") for writer in ("input", "m0") for kind in "qkv"),
        ("a1.h0", "logits"),
    }


def test_groups_have_masks_of_both_graphs() -> None:
    alignment = aligned(earlier="a0.h1", twice="a1.h0")
    own, theirs = group_masks(alignment)
    sets = np.random.default_rng(0).random((50, len(own))) < 0.5
    for patched, patched_too, chosen in zip(
        group_union(sets, own), group_union(sets, theirs), sets, strict=True
    ):
        groups = [group for group, in_it in zip(alignment.groups, chosen, strict=True) if in_it]
        edges = frozenset().union(*(edges for edges, _ in groups))
        assert Circuit.from_mask(MODEL.graph, patched > 0).edges == edges
        counterparts = {one for edge in edges for one in alignment.edges_of(edge)}
        assert Circuit.from_mask(NETWORK, patched_too > 0).edges == counterparts
        assert not (patched_too * alignment.outside).any()
    # By name, for one edge: all inputs of the head that holds `twice`.
    found = alignment.edges_of(("earlier", "twice"))
    assert set(found) == {("a0.h1", f"a1.h0<{kind}>") for kind in "qkv"}


def test_variables_that_share_a_node_are_patched_together() -> None:
    model = CausalModel(
        variables={"x": lambda tokens: tokens, "y": lambda tokens: tokens + 1, "z": lambda x: x},
        output=lambda y, z: y + z,
    )
    sites = {"input": "input", "x": "m0", "y": "m0", "z": "m1"}
    alignment = Alignment(
        model.circuit, SHAPE, tuple((name, Site((node,))) for name, node in sites.items())
    )
    groups = {frozenset(own): theirs for own, theirs in alignment.groups}
    assert groups == {
        frozenset({("input", "x"), ("input", "y")}): {("input", "m0")},
        frozenset({("x", "z")}): {("m0", "m1")},
        frozenset({("y", "output")}): {("m0", "logits")},
        frozenset({("z", "output")}): {("m1", "logits")},
    }
    assert alignment.aligned_nodes == ("m0", "m1")


def test_a_variable_in_two_nodes_is_patched_in_both() -> None:
    model = CausalModel({"x": lambda tokens: tokens}, lambda x: x)
    alignment = Alignment(
        model.circuit, SHAPE, (("input", Site(("input",))), ("x", Site(("a0.h0", "m1"))))
    )
    assert alignment.edges_of(("x", "output")) == (("a0.h0", "logits"), ("m1", "logits"))
    assert len(alignment.groups) == 2


def test_any_network_can_be_aligned() -> None:
    graph = Graph(("input", "left", "right"), ("left", "right", "sum"), (1, 2, 3))
    alignment = aligned(graph, earlier="left", twice="right")
    assert alignment.circuit.edges == {
        *(("input", "left"), ("input", "right"), ("left", "right"), ("right", "sum")),
    }


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ({"earlier": "a0.h0"}, "no place is given for twice"),
        ({"earlier": "a0.h0", "twice": "m1", "other": "m0"}, "no variable other; there are input"),
        ({"earlier": "a0.h0", "twice": "m7"}, "no writer 'm7'"),
        ({"earlier": "m1", "twice": "m0"}, "earlier->twice would be m1->m0, but m0 reads before"),
        ({"earlier": "a0.h0", "twice": "a0.h1"}, "a0.h1<q> reads before a0.h0 writes"),
    ],
)
def test_invalid_alignments(nodes: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        aligned(**nodes)
