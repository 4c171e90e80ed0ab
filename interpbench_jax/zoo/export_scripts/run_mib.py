"""Runs a method of EAP-IG's `attribute` with MIB's metric; writes to MIB's folders."""

import json

import eap.attribute
import torch
from eap.graph import Graph
from load import DEVICE, HERE, clean, corrupted, inputs, loss, model, positions, target

METHOD, ABLATION, SETTINGS = "EAP", "patching", {}  # or "EAP-IG-inputs", ..., {"ig_steps": 5}
BATCH = 250


def as_they_are(model, tokens, max_length=None):
    """Inputs are already token ids of one length."""
    return tokens, None, torch.full((len(tokens),), tokens.shape[1]), tokens.shape[1]


eap.attribute.tokenize_plus = as_they_are
if DEVICE == "cpu":  # `attribute` asks for "cuda" by name
    zeros = torch.zeros
    torch.zeros = lambda *shape, device=None, **rest: zeros(*shape, **rest)


def metric(logits, clean_logits, lengths, rows):
    """The wrong logit minus the right one, summed over inputs; for values, the absolute error."""
    if target.is_floating_point():
        return loss(logits, rows) * len(clean)
    right = torch.nn.functional.one_hot(target[rows], logits.shape[-1]).bool()
    wrong = logits.masked_fill(right, float("-inf")).amax(-1)
    if "foil" in inputs:
        wrong = logits.gather(-1, inputs["foil"][rows, :, None])[..., 0]
    gaps = (wrong - logits.masked_fill(~right, 0).sum(-1)) * positions[rows]
    return gaps.sum() / positions.sum() * len(clean)


parts = [slice(start, start + BATCH) for start in range(0, len(clean), BATCH)]
batches = [(clean[rows], corrupted[rows], rows) for rows in parts]
graph = Graph.from_model(model)
eap.attribute.attribute(model, graph, batches, metric, METHOD, ABLATION, quiet=True, **SETTINGS)

facts = json.loads((HERE / "export.json").read_text())
place = HERE / "circuits" / f"{METHOD}_{ABLATION}_edge" / facts["mib_name"]
place.mkdir(parents=True, exist_ok=True)
graph.to_json(place / "importances.json")
