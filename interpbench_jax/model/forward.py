"""Runs of the transformer, with or without an intervention.

Arrays have the usual axes `[batch, pos, ...]` here. Inside the model the batch is last; within one
`jit` the transposes between the two orders cancel.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from interpbench_jax.model.backward import DERIVATIVE, Backward
from interpbench_jax.model.config import TransformerConfig
from interpbench_jax.model.decoders.config import DecoderConfig
from interpbench_jax.model.decoders.run import run_decoder
from interpbench_jax.model.edge_patches import EdgePatchStream
from interpbench_jax.model.graph import Graph
from interpbench_jax.model.indices import check_indices, check_same_lengths
from interpbench_jax.model.interchanges import InterchangeStream, SourceStream
from interpbench_jax.model.patch import EdgePatch, NodePatch, Nudge, Patch
from interpbench_jax.model.stream import ResidualStream, Stream
from interpbench_jax.model.transformer import Params, Transformer, apply_transformer


def forward(
    params: Params,
    config: TransformerConfig | DecoderConfig,
    tokens: Int[Array | np.ndarray, "batch pos"],
    patch: Patch | None = None,
    *,
    nudge: Nudge | Sequence[Nudge] | None = None,
    backward: Backward = DERIVATIVE,
) -> tuple[Float[Array, "batch pos d_vocab_out"], Float[Array, "batch pos writer d_model"]]:
    """Runs the model, under an intervention if one is given.

    Args:
      params: weights, as `init_params` makes them.
      config: the model's shape; static.
      tokens: token ids, BOS first; at most `config.n_ctx` positions.
      patch: which nodes or edges to replace, and by what; `None` is the model itself.
      nudge: one or several additions to what readers see, for attribution by gradients.
      backward: what gradients take for the derivative; static.

    Returns:
      The logits, and what every writer wrote to the residual stream (after the patch).

    Raises:
      ValueError: tokens or patch do not fit the model. Token ids are checked outside of `jit` only;
        inside, the result for an id outside the vocabulary is undefined.
    """
    nudges = (nudge,) if isinstance(nudge, Nudge) else tuple(nudge or ())
    _check_inputs(config, tokens, patch, nudges)
    stream = ResidualStream(Graph.of(config), len(tokens), patch, nudges)
    logits = _run(params, config, tokens, stream, backward=backward)
    return logits.transpose(2, 1, 0), stream.writers().transpose(3, 2, 0, 1)


def forward_from(
    params: Params,
    config: TransformerConfig | DecoderConfig,
    tokens: Int[Array | np.ndarray, "batch pos"],
    stage: int,
    written: Float[Array, "batch pos writer d_model"],
    patch: EdgePatch,
    *,
    only_there: bool = False,
) -> Float[Array, "batch pos d_vocab_out"]:
    """The logits under a patch that changes nothing before a stage; the run starts there.

    Args:
      params: weights.
      config: the model's shape; static.
      tokens: token ids.
      stage: where to start; static; see `Graph.stages`.
      written: what every writer writes without a patch.
      patch: a patch whose mask is zero at all readers of earlier stages.
      only_there: whether the mask is also zero at all readers of later stages, which is cheaper.

    Raises:
      ValueError: as `forward`.
    """
    _check_inputs(config, tokens, patch)
    graph = Graph.of(config)
    stream = ResidualStream(graph, len(tokens), patch, once=only_there)
    stream.write(written[:, :, : graph.writers_before(stage)].transpose(2, 3, 1, 0))
    for layer in range(graph.layers_before(stage)):
        if "b_O" in (weights := params[f"blocks_{layer}"]["attn"]):
            stream.add_constant(jnp.asarray(weights["b_O"]))
    logits = _run(params, config, tokens, stream, start=stage)
    return logits.transpose(2, 1, 0)


def forward_interchanges(
    params: Params,
    config: TransformerConfig | DecoderConfig,
    base: Int[Array | np.ndarray, "pair pos"],
    source: Int[Array | np.ndarray, "_ _"],
    masks: Float[Array, "intervention _ writer"],
    *,
    detached: Float[Array, " writer"] | None = None,
    source_gradient: bool = True,
) -> Float[Array, "intervention pair pos d_vocab_out"]:
    """The logits on the base under several node patches from the source, all in one run.

    Equals `forward` on the base with a `NodePatch` whose source is what `forward` wrote on the
    source inputs, but costs less; see `InterchangeStream`.

    Args:
      params: weights.
      config: the model's shape; static.
      base: inputs to run on.
      source: inputs from which the patched nodes take their values; same shape as `base`.
      masks: 1 at the nodes that an intervention patches; one mask for all pairs, or one per pair.
      detached: 1 at nodes through which no gradient flows.
      source_gradient: whether gradients flow back into the run on the source. If not, they still
        reach the output maps of MLPs, as in the original, which patches MLPs between activation
        and output map.

    Raises:
      ValueError: tokens or masks do not fit the model, or a base and its source differ in length;
        token ids are checked outside of `jit` only.
    """
    graph, n = Graph.of(config), len(masks)
    for tokens in (base, source):
        _check_inputs(config, tokens)
    _check_pairs(config, base, source)
    if masks.shape[1:] not in [(rows, graph.n_writers) for rows in (1, len(base))]:
        raise ValueError(
            f"masks have shape {masks.shape}, expected [intervention, 1 or {len(base)}, "
            f"{graph.n_writers}]"
        )
    tokens = jnp.tile(base, (n, 1))
    if source_gradient:
        stream = InterchangeStream(graph, masks, detached)
        tokens = jnp.concatenate([jnp.asarray(source), tokens])
    else:
        given = SourceStream(graph)
        _run(params, config, source, given)
        stream = InterchangeStream(graph, masks, detached, given=given.values)
    logits = _run(params, config, tokens, stream)
    blocks = logits.reshape(*logits.shape[:2], -1, len(base))[:, :, -n:]  # the sources come first
    return blocks.transpose(2, 3, 1, 0)


def forward_edge_patches(
    params: Params,
    config: TransformerConfig | DecoderConfig,
    base: Int[Array | np.ndarray, "pair pos"],
    source: Int[Array | np.ndarray, "_ _"],
    masks: Float[Array, "_ writer reader"],
    patched_at: Float[Array, "_ _"] | None = None,
) -> tuple[Float[Array, "pair pos d_vocab_out"], Float[Array, "pair pos d_vocab_out"]]:
    """The logits on the sources, and on the bases with edges patched from them, all in one run.

    Equals `forward` on the source, and `forward` on the base with an `EdgePatch` from that run, but
    every pair has its own mask; see `EdgePatchStream`. Gradients flow into both runs.

    Args:
      params: weights.
      config: the model's shape; static.
      base: inputs to run on.
      source: inputs from which patched edges take their values; same shape as `base`.
      masks: for each pair, 1 at the edges that are patched.
      patched_at: for each pair, 1 at the positions where they are patched; everywhere by default.

    Raises:
      ValueError: tokens or masks do not fit the model, or a base and its source differ in length;
        token ids are checked outside of `jit` only.
    """
    graph = Graph.of(config)
    for tokens in (base, source):
        _check_inputs(config, tokens)
    _check_pairs(config, base, source)
    if masks.shape != (expected := (len(base), *graph.valid.shape)):
        raise ValueError(f"masks have shape {masks.shape}, expected {expected}")
    if patched_at is not None and patched_at.shape != base.shape:
        raise ValueError(f"patched_at has shape {patched_at.shape}, expected {base.shape}")
    tokens = jnp.concatenate([jnp.asarray(source), jnp.asarray(base)])
    stream = EdgePatchStream(graph, masks, patched_at)
    logits = _run(params, config, tokens, stream).transpose(2, 1, 0)
    return logits[: len(base)], logits[len(base) :]


def _run(
    params: Params,
    config: TransformerConfig | DecoderConfig,
    tokens: Array | np.ndarray,
    stream: Stream,
    start: int | None = None,
    backward: Backward = DERIVATIVE,
) -> Float[Array, "d_vocab_out pos batch"]:
    """Logits of the network that a config describes."""
    if isinstance(config, DecoderConfig):
        return run_decoder(params, config, jnp.asarray(tokens), stream, start, backward)
    return apply_transformer(Transformer(config, start, backward), params, tokens, stream)


def _check_pairs(
    config: TransformerConfig | DecoderConfig, base: Array | np.ndarray, source: Array | np.ndarray
) -> None:
    if base.shape != source.shape:
        raise ValueError(f"base has shape {base.shape}, source {source.shape}; expected the same")
    check_same_lengths("source", source, base, config.pad)


def _check_inputs(
    config: TransformerConfig | DecoderConfig,
    tokens: Array | np.ndarray,
    patch: Patch | None = None,
    nudges: Sequence[Nudge] = (),
) -> None:
    if tokens.ndim != 2:
        raise ValueError(f"tokens must be [batch, pos], got shape {tokens.shape}")
    check_indices("the input has token", tokens, config.d_vocab)
    n_batch, n_pos = tokens.shape
    if n_pos > config.n_ctx:
        raise ValueError(f"sequence of {n_pos} positions; the model takes at most {config.n_ctx}")
    graph = Graph.of(config)
    expected = (n_batch, n_pos, graph.n_writers, config.d_model)
    for nudge in nudges:
        wanted = {"weights": graph.valid.shape, "difference": expected}
        for name, given in nudge._asdict().items():
            if given.shape != wanted[name]:
                raise ValueError(f"nudge {name} has shape {given.shape}, expected {wanted[name]}")
    if patch is None:
        return
    if not isinstance(patch, NodePatch | EdgePatch):
        raise ValueError(f"patch must be a NodePatch, an EdgePatch or None, got {type(patch)}")
    n_source = patch.source.shape[0]
    fits = n_source == n_batch or (isinstance(patch, NodePatch) and n_batch % n_source == 0)
    if not fits or patch.source.shape[1:] != expected[1:]:
        raise ValueError(f"patch source has shape {patch.source.shape}, expected {expected}")
    rows = (n_batch, n_pos, graph.n_writers)
    if isinstance(patch, NodePatch):
        allowed = [rows[2:], (rows[0], rows[2]), rows]
    else:
        allowed = [(graph.n_writers, graph.n_readers), (graph.n_writers, 1)]
    if patch.mask.shape not in allowed:
        raise ValueError(f"patch mask has shape {patch.mask.shape}, expected one of {allowed}")
    if isinstance(patch, EdgePatch) and patch.patched_at is not None:
        if patch.patched_at.shape != rows[:2]:
            raise ValueError(f"patched_at has shape {patch.patched_at.shape}, expected {rows[:2]}")
