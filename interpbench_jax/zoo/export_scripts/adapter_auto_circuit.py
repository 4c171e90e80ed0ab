"""The exported model and its inputs in the form that auto-circuit 1.0 takes."""

import importlib
import sys
from types import SimpleNamespace

import torch
import transformer_lens
from load import DEVICE, clean, corrupted, model, positions, target

# Names that auto-circuit uses, and that later versions of its dependencies lack.
torch.optim.adam = importlib.import_module("torch.optim.adam")
if not hasattr(transformer_lens, "HookedTransformerKeyValueCache"):
    cache = transformer_lens.TransformerLensKeyValueCache
    transformer_lens.HookedTransformerKeyValueCache = cache
    sys.modules["transformer_lens.past_key_value_caching"] = SimpleNamespace(
        HookedTransformerKeyValueCache=cache
    )

from auto_circuit.data import PromptDataLoader, PromptDataset  # noqa: E402
from auto_circuit.utils.graph_utils import patchable_model  # noqa: E402

last_only = bool(positions[0, :-1].sum() == 0)
counted = slice(-1, None) if last_only else slice(1, None)
answers = target[:, counted, None]
answers = answers[:, 0] if last_only else answers
data = PromptDataset(clean, corrupted, answers, torch.zeros_like(answers))
loader = PromptDataLoader(data, None, 0, batch_size=len(clean), shuffle=False)

model.requires_grad_(False)
patchable = patchable_model(
    model,
    factorized=True,
    slice_output="last_seq" if last_only else "not_first_seq",
    separate_qkv=True,
    device=torch.device(DEVICE),
)
