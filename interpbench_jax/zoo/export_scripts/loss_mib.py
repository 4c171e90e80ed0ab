"""The loss by which edges are scored: MIB's metric."""

from load import inputs, positions, target
from torch.nn.functional import one_hot


def loss(logits, rows=slice(None)):
    """The wrong logit minus the right one; for values, the absolute error.

    Mean over inputs and counted positions; with `rows`, these rows' part of the mean.
    """
    if target.is_floating_point():
        values = (logits[..., 0] - target[rows]).abs()
    else:
        right = one_hot(target[rows], logits.shape[-1]).bool()
        wrong = logits.masked_fill(right, float("-inf")).amax(-1)
        if "foil" in inputs:
            wrong = logits.gather(-1, inputs["foil"][rows, :, None])[..., 0]
        values = wrong - logits.masked_fill(~right, 0).sum(-1)
    return (values * positions[rows]).sum() / positions.sum()
