"""Our parameters -> Tracr's Haiku weights."""

import numpy as np

from interpbench_jax.compiler.haiku_to_params import haiku_to_params
from interpbench_jax.compiler.tracr_stages import TracrModel
from interpbench_jax.model import Params

HaikuParams = dict[str, dict[str, np.ndarray]]
"""Weights by module, then by name: `params["transformer/layer_0/attn/query"]["w"]`."""


def params_to_haiku(params: Params, tracr: TracrModel) -> HaikuParams:
    """The inverse of `haiku_to_params`: weights for the compiled model's own functions.

    The values may differ from the compiled ones; the shapes must be the same. The unembedding is
    not a weight there: Tracr selects the output's directions.

    Args:
      params: weights with the shapes of `haiku_to_params(tracr)`.
      tracr: the compiled model.

    Raises:
      ValueError: a weight is missing, unknown, or has another shape; or the unembedding differs
        from the compiled one.
    """
    expected, config = haiku_to_params(tracr)
    _check_shapes(params, expected, "")
    for name, weight in expected["unembed"].items():
        if (np.asarray(params["unembed"][name]) != weight).any():
            raise ValueError(
                f"unembed.{name} differs from the compiled model's, which Haiku cannot express"
            )
    names = tracr.assembled.input_encoder.encoding_map
    embeddings = np.array(tracr.assembled.params["token_embed"]["embeddings"])
    embeddings[[names[direction.value] for direction in tracr.tokens]] = params["embed"]["W_E"]
    haiku: HaikuParams = {
        "token_embed": {"embeddings": embeddings},
        "pos_embed": {"embeddings": np.asarray(params["pos_embed"]["W_pos"])},
    }
    for layer in range(config.n_layers):
        block, place = params[f"blocks_{layer}"], f"transformer/layer_{layer}"
        attention, mlp = ({n: np.asarray(w) for n, w in block[x].items()} for x in ("attn", "mlp"))
        for ours, theirs in (("Q", "query"), ("K", "key"), ("V", "value")):
            matrix = attention[f"W_{ours}"].transpose(1, 0, 2)
            haiku[f"{place}/attn/{theirs}"] = {
                "w": matrix.reshape(config.d_model, -1),
                "b": attention[f"b_{ours}"].reshape(-1),
            }
        output = attention["W_O"].reshape(-1, config.d_model)
        haiku[f"{place}/attn/linear"] = {"w": output, "b": attention["b_O"]}
        haiku[f"{place}/mlp/linear_1"] = {"w": mlp["W_in"], "b": mlp["b_in"]}
        haiku[f"{place}/mlp/linear_2"] = {"w": mlp["W_out"], "b": mlp["b_out"]}
    return haiku


def _check_shapes(params: Params, expected: Params, place: str) -> None:
    """Checks that two trees have the same shapes; the error names the first difference."""
    for name in expected:
        if name not in params:
            raise ValueError(f"weight {place}{name} is missing")
        if isinstance(expected[name], dict):
            _check_shapes(params[name], expected[name], f"{place}{name}.")
        elif np.shape(params[name]) != expected[name].shape:
            raise ValueError(
                f"weight {place}{name} has shape {np.shape(params[name])}, expected "
                f"{expected[name].shape}"
            )
    for name in params:
        if name not in expected:
            raise ValueError(f"unknown weight {place}{name}")
