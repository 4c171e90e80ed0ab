"""The loss by which edges are scored."""

from load import positions, target
from torch.nn.functional import cross_entropy


def loss(logits, rows=slice(None)):
    """Mean over inputs and counted positions; with `rows`, these rows' part of the mean."""
    if target.is_floating_point():
        values = (logits[..., 0] - target[rows]).abs()
    else:
        values = cross_entropy(logits.transpose(1, 2), target[rows], reduction="none")
    return (values * positions[rows]).sum() / positions.sum()
