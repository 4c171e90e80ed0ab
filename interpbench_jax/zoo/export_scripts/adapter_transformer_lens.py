"""Writers and readers, by the names that `interpbench score` reads, in TransformerLens."""

import torch
from load import model

LAYERS, HEADS = range(model.cfg.n_layers), range(model.cfg.n_heads)

writers = ["input"]
reads_from = {}  # reader: the writers before it
for n in LAYERS:
    reads_from |= {f"a{n}.h{h}<{kind}>": tuple(writers) for h in HEADS for kind in "qkv"}
    writers += [f"a{n}.h{h}" for h in HEADS]
    reads_from[f"m{n}"] = tuple(writers)
    writers.append(f"m{n}")
reads_from["logits"] = tuple(writers)


def outputs(tokens):
    """What each writer adds to the residual stream: `{writer: [batch, pos, d_model]}`."""
    with torch.no_grad():
        cache = model.run_with_cache(tokens)[1]
    values = {"input": cache["blocks.0.hook_resid_pre"]}
    for n in LAYERS:
        values |= {f"a{n}.h{h}": cache[f"blocks.{n}.attn.hook_result"][:, :, h] for h in HEADS}
        values[f"m{n}"] = cache[f"blocks.{n}.hook_mlp_out"]
    return values


def gradients(loss, tokens):
    """The gradient of the loss at each reader's input: `{reader: [batch, pos, d_model]}`."""
    kept = {}
    hooks = [f"blocks.{n}.hook_{kind}_input" for n in LAYERS for kind in "qkv"]
    hooks += [f"blocks.{n}.hook_mlp_in" for n in LAYERS]
    last = f"blocks.{LAYERS[-1]}.hook_resid_post"
    keep = [(name, lambda slope, hook: kept.update({hook.name: slope})) for name in (*hooks, last)]
    with model.hooks(bwd_hooks=keep):
        loss(model(tokens)).backward()
    values = {"logits": kept[last]}
    for n in LAYERS:
        values[f"m{n}"] = kept[f"blocks.{n}.hook_mlp_in"]
        for kind in "qkv":
            heads = kept[f"blocks.{n}.hook_{kind}_input"].unbind(2)
            values |= {f"a{n}.h{h}<{kind}>": slope for h, slope in enumerate(heads)}
    return values
