"""The names of our weights in Hugging Face state dicts, family by family.

A bias that a table omits does not exist there and is zero in ours.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from interpbench_jax.model.decoders import DecoderConfig
from interpbench_jax.model.shapes import WeightPath


class Weight(NamedTuple):
    """A weight in the Hugging Face model, and its conversion to ours.

    Attributes:
      name: its name there.
      shape: its shape there.
      ours: converts the array there to ours.
    """

    name: str
    shape: tuple[int, ...]
    ours: Callable[[np.ndarray], np.ndarray]


Table = dict[WeightPath, Weight]


def gpt2_weights(c: DecoderConfig) -> Table:
    """Weights of `GPT2LMHeadModel`: matrices are `[in, out]`; q, k and v are one matrix."""
    width, features, heads = c.d_model, c.n_heads * c.d_head, (c.n_heads, c.d_head)
    table = {
        ("embed", "W_E"): _same("wte.weight", c.d_vocab, width),
        ("pos_embed", "W_pos"): _same("wpe.weight", c.n_ctx, width),
        **_layer_norm(("ln_final",), "ln_f", width),
    }
    for layer in range(c.n_layers):
        block, theirs = f"blocks_{layer}", f"h.{layer}"
        attention = f"{theirs}.attn.c_attn"
        for i, x in enumerate("QKV"):

            def part(array: np.ndarray, i: int = i) -> np.ndarray:
                each = array.reshape(width, 3, c.n_heads, c.d_head)[:, i]
                return each.transpose(1, 0, 2)

            def bias(array: np.ndarray, i: int = i) -> np.ndarray:
                return array.reshape(3, c.n_heads, c.d_head)[i]

            table[block, "attn", f"W_{x}"] = Weight(
                f"{attention}.weight", (width, 3 * features), part
            )
            table[block, "attn", f"b_{x}"] = Weight(f"{attention}.bias", (3 * features,), bias)
        output, mlp = f"{theirs}.attn.c_proj", f"{theirs}.mlp"
        table |= {
            (block, "attn", "W_O"): Weight(
                f"{output}.weight", (features, width), lambda array: array.reshape(*heads, width)
            ),
            (block, "attn", "b_O"): _same(f"{output}.bias", width),
            (block, "mlp", "W_in"): _same(f"{mlp}.c_fc.weight", width, c.d_mlp),
            (block, "mlp", "b_in"): _same(f"{mlp}.c_fc.bias", c.d_mlp),
            (block, "mlp", "W_out"): _same(f"{mlp}.c_proj.weight", c.d_mlp, width),
            (block, "mlp", "b_out"): _same(f"{mlp}.c_proj.bias", width),
            **_layer_norm((block, "ln1"), f"{theirs}.ln_1", width),
            **_layer_norm((block, "ln2"), f"{theirs}.ln_2", width),
        }
    return table


def gpt_neox_weights(c: DecoderConfig, *, attention_bias: bool) -> Table:
    """Weights of `GPTNeoXForCausalLM`: matrices are `[out, in]`; one holds q, k, v of each head."""
    width, features = c.d_model, c.n_heads * c.d_head
    table = {
        ("embed", "W_E"): _same("embed_in.weight", c.d_vocab, width),
        **_layer_norm(("ln_final",), "final_layer_norm", width),
    }
    if not c.tied:
        table["unembed", "W_U"] = _transposed("embed_out.weight", c.d_vocab, width)
    for layer in range(c.n_layers):
        block, theirs = f"blocks_{layer}", f"layers.{layer}"
        attention = f"{theirs}.attention.query_key_value"
        for i, x in enumerate("QKV"):

            def part(array: np.ndarray, i: int = i) -> np.ndarray:
                each = array.reshape(c.n_heads, 3, c.d_head, width)[:, i]
                return each.transpose(0, 2, 1)

            def bias(array: np.ndarray, i: int = i) -> np.ndarray:
                return array.reshape(c.n_heads, 3, c.d_head)[:, i]

            table[block, "attn", f"W_{x}"] = Weight(
                f"{attention}.weight", (3 * features, width), part
            )
            if attention_bias:
                table[block, "attn", f"b_{x}"] = Weight(f"{attention}.bias", (3 * features,), bias)
        output, mlp = f"{theirs}.attention.dense", f"{theirs}.mlp"
        table |= {
            (block, "attn", "W_O"): _output(f"{output}.weight", c),
            **_linear((block, "mlp"), "in", f"{mlp}.dense_h_to_4h", width, c.d_mlp, bias=True),
            **_linear((block, "mlp"), "out", f"{mlp}.dense_4h_to_h", c.d_mlp, width, bias=True),
            **_layer_norm((block, "ln1"), f"{theirs}.input_layernorm", width),
            **_layer_norm((block, "ln2"), f"{theirs}.post_attention_layernorm", width),
        }
        if attention_bias:
            table[block, "attn", "b_O"] = _same(f"{output}.bias", width)
    return table


def llama_weights(
    c: DecoderConfig,
    *,
    input_bias: bool = False,
    output_bias: bool = False,
    mlp_bias: bool = False,
    scales_from_one: bool = False,
) -> Table:
    """Weights of `LlamaForCausalLM` and similar: matrices are `[out, in]`, norms without shifts.

    Args:
      c: the decoder's config.
      input_bias: whether queries, keys and values have biases.
      output_bias: whether attention has an output bias.
      mlp_bias: whether the MLP has biases.
      scales_from_one: whether scales are stored minus one.
    """
    width = c.d_model

    def scale(place: WeightPath, name: str, size: int = width) -> Table:
        def ours(array: np.ndarray) -> np.ndarray:
            if not scales_from_one:
                return array
            with np.errstate(invalid="ignore"):  # NaN stays NaN, without a warning
                return np.float32(1) + array.astype(np.float32)

        return {(*place, "w"): Weight(f"{name}.weight", (size,), ours)}

    table = {
        ("embed", "W_E"): _same("embed_tokens.weight", c.d_vocab, width),
        **scale(("ln_final",), "norm"),
    }
    if not c.tied:
        table["unembed", "W_U"] = _transposed("lm_head.weight", c.d_vocab, width)
    for layer in range(c.n_layers):
        block, theirs = f"blocks_{layer}", f"layers.{layer}"
        attention = f"{theirs}.self_attn"
        for x, heads in (("Q", c.n_heads), ("K", c.n_kv_heads), ("V", c.n_kv_heads)):
            name = f"{attention}.{x.lower()}_proj"
            table[block, "attn", f"W_{x}"] = _input(f"{name}.weight", heads, c)
            if input_bias:
                table[block, "attn", f"b_{x}"] = _head_bias(f"{name}.bias", heads, c)
            if c.query_norm and x != "V":
                norm = f"{x.lower()}_norm"
                table |= scale((block, "attn", norm), f"{attention}.{norm}", c.d_head)
        table[block, "attn", "W_O"] = _output(f"{attention}.o_proj.weight", c)
        if output_bias:
            table[block, "attn", "b_O"] = _same(f"{attention}.o_proj.bias", width)
        for x, name, n_in, n_out in (
            ("in", "up_proj", width, c.d_mlp),
            ("gate", "gate_proj", width, c.d_mlp),
            ("out", "down_proj", c.d_mlp, width),
        ):
            table |= _linear((block, "mlp"), x, f"{theirs}.mlp.{name}", n_in, n_out, bias=mlp_bias)
        norms = {"ln1": "input_layernorm", "ln2": "post_attention_layernorm"}
        if c.post_norm:
            norms |= {
                "ln1_post": "post_attention_layernorm",
                "ln2": "pre_feedforward_layernorm",
                "ln2_post": "post_feedforward_layernorm",
            }
        for ours, name in norms.items():
            table |= scale((block, ours), f"{theirs}.{name}")
    return table


def _same(name: str, *shape: int) -> Weight:
    return Weight(name, shape, lambda array: array)


def _transposed(name: str, n_out: int, n_in: int) -> Weight:
    return Weight(name, (n_out, n_in), lambda array: array.T)


def _layer_norm(place: WeightPath, name: str, size: int) -> Table:
    return {
        (*place, "w"): _same(f"{name}.weight", size),
        (*place, "b"): _same(f"{name}.bias", size),
    }


def _linear(place: WeightPath, ours: str, name: str, n_in: int, n_out: int, *, bias: bool) -> Table:
    table = {(*place, f"W_{ours}"): _transposed(f"{name}.weight", n_out, n_in)}
    return table | ({(*place, f"b_{ours}"): _same(f"{name}.bias", n_out)} if bias else {})


def _input(name: str, heads: int, c: DecoderConfig) -> Weight:
    """`[heads x d_head, d_model]` to `[head, d_model, d_head]`."""

    def ours(array: np.ndarray) -> np.ndarray:
        return array.reshape(heads, c.d_head, c.d_model).transpose(0, 2, 1)

    return Weight(name, (heads * c.d_head, c.d_model), ours)


def _head_bias(name: str, heads: int, c: DecoderConfig) -> Weight:
    return Weight(name, (heads * c.d_head,), lambda array: array.reshape(heads, c.d_head))


def _output(name: str, c: DecoderConfig) -> Weight:
    """`[d_model, heads x d_head]` to `[head, d_head, d_model]`."""

    def ours(array: np.ndarray) -> np.ndarray:
        return array.T.reshape(c.n_heads, c.d_head, c.d_model)

    return Weight(name, (c.d_model, c.n_heads * c.d_head), ours)
