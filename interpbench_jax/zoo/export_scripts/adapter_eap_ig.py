"""EAP-IG's `attribute` for inputs that are token ids already, on any device."""

import eap.attribute
import torch
from load import DEVICE, clean, corrupted
from loss import loss


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


def attribute(model, graph, *arguments, batch_size=250, **settings):
    """Scores the edges of a graph on all inputs."""
    parts = [slice(start, start + batch_size) for start in range(0, len(clean), batch_size)]
    batches = [(clean[rows], corrupted[rows], rows) for rows in parts]
    eap.attribute.attribute(model, graph, batches, metric, *arguments, quiet=True, **settings)
