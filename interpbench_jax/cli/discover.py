"""`interpbench discover`."""

import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from interpbench_jax.benchmark.own_method import method_label, named_methods
from interpbench_jax.benchmark.plan import check_seed
from interpbench_jax.cli.models import load_models
from interpbench_jax.cli.output import (
    OUT,
    console,
    counting_bar,
    make_directories,
    need_some,
    print_findings,
)
from interpbench_jax.files import error_text

if TYPE_CHECKING:
    from interpbench_jax.benchmark import Finding


def discover(
    models: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="MODEL...")],
    *,
    methods: tuple[str, ...] = ("eap", "eap_ig_masks", "acdc"),
    ablation: str = "resample",
    loss: str | None = None,
    n_inputs: int = 1_000,
    seed: int = 0,
    selection: str = "usual",
    out: Path = OUT / "discover",
) -> int:
    """Run circuit discovery methods on models, and score and draw the found circuits.

    A method that fails on a model does not stop the others, but the exit status is then 1.

    Args:
      models: bundled models by name, or directories.
      methods: names of methods, `all` for every method of the package, or your own:
        `module:function` with the module in the working directory or installed, or
        `file.py:function`.
      ablation: source of patches: resample, mean, mean_per_position, zero or optimal (the constants
        with the lowest loss: the given one, or by default the loss against the right answer).
      loss: kl, cross_entropy or logit_difference for labels, mse_to_clean, mse or mae for values;
        by default each method's usual loss, see `discovery.usual_loss`.
      n_inputs: clean and corrupted inputs to draw.
      seed: seed of the inputs and of a method's own randomness.
      selection: how scores become circuits: top_n takes the best edges, greedy searches from the
        logits; usual is the selection of each method's paper.
      out: directory for scores and drawings.
    """
    from interpbench_jax.benchmark import make_contrast, run_methods, write_findings
    from interpbench_jax.benchmark.findings import check_inputs, methods_by_name, selection_of
    from interpbench_jax.benchmark.keys import key_of
    from interpbench_jax.benchmark.shared_shapes import in_shared_shape, rows_for
    from interpbench_jax.discovery import named_loss

    # Checks all settings before any work.
    need_some(methods, "method")
    methods = named_methods(methods)
    methods_by_name(methods)
    selection_of("", selection)
    check_inputs(n_inputs=n_inputs, ablation=ablation)
    check_seed(seed)
    loaded = {name: in_shared_shape(model) for name, model in load_models(models).items()}
    losses = {
        name: None if loss is None else named_loss(loss, model.task.categorical)
        for name, model in loaded.items()
    }
    directories = make_directories(out, loaded)

    settings = {"ablation": ablation, "n_inputs": n_inputs, "seed": seed}
    found: dict[str, list[Finding]] = {name: [] for name in loaded}
    failures: list[str] = []
    with counting_bar(transient=True) as progress:
        task = progress.add_task("", total=len(loaded) * len(methods))
        for name, model in loaded.items():
            progress.update(task, description=f"{name}  drawing inputs")
            batch = make_contrast(
                model,
                key_of(seed, "inputs", model.case),
                n_inputs=n_inputs,
                ablation=ablation,
                loss=losses[name],
                n_rows=rows_for(n_inputs),
            )
            for method in methods:
                progress.update(task, description=f"{name}  {method}")
                try:
                    found[name] += run_methods(
                        model, (method,), batch, loss=losses[name], seed=seed, selection=selection
                    )
                except Exception as error:  # a user's method may raise anything
                    failures.append(
                        f"failed: {name}, {method_label(method)}: {_text_and_place(error)}"
                    )
                    progress.console.print(failures[-1], markup=False, soft_wrap=True)
                progress.advance(task)
            write_findings(model, found[name], directories[name], settings)
    print_findings(found)
    pictures = ", ".join(str(out / name / "circuits.png") for name in found)
    console.print(f"true and found circuits side by side: {pictures}", highlight=False)
    return int(len(failures) > 0)


def _text_and_place(error: Exception) -> str:
    """An error in one line, with the last location outside installed packages."""
    frames = traceback.extract_tb(error.__traceback__)
    raised = [frame for frame in frames if "site-packages" not in frame.filename][-1:] or frames[
        -1:
    ]
    return f"{error_text(error)} ({Path(raised[0].filename).name}, line {raised[0].lineno})"
