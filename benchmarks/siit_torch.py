"""SIIT in PyTorch on TransformerLens: the peer that `siit_speed.py` runs and compares with.

Needs `torch` and `transformer-lens` and nothing from this package, so it can run in a separate
Python environment. It reads a problem from the `.npz` file that `siit_speed.py` writes and prints
one JSON line: seconds for a number of batches, in the fastest of several ways.

- `separate`: source, base and both interchanges are separate runs, as in the original.
- `stacked`: base and both interchanges are one run of three times the rows, as in ours.
- `compiled`: `stacked` with `torch.compile`, which takes a minute and needs a C++ compiler.
- `computed`: `separate` with targets from the high-level model, run on every batch as in the
  original. All other ways except `hooks` use targets computed in advance, as ours does.
- `hooks`: the original's procedure, by TransformerLens's calls for caching and hooks. Each
  interchange caches a run on the source and hooks every patched node of a run on the base, heads at
  `hook_result`; the high-level model does the same for the interchange of a variable.

In the peer's favour, except with `hooks`: heads are patched at `hook_z`, so each head's output need
not be computed separately; hooks are permanent and read their masks as data; hooks of unpatched
nodes cost nothing; Adam is fused; one thread is used if two are slower, as on a busy machine.
"""

import argparse
import functools
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Num
from peak_memory import peak_mb
from torch import Tensor
from torch.nn import functional
from transformer_lens import HookedTransformer, HookedTransformerConfig

WAYS = ("separate", "stacked", "compiled", "computed", "hooks")
_PAIRS = 256
_RATE, _BETAS, _CLIP = 1e-2, (0.9, 0.9), 0.1
_WARM_UP = 3
_NOTHING = 1e-2
_SIZES = ("n_layers", "n_heads", "d_model", "d_head", "d_mlp", "n_ctx", "d_vocab", "d_vocab_out")

Masks = Bool[Tensor, "run writer"]
Losses = Callable[["Batch"], Float[Tensor, "3"]]


class Batch(NamedTuple):
    """A batch and its interventions: none, one variable, nodes outside the circuit."""

    base: Int[Tensor, "pair pos"]
    source: Int[Tensor, "pair pos"]
    masks: Masks
    targets: Num[Tensor, "3 pair pos"]
    variable: int


class Problem(NamedTuple):
    """Pairs, targets and nodes, with the fields of our `SiitProblem`."""

    base: Int[Tensor, "pair pos"]
    source: Int[Tensor, "pair pos"]
    base_target: Num[Tensor, "pair pos"]
    variable_targets: Num[Tensor, "variable pair pos"]
    variable_nodes: Bool[Tensor, "variable writer"]
    free_nodes: Bool[Tensor, "free writer"]

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> "Problem":
        """Reads it, with integers and masks in the types that PyTorch needs."""
        found = {name: torch.from_numpy(arrays[name]) for name in cls._fields}
        for name, value in found.items():
            if name.endswith("nodes"):
                found[name] = value.bool()
            elif not value.is_floating_point():
                found[name] = value.long()
        return cls(**found)

    def draw(self) -> Batch:
        """A random batch: pairs, one variable, each free node with probability one half."""
        drawn = torch.rand(len(self.free_nodes), 1) < 0.5
        return self.batch(
            torch.randint(len(self.base), (_PAIRS,)),
            int(torch.randint(len(self.variable_nodes), ())),
            (self.free_nodes & drawn).any(0),
        )

    def batch(self, pairs: Tensor, variable: int, free: Bool[Tensor, " writer"]) -> Batch:
        """The batch of these pairs and interventions."""
        interchanged, target = self.variable_nodes[variable], self.base_target[pairs]
        masks = torch.stack([torch.zeros_like(free), interchanged, free])
        targets = torch.stack([target, self.variable_targets[variable, pairs], target])
        return Batch(self.base[pairs], self.source[pairs], masks, targets, variable)


class Interchange:
    """A model whose nodes can be recorded in one run and replaced by the record in another.

    A node is a head at `hook_z` or an MLP at `hook_post`. Hooks get masks and return records
    through the state of this object, which is cleared after each use.
    """

    def __init__(self, model: HookedTransformer) -> None:
        """Adds permanent hooks to the model."""
        self.model, self._recording = model, False
        self._recorded: dict[str, Tensor] = {}
        self._masks: dict[str, Tensor] = {}
        for name in model.hook_dict:
            if name.endswith(("attn.hook_z", "mlp.hook_post")):
                model.add_perma_hook(name, self._hook)

    def __call__(
        self,
        base: Int[Tensor, "pair pos"],
        source: Int[Tensor, "pair pos"],
        masks: Masks,
        *,
        stacked: bool,
        skip_idle: bool = True,
    ) -> list[Float[Tensor, "pair pos d_vocab_out"]]:
        """Logits on the base under each mask, nodes taking their values from the source.

        Args:
          base: inputs to run on.
          source: inputs that give the values, without gradient.
          masks: the nodes of each run.
          stacked: whether to stack all runs into one.
          skip_idle: whether to skip the hooks of nodes that are in none of the masks.
        """
        self._recording = True
        with torch.no_grad():
            self.model(source, return_type=None)
        self._recording = False
        logits = []
        for chosen in [masks] if stacked else masks.split(1):
            self._masks = self._by_hook(chosen, skip_idle)
            logits += self.model(base.repeat(len(chosen), 1)).split(len(base))
        self._recorded, self._masks = {}, {}
        return logits

    def _by_hook(self, masks: Masks, skip_idle: bool) -> dict[str, Tensor]:
        """Masks at each hook, `[run, 1, 1, head, 1]` or `[run, 1, 1, 1]`."""
        found, config = {}, self.model.cfg
        for layer in range(config.n_layers):
            start = 1 + layer * (config.n_heads + 1)
            heads, mlp = masks[:, start : start + config.n_heads], masks[:, start + config.n_heads]
            found[f"blocks.{layer}.attn.hook_z"] = heads[:, None, None, :, None]
            found[f"blocks.{layer}.mlp.hook_post"] = mlp[:, None, None, None]
        return {name: mask for name, mask in found.items() if not skip_idle or mask.any()}

    def _hook(self, value: Tensor, hook: Any) -> Tensor | None:
        if self._recording:
            self._recorded[hook.name] = value
            return None
        mask = self._masks.get(hook.name)
        if mask is None:
            return None
        runs = value.unflatten(0, (len(mask), -1))
        return torch.where(mask, self._recorded[hook.name], runs).flatten(0, 1)


def load_model(arrays: Mapping[str, np.ndarray], name: str) -> HookedTransformer:
    """Builds a model with the weights in the file."""
    config = json.loads(str(arrays[f"{name}.config"]))
    shape = HookedTransformerConfig(
        **{size: config[size] for size in _SIZES},
        act_fn=config["activation"],
        attention_dir="causal" if config["causal"] else "bidirectional",
        normalization_type=None,
        device="cpu",
    )
    model = HookedTransformer(shape)
    with torch.no_grad():
        for key, weight in model.named_parameters():
            weight.copy_(torch.from_numpy(arrays[f"{name}.weights.{key}"]))
    return model


def task_loss(
    logits: Float[Tensor, "pair pos d_vocab_out"], target: Num[Tensor, "pair pos"]
) -> Float[Tensor, ""]:
    """Cross entropy for labels, squared error for values; position 0 is left out."""
    logits, target = logits[:, 1:], target[:, 1:]
    if target.is_floating_point():
        return functional.mse_loss(logits[..., 0], target)
    return functional.cross_entropy(logits.flatten(0, 1), target.flatten())


def siit_losses(
    model: Interchange, batch: Batch, *, stacked: bool, skip_idle: bool = True
) -> Float[Tensor, "3"]:
    """Behaviour, IIT and strict loss."""
    logits = model(batch.base, batch.source, batch.masks, stacked=stacked, skip_idle=skip_idle)
    return torch.stack([task_loss(*pair) for pair in zip(logits, batch.targets, strict=True)])


def by_hooks(
    model: HookedTransformer,
    base: Int[Tensor, "pair pos"],
    source: Int[Tensor, "pair pos"],
    nodes: Bool[Tensor, " writer"],
) -> Float[Tensor, "pair pos d_vocab_out"]:
    """Logits on the base, with nodes from the source, by caching and hooking."""
    with torch.no_grad():
        _, cache = model.run_with_cache(source)

    def head_hook(value: Tensor, hook: Any, head: int) -> Tensor:
        value[:, :, head] = cache[hook.name][:, :, head]
        return value

    def mlp_hook(value: Tensor, hook: Any) -> Tensor:
        return cache[hook.name]

    hooks: list[tuple[str, Any]] = []
    for writer in nodes.nonzero().flatten().tolist():
        layer, place = divmod(writer - 1, model.cfg.n_heads + 1)
        if place == model.cfg.n_heads:
            hooks.append((f"blocks.{layer}.mlp.hook_post", mlp_hook))
        else:
            one = functools.partial(head_hook, head=place)
            hooks.append((f"blocks.{layer}.attn.hook_result", one))
    return model.run_with_hooks(base, fwd_hooks=hooks)


def hooked_losses(
    model: HookedTransformer, algorithm: HookedTransformer, nodes: Bool[Tensor, "variable writer"]
) -> Losses:
    """The three losses, computed one after the other, as in the original."""
    model.set_use_attn_result(True)
    algorithm.set_use_attn_result(True)

    def losses(batch: Batch) -> Float[Tensor, "3"]:
        _, interchanged, free = batch.masks
        with torch.no_grad():
            logits = by_hooks(algorithm, batch.base, batch.source, nodes[batch.variable])
        target = labels(logits, batch.targets)
        iit = task_loss(by_hooks(model, batch.base, batch.source, interchanged), target)
        strict = task_loss(by_hooks(model, batch.base, batch.source, free), batch.targets[2])
        return torch.stack([task_loss(model(batch.base), batch.targets[0]), iit, strict])

    return losses


def labels(logits: Float[Tensor, "*runs pair pos d_vocab_out"], like: Tensor) -> Tensor:
    """Answers of the high-level model: values, or the most likely token."""
    if like.is_floating_point():
        return logits[..., 0]
    # Where the program is undefined, outputs are rounding errors and the label is 0.
    return torch.where(logits.abs() < _NOTHING, 0, logits).argmax(-1)


def losses_by(way: str, arrays: Mapping[str, np.ndarray]) -> tuple[HookedTransformer, Losses]:
    """A fresh model and its losses, computed in one of the `WAYS`."""
    model = load_model(arrays, "model")
    trained = Interchange(model)
    if way == "compiled":
        # `run_with_hooks`, and hooks that branch on their mask, would break the graph.
        stacked = functools.partial(siit_losses, trained, stacked=True, skip_idle=False)
        return model, torch.compile(stacked, fullgraph=True, dynamic=False)
    nodes = torch.from_numpy(arrays["algorithm.variable_nodes"]).bool()
    if way == "hooks":
        model = load_model(arrays, "model")  # without permanent hooks
        return model, hooked_losses(model, load_model(arrays, "algorithm"), nodes)
    if way != "computed":
        return model, functools.partial(siit_losses, trained, stacked=way == "stacked")
    algorithm = Interchange(load_model(arrays, "algorithm"))

    def computed(batch: Batch) -> Float[Tensor, "3"]:
        chosen = nodes[batch.variable]
        masks = torch.stack([torch.zeros_like(chosen), chosen])
        with torch.no_grad():
            logits = torch.stack(algorithm(batch.base, batch.source, masks, stacked=False))
        targets = labels(logits, batch.targets)[[0, 1, 0]]
        return siit_losses(trained, batch._replace(targets=targets), stacked=False)

    return model, computed


def trainer(model: HookedTransformer, losses: Losses) -> Losses:
    """One optimizer step on the sum of the losses; returns them as they were before."""
    weights = list(model.parameters())
    optimizer = torch.optim.Adam(weights, lr=_RATE, betas=_BETAS, fused=True)

    def step(batch: Batch) -> Float[Tensor, "3"]:
        optimizer.zero_grad()
        found = losses(batch)
        found.sum().backward()
        torch.nn.utils.clip_grad_norm_(weights, _CLIP)
        optimizer.step()
        return found.detach()

    return step


def time_way(
    way: str, arrays: Mapping[str, np.ndarray], threads: int, batches: int, repeats: int
) -> tuple[float, float, list[float]]:
    """Seconds and CPU seconds of `batches` batches with drawing; losses on the first batch."""
    torch.set_num_threads(threads)
    problem = Problem.of(arrays)
    step = trainer(*losses_by(way, arrays))
    pairs, free = (torch.from_numpy(arrays[f"first.{name}"]) for name in ("pairs", "free"))
    losses = step(problem.batch(pairs, int(arrays["first.variable"]), free.bool())).tolist()
    for _ in range(_WARM_UP):
        step(problem.draw())
    taken = []
    for _ in range(repeats):
        start = time.perf_counter(), time.process_time()
        for _ in range(batches):
            step(problem.draw())
        taken.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    return *min(taken), losses


def main() -> None:
    """Times the requested ways; the first determines the number of threads for the others."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("problem", type=Path)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--threads", nargs="+", type=int, default=(1, 2))
    parser.add_argument("--batches", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=2)
    given = parser.parse_args()
    with np.load(given.problem) as file:
        arrays = dict(file)
    length = given.batches, given.repeats
    first, *others = given.ways
    tried = {threads: time_way(first, arrays, threads, *length) for threads in given.threads}
    threads = min(tried, key=lambda n: tried[n][0])
    found = {first: tried[threads]}
    found |= {way: time_way(way, arrays, threads, *length) for way in others}
    looked_up = [way for way in found if way not in ("computed", "hooks")] or list(found)
    fastest = min(looked_up, key=lambda way: found[way][0])
    seconds, cpu_seconds, _ = found[fastest]
    result = {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "batches": given.batches,
        "peak_mb": peak_mb(),
        "way": fastest,
        "threads": threads,
        "ways": {way: seconds for way, (seconds, _, _) in found.items()},
        "losses": {way: losses for way, (_, _, losses) in found.items()},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
