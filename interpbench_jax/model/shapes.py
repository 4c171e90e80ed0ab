"""Names and shapes of a model's weights, known from its config alone."""

from interpbench_jax.model.config import TransformerConfig

WeightPath = tuple[str, ...]
"""The keys of a weight in nested parameters, such as `("blocks_0", "attn", "W_Q")`."""


def weight_shapes(config: TransformerConfig) -> dict[WeightPath, tuple[int, ...]]:
    """The shape of every weight, sorted by path.

    The modules declare the same shapes, and Flax checks them whenever a model runs. Computing them
    here avoids tracing a model, which takes 100 times as long as reading one from disk.
    """
    c = config
    vector, head = (c.d_model,), (c.n_heads, c.d_head)
    norm = {"w": vector, "b": vector}
    block = {
        ("attn", "W_O"): (*head, c.d_model),
        ("attn", "b_O"): vector,
        ("mlp", "W_in"): (c.d_model, c.d_mlp),
        ("mlp", "b_in"): (c.d_mlp,),
        ("mlp", "W_out"): (c.d_mlp, c.d_model),
        ("mlp", "b_out"): vector,
    }
    for x in "QKV":
        block |= {("attn", f"W_{x}"): (c.n_heads, c.d_model, c.d_head), ("attn", f"b_{x}"): head}
    shapes: dict[WeightPath, tuple[int, ...]] = {
        ("embed", "W_E"): (c.d_vocab, c.d_model),
        ("pos_embed", "W_pos"): (c.n_ctx, c.d_model),
        ("unembed", "W_U"): (c.d_model, c.d_vocab_out),
        ("unembed", "b_U"): (c.d_vocab_out,),
    }
    if config.layer_norm:
        block |= {(place, x): shape for place in ("ln1", "ln2") for x, shape in norm.items()}
        shapes |= {("ln_final", x): shape for x, shape in norm.items()}
    for layer in range(c.n_layers):
        shapes |= {(f"blocks_{layer}", *path): shape for path, shape in block.items()}
    return dict(sorted(shapes.items()))
