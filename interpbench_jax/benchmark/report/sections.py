"""The page's section about each case: program, true circuit, and every entrant's result."""

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from interpbench_jax.benchmark.draw import edge_kinds
from interpbench_jax.benchmark.report.plots import node_importances
from interpbench_jax.benchmark.report.results import Results
from interpbench_jax.benchmark.report.roc_svg import roc_svg
from interpbench_jax.discovery import Selection
from interpbench_jax.model import Circuit, Graph
from interpbench_jax.model.circuit_svg import circuit_svg, standing_alone
from interpbench_jax.scoring import FoundEdges, compared_edges, found_circuit, found_edges

Row = dict[str, Any]


def section(results: Results, model: str) -> Row:
    """The data of one model's section for the template.

    Numbers are averaged over seeds; drawings are from the first seed. Found circuits come from
    `scoring.found_circuit`, with the selection of the run.

    Args:
      results: all results.
      model: name of the model.

    Raises:
      ValueError: the store does not have the model, or has scores that do not fit it.
    """
    rows = results.of_model(model)
    facts, truth = results.facts(rows[0]["model_id"]), results.circuit(rows[0]["model_id"])
    first = {row["entrant"]: row for row in reversed(rows)}
    found = {entrant: _found(row, truth) for entrant, row in first.items()}
    drawings = {"true circuit": _draw(truth, truth, "true circuit")}
    entrants = []
    for entrant in sorted(first, key=lambda entrant: -_best(rows, entrant)):
        circuit, edges = found[entrant]
        label = f"{entrant}: {_counted(edges)}"
        drawings[label] = _draw(truth, circuit, label)
        entrants.append(
            {
                "name": entrant,
                "counts": _counted(edges),
                "selection": first[entrant]["selection"],
                "tied": len(edges.tied),
                "drawing": drawings[label],
            }
        )
    curves = [
        (
            results.entrants.index(entrant),
            row["head_false_positive_rate"],
            row["head_true_positive_rate"],
        )
        for entrant, row in ((entry["name"], first[entry["name"]]) for entry in entrants)
        if row["edge_auroc"] is not None
    ]
    with_nodes = next((row for row in rows if row["node_importance"]), None)
    return {
        "name": model,
        "anchor": anchor(model),
        "facts": facts,
        "kind": results.kind_of[model],
        "program": "\n".join(facts["program"]),
        "circuit": [
            f"{writer} → {reader}{' (unobservable)' * ((writer, reader) in truth.unobservable)}"
            for writer, reader in truth
        ],
        "unobservable": bool(truth.unobservable),
        "truth": drawings["true circuit"],
        "entrants": entrants,
        "roc": roc_svg(curves, f"ROC curves on case {model}"),
        "roc_places": [place for place, _, _ in curves],
        "nodes": [] if with_nodes is None else _nodes(results, with_nodes),
        "n_edges": rows[0]["n_edges"],
        "n_true_edges": rows[0]["n_true_edges"],
        "best": max((_best(rows, entrant) for entrant in first), default=float("nan")),
        "svg": standing_alone(truth.graph, drawings),
        "graph": truth.graph,
    }


def anchor(model: str) -> str:
    """The anchor of a model's section in the page, and the name of its drawing; distinct."""
    plain = "".join(c if c.isalnum() else "-" for c in model).strip("-")
    digest = "" if plain == model else f"-{zlib.crc32(model.encode()):08x}"
    return f"case-{plain}{digest}"


def graphs(sections: Sequence[Row]) -> list[Graph]:
    """The distinct graphs of the models."""
    return list(dict.fromkeys(part["graph"] for part in sections))


def _found(row: Row, truth: Circuit) -> tuple[Circuit, FoundEdges]:
    scores = np.reshape(np.array(row["scores"], float), row["scores_shape"])
    if row["selection"] == "given":
        given = Circuit.from_mask(truth.graph, scores > 0)
        return given, compared_edges(given, truth)
    how: Selection = "greedy" if row["selection"] == "greedy" else "top_n"
    circuit = found_circuit(scores, truth, selection=how)
    return circuit, found_edges(scores, truth, selection=how)


def _counted(found: FoundEdges) -> str:
    """The number of true edges in a found circuit; a fraction if edges tie."""
    return f"{found.n_true:.3g} true, {found.n_missed:.3g} missed, {found.n_false:.3g} false"


def _draw(truth: Circuit, found: Circuit, label: str) -> str:
    return circuit_svg(truth.graph, edge_kinds(truth, found), label)


def _best(rows: Sequence[Row], entrant: str) -> float:
    values = [row["edge_auroc"] for row in rows if row["entrant"] == entrant]
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else float("-inf")


def _nodes(results: Results, row: Row) -> list[Row]:
    variables = results.facts(row["model_id"])["variables"]
    return [
        {"node": node, "lost": value, "true": true, "holds": variables.get(node, "")}
        for node, (value, true) in node_importances(results, row).items()
    ]
