"""Published edges of InterpBench, in names of TransformerLens hooks.

An edge leads from a node's output to a node's input. Edges within a head (from its query input to
its queries, from these to its result) and within an MLP carry no information and are ignored.
"""

import re
from collections.abc import Sequence
from reprlib import repr as short

from interpbench_jax.model import Circuit
from interpbench_jax.model.circuit import Edge
from interpbench_jax.model.graph import TransformerGraph
from interpbench_jax.zoo.plain_pickle import read_pickle

_MOST_EDGES = 100_000
_LONGEST_NAMES = 200
_HOOK = re.compile(r"(?:blocks\.(\d{1,5})\.)?([\w.]+?)(?:\[(\d{1,5})\])?")
_INPUT = re.compile(r"hook_([qkv])_input|attn\.hook_([qkv])")


def read_published_edges(content: bytes) -> list[tuple[str, str]]:
    """The pairs of hooks in a pickled list, unchanged.

    Raises:
      ValueError: the pickle holds something else.
    """
    found = read_pickle(content, {})
    if type(found) is not list or len(found) > _MOST_EDGES:
        raise ValueError(f"the pickle holds {short(found)}, expected a list of edges")
    edges = []
    for pair in found:
        match pair:
            case (str(first), str(second)) if len(first) + len(second) < _LONGEST_NAMES:
                edges.append((first, second))
            case _:
                raise ValueError(f"{short(pair)} is not an edge, expected the names of two hooks")
    return edges


def edges_in(graph: TransformerGraph, hooks: Sequence[tuple[str, str]]) -> Circuit:
    """The edges between nodes of a transformer that pairs of hooks stand for.

    An edge into a head as a whole stands for those into its queries, keys and values.

    Args:
      graph: the transformer's graph.
      hooks: pairs of hooks from `read_published_edges`.

    Raises:
      ValueError: a hook is unknown, or there is no such edge in the graph; the message names it.
    """
    output = f"block {graph.n_layers - 1}"
    edges: set[Edge] = set()
    for pair in hooks:
        (writer, _), (node, kind) = map(_place, pair)
        if writer == node:
            continue
        if node == output:
            edges.add((writer, graph.readers[-1]))
        elif node.startswith("a"):
            edges |= {(writer, f"{node}<{k}>") for k in kind or "qkv"}
        else:
            edges.add((writer, node))
    return Circuit(graph, frozenset(edges))


def _place(hook: str) -> tuple[str, str | None]:
    """The node of a hook, and for an input of a head which one: q, k or v."""
    found = _HOOK.fullmatch(hook)
    layer, name, head = found.groups() if found else (None, "", None)
    has_layer, has_head = layer is not None, head is not None
    if name in ("hook_embed", "hook_pos_embed") and not has_layer and not has_head:
        return "input", None
    if name == "hook_resid_pre" and layer == "0" and not has_head:
        return "input", None
    if name in ("hook_mlp_in", "hook_mlp_out", "mlp.hook_post") and has_layer and not has_head:
        return f"m{layer}", None
    if name == "hook_resid_post" and has_layer and not has_head:
        return f"block {layer}", None
    if name == "attn.hook_result" and has_layer and has_head:
        return f"a{layer}.h{head}", None
    if (kind := _INPUT.fullmatch(name)) and has_layer and has_head:
        return f"a{layer}.h{head}", kind[1] or kind[2]
    raise ValueError(f"no node has a hook {short(hook)}")
