"""A model for which the result of every intervention can be computed by hand."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest

from interpbench_jax.compiler import CompiledCase
from interpbench_jax.model import Graph, Params, TransformerConfig
from interpbench_jax.siit import SiitProblem


class HandMade(NamedTuple):
    """Says label 0 unless the shifts written by heads sum to more than the token's margin.

    A head writes its shift in sequences of token 0 and nothing in others. The margin of a token
    is its id.
    """

    params: Params
    config: TransformerConfig

    def problem(self, base, source, positions=None) -> SiitProblem:
        """All heads and the MLP are free, there are no variables, and label 0 is always right."""
        base, source = jnp.asarray(base), jnp.asarray(source)
        graph = Graph.of(self.config)
        return SiitProblem(
            base=base,
            source=source,
            base_target=jnp.zeros_like(base),
            source_target=jnp.ones_like(base),
            variable_targets=jnp.zeros((0, *base.shape), int),
            variable_nodes=jnp.zeros((0, graph.n_writers)),
            free_nodes=jnp.asarray(graph.one_hot(graph.writers[1:])),
            position_weights=jnp.ones(base.shape).at[:, 0].set(0)
            if positions is None
            else positions,
        )


def hand_made(*shifts: float) -> HandMade:
    """One layer with a head per shift; dimensions: 1 if the token is 0, margin, sum of shifts."""
    heads, d_vocab = len(shifts), 6
    config = TransformerConfig(
        n_layers=1,
        n_heads=heads,
        d_model=3,
        d_head=1,
        d_mlp=1,
        n_ctx=3,
        d_vocab=d_vocab,
        d_vocab_out=2,
        causal=True,
    )
    embedding = np.zeros((d_vocab, 3), np.float32)
    embedding[0, 0] = 1
    embedding[:, 1] = np.arange(d_vocab)
    reads = np.zeros((heads, 3, 1), np.float32)
    reads[:, 0] = 1
    writes = np.zeros((heads, 1, 3), np.float32)
    writes[:, 0, 2] = shifts
    zeros = np.zeros
    params = {
        "embed": {"W_E": embedding},
        "pos_embed": {"W_pos": zeros((3, 3), np.float32)},
        "blocks_0": {
            "attn": {
                **{f"W_{x}": zeros((heads, 3, 1), np.float32) for x in "QK"},
                **{f"b_{x}": zeros((heads, 1), np.float32) for x in "QKV"},
                "W_V": reads,
                "W_O": writes,
                "b_O": zeros(3, np.float32),
            },
            "mlp": {
                "W_in": zeros((3, 1), np.float32),
                "b_in": zeros(1, np.float32),
                "W_out": zeros((1, 3), np.float32),
                "b_out": zeros(3, np.float32),
            },
        },
        "unembed": {
            "W_U": np.array([[0, 0], [1, 0], [0, 1]], np.float32),
            "b_U": zeros(2, np.float32),
        },
    }
    return HandMade(params, config)


@pytest.fixture(scope="session")
def make_model():
    """See `hand_made`."""
    return hand_made


def of_compiled_model(compiled: CompiledCase, problem: SiitProblem) -> SiitProblem:
    """The problem for the compiled model itself; only defined outputs count."""
    graph = compiled.graph
    variables = [variable.node for variable in compiled.variables]
    free = [node for node in graph.writers[1:] if node not in variables]
    defined = problem.position_weights
    if compiled.case.name == "13":  # undefined at the last position
        defined = defined.at[:, -1].set(0)
    return problem._replace(
        variable_nodes=jnp.asarray(graph.one_hot(variables)),
        free_nodes=jnp.asarray(graph.one_hot(free)),
        position_weights=defined,
    )


@pytest.fixture(scope="session")
def make_compiled_problem():
    """See `of_compiled_model`."""
    return of_compiled_model
