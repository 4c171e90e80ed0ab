"""What the algorithm of a case says, with and without interchanges.

Two ways to the same labels: the compiled model run in batches, or the program tabulated over arrays
where the compiled model is heavy (case 119 has ten million parameters).
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict
from jaxtyping import Array, Bool, Float, Int, Num

from interpbench_jax.cases import PADDING
from interpbench_jax.compiler.codec import compiled_labels
from interpbench_jax.compiler.compiled import CompiledCase
from interpbench_jax.compiler.rasp_on_arrays import evaluate, interchange
from interpbench_jax.model import NodePatch, Params, TransformerConfig, forward

# Compiled models with more parameters are not run: the tables are faster.
_HEAVY = 50_000
# Rows per call of the compiled model.
_CHUNK = 2_048

Sequences = Int[np.ndarray, "sequence length"]
Sets = Bool[np.ndarray, "intervention variable"]


def algorithm_outputs(compiled: CompiledCase, inputs: Sequences) -> Num[Array, "sequence pos"]:
    """What the algorithm says.

    Args:
      compiled: the compiled case.
      inputs: indices into the vocabulary, without BOS; padded where they are shorter.

    Returns:
      Labels, or values for a regression; 0 at BOS, which is position 0, and at padding.
    """
    if not _is_heavy(compiled):
        said = _in_chunks(_plain, compiled, compiled.codec.encode_indices(inputs))
        return _where_said(said, inputs)[0]

    def say(rows: Sequences) -> Num[Array, "1 sequence length"]:
        return evaluate(compiled.tabulated, rows)[None]

    return _by_length(say, inputs)[0]


def algorithm_interchanges(
    compiled: CompiledCase, base: Sequences, source: Sequences, *, sets: Sets | None = None
) -> Num[Array, "intervention sequence pos"]:
    """What the algorithm says on the base, under the interchange of each variable, and of all.

    Args:
      compiled: the compiled case.
      base: indices into the vocabulary, without BOS; padded where they are shorter.
      source: inputs from which variables take their values, each as long as its base.
      sets: per intervention, which of the variables are interchanged together. By default the
        first does nothing, then comes each variable alone, and the last takes everything from the
        source: what the algorithm says there.

    Returns:
      Labels, or values for a regression; 0 at BOS, which is position 0, and at padding.

    Raises:
      ValueError: a base and its source differ in length, or the sets are of other variables.
    """
    if base.shape != source.shape or ((base == PADDING) != (source == PADDING)).any():
        raise ValueError("a base and its source must have the same length")
    if sets is not None and sets.shape[1] != (known := len(compiled.variables)):
        raise ValueError(f"sets of {sets.shape[1]} variables, but the case has {known}")
    if not _is_heavy(compiled):
        tokens = map(compiled.codec.encode_indices, (base, source))
        return _where_said(compiled_interchanges(compiled, *tokens, sets=sets), base)

    def say(*rows: Sequences) -> Num[Array, "intervention sequence length"]:
        return interchange(compiled.tabulated, compiled.variables, *rows, sets=sets)

    return _by_length(say, base, source)


def compiled_interchanges(
    compiled: CompiledCase,
    base: Int[np.ndarray, "sequence pos"],
    source: Int[np.ndarray, "sequence pos"],
    *,
    sets: Sets | None = None,
) -> Num[Array, "intervention sequence pos"]:
    """What the compiled model says on the base, under the interchange of each variable, and of all.

    Args:
      compiled: the compiled case.
      base: token ids, BOS first.
      source: token ids; the last intervention, every node taken from there, says what the model
        says there.
      sets: the variables to be interchanged together instead; see `algorithm_interchanges`.
    """
    graph = compiled.graph
    variables = graph.one_hot([variable.node for variable in compiled.variables])
    if sets is None:
        masks = np.pad(variables, ((1, 1), (0, 0)))
        masks[-1] = 1
    else:
        masks = sets.astype(np.float32) @ variables
    return _in_chunks(functools.partial(_interchanged, jnp.asarray(masks)), compiled, base, source)


def _is_heavy(compiled: CompiledCase) -> bool:
    return sum(weight.size for weight in flatten_dict(compiled.params).values()) > _HEAVY


def _in_chunks(
    run: Callable[..., Num[Array, "mask sequence pos"]], compiled: CompiledCase, *tokens: np.ndarray
) -> Num[Array, "mask sequence pos"]:
    chunks = []
    for start in range(0, len(tokens[0]), _CHUNK):
        rows = [ids[start : start + _CHUNK] for ids in tokens]
        short = _CHUNK - len(rows[0])  # padded, so that one compiled function serves all
        padded = [np.pad(ids, ((0, short), (0, 0)), mode="edge") for ids in rows]
        chunk = run(
            compiled.params, *padded, config=compiled.config, categorical=compiled.categorical
        )
        chunks.append(chunk[:, : _CHUNK - short])
    return jnp.concatenate(chunks, axis=1)


@functools.partial(jax.jit, static_argnames=("config", "categorical"))
def _plain(
    params: Params, tokens: Array, *, config: TransformerConfig, categorical: bool
) -> Num[Array, "1 sequence pos"]:
    return _said(forward(params, config, tokens)[0], categorical)[None]


@functools.partial(jax.jit, static_argnames=("config", "categorical"))
def _interchanged(
    masks: Float[Array, "mask writer"],
    params: Params,
    base: Array,
    source: Array,
    *,
    config: TransformerConfig,
    categorical: bool,
) -> Num[Array, "mask sequence pos"]:
    _, writers = forward(params, config, source)
    return jax.lax.map(
        lambda mask: _said(forward(params, config, base, NodePatch(mask, writers))[0], categorical),
        masks,
    )


def _said(logits: Array, categorical: bool) -> Num[Array, "sequence pos"]:
    return compiled_labels(logits) if categorical else logits[..., 0]


def _where_said(said: Num[Array, "mask sequence pos"], inputs: Sequences) -> Array:
    """Zero at BOS and at padding, where a compiled model says something, too."""
    return jnp.where(np.pad(inputs != PADDING, ((0, 0), (1, 0))), said, 0)


def _by_length(
    say: Callable[..., Num[Array, "mask sequence length"]], *inputs: Sequences
) -> Num[Array, "mask sequence pos"]:
    """Asks about the sequences of each length together, and puts the answers in their places."""
    lengths = (inputs[0] != PADDING).sum(1)
    answers = {
        length: np.asarray(say(*(rows[lengths == length, :length] for rows in inputs)))
        for length in np.unique(lengths).tolist()
    }
    some = next(iter(answers.values()))
    said = np.zeros((len(some), len(lengths), inputs[0].shape[1] + 1), some.dtype)
    for length, answer in answers.items():
        said[:, lengths == length, 1 : length + 1] = answer
    return jnp.asarray(said)
