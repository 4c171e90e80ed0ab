"""Lays compiled cases over small realistic transformers, as InterpBench does."""

from dataclasses import replace

from interpbench_jax.alignment.alignment import Alignment, Site
from interpbench_jax.compiler import CompiledCase
from interpbench_jax.model import TransformerConfig

_MIN_LAYERS, _MIN_HEADS = 2, 4
_INIT_STD = 0.8


def align(
    compiled: CompiledCase, *, padded: bool = False, same_size: bool = False
) -> Alignment[TransformerConfig]:
    """Lays a compiled case over a small realistic transformer, as InterpBench does.

    Nodes keep their names except where the case says otherwise; the model has room to spare (at
    least 2 layers and 4 heads) and a narrower residual stream.

    Args:
      compiled: the high-level model.
      padded: whether sequences of several lengths will be seen, and padding must be told apart.
      same_size: whether the model is as large as the compiled one instead of compressed.

    Source: Gupta et al. 2024, InterpBench, appendix; the sizes per case are its published ones.
    """
    config = trained_config(compiled)
    if same_size:
        same = ("n_layers", "n_heads", "d_model", "d_head", "d_mlp")
        config = replace(config, **{size: getattr(compiled.config, size) for size in same})
    if padded:
        config = replace(config, pad=compiled.codec.pad)
    # A model of the compiled one's size has no other places.
    moved = {} if same_size else dict(compiled.case.realign)

    nodes = [variable.node for variable in compiled.variables]
    places = {"input": "input", **{node: moved.get(node, node) for node in nodes}}
    return Alignment(
        compiled.circuit, config, tuple((name, Site((node,))) for name, node in places.items())
    )


def trained_config(compiled: CompiledCase) -> TransformerConfig:
    """The shape of the model trained on a case."""
    case, tracr = compiled.case, compiled.config
    n_heads = max(_MIN_HEADS, tracr.n_heads)
    if case.sized_by == "d_model":
        d_model = max(2, int(tracr.d_model // case.compression))
        d_head = max(1, d_model // n_heads)
    else:
        d_head = max(1, int(tracr.d_head // case.compression))
        d_model = n_heads * d_head
    return TransformerConfig(
        n_layers=max(_MIN_LAYERS, tracr.n_layers),
        n_heads=n_heads,
        d_model=d_model,
        d_head=d_head,
        d_mlp=4 * d_model,
        n_ctx=tracr.n_ctx,
        d_vocab=tracr.d_vocab,
        d_vocab_out=tracr.d_vocab_out,
        causal=tracr.causal,
        init_std=_INIT_STD / tracr.d_model**0.5,
    )
