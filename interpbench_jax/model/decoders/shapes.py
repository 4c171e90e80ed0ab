"""Names and shapes of a decoder's weights, and initial ones."""

import jax
import jax.numpy as jnp
from flax.traverse_util import unflatten_dict
from jaxtyping import Array

from interpbench_jax.model.decoders.config import DecoderConfig
from interpbench_jax.model.shapes import WeightPath
from interpbench_jax.model.transformer import Params


def decoder_shapes(config: DecoderConfig) -> dict[WeightPath, tuple[int, ...]]:
    """The shape of every weight, sorted by path, in TransformerLens names.

    Every map has a bias, which is zero in families without one. The exception is `post_norm`: there
    are no output biases, since a normalised bias would belong to no writer.
    """
    c = config
    vector = (c.d_model,)
    norm = {"w": vector} if c.norm == "rms_norm" else {"w": vector, "b": vector}
    block: dict[WeightPath, tuple[int, ...]] = {
        ("attn", "W_O"): (c.n_heads, c.d_head, c.d_model),
        ("mlp", "W_in"): (c.d_model, c.d_mlp),
        ("mlp", "b_in"): (c.d_mlp,),
        ("mlp", "W_out"): (c.d_mlp, c.d_model),
    }
    for x, heads in (("Q", c.n_heads), ("K", c.n_kv_heads), ("V", c.n_kv_heads)):
        block[("attn", f"W_{x}")] = (heads, c.d_model, c.d_head)
        block[("attn", f"b_{x}")] = (heads, c.d_head)
    if c.gated:
        block |= {("mlp", "W_gate"): (c.d_model, c.d_mlp), ("mlp", "b_gate"): (c.d_mlp,)}
    if c.query_norm:
        block |= {("attn", place, "w"): (c.d_head,) for place in ("q_norm", "k_norm")}
    places = ["ln1", "ln2"]
    if c.post_norm:
        places += ["ln1_post", "ln2_post"]
    else:
        block |= {("attn", "b_O"): vector, ("mlp", "b_out"): vector}
    block |= {(place, x): shape for place in places for x, shape in norm.items()}
    shapes: dict[WeightPath, tuple[int, ...]] = {
        ("embed", "W_E"): (c.d_vocab, c.d_model),
        ("unembed", "b_U"): (c.d_vocab,),
        **{("ln_final", x): shape for x, shape in norm.items()},
    }
    if c.learned_positions:
        shapes[("pos_embed", "W_pos")] = (c.n_ctx, c.d_model)
    if not c.tied:
        shapes[("unembed", "W_U")] = (c.d_model, c.d_vocab)
    for layer in range(c.n_layers):
        shapes |= {(f"blocks_{layer}", *path): shape for path, shape in block.items()}
    return dict(sorted(shapes.items()))


def init_decoder(config: DecoderConfig, key: Array) -> Params:
    """Draws initial weights: normal with `config.init_std`; biases zero, scales of norms one.

    Args:
      config: the decoder's shape.
      key: a JAX random key.
    """
    params = {}
    for index, (path, shape) in enumerate(decoder_shapes(config).items()):
        if path[-1].startswith("W_"):
            drawn = jax.random.normal(jax.random.fold_in(key, index), shape)
            params[path] = config.init_std * drawn
        else:
            params[path] = jnp.ones(shape) if path[-1] == "w" else jnp.zeros(shape)
    return unflatten_dict(params)
