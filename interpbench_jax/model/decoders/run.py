"""A decoder's layers around one residual stream, as pure functions of its weights.

All writing and reading goes through a `Stream`, which the caller passes in and which applies
interventions. Every head has its own q, k and v readers, even if heads share the weights of keys
and values: each head reads through the shared weights.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from interpbench_jax.model.activations import ACTIVATIONS
from interpbench_jax.model.backward import DERIVATIVE, Backward
from interpbench_jax.model.columns import columnwise
from interpbench_jax.model.decoders.attention import attend_back, capped, for_every_head, turn
from interpbench_jax.model.decoders.config import DecoderConfig
from interpbench_jax.model.norms import layer_norm, rms_norm, root_mean_square
from interpbench_jax.model.stream import Stream, in_one_block
from interpbench_jax.model.transformer import Params

Seen = Float[Array, "reader d_model pos batch"]
"""What readers see; the leading axis is 1 if all of them see the same."""


def run_decoder(
    params: Params,
    config: DecoderConfig,
    tokens: Int[Array, "batch pos"],
    stream: Stream,
    start: int | None = None,
    backward: Backward = DERIVATIVE,
) -> Float[Array, "d_vocab pos batch"]:
    """Logits.

    Args:
      params: weights.
      config: the decoder's shape; static.
      tokens: token ids.
      stream: receives everything that is written.
      start: the stage to start at, if the stream already holds what earlier stages wrote; `None`
        starts by embedding the tokens.
      backward: the backward pass.
    """
    params, graph = jax.tree.map(jnp.asarray, params), stream.graph
    if start is None:
        stream.write_input(_embed(params, config, tokens))
    begins = graph.stages.tolist()
    for layer in range(config.n_layers):
        block, heads = params[f"blocks_{layer}"], graph.attention_readers(layer)
        mlp = graph.mlp_reader(layer)
        with_heads = begins[heads.start] >= (start or 0)
        if config.parallel and with_heads:
            seen = in_one_block(stream.read(slice(heads.start, mlp + 1)))
            _write_heads(seen[: heads.stop - heads.start], block, config, layer, stream, backward)
            _write_mlp(seen[-1], block, config, stream, backward)
            continue
        if with_heads:
            seen = in_one_block(stream.read(heads))
            _write_heads(seen, block, config, layer, stream, backward)
        if begins[mlp] >= (start or 0):
            seen = in_one_block(stream.read(slice(mlp, mlp + 1)))
            _write_mlp(seen[0], block, config, stream, backward)
    final = _norm(stream.read_last(), params["ln_final"], config, backward)
    unembed = params["unembed"]
    if config.tied:
        logits = columnwise("vd,dn->vn", params["embed"]["W_E"], final)
    else:
        logits = columnwise("dv,dn->vn", unembed["W_U"], final)
    return capped(logits + unembed["b_U"][:, None, None], config.logit_cap)


def _embed(
    params: Params, config: DecoderConfig, tokens: Int[Array, "batch pos"]
) -> Float[Array, "d_model pos batch"]:
    embedded = params["embed"]["W_E"][tokens.T] * config.embedding_scale
    if config.learned_positions:
        embedded += params["pos_embed"]["W_pos"][: tokens.shape[1], None]
    return embedded.transpose(2, 0, 1)


def _write_heads(
    seen: Seen,
    block: Params,
    config: DecoderConfig,
    layer: int,
    stream: Stream,
    backward: Backward,
) -> None:
    """Writes the outputs of a layer's heads, given what their q, k and v readers see."""
    weights, attention = block["attn"], config.attention[layer]
    seen = _norm(seen, block["ln1"], config, backward)
    own = jnp.split(seen, 3) if len(seen) > 1 else [seen] * 3
    projected = {}
    for x, sees in zip("QKV", own, strict=True):
        each = _project(weights[f"W_{x}"], weights[f"b_{x}"], sees, config.n_heads)
        if x != "V":
            if config.query_norm:
                each = rms_norm(each, weights[f"{x.lower()}_norm"]["w"], config.norm_eps, backward)
            each = turn(each, attention.rotary)
        projected[x] = for_every_head(each, config.n_heads)
    q, k, v = (projected[x] for x in "QKV")
    z, output = attend_back(q, k, v, attention, config, backward), weights["W_O"]
    if config.post_norm:
        maps = output.reshape(-1, config.d_model)
        whole = columnwise("fd,fn->dn", maps, z.reshape(len(maps), *z.shape[2:]))
        z, output = _shares(z, output, whole, block["ln1_post"], config, backward)
        stream.write_heads(z, output, jnp.zeros(config.d_model))
    else:
        stream.write_heads(z, output, weights["b_O"])


def _write_mlp(
    seen: Float[Array, "d_model pos batch"],
    block: Params,
    config: DecoderConfig,
    stream: Stream,
    backward: Backward,
) -> None:
    """Writes the output of a layer's MLP, given what it sees."""
    weights = block["mlp"]
    seen = _norm(seen, block["ln2"], config, backward)
    hidden = columnwise("dm,dn->mn", weights["W_in"], seen) + weights["b_in"][:, None, None]
    activation = ACTIVATIONS[config.activation]
    if config.gated:
        gate = columnwise("dm,dn->mn", weights["W_gate"], seen) + weights["b_gate"][:, None, None]
        hidden = backward.gated(hidden, backward.activation(activation, gate))
    else:
        hidden = backward.activation(activation, hidden)
    output = weights["W_out"]
    if config.post_norm:
        whole = columnwise("md,mn->dn", output, hidden)
        hidden, output = _shares(hidden, output, whole, block["ln2_post"], config, backward)
        stream.write_mlp(hidden, output, jnp.zeros(config.d_model))
    else:
        stream.write_mlp(hidden, output, weights["b_out"])


def _project(
    weight: Float[Array, "kv_head d_model d_head"],
    bias: Float[Array, "kv_head d_head"],
    seen: Seen,
    n_heads: int,
) -> Float[Array, "_ d_head pos batch"]:
    """Queries, keys or values; heads that share weights and see the same get one copy."""
    if len(seen) > 1:
        weight, bias = for_every_head(weight, n_heads), for_every_head(bias, n_heads)
        projected = columnwise("hde,hdn->hen", weight, seen)
    else:
        maps = weight.transpose(0, 2, 1).reshape(-1, weight.shape[1])
        projected = columnwise("fd,dn->fn", maps, seen[0])
        projected = projected.reshape(*bias.shape, *seen.shape[2:])
    return projected + bias[..., None, None]


def _norm(
    x: Float[Array, "*reader d_model pos batch"],
    weights: Params,
    c: DecoderConfig,
    backward: Backward,
) -> Array:
    if c.norm == "rms_norm":
        return rms_norm(x, weights["w"], c.norm_eps, backward)
    return layer_norm(x, weights["w"], weights["b"], c.norm_eps, backward)


def _shares(
    hidden: Float[Array, "*writer feature pos batch"],
    output: Float[Array, "*writer feature d_model"],
    whole: Float[Array, "d_model pos batch"],
    weights: Params,
    config: DecoderConfig,
    backward: Backward,
) -> tuple[Array, Array]:
    """Features and output maps of writers whose outputs sum to the normalised total.

    The features are divided by the root mean square; the scales are multiplied into the maps.
    """
    size = backward.norm(root_mean_square(whole, config.norm_eps))
    fit = (1,) * (hidden.ndim - 3)
    return hidden / size.reshape(fit + size.shape), output * weights["w"].reshape(*fit, 1, -1)
