"""Makes the files beside this one: tiny random models of `transformers`, and what it says of them.

Run: `python tests/golden/decoders/make.py`, with torch and `transformers` installed. For every
family a folder as `save_pretrained` writes it, and `expected.npz`: logits on clean tokens, and with
single edges patched from corrupted tokens. Patches are hooks on the modules of `transformers`.
"""

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

HERE = Path(__file__).parent
SMALL = {
    **{"vocab_size": 23, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2},
    **{"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 32},
    **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id")),
}
LLAMA3 = {
    **{"rope_type": "llama3", "rope_theta": 100.0, "factor": 4.0, "low_freq_factor": 1.0},
    **{"high_freq_factor": 4.0, "original_max_position_embeddings": 16},
}
KINDS = ["sliding_attention", "full_attention"]
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": (
        "GPT2",
        {
            **{"vocab_size": 23, "n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 32},
            **dict.fromkeys(("bos_token_id", "eos_token_id")),
        },
    ),
    "gpt_neox": ("GPTNeoX", {**SMALL, "rotary_pct": 0.5}),
    "llama": ("Llama", {**SMALL, "rope_parameters": LLAMA3, "attention_bias": True}),
    "mistral": ("Mistral", {**SMALL, "head_dim": 6, "sliding_window": 4}),
    "qwen2": ("Qwen2", {**SMALL, "tie_word_embeddings": True}),
    "qwen3": ("Qwen3", {**SMALL, "head_dim": 6}),
    "gemma": ("Gemma", {**SMALL, "head_dim": 6}),
    "gemma2": (
        "Gemma2",
        {
            **{**SMALL, "head_dim": 6, "sliding_window": 4, "query_pre_attn_scalar": 9},
            **{"attn_logit_softcapping": 3.0, "final_logit_softcapping": 4.0},
        },
    ),
    "gemma3": (
        "Gemma3",
        {
            **{**SMALL, "head_dim": 6, "sliding_window": 4, "query_pre_attn_scalar": 9},
            **{"layer_types": KINDS},
        },
    ),
}
EDGES = (
    *("input->a0.h1<q>", "input->a1.h2<k>", "a0.h1->a1.h0<q>", "a0.h3->a1.h3<v>", "m0->a1.h1<k>"),
    *("m0->m1", "a0.h0->m0", "a1.h0->m1", "a0.h2->logits", "m1->logits", "input->m1"),
)


def make_model(family: str, sizes: dict[str, Any]) -> Any:
    """A model with weights that are large enough for everything in it to matter."""
    torch.manual_seed(len(family))
    kind = f"{family}TextConfig" if family == "Gemma3" else f"{family}Config"
    config = getattr(transformers, kind)(**sizes, attn_implementation="eager")
    if family == "GPTNeoX":
        del config.num_key_value_heads
    head = "LMHeadModel" if family == "GPT2" else "ForCausalLM"
    model = getattr(transformers, f"{family}{head}")(config).eval()
    with torch.no_grad():
        for path, weight in model.named_parameters():
            torch.nn.init.normal_(weight, std=0.3)
            if weight.ndim == 1 and path.endswith("weight") and "Gemma" not in family:
                weight += 1
    return model


def ungrouped(model: Any) -> Any:
    """The same model in which every head has keys and values of its own, which can differ."""
    config = copy.deepcopy(model.config)
    n_kv_heads = getattr(config, "num_key_value_heads", None)
    if not n_kv_heads or n_kv_heads == config.num_attention_heads:
        return model
    times = config.num_attention_heads // n_kv_heads
    config.num_key_value_heads = config.num_attention_heads
    state = dict(model.state_dict())
    for name, weight in state.items():
        if ".k_proj." in name or ".v_proj." in name:
            heads = weight.reshape(n_kv_heads, -1, *weight.shape[1:])
            state[name] = heads.repeat_interleave(times, 0).reshape(-1, *weight.shape[1:])
    fresh = type(model)(config).eval()
    fresh.load_state_dict(state)
    return fresh


class Parts:
    """Where a model has what is read and written, layer by layer."""

    def __init__(self, model: Any) -> None:
        """Names of modules differ by family."""
        body = getattr(model, model.base_model_prefix)
        kind, self.config = model.config.model_type, model.config
        self.n_heads = self.config.num_attention_heads
        self.layers = body.h if kind == "gpt2" else body.layers
        final = {"gpt2": "ln_f", "gpt_neox": "final_layer_norm"}.get(kind, "norm")
        self.final = getattr(body, final)
        first = self.layers[0]
        if kind == "gpt2":
            self.before = [(layer.ln_1, layer.ln_2) for layer in self.layers]
            self.read = [[layer.attn.c_attn] * 3 for layer in self.layers]
            self.output = [layer.attn.c_proj for layer in self.layers]
            self.maps = [module.weight for module in self.output]
        else:
            attention = [
                layer.attention if kind == "gpt_neox" else layer.self_attn for layer in self.layers
            ]
            second = (
                "pre_feedforward_layernorm"
                if hasattr(first, "pre_feedforward_layernorm")
                else "post_attention_layernorm"
            )
            self.before = [(layer.input_layernorm, getattr(layer, second)) for layer in self.layers]
            fused = kind == "gpt_neox"
            self.read = [
                [a.query_key_value] * 3 if fused else [a.q_proj, a.k_proj, a.v_proj]
                for a in attention
            ]
            self.output = [a.dense if fused else a.o_proj for a in attention]
            self.maps = [module.weight.T for module in self.output]
        self.post = hasattr(first, "pre_feedforward_layernorm")
        self.kind, self.d_head = kind, self.maps[0].shape[0] // self.n_heads

    def columns(self, x: int, head: int) -> slice:
        """Where the projection has a head's query (0), key (1) or value (2)."""
        place = head
        if self.kind == "gpt2":
            place = x * self.n_heads + head
        if self.kind == "gpt_neox":
            place = head * 3 + x
        return slice(place * self.d_head, (place + 1) * self.d_head)


def written(model: Any, tokens: torch.Tensor) -> dict[str, torch.Tensor]:
    """What every writer writes."""
    parts, hooks = Parts(model), []
    found: dict[str, torch.Tensor] = {}

    def keep(module: Any, hook: Callable[..., None]) -> None:
        hooks.append(module.register_forward_hook(hook))

    keep(parts.before[0][0], lambda m, args, out: found.update(input=args[0].clone()))
    for layer, block in enumerate(parts.layers):

        def heads(m: Any, args: Any, out: torch.Tensor, layer: int = layer) -> None:
            size = 1.0
            if parts.post:
                norm = parts.layers[layer].post_attention_layernorm
                size = (out.pow(2).mean(-1, keepdim=True) + norm.eps).rsqrt() * (1 + norm.weight)
            for head in range(parts.n_heads):
                here = slice(head * parts.d_head, (head + 1) * parts.d_head)
                found[f"a{layer}.h{head}"] = args[0][..., here] @ parts.maps[layer][here] * size

        def mlp(m: Any, args: Any, out: torch.Tensor, layer: int = layer) -> None:
            found[f"m{layer}"] = out.clone()

        keep(parts.output[layer], heads)
        keep(block.post_feedforward_layernorm if parts.post else block.mlp, mlp)
    model(tokens)
    for hook in hooks:
        hook.remove()
    return found


def patched(model: Any, tokens: torch.Tensor, edge: str, sources: dict, own: dict) -> torch.Tensor:
    """Logits where one reader sees what one writer writes on other tokens."""
    parts, hooks = Parts(model), []
    writer, reader = edge.split("->")
    change = sources[writer] - own[writer]

    def add(_: Any, args: Any) -> Any:
        return (args[0] + change, *args[1:])

    if reader == "logits":
        hooks.append(parts.final.register_forward_pre_hook(add))
    elif reader.startswith("m"):
        hooks.append(parts.before[int(reader[1:])][1].register_forward_pre_hook(add))
    else:
        node, kind = reader[:-3], "qkv".index(reader[-2])
        layer, head = (int(part[1:]) for part in node.split("."))
        norm, saved = parts.before[layer][0], dict[str, torch.Tensor]()
        hooks.append(norm.register_forward_hook(lambda m, args, out: saved.update(x=args[0])))

        def replace(m: Any, args: Any, out: torch.Tensor) -> torch.Tensor:
            forward = type(m).forward  # past the hooks
            seen = type(norm).forward(norm, saved["x"] + change)
            new, here = out.clone(), parts.columns(kind, head)
            new[..., here] = forward(m, seen)[..., here]
            return new

        hooks.append(parts.read[layer][kind].register_forward_hook(replace))
    logits = model(tokens).logits
    for hook in hooks:
        hook.remove()
    return logits


@torch.no_grad()
def expectations(model: Any, edges: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Logits, plain and patched, and what is written, of a model on random tokens."""
    clean, corrupted = torch.randint(0, 23, (2, 3, 9)).unbind()
    plain = model(clean).logits
    whole = ungrouped(model)
    torch.testing.assert_close(whole(clean).logits, plain, atol=1e-5, rtol=0)
    own, sources = written(whole, clean), written(whole, corrupted)
    if model.config.model_type == "gpt_neox" and model.config.use_parallel_residual:
        edges = tuple(edge for edge in edges if edge not in ("a0.h0->m0", "a1.h0->m1"))
    logits = [patched(whole, clean, edge, sources, own) for edge in edges]
    for edge, changed in zip(edges, logits, strict=True):
        assert (changed - plain).abs().max() > 1e-2, f"{edge} has no effect"
    return {
        "clean": clean.numpy(),
        "corrupted": corrupted.numpy(),
        "logits": plain.numpy(),
        "edges": np.array(edges),
        "patched": torch.stack(logits).numpy(),
        **{f"written/{name}": value.numpy() for name, value in own.items()},
    }


def main() -> None:
    """Writes all folders anew."""
    for name in MODELS:
        folder = HERE / name
        shutil.rmtree(folder, ignore_errors=True)
        model = make_model(*MODELS[name])
        model.save_pretrained(folder)
        (folder / "generation_config.json").unlink(missing_ok=True)
        np.savez_compressed(folder / "expected.npz", **expectations(model, EDGES))
        config = json.loads((folder / "config.json").read_text())
        print(name, config["model_type"], sum(f.stat().st_size for f in folder.iterdir()))


if __name__ == "__main__":
    main()
