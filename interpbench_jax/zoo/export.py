"""Export of a model with everything that a discovery method in PyTorch needs.

A folder holds weights, config, inputs, a short script that computes scores (`run.py`), the scripts
that it builds on, and a README. `export.json` identifies the model when scores are read back.
"""

import ast
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import jinja2
import numpy as np

from interpbench_jax.discovery import ContrastBatch
from interpbench_jax.files import make_directory, read_json, replacing, set_aside, write_json
from interpbench_jax.model import TransformerConfig
from interpbench_jax.zoo.formats.discovered import Discovered
from interpbench_jax.zoo.formats.eap_ig import to_eap_ig
from interpbench_jax.zoo.formats.edge_list import to_edge_list
from interpbench_jax.zoo.formats.edge_names import Naming
from interpbench_jax.zoo.hooked_config import ACTIVATION_NAMES, SIZES
from interpbench_jax.zoo.mib import mib_name
from interpbench_jax.zoo.model import BenchmarkModel
from interpbench_jax.zoo.transformer_lens import to_transformer_lens

Tool = Literal["eap-ig", "auto-circuit", "transformer-lens", "mib"]
MANIFEST = "export.json"
_VERSION = 1
_SCRIPTS = Path(__file__).parent / "export_scripts"
# The scripts of a folder: their names there, and those of their sources.
_SCRIPTS_FOR: dict[Tool, dict[str, str]] = {
    "eap-ig": {"adapter.py": "adapter_eap_ig.py", "loss.py": "loss.py", "run.py": "run_eap_ig.py"},
    "auto-circuit": {"adapter.py": "adapter_auto_circuit.py", "run.py": "run_auto_circuit.py"},
    "transformer-lens": {
        "adapter.py": "adapter_transformer_lens.py",
        "loss.py": "loss.py",
        "run.py": "run_transformer_lens.py",
    },
    "mib": {"adapter.py": "adapter_eap_ig.py", "loss.py": "loss_mib.py", "run.py": "run_mib.py"},
}
_HOOKS = ("use_attn_result", "use_split_qkv_input", "use_hook_mlp_in")
# The required entries of a manifest and their types.
_FACTS = {
    "version": int, "tool": str, "model": str, "model_id": str, "case": str, "ablation": str,
    "seed": int, "n_inputs": int,
}  # fmt: skip


def transformer_lens_config(config: TransformerConfig) -> dict[str, Any]:
    """The arguments of `HookedTransformerConfig` for the same network.

    They enable the hooks that methods on edges need.

    Raises:
      ValueError: sequences may be padded and attention is not causal; TransformerLens masks padding
        only in causal attention.
    """
    if config.pad is not None and not config.causal:
        raise ValueError(
            f"pad is {config.pad} and attention is not causal: TransformerLens cannot mask padding "
            "in such attention; expected a model whose inputs all have one length"
        )
    sizes = {name: size for name, size in asdict(config).items() if name in SIZES}
    return {
        **sizes,
        "act_fn": ACTIVATION_NAMES[config.activation],
        "attention_dir": "causal" if config.causal else "bidirectional",
        "normalization_type": "LN" if config.layer_norm else None,
        "eps": config.layer_norm_eps,
        **dict.fromkeys(_HOOKS, True),
    }


def named_tool(name: str) -> Tool:
    """Looks up a tool by its name on the command line.

    Raises:
      ValueError: there is no tool of that name.
    """
    for known in get_args(Tool):
        if known == name:
            return known
    raise ValueError(f"unknown tool {name!r}; known: {', '.join(get_args(Tool))}")


def check_export(model: BenchmarkModel, batch: ContrastBatch, tool: Tool) -> None:
    """Checks that a tool supports a model and its inputs.

    Raises:
      ValueError: it cannot; the message says why.
    """
    transformer_lens_config(model.config)
    counted = np.asarray(batch.positions)
    all_but_first, last = np.ones_like(counted), np.zeros_like(counted)
    all_but_first[:, 0], last[:, -1] = 0, 1
    if tool == "auto-circuit" and not any(
        np.array_equal(counted, c) for c in (all_but_first, last)
    ):
        raise ValueError(
            f"auto-circuit counts all positions except the first, or only the last; model "
            f"{model.case} counts others, such as {counted[0].tolist()}"
        )


def write_export(
    model: BenchmarkModel,
    batch: ContrastBatch,
    directory: Path,
    tool: Tool,
    facts: Mapping[str, Any],
) -> None:
    """Writes the folder of one model; files of an earlier export there are replaced.

    Results of the other tool on an earlier export are moved to `older`: they may be of another
    model.

    Args:
      model: the model.
      batch: clean and corrupted inputs, with the right answers.
      directory: where to write; created if missing.
      tool: the tool that `run.py` uses.
      facts: identification of the model and its inputs: `model` (its name in results), `model_id`,
        `directory` unless it is bundled, `ablation`, `seed` and `n_inputs`.

    Raises:
      ValueError: as `check_export`; or the directory cannot be written to.
    """
    check_export(model, batch, tool)
    make_directory(directory)
    withdraw_export(directory)  # the manifest is written last: without it, there is no export
    arrays = {name: np.asarray(getattr(batch, name)) for name in _INPUTS}
    if batch.foil is not None:
        arrays["foil"] = np.asarray(batch.foil)
    _write_arrays(directory / "inputs.npz", {n: _plain_type(a) for n, a in arrays.items()})
    _write_arrays(directory / "weights.npz", to_transformer_lens(model.params))
    write_json(directory / "config.json", transformer_lens_config(model.config))
    with replacing(directory / "circuit.json") as partial:
        partial.write_text(_truth(model, tool), "utf-8")
    for name, source in {"load.py": "load.py", **_SCRIPTS_FOR[tool]}.items():
        with replacing(directory / name) as partial:
            shutil.copyfile(_SCRIPTS / source, partial)
    manifest = {"version": _VERSION, "tool": tool, "case": model.case, **facts}
    if tool == "mib":
        manifest["mib_name"] = mib_name(model.case, str(facts["model"]))
    with replacing(directory / "README.md") as partial:
        partial.write_text(_readme(model, batch, tool, manifest), "utf-8")
    write_json(directory / MANIFEST, manifest)


def withdraw_export(directory: Path) -> list[Path]:
    """Ends an earlier export: `interpbench score` no longer reads its results.

    Args:
      directory: the folder of one model; nothing happens if it holds no export.

    Returns:
      The new places of results, which are moved to `older`.

    Raises:
      OSError: they cannot be moved.
    """
    (directory / MANIFEST).unlink(missing_ok=True)
    results = (directory / name for name in ("scores", "circuits"))
    return [set_aside(place) for place in results if place.exists()]


def read_manifest(directory: Path) -> dict[str, Any] | None:
    """The facts that `write_export` stored; None if the directory is not an export.

    Raises:
      ValueError: the file holds something else, or has a later version.
    """
    file = directory / MANIFEST
    try:
        facts = read_json(file)
    except FileNotFoundError:
        return None
    if not isinstance(facts, dict):
        raise ValueError(f"{file} does not describe an export")
    for name, kind in _FACTS.items():
        if type(facts.get(name)) is not kind:
            raise ValueError(f"{file} does not describe an export: no {kind.__name__} {name!r}")
    if facts["version"] > _VERSION:
        raise ValueError(f"{file} has version {facts['version']}, expected at most {_VERSION}")
    return facts


_INPUTS = ("clean", "corrupted", "target", "positions")


def _write_arrays(file: Path, arrays: Mapping[str, np.ndarray]) -> None:
    with replacing(file) as partial, partial.open("wb") as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]


def _plain_type(array: np.ndarray) -> np.ndarray:
    """Converts to a type that PyTorch accepts as index or number."""
    return array.astype(np.int64 if array.dtype.kind in "iu" else np.float32)


def _truth(model: BenchmarkModel, tool: Tool) -> str:
    """The true circuit in the tool's own format."""
    if tool in ("eap-ig", "mib"):
        found = Discovered(graph=model.graph, circuit=model.circuit)
        return to_eap_ig(found, d_model=model.config.d_model)
    naming: Naming = "auto-circuit" if tool == "auto-circuit" else "transformer-lens"
    return to_edge_list(model.circuit, naming=naming)


class _Loss(NamedTuple):
    """The loss of `run.py`: a description, and its name in `discovery.named_loss`."""

    text: str
    name: str


_LOSSES = {
    "label": _Loss("Cross entropy between logits and label, in nats", "cross_entropy"),
    "value": _Loss("Absolute difference between output and right value", "mae"),
}
_OWN_LOSSES = {
    ("mib", "label"): _Loss(
        "The logit of the foil, or the largest wrong logit if there is no foil, minus the logit of "
        "the label (MIB's metric)",
        "logit_difference",
    ),
    ("auto-circuit", "value"): _Loss("Squared difference between output and right value", "mse"),
}
_WRITES = {
    "eap-ig": "`scores/eap.json`, a graph of EAP-IG (the output of its `to_pt` works too)",
    "auto-circuit": "`scores/eap.json`, scores by edge",
    "transformer-lens": "`scores/eap.csv`, a table of scores",
    "mib": "`circuits/EAP_patching_edge/{mib_name}/importances.json`",
}
_WITH_EAP = "pip install 'transformer-lens>=2.15,<4' git+https://github.com/hannamw/EAP-IG"
_INSTALL = {
    "eap-ig": _WITH_EAP,
    "auto-circuit": "pip install 'transformer-lens>=2,<4' attrs blobfile ordered-set plotly\n"
    "pip install --no-deps auto-circuit==1.0.1",
    "transformer-lens": "pip install 'transformer-lens>=2,<4'",
    "mib": _WITH_EAP,
}


def _readme(
    model: BenchmarkModel, batch: ContrastBatch, tool: Tool, facts: Mapping[str, Any]
) -> str:
    kind = "value" if np.asarray(batch.target).dtype.kind == "f" else "label"
    loss = _OWN_LOSSES.get((tool, kind), _LOSSES[kind])
    template = (_SCRIPTS / "README.md.jinja").read_text("utf-8")
    adapter = (_SCRIPTS / _SCRIPTS_FOR[tool]["adapter.py"]).read_text("utf-8")
    return (
        jinja2.Template(template, undefined=jinja2.StrictUndefined, trim_blocks=True).render(
            **facts,
            title=model.card.get("title", ""),
            n_pos=batch.clean.shape[1],
            kind=kind,
            foil=batch.foil is not None,
            loss=loss.text,
            loss_name=loss.name,
            install=_INSTALL[tool],
            writes=_WRITES[tool].format_map(facts),
            folder="circuits" if tool == "mib" else "scores",
            adapter=str(ast.get_docstring(ast.parse(adapter))).removesuffix("."),
            own_loss="loss.py" in _SCRIPTS_FOR[tool],
        )
        + "\n"
    )
