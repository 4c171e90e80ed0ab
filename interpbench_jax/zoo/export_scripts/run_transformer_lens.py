"""Edge attribution patching with TransformerLens hooks; replace it with your own method."""

import csv

import torch
from load import HERE, clean, corrupted, loss, model

layers, heads = range(model.cfg.n_layers), range(model.cfg.n_heads)
writers = ["input", *(w for n in layers for w in (*(f"a{n}.h{h}" for h in heads), f"m{n}"))]


def written(tokens):
    """The outputs of all writers: `[writer, batch, pos, d_model]`."""
    cache = model.run_with_cache(tokens)[1]
    parts = [cache["blocks.0.hook_resid_pre"]]
    for n in layers:
        heads_of_layer = cache[f"blocks.{n}.attn.hook_result"].unbind(2)
        parts += [*heads_of_layer, cache[f"blocks.{n}.hook_mlp_out"]]
    return torch.stack(parts).detach()


hooks = [f"blocks.{n}.hook_{kind}_input" for n in layers for kind in "qkv"]
hooks += [*(f"blocks.{n}.hook_mlp_in" for n in layers), f"blocks.{layers[-1]}.hook_resid_post"]
gradients = {}
keep = [(name, lambda slope, hook: gradients.update({hook.name: slope})) for name in hooks]
with model.hooks(bwd_hooks=keep):
    loss(model(clean)).backward()
difference = written(corrupted) - written(clean)

readers = {}  # name: (gradient of the loss at the reader, number of writers before it)
for n in layers:
    before = 1 + n * (len(heads) + 1)
    for kind in "qkv":
        slopes = gradients[f"blocks.{n}.hook_{kind}_input"]
        readers |= {f"a{n}.h{h}<{kind}>": (slopes[:, :, h], before) for h in heads}
    readers[f"m{n}"] = (gradients[f"blocks.{n}.hook_mlp_in"], before + len(heads))
readers["logits"] = (gradients[hooks[-1]], len(writers))

(HERE / "scores").mkdir(exist_ok=True)
with (HERE / "scores" / "eap.csv").open("w", newline="") as file:
    table = csv.writer(file)
    table.writerow(("edge", "score"))
    for reader, (slope, before) in readers.items():
        effects = (difference[:before] * slope).sum((1, 2, 3)).tolist()
        names = (f"{writer}->{reader}" for writer in writers)
        table.writerows(zip(names, effects, strict=False))
