"""Which pairs of inputs a model was trained on, and pairs that it was not."""

import jax
import numpy as np
from jaxtyping import Int

from interpbench_jax.cases import distinct_pairs, get_case
from interpbench_jax.siit import n_trained_on
from interpbench_jax.zoo.model import BenchmarkModel

TRAINING_SEED = 0
"""Of the pairs that `make_model` draws, whatever the seeds of the models."""

Sequences = Int[np.ndarray, "pair length"]


def unseen_pairs(model: BenchmarkModel, n: int, seed: int) -> tuple[Sequences, Sequences]:
    """Draws distinct (base, source) pairs of a model's case, none of them trained on.

    Args:
      model: its card tells on what it was trained.
      n: how many, at most: a case of few sequences has fewer that were held out.
      seed: which ones.

    Raises:
      ValueError: `n` is smaller than 1.
    """
    if n < 1:
        raise ValueError(f"n_pairs must be at least 1, got {n}")
    case, trained = get_case(model.case), model.card.get("config")
    at_most = n if trained is None else max(n, trained["n_pairs"])

    def draw(at_most: int, seed: int) -> Int[np.ndarray, "pair 2 length"]:
        key = jax.random.key(seed)
        return np.stack(distinct_pairs(case, at_most, key, min_length=model.min_length), 1)

    pairs = draw(at_most, seed)
    if trained is not None:
        seen = draw(trained["n_pairs"], TRAINING_SEED)
        seen = seen[: n_trained_on(len(seen), trained["held_out"])]
        pairs = pairs[~np.isin(_as_items(pairs), _as_items(seen))]
    return pairs[:n, 0], pairs[:n, 1]


def _as_items(rows: Int[np.ndarray, "pair 2 length"]) -> np.ndarray:
    """One opaque value per pair, to be compared as a whole."""
    flat = np.ascontiguousarray(rows.reshape(len(rows), -1))
    return flat.view(np.dtype((np.void, flat.itemsize * flat.shape[1])))[:, 0]
