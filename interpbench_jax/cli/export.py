"""`interpbench export`."""

import contextlib
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from interpbench_jax.cli.models import load_models
from interpbench_jax.cli.output import OUT, make_directories, print_line


def export(
    models: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="MODEL...")
    ] = (),
    *,
    tool: Annotated[str, tyro.conf.arg(name="for")] = "eap-ig",
    results: Path | None = None,
    n_inputs: int = 1_000,
    seed: int = 0,
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = OUT / "export",
) -> None:
    """Write models with their inputs for tools in PyTorch; `interpbench score` reads scores back.

    Every model gets a folder with weights, config, clean and corrupted inputs, a script that loads
    them in the tool and computes scores, and a README. The inputs are the same that `interpbench
    discover` and `benchmark` draw with the same seed.

    With --results, scores of a results store are written as folders of MIB's circuit track instead.

    Args:
      models: bundled models by name, or directories; by default all bundled models that the tool
        can use.
      tool: eap-ig, auto-circuit, transformer-lens or mib.
      results: directory that `interpbench benchmark` or `score` wrote; needs --for mib.
      n_inputs: clean and corrupted inputs to draw.
      seed: seed of the inputs.
      out: where to write.
    """
    if results is not None:
        _submit(results, models, tool, out)
        return
    from interpbench_jax.benchmark import make_contrast
    from interpbench_jax.benchmark.findings import check_inputs
    from interpbench_jax.benchmark.keys import key_of
    from interpbench_jax.benchmark.plan import check_seed, named_model
    from interpbench_jax.zoo import bundled_names
    from interpbench_jax.zoo.export import (
        check_export,
        named_tool,
        transformer_lens_config,
        withdraw_export,
        write_export,
    )
    from interpbench_jax.zoo.store import BUNDLED

    used = named_tool(tool)
    check_inputs(n_inputs=n_inputs, ablation="resample")
    check_seed(seed)
    names = models or bundled_names()
    loaded = load_models(names)
    for model in loaded.values():
        transformer_lens_config(model.config)  # before anything is written
    directories = make_directories(out, loaded)
    left_out: dict[str, str] = {}  # of all bundled models, those that the tool cannot use
    with Console(stderr=True).status("") as status:
        for given, (name, model) in zip(names, loaded.items(), strict=True):
            status.update(f"exporting {name}")
            batch = make_contrast(model, key_of(seed, "inputs", model.case), n_inputs=n_inputs)
            source = named_model(given)
            facts: dict[str, Any] = {
                "model": source.name,
                "model_id": source.fingerprint,
                "ablation": "resample",
                "seed": seed,
                "n_inputs": n_inputs,
            }
            place = Path(str(source.directory)).resolve()
            if not place.is_relative_to(BUNDLED.resolve()):
                facts["directory"] = str(place)
            try:
                check_export(model, batch, used)
            except ValueError as error:
                if models:
                    raise
                moved = withdraw_export(directories[name])
                left_out[name] = str(error)
                if moved:
                    older = moved[0].parent
                    left_out[name] += f"; results of an older export are kept in {older}"
                with contextlib.suppress(OSError):  # not empty: files of an older export
                    directories[name].rmdir()
                continue
            write_export(model, batch, directories[name], used, facts)
    for name, reason in left_out.items():
        print_line(f"left out {name}: {reason}")
    n_written = len(loaded) - len(left_out)
    print_line(f"{n_written} model{'s' * (n_written != 1)} for {tool} in {out}")
    print_line(f"in each folder: python run.py; then: interpbench score {out}")


def _submit(results: Path, models: tuple[str, ...], tool: str, out: Path) -> None:
    from interpbench_jax.benchmark.mib_submission import write_submissions
    from interpbench_jax.benchmark.results_store import Store

    if tool != "mib" or models:
        raise ValueError(
            f"--results exports all models of a store for mib; got --for {tool}"
            + (f" and models {', '.join(models)}" if models else "")
        )
    submissions = write_submissions(Store(results), out)
    for submission in submissions:
        print_line(f"{submission.directory}: {len(submission.names)} models")
    reasons = dict.fromkeys(reason for one in submissions for reason in one.shortcomings)
    for reason in reasons:
        concerned = [one.directory.name for one in submissions if reason in one.shortcomings]
        where = "" if len(concerned) == len(submissions) else f" ({', '.join(concerned)})"
        print_line(f"cannot be submitted yet: {reason}{where}")
