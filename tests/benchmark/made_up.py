"""Made-up results of methods: true circuits plus noise, scored like real results."""

import json
from collections.abc import Sequence

import numpy as np

from interpbench_jax.benchmark import Store
from interpbench_jax.model import Circuit, transformer_graph
from interpbench_jax.scoring import (
    edge_average_precision,
    edge_rates,
    edge_roc,
    node_average_precision,
    node_roc,
    share_auroc,
    staircase_auroc,
)
from interpbench_jax.scoring.faithfulness import area

GRAPH = transformer_graph(2, 4)
_CIRCUITS = {
    "attention": ["input->m0", "input->a1.h2<q>", "m0->a1.h2<v>", "m0->a1.h2<k>", "a1.h2->logits"],
    "MLPs": ["input->m0", "m0->m1", "m1->logits"],
    "one MLP": ["input->m0", "m0->logits"],
}


def fill(
    store: Store,
    cases: Sequence[str],
    methods: Sequence[str],
    *,
    ablations: Sequence[str] = ("resample",),
    seeds: Sequence[int] = (0,),
    fail: str = "",
    n_inputs: int = 100,
) -> None:
    """Writes a result per case, method, ablation and seed; methods get worse along the list.

    Args:
      store: where to write them.
      cases: names; every third is of kind "several MLPs", every fifth of kind "one MLP".
      methods: names of methods.
      ablations: names of ablations.
      seeds: seeds, with a result for each.
      fail: name of a method that fails on the first case.
      n_inputs: number of inputs to record.
    """
    rng = np.random.default_rng(0)
    for place, case in enumerate(cases):
        kind = "one MLP" if place % 5 == 4 else "MLPs" if place % 3 == 2 else "attention"
        pairs = [edge.split("->") for edge in _CIRCUITS[kind]]
        truth = Circuit(GRAPH, frozenset((writer, reader) for writer, reader in pairs))
        store.write_model(f"model{case}", _facts(case, kind, truth))
        importance = [0.3 * (w in truth.nodes) + 0.02 * rng.random() for w in GRAPH.writers]
        for rank, method in enumerate(methods):
            for ablation in ablations:
                for seed in seeds:
                    noise = rng.exponential(0.05 + 0.25 * rank, truth.mask.shape)
                    row = {
                        "id": f"{case}-{method}-{ablation}-{seed}-{n_inputs}".replace(":", "."),
                        "status": "done",
                        "model": case,
                        "model_id": f"model{case}",
                        "case": case,
                        "kind": kind,
                        "method": method,
                        "ablation": ablation,
                        "selection": "top_n",
                        "seed": seed,
                        "n_inputs": n_inputs,
                        "n_edges": 53,
                        "n_true_edges": len(truth.head_edges),
                        "command": "interpbench benchmark --cases <all> & more",
                        "versions": json.dumps({"jax": "0.0", "python": "3.0"}),
                        "device": "cpu: made up",
                        "started": f"2026-01-01T00:00:{seed:02d}+00:00",
                        "seconds": 0.1 * 3**rank,
                        "compile_seconds": 1.0,
                        "scoring_seconds": 0.5,
                        "knobs": json.dumps({"loss": "cross_entropy", "steps": "10"}),
                        "node_importance": importance,
                    }
                    if method == fail and place == 0:
                        row |= {"status": "failed", "error": "ValueError: a < b", "kind": None}
                    else:
                        row |= _scored(truth.mask + noise, truth, rank)
                    store.write(row)


def _scored(scores: np.ndarray, truth: Circuit, rank: int) -> dict:
    row: dict = {"scores": scores.reshape(-1).tolist(), "scores_shape": list(scores.shape)}
    row |= {"node_auroc": node_roc(scores, truth).auroc, "edge_auroc_qkv": 0.9}
    row |= {"edge_auroc": edge_roc(scores, truth).auroc, "node_ap": 0.9, "edge_ap_qkv": 0.8}
    row |= {"edge_ap": edge_average_precision(scores, truth), "share_auroc_qkv": 0.7}
    row |= {"node_ap": node_average_precision(scores, truth), "staircase_qkv": 0.7}
    row |= {"staircase": staircase_auroc(scores, truth), "share_auroc": share_auroc(scores, truth)}
    curve = np.minimum(np.array([0, 0, 0, 0.1, 0.3, 0.6, 0.8, 0.9, 1, 1]) * 1.2 ** (1 - rank), 1.1)
    row |= {"cpr": area(curve), "cmd": area(np.abs(1 - curve))}
    row |= {"cpr_signed": 0.8, "cmd_signed": 0.3, "found_edges": 3.5, "found_recall": 0.5}
    row |= {"found_precision": 0.75, "seen_inputs": 0.25}
    row |= {"faithfulness_curve": curve.tolist(), "faithfulness": 0.9, "incompleteness": 0.05}
    row |= {"incompleteness_worst": 0.1, "minimality": 0.01, "superfluous": 0.25}
    for name, values in edge_rates(scores, truth)._asdict().items():
        row[f"head_{name}"] = values.tolist()
    return row


def _facts(case: str, kind: str, truth: Circuit) -> dict:
    return {
        "case": case,
        "title": f"made-up task {case} with <angles> & more",
        "kind": kind,
        "config": {"n_layers": 2, "n_heads": 4, "d_model": 12, "n_ctx": 5},
        "metrics": {"accuracy": 1.0, "iia": 0.9987},
        "program": [
            "is_x_3 = Map(tokens): a -> False, x -> True",
            "out = Aggregate(select_2, is_x_3)",
        ],
        "variables": {"m0": "is_x_3", "a1.h2": "out"},
        "circuit": json.loads(truth.to_json()),
    }
