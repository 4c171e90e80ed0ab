"""RASP program -> Tracr's compiled model, with the stages in between kept.

Tracr names every expression after a counter that runs through the whole process, and sorts the
residual stream by these names. We number the expressions of a program anew before compiling, so
that the same program gives the same weights however many were compiled before.
"""

from collections import deque
from dataclasses import dataclass

import jax
import networkx as nx
from tracr.compiler import (
    assemble,
    basis_inference,
    craft_graph_to_model,
    craft_model_to_transformer,
    expr_to_craft_graph,
    rasp_to_graph,
    validating,
)
from tracr.craft import bases, transformers
from tracr.rasp import rasp

from interpbench_jax.cases import Case

BOS = "BOS"
PAD = "PAD"
# How sharply Tracr's MLPs approximate steps; its own default.
_MLP_EXACTNESS = 100


@dataclass(frozen=True)
class TracrModel:
    """What Tracr makes of a program.

    Attributes:
      graph: the RASP expressions with the values and directions each can take.
      craft: the blocks (attention layers and MLPs) in order, with named directions.
      assembled: the Haiku model with its weights and encoders.
      categorical: whether the output is one of several values rather than a number.
    """

    graph: nx.DiGraph
    craft: transformers.SeriesWithResiduals
    assembled: assemble.AssembledTransformerModel
    categorical: bool


def compile_with_tracr(case: Case) -> TracrModel:
    """Runs Tracr's stages on the case's program.

    Raises:
      ValueError: Tracr cannot compile the program; the message names the expression.
    """
    program = numbered_program(case)
    unsupported = validating.static_validate(program)
    if unsupported:
        reasons = "; ".join(f"{u.expr.name}: {u.reason}" for u in unsupported)
        raise ValueError(f"case {case.name!r} cannot be compiled: {reasons}")
    extracted = rasp_to_graph.extract_rasp_graph(program)
    graph, sink = extracted.graph, extracted.sink
    max_seq_len = case.n_ctx - 1
    try:
        basis_inference.infer_bases(graph, sink, set(case.vocab), max_seq_len)
        expr_to_craft_graph.add_craft_components_to_rasp_graph(
            graph,
            bos_dir=bases.BasisDirection(rasp.tokens.label, BOS),
            mlp_exactness=_MLP_EXACTNESS,
        )
    except NotImplementedError as error:
        raise ValueError(f"case {case.name!r} cannot be compiled: {error}") from error
    craft = craft_graph_to_model.craft_graph_to_model(graph, extracted.sources)
    # Haiku draws weights, which Tracr then overwrites; this generator compiles fastest.
    with jax.default_prng_impl("rbg"):
        assembled = craft_model_to_transformer.craft_model_to_transformer(
            craft_model=craft,
            graph=graph,
            sink=sink,
            max_seq_len=max_seq_len,
            causal=case.causal,
            compiler_bos=BOS,
            compiler_pad=PAD,
        )
    return TracrModel(graph, craft, assembled, rasp.is_categorical(program))


def numbered_program(case: Case) -> rasp.SOp:
    """The case's program, expressions numbered breadth first as Tracr would in a fresh process."""
    program = case.program()
    seen: dict[int, rasp.RASPExpr] = {}
    waiting: deque[rasp.RASPExpr] = deque([program])
    while waiting:
        expression = waiting.popleft()
        for found in (expression, *expression.children):
            if id(found) not in seen and not isinstance(
                found, rasp.TokensType | rasp.IndicesType | rasp.LengthType
            ):
                found.__dict__["unique_id"] = len(seen) + 1
                seen[id(found)] = found
        waiting.extend(expression.children)
    return program
