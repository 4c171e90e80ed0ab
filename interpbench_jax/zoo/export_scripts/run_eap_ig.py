"""Runs a method of EAP-IG's `attribute`; writes the graph with scores of all edges."""

import eap.attribute
import torch
from eap.graph import Graph
from load import DEVICE, HERE, clean, corrupted, loss, model

METHOD, SETTINGS = "EAP", {}  # or "EAP-IG-inputs", {"ig_steps": 5}, ...
BATCH = 250


def as_they_are(model, tokens, max_length=None):
    """Inputs are already token ids of one length."""
    return tokens, None, torch.full((len(tokens),), tokens.shape[1]), tokens.shape[1]


eap.attribute.tokenize_plus = as_they_are
if DEVICE == "cpu":  # `attribute` asks for "cuda" by name
    zeros = torch.zeros
    torch.zeros = lambda *shape, device=None, **rest: zeros(*shape, **rest)


def metric(logits, clean_logits, lengths, rows):
    """The loss times the number of inputs, by which `attribute` divides the sum over batches."""
    return loss(logits, rows) * len(clean)


parts = [slice(start, start + BATCH) for start in range(0, len(clean), BATCH)]
batches = [(clean[rows], corrupted[rows], rows) for rows in parts]
graph = Graph.from_model(model)
eap.attribute.attribute(model, graph, batches, metric, METHOD, quiet=True, **SETTINGS)

(HERE / "scores").mkdir(exist_ok=True)
graph.to_json(HERE / "scores" / f"{METHOD.lower()}.json")
