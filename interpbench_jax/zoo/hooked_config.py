"""TransformerLens configs: reading their pickles, and checking that our network supports them.

A config is pickled as a dict or as an object of TransformerLens; both are returned as a dict.
`decoder_options` is the only place that rejects configs that our network does not support.
"""

import math
from collections.abc import Mapping
from reprlib import repr as short
from typing import Any, NamedTuple

from interpbench_jax.files import to_json
from interpbench_jax.model.config import Activation
from interpbench_jax.zoo.plain_pickle import read_pickle
from interpbench_jax.zoo.torch_files import TORCH_VALUES
from interpbench_jax.zoo.transformer_lens import Normalization

ACTIVATION_NAMES: dict[Activation, str] = {"gelu": "gelu", "gelu_tanh": "gelu_new", "relu": "relu"}
"""TransformerLens's names of activations."""
_ACTIVATIONS = {name: activation for activation, name in ACTIVATION_NAMES.items()}
_ACTIVATIONS["gelu_pytorch_tanh"] = "gelu_tanh"
SIZES = ("n_layers", "n_heads", "d_model", "d_head", "d_mlp", "n_ctx", "d_vocab", "d_vocab_out")
# Values that our network supports; a missing field has TransformerLens's default.
_FIXED: dict[str, tuple[Any, ...]] = {
    "use_attn_scale": (True,),
    "positional_embedding_type": ("standard",),
}
# Fields about hooks, training, tokenizers and memory: they do not change the outputs for given
# weights, or only together with a field that is rejected.
_WITHOUT_EFFECT = frozenset(
    "model_name use_attn_result use_split_qkv_input use_hook_mlp_in use_attn_in "
    "use_hook_tokens original_architecture from_checkpoint checkpoint_index checkpoint_label_type "
    "checkpoint_value tokenizer_name window_size init_mode device n_devices seed initializer_range "
    "init_weights n_params default_prepend_bos dtype tokenizer_prepends_bos rotary_base "
    "rotary_base_local rotary_scaling_factor trust_remote_code ungroup_grouped_query_attention "
    "NTK_by_parts_low_freq_factor NTK_by_parts_high_freq_factor NTK_by_parts_factor "
    "NTK_original_ctx_len yarn_factor yarn_attention_factor yarn_beta_fast yarn_beta_slow "
    "yarn_original_max_position_embeddings yarn_truncate layer_norm_folding decoder_start_token_id "
    "tie_word_embeddings train_seq_length".split()
)
# Values with which TransformerLens's other fields have no effect, besides None and False.
_AS_EVER: dict[str, tuple[Any, ...]] = {
    "attn_scores_soft_cap": (-1.0,),
    "output_logits_soft_cap": (-1.0,),
}
_LONGEST_PICKLE = 100_000


class _Config(dict[str, Any]):
    """Stand-in for a config object of TransformerLens: its fields."""

    def __init__(self) -> None:
        """An empty config; the fields follow in the pickle."""

    def set_state(self, state: Any) -> None:
        """Takes the fields."""
        if type(state) is not dict:
            raise ValueError(f"a config with the fields {short(state)}")
        self.update(state)


_STAND_INS = {
    **TORCH_VALUES,
    "transformer_lens.HookedTransformerConfig.HookedTransformerConfig": _Config,
    "transformer_lens.config.HookedTransformerConfig.HookedTransformerConfig": _Config,
    "transformer_lens.config.hooked_transformer_config.HookedTransformerConfig": _Config,
}


def read_hooked_config(content: bytes) -> dict[str, Any]:
    """The fields of a pickled TransformerLens config, a dict or an object.

    Raises:
      ValueError: the pickle holds something else.
    """
    if len(content) > _LONGEST_PICKLE:
        raise ValueError(f"a config of {len(content)} bytes, expected at most {_LONGEST_PICKLE}")
    found = read_pickle(content, _STAND_INS)
    if not isinstance(found, dict) or not all(type(name) is str for name in found):
        raise ValueError(f"the pickle holds {short(found)}, expected the fields of a config")
    try:
        to_json(found)  # a card stores it as JSON
    except TypeError as error:
        raise ValueError(f"a field of the config is not a plain value: {error}") from error
    return dict(found)


class DecoderOptions(NamedTuple):
    """Settings that the weights do not show; arguments of `from_transformer_lens`.

    Attributes:
      causal: whether a position sees only itself and earlier ones.
      normalization: `LN`, `LNPre` (scales and shifts are folded into the readers), or None.
      activation: the activation of MLPs.
      layer_norm_eps: added to the variance in LayerNorm.
    """

    causal: bool
    normalization: Normalization | None
    activation: Activation
    layer_norm_eps: float


def decoder_options(fields: Mapping[str, Any]) -> DecoderOptions:
    """Reads a config that our network supports; the only place that rejects others.

    Args:
      fields: fields of a TransformerLens config.

    Raises:
      ValueError: a field is unknown or has a value that our network does not support; the message
        names it.
    """
    known: dict[str, tuple[Any, ...]] = {
        **_FIXED,
        "attention_dir": ("causal", "bidirectional"),
        "normalization_type": (None, "LN", "LNPre"),
        "act_fn": tuple(_ACTIVATIONS),
    }
    for name in SIZES:
        if type(fields.get(name)) is not int or not 0 < fields[name] < 2**31:
            raise ValueError(f"{name} is {short(fields.get(name))}, expected a positive number")
    for name, value in fields.items():
        if name in known:
            if not any(type(value) is type(one) and value == one for one in known[name]):
                allowed = ", ".join(map(repr, known[name]))
                raise ValueError(f"{name} is {short(value)}, our network supports {allowed}")
        elif name == "attn_scale":
            _check_scale(value, fields["d_head"])
        elif name == "n_key_value_heads":
            if value not in (None, fields["n_heads"]):
                raise ValueError(f"{name} is {short(value)}, our network has one per head")
        elif name not in (*SIZES, "eps", *_WITHOUT_EFFECT):
            if not (value is None or value is False or value in _AS_EVER.get(name, ())):
                raise ValueError(f"{name} is {short(value)}, which our network cannot do")
    for name in ("act_fn", "normalization_type", "attention_dir"):
        if name not in fields:
            raise ValueError(f"the config has no {name}")
    eps = fields.get("eps", 1e-5)
    if type(eps) is not float or not 0 < eps < 1:
        raise ValueError(f"eps is {short(eps)}, expected a small number")
    return DecoderOptions(
        causal=fields["attention_dir"] == "causal",
        normalization=fields["normalization_type"],
        activation=_ACTIVATIONS[fields["act_fn"]],
        layer_norm_eps=eps,
    )


def _check_scale(value: Any, d_head: int) -> None:
    """Checks the divisor of attention scores; -1 stands for the square root of the head's width."""
    usual = math.sqrt(d_head)
    if type(value) not in (int, float) or not (value == -1 or math.isclose(value, usual)):
        raise ValueError(f"attn_scale is {short(value)}, our network divides by {usual:.4g}")
