"""Compares our discovery methods with auto-circuit: time, compile time, memory and scores.

Run: `.venv/bin/python benchmarks/discovery_speed.py [--cases 3 13] [--methods acdc eap]
[--peer-python PATH] [--scale] [--json]`. The peer is `discovery_torch.py`, which lists
the packages that its Python needs. For every case and method, ours and the peer's run in one
process each; they get the same weights and inputs and take turns. Both start from tokens, so the
time includes the run on the corrupted inputs. The last line printed is JSON.

- `acdc`: `acdc_prune_scores` over 20 thresholds. Both try edges in the same order: the last readers
  first, and for each reader its last writers first. `acdc_first_writers`: for each reader its first
  writers first, which takes ours more runs, as decisions of the thresholds diverge earlier.
- `eap`: `mask_gradient_prune_scores` at mask 0.
- `eap_ig_masks`: the same with 5 steps. It sums over 6 points; ours is their mean.
- `edge_probing`: `subnetwork_probing_prune_scores`, 20 epochs; seconds are per epoch. Masks are
  random, so scores are not compared. The peer draws a mask for every input, ours one per epoch;
  `peer_one_mask_s` is the peer's time with one mask for all inputs (a sigmoid, not drawn).
- `edge_patching`: whole runs in a loop, one edge patched in each, with auto-circuit's `patch_mode`.

Losses compare with a wrong answer (cross entropy or squared error); for ACDC, and for probing of
labels, with the unpatched model (KL divergence or squared error). Position 0 is left out.
`compile_s` is the time by which our first call is longer than later ones.
"""

import contextlib
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from discovery_jax import METHODS
from discovery_scale import measure_scale
from peer import model_arrays, peer_is_missing
from rich.console import Console

from interpbench_jax.benchmark import make_contrast
from interpbench_jax.discovery import ContrastBatch
from interpbench_jax.files import to_json
from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.zoo import load_model

_OURS = Path(__file__).with_name("discovery_jax.py")
_PEER = Path(__file__).with_name("discovery_torch.py")
_STEPS, _EPOCHS, _PENALTY = 5, 20, 1.0
_TAO_BASES, _TAO_EXPONENTS = (1, 3, 5, 7, 9), (-5, -4, -3, -2)
_TOLERANCE = 1e-4
_OFF = 0.1
# Share of edges whose thresholds may differ: the rise of the loss may equal one up to rounding.
_ACDC_TOLERANCE = 0.05

Ask = Callable[[Any], dict[str, Any]]


def write_problem(
    path: Path, params: Params, config: TransformerConfig, batch: ContrastBatch
) -> None:
    """Writes everything that both sides need.

    Raises:
      ValueError: sequences differ in length; auto-circuit cannot leave out padding.
    """
    if not (np.asarray(batch.positions)[:, 1:] == 1).all():
        raise ValueError("inputs are padded; the peer counts all positions")
    arrays = model_arrays("model", params, config)
    for name in ("clean", "corrupted", "target", "positions"):
        arrays[name] = np.asarray(getattr(batch, name))
    if arrays["target"].dtype.kind == "i":
        arrays["target"] = arrays["target"].astype(np.int64)
    arrays |= {"tao_bases": _TAO_BASES, "tao_exponents": _TAO_EXPONENTS}
    arrays |= {"steps": _STEPS, "epochs": _EPOCHS, "penalty": _PENALTY}
    np.savez(path, **arrays)


@contextlib.contextmanager
def worker(python: str, script: Path, *arguments: str) -> Iterator[Ask]:
    """Starts a script that answers each JSON line it reads by one; stops it after the block.

    The yielded function sends a line, unless it is `None`, and waits for an answer.

    Raises:
      RuntimeError: the script ended; its errors are in the message.
    """
    environment = os.environ | {"TQDM_DISABLE": "1"}
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [python, str(script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment,
        )

        def ask(request: Any) -> dict[str, Any]:
            assert process.stdin is not None and process.stdout is not None
            with contextlib.suppress(BrokenPipeError):
                if request is not None:
                    print(json.dumps(request), file=process.stdin, flush=True)
            answer = process.stdout.readline()
            if not answer:
                process.wait()
                errors.seek(0)
                raise RuntimeError(f"{script.name} failed:\n{errors.read()}")
            return json.loads(answer)

        try:
            yield ask
        finally:
            with contextlib.suppress(BrokenPipeError):
                process.communicate()


def wrong_target(batch: ContrastBatch) -> jax.Array:
    """A target that differs from the model's answer: another label, or a value larger by 0.1.

    With right targets, losses are so small (outputs right up to 2e-4) that gradients have rounding
    errors of 1 %, too large to compare.
    """
    if jnp.issubdtype(batch.target.dtype, jnp.floating):
        return batch.target + _OFF
    return (batch.target + 1) % batch.clean_logits.shape[-1]


def largest_difference(
    method: str, ours: Mapping[str, float], peer: Mapping[str, float]
) -> float | None:
    """Largest difference relative to the largest score; for ACDC the share of edges that differ.

    Returns:
      `None` if scores cannot be compared.

    Raises:
      AssertionError: edges are not the same, or scores differ by more than rounding.
    """
    assert ours.keys() == peer.keys(), sorted(ours.keys() ^ peer.keys())
    if method == "edge_probing":
        return None
    a, b = (np.array([scores[name] for name in ours]) for scores in (ours, peer))
    if method.startswith("acdc"):
        share = float(1 - np.isclose(a, b, rtol=1e-5).mean())
        assert share <= _ACDC_TOLERANCE, f"{share:.0%} of ACDC's thresholds differ"
        return share
    if method == "eap_ig_masks":
        b = b / (_STEPS + 1)
    difference = float(np.abs(a - b).max() / np.abs(b).max())
    assert difference <= _TOLERANCE, f"{method}: scores differ by {difference:.1e}"
    return difference


def measure(path: Path, method: str, *, peer_python: str | None, rounds: int) -> dict[str, Any]:
    """Times ours and the peer, taking turns; the best turn of each counts.

    Args:
      path: file with model and inputs.
      method: name of the method.
      peer_python: the Python that has the peer's packages; `None` measures only ours.
      rounds: turns of each.
    """
    with contextlib.ExitStack() as stack:
        peer: Ask | None = None
        ready: dict[str, Any] = {}
        if peer_python is not None:
            peer = stack.enter_context(worker(peer_python, _PEER, str(path), method))
            ready = peer(None)
        ours = stack.enter_context(worker(sys.executable, _OURS, str(path), method))
        compile_s = ours(ready.get("order", []))["compile_s"]
        our_turns, peer_turns, difference = [], [], None
        for turn in range(rounds):
            our_turns.append(ours(turn))
            if peer is None:
                continue
            peer_turns.append(peer(turn))
            if turn == 0:
                difference = largest_difference(
                    method, our_turns[0]["scores"], peer_turns[0]["scores"]
                )
    per = _EPOCHS if method == "edge_probing" else 1
    found: dict[str, Any] = {
        "ours_s": min(turn["seconds"] for turn in our_turns) / per,
        "peer_s": None,
        "ratio": None,
        "compile_s": compile_s,
        "ours_mb": our_turns[-1]["peak_mb"],
        "peer_mb": None,
        "difference": difference,
    }
    if peer_turns:
        found["peer_s"] = min(turn["seconds"] for turn in peer_turns) / per
        found["ratio"] = found["peer_s"] / found["ours_s"]
        found["peer_mb"] = peer_turns[-1]["peak_mb"]
        found["peer_threads"] = ready["threads"]
        if "one_mask_s" in ready:
            found["peer_one_mask_s"] = ready["one_mask_s"] / per
    return {key: _rounded(value) for key, value in found.items()}


def _rounded(value: Any) -> Any:
    """Floats rounded to four digits."""
    if not isinstance(value, float) or value == 0 or not math.isfinite(value):
        return value
    return round(value, 3 - math.floor(math.log10(abs(value))))


def _readable(name: str, found: Mapping[str, Any]) -> str:
    def milliseconds(value: float) -> str:
        return f"{value * 1e3:.1f} ms"

    line = (
        f"{name}: ours {milliseconds(found['ours_s'])}, {found['ours_mb']:.0f} MB,"
        f" compiling {found['compile_s']:.1f} s"
    )
    if found["ratio"] is not None:
        line += (
            f"; peer {milliseconds(found['peer_s'])}, {found['peer_mb']:.0f} MB,"
            f" threads: {found['peer_threads']}; {found['ratio']:.1f} times as long"
        )
    if found["difference"] is not None:
        line += f"; largest difference {found['difference']:.1e}"
    if "peer_one_mask_s" in found:
        line += f"; peer with one mask for all inputs {milliseconds(found['peer_one_mask_s'])}"
    return line


def main(
    cases: tuple[str, ...] = ("3", "13"),
    *,
    methods: tuple[str, ...] = METHODS,
    n_inputs: int = 1_000,
    rounds: int = 3,
    peer_python: str = sys.executable,
    scale: bool = False,
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> None:
    """Measure discovery methods, ours and auto-circuit's.

    Args:
      cases: bundled models, or directories of models.
      methods: names of methods.
      n_inputs: number of clean inputs, and of corrupted ones.
      rounds: how often ours and the peer take turns.
      peer_python: the Python that has auto-circuit.
      scale: measure ours on larger models as well; see `discovery_scale.py`.
      as_json: print only the JSON line.
    """
    unknown = set(methods) - set(METHODS)
    if unknown:
        sys.exit(f"unknown methods {', '.join(sorted(unknown))}; known: {', '.join(METHODS)}")
    console = Console(quiet=as_json)
    missing = peer_is_missing(peer_python, str(_PEER), "--help")
    if missing:
        console.print(f"{peer_python} cannot run the peer: {missing}", highlight=False)
        console.print(f"{_PEER.name} lists the packages it needs", highlight=False)
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            model = load_model(case)
            path = Path(folder) / "problem.npz"
            batch = make_contrast(model, jax.random.key(0), n_inputs=n_inputs)
            batch = batch._replace(target=wrong_target(batch))
            write_problem(path, model.params, model.config, batch)
            for method in methods:
                name = f"{case}/{method}"
                python = None if missing else peer_python
                results[name] = measure(path, method, peer_python=python, rounds=rounds)
                console.print(_readable(name, results[name]), highlight=False, soft_wrap=True)
    if scale:
        for name, found in measure_scale():
            results[f"scale/{name}"] = found
            console.print(f"scale/{name}: {found}", highlight=False, soft_wrap=True)
    print(to_json(results))


if __name__ == "__main__":
    tyro.cli(main)
