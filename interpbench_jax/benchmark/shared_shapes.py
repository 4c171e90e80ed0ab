"""Padded sizes of models and batches, so that many of them share compiled programs."""

import dataclasses

from interpbench_jax.benchmark.plan import shared_vocabulary
from interpbench_jax.model.vocabularies import pad_vocabularies
from interpbench_jax.zoo import BenchmarkModel

_ROWS = (200, 1_000)


def rows_for(n_inputs: int) -> int:
    """The number of rows of a batch: 200 or 1,000, or `n_inputs` if it is larger."""
    return next((rows for rows in _ROWS if rows >= n_inputs), n_inputs)


def in_shared_shape(model: BenchmarkModel) -> BenchmarkModel:
    """The model padded to the vocabularies of `shared_vocabulary`; it computes the same."""
    d_vocab = shared_vocabulary(model.config.d_vocab)
    d_vocab_out = shared_vocabulary(model.config.d_vocab_out)
    return dataclasses.replace(
        model,
        params=pad_vocabularies(model.params, d_vocab=d_vocab, d_vocab_out=d_vocab_out),
        config=dataclasses.replace(
            model.config, d_vocab=d_vocab, d_vocab_out=d_vocab_out, init_std=1.0
        ),
    )
