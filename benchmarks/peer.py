"""What scripts that compare with a peer in PyTorch have in common."""

import json
import subprocess
from dataclasses import asdict
from typing import Any

from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.zoo import to_transformer_lens


def peer_is_missing(*command: str) -> str | None:
    """Why a command of the peer's Python fails: the last line of its errors; None if it works."""
    ran = subprocess.run(command, capture_output=True, text=True)
    return ran.stderr.strip().splitlines()[-1] if ran.returncode else None


def model_arrays(name: str, params: Params, config: TransformerConfig) -> dict[str, Any]:
    """Weights by their names in TransformerLens, and the config as JSON, for an `.npz` file."""
    weights = to_transformer_lens(params)
    arrays: dict[str, Any] = {f"{name}.weights.{key}": weight for key, weight in weights.items()}
    return arrays | {f"{name}.config": json.dumps(asdict(config))}
