"""Makes the files beside it: `python make.py`, with torch 2.13, transformer-lens 3 and gim-explain.

A random model with LayerNorm, and the scores of its edges by gradients under a changed backward
pass: that of `gim`, and that of RelP as hooks.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from gim.context import GIM
from transformer_lens import HookedTransformer, HookedTransformerConfig

HERE = Path(__file__).parent
LAYERS, HEADS = 2, 3


def main() -> None:
    """Writes the weights, two batches of tokens, weights of the logits, and the scores."""
    config = HookedTransformerConfig(
        n_layers=LAYERS,
        n_heads=HEADS,
        d_model=8,
        d_head=4,
        d_mlp=10,
        n_ctx=6,
        d_vocab=7,
        d_vocab_out=5,
        act_fn="gelu",
        normalization_type="LN",
        attention_dir="causal",
        device="cpu",
        seed=0,
    )
    model = HookedTransformer(config)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            torch.nn.init.normal_(weight, std=0.5)
            if "ln" in name and name.endswith("w"):
                weight += 1
    model.set_use_attn_result(True)
    model.set_use_split_qkv_input(True)
    model.set_use_hook_mlp_in(True)
    clean, corrupted = torch.randint(7, (2, 4, 6))
    weights = torch.randn(4, 6, 5)
    written, source = (outputs(model, tokens) for tokens in (clean, corrupted))

    def scores() -> np.ndarray:
        gradients = at_readers(model, clean, weights)
        return torch.einsum("bpwd,bprd->wr", source - written, gradients).numpy()

    found: dict[str, Any] = {"eap": scores()}
    with GIM(model):
        found["gim"] = scores()
    with model.hooks(fwd_hooks=relp_hooks()):
        found["relp"] = scores()
    state = {
        k: v.numpy() for k, v in model.state_dict().items() if not k.endswith(("mask", "IGNORE"))
    }
    np.savez_compressed(HERE / "model.npz", **state)
    given = {"clean": clean, "corrupted": corrupted, "weights": weights}
    given = {name: array.numpy() for name, array in given.items()}
    np.savez_compressed(HERE / "scores.npz", **given, **found)


def outputs(model: HookedTransformer, tokens: torch.Tensor) -> torch.Tensor:
    """What every writer writes, `[batch, pos, writer, d_model]`."""
    with torch.no_grad():
        _, cache = model.run_with_cache(tokens)
    parts = [(cache["hook_embed"] + cache["hook_pos_embed"])[:, :, None]]
    for layer in range(LAYERS):
        parts.append(cache[f"blocks.{layer}.attn.hook_result"])
        parts.append(cache[f"blocks.{layer}.hook_mlp_out"][:, :, None])
    return torch.cat(parts, 2)


def at_readers(
    model: HookedTransformer, tokens: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Gradients of the mean of weighted logits, `[batch, pos, reader, d_model]`."""
    found = {}

    def keep(gradient, hook):
        found[hook.name] = gradient.clone()

    last = f"blocks.{LAYERS - 1}.hook_resid_post"
    names = [f"blocks.{layer}.hook_{x}_input" for layer in range(LAYERS) for x in "qkv"]
    names += [f"blocks.{layer}.hook_mlp_in" for layer in range(LAYERS)] + [last]
    with model.hooks(bwd_hooks=[(name, keep) for name in names]):
        (model(tokens) * weights).mean().backward()
    parts = []
    for layer in range(LAYERS):
        value = found[f"blocks.{layer}.hook_v_input"]
        for x in "qkv":  # under RelP, no gradient reaches queries and keys
            parts.append(found.get(f"blocks.{layer}.hook_{x}_input", torch.zeros_like(value)))
        parts.append(found[f"blocks.{layer}.hook_mlp_in"][:, :, None])
    return torch.cat([*parts, found[last][:, :, None]], 2)


def relp_hooks() -> list:
    """Constant attention weights and divisors; activations are products with constants."""
    before = {}

    def constant(value, hook):
        return value.detach()

    def keep(value, hook):
        before[hook.layer()] = value

    def proportional(value, hook):
        x = before[hook.layer()]
        return (value / x).detach() * x

    return [
        (lambda name: name.endswith(("hook_pattern", "hook_scale")), constant),
        (lambda name: name.endswith("mlp.hook_pre"), keep),
        (lambda name: name.endswith("mlp.hook_post"), proportional),
    ]


if __name__ == "__main__":
    main()
