"""A program's graph -> Tracr's compiled model; keeps the intermediate stages."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import haiku as hk
import jax
import networkx as nx
import numpy as np
from tracr.compiler import (
    assemble,
    craft_graph_to_model,
    craft_model_to_transformer,
    expr_to_craft_graph,
    nodes,
)
from tracr.craft import bases, transformers
from tracr.rasp import rasp
from tracr.transformer import model

from interpbench_jax.cases import Case
from interpbench_jax.compiler.program_graph import BOS, PAD, in_order, program_graph

# How sharply Tracr's MLPs approximate steps; Tracr's default.
_MLP_EXACTNESS = 100


@dataclass(frozen=True)
class TracrModel:
    """Tracr's compilation of a program.

    Attributes:
      graph: the RASP expressions with the values and directions each can take.
      craft: the blocks (attention layers and MLPs) in order, with named directions.
      assembled: the Haiku model with its weights and encoders.
      residual: the directions of the residual stream, in order. `assembled` has them only as text,
        which is the same for 1 and "1".
      output: the directions that hold the program's output, in the order of the logits.
      tokens: the directions of the tokens, including BOS and padding, in the order of their ids.
      categorical: whether the output is one of several values rather than a number.
      names: readable name of each expression, by label.
    """

    graph: nx.DiGraph
    craft: transformers.SeriesWithResiduals
    assembled: assemble.AssembledTransformerModel
    residual: Sequence[bases.BasisDirection]
    output: Sequence[bases.BasisDirection]
    tokens: Sequence[bases.BasisDirection]
    categorical: bool
    names: Mapping[str, str]


def compile_with_tracr(case: Case) -> TracrModel:
    """Runs Tracr's stages on the case's program.

    Raises:
      ValueError: as `program_graph`, or Tracr fails for another reason.
    """
    program = program_graph(case)
    graph = program.graph
    try:
        expr_to_craft_graph.add_craft_components_to_rasp_graph(
            graph,
            bos_dir=bases.BasisDirection(rasp.tokens.label, BOS),
            mlp_exactness=_MLP_EXACTNESS,
        )
        craft = craft_graph_to_model.craft_graph_to_model(graph, program.sources)
        with hk.intercept_methods(_without_computing):
            assembled = craft_model_to_transformer.craft_model_to_transformer(
                craft_model=craft,
                graph=graph,
                sink=program.sink,
                max_seq_len=case.n_ctx - 1,
                causal=case.causal,
                compiler_bos=BOS,
                compiler_pad=PAD,
            )
    except (AssertionError, NotImplementedError, TypeError, ValueError) as error:
        raise ValueError(f"case {case.name!r} cannot be compiled: {error}") from error
    # Tracr does not store the directions anywhere else.
    spaces = inspect.getclosurevars(assembled.get_compiled_model).nonlocals
    return TracrModel(
        graph,
        craft,
        assembled,
        residual=spaces["residual_space"].basis,
        output=program.sink[nodes.OUTPUT_BASIS],
        tokens=in_order(spaces["tokens_space"].basis),
        categorical=program.categorical,
        names=program.names,
    )


def _without_computing(
    call: Callable[..., Any], args: Any, kwargs: Any, context: hk.MethodContext
) -> Any:
    """Makes the model's weights zero without a run of the model.

    To learn the shapes of the weights, Tracr lets Haiku draw them and run the model once; then it
    overwrites them. Compiling these operations would take longer than all the rest.
    """
    module = context.module
    if isinstance(module, hk.Linear):
        module.w_init = module.b_init = np.zeros  # type: ignore[assignment]  # not `jnp`: traced
    if isinstance(module, model.CompiledTransformerModel) and context.method_name == "__call__":
        return jax.eval_shape(lambda: call(*args, **kwargs))
    return call(*args, **kwargs)
