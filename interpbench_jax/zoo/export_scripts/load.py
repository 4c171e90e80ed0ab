"""The exported model in TransformerLens 2 or 3, and its inputs."""

import json
from pathlib import Path

import numpy as np
import torch
from transformer_lens import HookedTransformer, HookedTransformerConfig

HERE = Path(__file__).parent
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

config = json.loads((HERE / "config.json").read_text())
model = HookedTransformer(HookedTransformerConfig.from_dict({**config, "device": DEVICE}))
with np.load(HERE / "weights.npz") as file:
    weights = {name: torch.from_numpy(array).to(DEVICE) for name, array in file.items()}
model.load_state_dict({**model.state_dict(), **weights})
model.eval()

with np.load(HERE / "inputs.npz") as file:
    inputs = {name: torch.from_numpy(array).to(DEVICE) for name, array in file.items()}
clean, corrupted, target, positions = (
    inputs[name] for name in ("clean", "corrupted", "target", "positions")
)
