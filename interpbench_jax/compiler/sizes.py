"""The size of the transformer that is trained on a case."""

from interpbench_jax.cases import Case
from interpbench_jax.model import TransformerConfig

_MIN_LAYERS, _MIN_HEADS = 2, 4
_INIT_STD = 0.8


def trained_config(case: Case, compiled: TransformerConfig) -> TransformerConfig:
    """The shape of the model trained on a case.

    It has spare capacity (at least 2 layers and 4 heads) and a narrower residual stream.

    Args:
      case: the case.
      compiled: the shape of its compiled model.

    Source: Gupta et al. 2024, InterpBench, appendix; the sizes per case are its published ones.
    """
    n_heads = max(_MIN_HEADS, compiled.n_heads)
    if case.sized_by == "d_model":
        d_model = max(2, int(compiled.d_model // case.compression))
        d_head = max(1, d_model // n_heads)
    else:
        d_head = max(1, int(compiled.d_head // case.compression))
        d_model = n_heads * d_head
    return TransformerConfig(
        n_layers=max(_MIN_LAYERS, compiled.n_layers),
        n_heads=n_heads,
        d_model=d_model,
        d_head=d_head,
        d_mlp=4 * d_model,
        n_ctx=compiled.n_ctx,
        d_vocab=compiled.d_vocab,
        d_vocab_out=compiled.d_vocab_out,
        causal=compiled.causal,
        init_std=_INIT_STD / compiled.d_model**0.5,
    )
