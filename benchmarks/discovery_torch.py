"""Discovery by `auto-circuit` 1.0.1: the peer that `discovery_speed.py` runs and compares with.

Needs `torch`, `transformer-lens` and `auto-circuit`, and nothing from this package, so it can run
in a separate Python environment. auto-circuit pins packages that are not needed here and conflict
with others; installed as follows it works:

    pip install 'torch==2.13.0' 'transformer-lens>=2.0,<4' attrs blobfile ordered-set plotly
    pip install --no-deps 'auto-circuit==1.0.1'

It reads model and inputs from the `.npz` file that `discovery_speed.py` writes. After a warm-up it
prints one JSON line, and then one with time and scores for every line that it reads.

auto-circuit is called as documented. It was written for TransformerLens 1, in which a class that it
uses for type annotations had another name, and for a PyTorch that exposed the module of Adam:
`_old_names` adds both.

In the peer's favour: weights require no gradients; batches are collated once, not in every call;
progress bars are off if the variable `TQDM_DISABLE` is set; one thread if two are slower.
"""

import argparse
import contextlib
import importlib
import itertools
import json
import sys
import time
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformer_lens
from peak_memory import peak_mb
from siit_torch import load_model
from torch import Tensor
from torch.nn import functional


def _old_names() -> None:
    """Adds to TransformerLens and PyTorch the old names that auto-circuit uses."""
    torch.optim.adam = importlib.import_module("torch.optim.adam")
    if hasattr(transformer_lens, "HookedTransformerKeyValueCache"):
        return
    cache = transformer_lens.TransformerLensKeyValueCache
    transformer_lens.HookedTransformerKeyValueCache = cache
    module: Any = types.ModuleType("transformer_lens.past_key_value_caching")
    module.HookedTransformerKeyValueCache = cache
    sys.modules[module.__name__] = module


_old_names()

from auto_circuit.data import PromptDataLoader, PromptDataset, PromptPairBatch  # noqa: E402
from auto_circuit.prune_algos.ACDC import acdc_prune_scores  # noqa: E402
from auto_circuit.prune_algos.mask_gradient import mask_gradient_prune_scores  # noqa: E402
from auto_circuit.prune_algos.subnetwork_probing import (  # noqa: E402
    subnetwork_probing_prune_scores,
)
from auto_circuit.types import Edge, PruneScores  # noqa: E402
from auto_circuit.utils.ablation_activations import src_ablations  # noqa: E402
from auto_circuit.utils.graph_utils import (  # noqa: E402
    patch_mode,
    patchable_model,
    set_all_masks,
)
from auto_circuit.utils.patchable_model import PatchableModel  # noqa: E402
from ordered_set import OrderedSet  # noqa: E402

Arrays = Mapping[str, np.ndarray]
Scores = dict[str, float]

_SMALL = 50
_TURN_SECONDS = 0.5


class CollatedOnce(PromptDataLoader):
    """All inputs as one batch, collated when the loader is made."""

    def __init__(self, arrays: Arrays, n_inputs: int) -> None:
        """Takes the first `n_inputs` inputs; position 0 has no answer."""
        clean, corrupted = (
            torch.from_numpy(arrays[name]).long() for name in ("clean", "corrupted")
        )
        answers = torch.from_numpy(arrays["target"])[:, 1:, None]
        dataset = PromptDataset(clean, corrupted, answers, torch.zeros_like(answers))
        inputs = torch.utils.data.Subset(dataset, range(n_inputs))
        super().__init__(inputs, seq_len=None, diverge_idx=0, batch_size=n_inputs, shuffle=False)
        self.batches = list(super().__iter__())

    def __iter__(self) -> Iterator[PromptPairBatch]:
        """That batch."""
        return iter(self.batches)


def load_patchable(arrays: Arrays) -> PatchableModel:
    """The model with auto-circuit's wrappers; q, k and v of each head are separate readers."""
    model = load_model(arrays, "model")
    model.requires_grad_(False)
    model.set_use_attn_result(True)
    model.set_use_split_qkv_input(True)
    model.set_use_hook_mlp_in(True)
    return patchable_model(model, factorized=True, slice_output="not_first_seq", separate_qkv=True)


def our_name(edge: Edge) -> str:
    """The name of an edge in our notation: `A1.0->A2.3.Q` is `a1.h0->a2.h3<q>`."""
    return f"{_our_node(edge.src.name)}->{_our_node(edge.dest.name)}"


def _our_node(name: str) -> str:
    ends = {"Resid Start": "input", "Resid End": "logits"}
    if name in ends:
        return ends[name]
    if name.startswith("MLP"):
        return f"m{name.split()[1]}"
    layer, head, *input_of_head = name.removeprefix("A").split(".")
    return f"a{layer}.h{head}" + "".join(f"<{letter.lower()}>" for letter in input_of_head)


def run_acdc(model: PatchableModel, loader: CollatedOnce, arrays: Arrays, quick: bool) -> Scores:
    """The smallest threshold at which an edge is removed, infinity if none does."""
    bases, exponents = arrays["tao_bases"].tolist(), arrays["tao_exponents"].tolist()
    scores = acdc_prune_scores(
        model,
        loader,
        None,
        tao_bases=bases[:1] if quick else bases,
        tao_exps=exponents[:1] if quick else exponents,
        faithfulness_target="kl_div" if _categorical(arrays) else "mse",
    )
    return _by_edge(model, scores)


def run_eap(model: PatchableModel, loader: CollatedOnce, arrays: Arrays, quick: bool) -> Scores:
    """The gradient of the loss at masks that are zero."""
    del quick
    return _by_edge(
        model, mask_gradient_prune_scores(model, loader, None, **_loss(arrays), mask_val=0.0)
    )


def run_ig(model: PatchableModel, loader: CollatedOnce, arrays: Arrays, quick: bool) -> Scores:
    """The sum of those gradients at masks from zero to one."""
    del quick
    steps = int(arrays["steps"])
    return _by_edge(
        model,
        mask_gradient_prune_scores(
            model, loader, None, **_loss(arrays), integrated_grad_samples=steps
        ),
    )


def run_probing(
    model: PatchableModel,
    loader: CollatedOnce,
    arrays: Arrays,
    quick: bool,
    mask_fn: str = "hard_concrete",
) -> Scores:
    """Learnt masks; patches insert the mean over corrupted inputs into clean runs."""
    scores = subnetwork_probing_prune_scores(
        model,
        loader,
        None,
        epochs=2 if quick else int(arrays["epochs"]),
        regularize_lambda=float(arrays["penalty"]),
        mask_fn=mask_fn,
        tree_optimisation=True,
        faithfulness_target="kl_div" if _categorical(arrays) else "mse",
    )
    return _by_edge(model, scores)


def run_patching(
    model: PatchableModel, loader: CollatedOnce, arrays: Arrays, quick: bool
) -> Scores:
    """The rise of the loss when one edge is patched: our loop of whole runs."""
    (batch,) = loader
    sources = src_ablations(model, batch.corrupt)
    set_all_masks(model, val=0.0)
    edges = itertools.islice(model.edges, 20 if quick else None)
    loss = _cross_entropy if _categorical(arrays) else functional.mse_loss
    effects = {}
    with torch.inference_mode(), patch_mode(model, sources):
        unpatched = loss(model(batch.clean)[model.out_slice], batch.answers)
        for edge in edges:
            mask = edge.patch_mask(model).data
            mask[edge.patch_idx] = 1.0
            patched = loss(model(batch.clean)[model.out_slice], batch.answers)
            mask[edge.patch_idx] = 0.0
            effects[our_name(edge)] = (patched - unpatched).item()
    return effects


def _categorical(arrays: Arrays) -> bool:
    return arrays["target"].dtype.kind == "i"


def _loss(arrays: Arrays) -> dict[str, str]:
    if _categorical(arrays):  # together these are the cross entropy
        return {"grad_function": "logprob", "answer_function": "avg_val"}
    return {"grad_function": "logit", "answer_function": "mse"}


def _cross_entropy(logits: Tensor, answers: Tensor) -> Tensor:
    return functional.cross_entropy(logits.flatten(0, 1), answers.flatten())


def _by_edge(model: PatchableModel, scores: PruneScores) -> Scores:
    return {
        our_name(edge): scores[edge.dest.module_name][edge.patch_idx].item() for edge in model.edges
    }


METHODS: dict[str, Callable[..., Scores]] = {
    "acdc": run_acdc,
    "acdc_first_writers": run_acdc,
    "eap": run_eap,
    "eap_ig_masks": run_ig,
    "edge_probing": run_probing,
    "edge_patching": run_patching,
}


def seconds_of(run: Callable[[], Scores], at_least: float = 0.0) -> tuple[float, Scores]:
    """Seconds of the fastest call, and the last result; calls until `at_least` seconds passed."""
    taken: list[float] = []
    while not taken or sum(taken) < at_least:
        start = time.perf_counter()
        scores = run()
        taken.append(time.perf_counter() - start)
    return min(taken), scores


def fewest_threads(run: Callable[[], Scores]) -> int:
    """Sets and returns the number of threads, one or two, that is fastest."""
    tried = {}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        run()
        tried[threads], _ = seconds_of(run)
    best = min(tried, key=lambda threads: tried[threads])
    torch.set_num_threads(best)
    return best


def put_in_order(model: PatchableModel, method: str) -> None:
    """Puts the model's edges in an order that is the same in every run.

    `acdc_prune_scores` sorts them by the reader's layer, and takes edges of equal layer in the
    order of a set. That order changes from run to run (in Python 3.11 the hash of `None` is an
    address), and with it the number of runs that ours needs: from 64 to 235 on case 13. Here,
    readers and their writers are ordered from last to first; for `acdc_first_writers`, writers from
    first to last.
    """
    by_writer = sorted(model.edges, key=lambda edge: (edge.src.layer, edge.src.name))
    if method != "acdc_first_writers":
        by_writer.reverse()
    readers = sorted({(edge.dest.layer, edge.dest.name) for edge in by_writer}, reverse=True)
    place = {name: number for number, (_, name) in enumerate(readers)}
    model.edges = OrderedSet(sorted(by_writer, key=lambda edge: place[edge.dest.name]))


def removal_order(model: PatchableModel) -> list[str]:
    """The order in which `acdc_prune_scores` tries edges: sorted by layer of the reader."""
    edges = sorted(model.edges, key=lambda edge: edge.dest.layer, reverse=True)
    return [our_name(edge) for edge in edges]


def serve(arrays: Arrays, method: str) -> Iterator[dict[str, Any]]:
    """The lines to print: one after the warm-up, then one for every turn."""
    model, run = load_patchable(arrays), METHODS[method]
    put_in_order(model, method)
    loader = CollatedOnce(arrays, len(arrays["clean"]))
    run(model, CollatedOnce(arrays, min(_SMALL, len(loader.dataset))), arrays, True)
    ready = {
        "threads": fewest_threads(lambda: run(model, loader, arrays, True)),
        "order": removal_order(model),
    }
    if method == "edge_probing":
        ready["one_mask_s"], _ = seconds_of(lambda: run(model, loader, arrays, False, "sigmoid"))
    yield ready
    while True:
        seconds, scores = seconds_of(lambda: run(model, loader, arrays, False), _TURN_SECONDS)
        yield {"seconds": seconds, "scores": scores, "peak_mb": peak_mb()}


def main() -> None:
    """Prints one line after the warm-up and one for every line read."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("problem", type=Path)
    parser.add_argument("method", choices=METHODS)
    given = parser.parse_args()
    with np.load(given.problem) as file:
        arrays = dict(file)
    answers, out = serve(arrays, given.method), sys.stdout
    with contextlib.redirect_stdout(sys.stderr):  # only answers on stdout
        print(json.dumps(next(answers)), file=out, flush=True)
        for _ in sys.stdin:
            print(json.dumps(next(answers)), file=out, flush=True)


if __name__ == "__main__":
    main()
