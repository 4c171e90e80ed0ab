"""Names of weights in TransformerLens 4: one module per linear map, without an axis for heads.

TransformerLens 3 (`HookedTransformer`) has an axis for heads, and our names: `blocks.0.attn.W_Q` is
`[head, d_model, d_head]`. In 4 it is `layers.0.attn.q.weight`, `[heads x d_head, d_model]`, in a
`NativeModel`, and `blocks.0.attn.q.weight` in the `TransformerBridge` around one.
"""

import re
from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np
from jaxtyping import Array

Names = Literal["hooked", "native", "bridge"]
"""Names of `HookedTransformer` in 3, of `NativeModel` in 4, or of `TransformerBridge` in 4."""

# Name in 3: path in a `NativeModel`, and path in a `TransformerBridge`.
_ENDS = {
    "embed.W_E": ("tok_embed.weight", "embed.weight"),
    "pos_embed.W_pos": ("pos.weight", "pos_embed.weight"),
    "unembed.W_U": ("head.weight", "unembed.weight"),
    "unembed.b_U": ("head.bias", "unembed.bias"),
    "ln_final.w": ("ln_out.weight", "ln_final.weight"),
    "ln_final.b": ("ln_out.bias", "ln_final.bias"),
}
_IN_BLOCK = {
    **{f"attn.W_{x}": (f"attn.{x.lower()}.weight",) * 2 for x in "QKVO"},
    **{f"attn.b_{x}": (f"attn.{x.lower()}.bias",) * 2 for x in "QKVO"},
    **{f"mlp.W_{x}": (f"mlp.fc_{x}.weight", f"mlp.{x}.weight") for x in ("in", "out")},
    **{f"mlp.b_{x}": (f"mlp.fc_{x}.bias", f"mlp.{x}.bias") for x in ("in", "out")},
    **{f"ln{i}.w": (f"ln{i}.weight",) * 2 for i in (1, 2)},
    **{f"ln{i}.b": (f"ln{i}.bias",) * 2 for i in (1, 2)},
}
_BLOCK = re.compile(r"(blocks|layers)\.(0|[1-9]\d*)\.(.*)")
_BLOCKS = {"native": "layers", "bridge": "blocks"}


def names_of(state: Mapping[str, np.ndarray | Array]) -> Names:
    """The kind of names in a state dict, from the name of its embedding."""
    if "tok_embed.weight" in state:
        return "native"
    return "bridge" if "embed.weight" in state else "hooked"


def to_hooked(
    state: Mapping[str, np.ndarray | Array], names: Names, n_heads: int
) -> dict[str, np.ndarray]:
    """Weights of TransformerLens 4 under the names and in the shapes of 3.

    A missing output bias is zero.

    Args:
      state: arrays by name.
      names: the kind of these names.
      n_heads: heads per layer, which the shapes do not show.

    Raises:
      ValueError: a matrix cannot be divided into `n_heads` heads.
    """
    which = get_args(Names).index(names) - 1
    ends = {theirs[which]: ours for ours, theirs in _ENDS.items()}
    in_block = {theirs[which]: ours for ours, theirs in _IN_BLOCK.items()}
    hooked: dict[str, np.ndarray] = {}
    for name, array in state.items():
        weight, block = np.asarray(array), _BLOCK.fullmatch(name)
        if block and block[1] == _BLOCKS[names] and block[3] in in_block:
            ours = in_block[block[3]]
            hooked[f"blocks.{block[2]}.{ours}"] = _with_heads(name, weight, ours, n_heads)
        elif name in ends:
            hooked[ends[name]] = weight.T if ends[name] == "unembed.W_U" else weight
        else:
            hooked[name] = weight  # will be rejected as unknown
    if "unembed.W_U" in hooked and hooked["unembed.W_U"].ndim == 2:
        hooked.setdefault("unembed.b_U", np.zeros(hooked["unembed.W_U"].shape[1], np.float32))
    return hooked


def from_hooked(hooked: Mapping[str, np.ndarray], names: Names) -> dict[str, np.ndarray]:
    """The inverse of `to_hooked`.

    Raises:
      ValueError: there is an output bias, which a `NativeModel` does not have.
    """
    which = get_args(Names).index(names) - 1
    state = {}
    for name, weight in hooked.items():
        if block := _BLOCK.fullmatch(name):
            theirs = f"{_BLOCKS[names]}.{block[2]}.{_IN_BLOCK[block[3]][which]}"
            state[theirs] = _side_by_side(weight, block[3])
        else:
            state[_ENDS[name][which]] = weight.T if name == "unembed.W_U" else weight
    if names == "native" and state.pop("head.bias").any():
        raise ValueError("a NativeModel has no output bias, and b_U is not zero; use 'bridge'")
    return state


def _with_heads(name: str, weight: np.ndarray, ours: str, n_heads: int) -> np.ndarray:
    """Adds an axis for heads if 3 has one, and puts inputs before outputs."""
    kind = ours.removeprefix("attn.")
    if kind.startswith("W_") and weight.ndim == 2:
        weight = weight.T
    if kind in ("W_Q", "W_K", "W_V", "b_Q", "b_K", "b_V", "W_O"):
        axis = 0 if kind == "W_O" else -1
        if weight.ndim != (2 if kind.startswith("W_") else 1) or weight.shape[axis] % n_heads:
            raise ValueError(
                f"weight {name!r} of shape {weight.shape} is not that of {n_heads} heads"
            )
        if kind == "W_O":
            return weight.reshape(n_heads, -1, weight.shape[1])
        split = weight.reshape(*weight.shape[:-1], n_heads, -1)
        return split.transpose(1, 0, 2) if split.ndim == 3 else split
    return weight.T if ours.startswith("mlp.W_") and weight.ndim == 2 else weight


def _side_by_side(weight: np.ndarray, ours: str) -> np.ndarray:
    if ours in ("attn.W_Q", "attn.W_K", "attn.W_V"):
        return weight.transpose(0, 2, 1).reshape(-1, weight.shape[1])
    if ours == "attn.W_O":
        return weight.reshape(-1, weight.shape[2]).T
    if ours in ("attn.b_Q", "attn.b_K", "attn.b_V"):
        return weight.reshape(-1)
    return weight.T if ours.startswith("mlp.W_") else weight
