"""Makes the files beside it: `python make.py`, with torch 2.13 and transformer-lens 3.9."""

import pickle
from pathlib import Path

import numpy as np
import torch
from transformer_lens.config import HookedTransformerConfig

HERE = Path(__file__).parent
NUMBERS = np.arange(24).reshape(4, 6) - 5

DTYPES = "float16 bfloat16 float32 float64 uint8 int8 int16 int32 int64 bool".split()


def main() -> None:
    """Writes tensors of every type, views of shared storages, and a config as an object."""
    numbers = torch.from_numpy(NUMBERS)
    torch.save({name: numbers.to(getattr(torch, name)) for name in DTYPES}, HERE / "types.pt")
    whole = numbers.float()
    views = {
        "whole": whole,
        "transposed": whole.T,
        "part": whole[1:, ::2],
        "expanded": whole[:1].expand(7, -1),
        "number": whole[2, 3],
        "empty": whole[:0],
        "axes": whole.reshape(2, 2, 3, 2).permute(3, 1, 0, 2),
        "own": whole.clone(),
    }
    torch.save(views, HERE / "views.pt")
    linear = torch.nn.Linear(3, 2)
    with torch.no_grad():
        linear.weight.copy_(whole[:2, :3])
        linear.bias.copy_(whole[3, :2])
    nested = {
        "state": linear.state_dict(),
        "parameters": dict(linear.named_parameters()),
        "cfg": {"n_layers": 2, "eps": 1e-5, "name": "text", "dtype": torch.float32, "none": None},
        "list": [1, -(2**40), (True, b"\0\xff", b""), np.float64(0.25), linear.weight.size()],
    }
    torch.save(nested, HERE / "nested.pt")
    torch.save(nested, HERE / "older.pt", _use_new_zipfile_serialization=False)
    torch.save(linear, HERE / "module.pt")
    config = HookedTransformerConfig(
        n_layers=2,
        d_model=12,
        n_ctx=5,
        d_head=3,
        n_heads=4,
        d_mlp=48,
        act_fn="gelu",
        d_vocab=6,
        d_vocab_out=1,
        normalization_type=None,
        device="cpu",
        seed=0,
        initializer_range=np.float64(0.25),
    )
    (HERE / "config.pkl").write_bytes(pickle.dumps(config))
    (HERE / "config_protocol_2.pkl").write_bytes(pickle.dumps(config.to_dict(), 2))


if __name__ == "__main__":
    main()
