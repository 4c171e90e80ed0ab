"""Folders of MIB's circuit track: `METHOD_ABLATION_LEVEL/TASK_MODEL/importances.json`.

Source: Mueller et al. 2025, and its repository.
"""

import re
from pathlib import Path

from interpbench_jax.files import make_directory, replacing
from interpbench_jax.zoo.formats.discovered import Discovered
from interpbench_jax.zoo.formats.eap_ig import to_eap_ig

IMPORTANCES = "importances.json"
MIB_TASKS = (
    *("ioi", "mcqa", "arithmetic-addition", "arithmetic-subtraction"),
    *("arc-easy", "arc-challenge"),
)
MIB_MODELS = ("interpbench", "gpt2", "qwen2.5", "gemma2", "llama3")
"""The tasks and models of MIB's own leaderboard."""
_ABLATIONS = {
    "resample": "patching",
    "mean_per_position": "mean-positional",
}


def mib_name(case: str, model: str) -> str:
    """The folder of a task and a model, with MIB's single underscore between the two.

    Every model here counts as a separate model: case `3` is in `3_interpbench-3`. MIB's
    `ioi_interpbench` has other weights.

    Args:
      case: name of the task.
      model: name of the model in this package.
    """
    return f"{_plain(case)}_interpbench-{_plain(model)}"


def submission_folder(method: str, ablation: str, level: str) -> str:
    """The folder of one entrant.

    Args:
      method: name of the method.
      ablation: name of the ablation in this package; MIB calls resampling `patching`.
      level: `edge` or `node`.
    """
    return f"{_plain(method)}_{_ABLATIONS.get(ablation, ablation)}_{level}"


def write_importances(directory: Path, discovered: Discovered, *, d_model: int) -> None:
    """Writes scores of one model into its folder.

    Args:
      directory: the folder; created if missing.
      discovered: the scores.
      d_model: width of the model.

    Raises:
      ValueError: the directory cannot be written to, or the network is not a transformer.
    """
    make_directory(directory)
    with replacing(directory / IMPORTANCES) as partial:
        partial.write_text(to_eap_ig(discovered, d_model=d_model), "utf-8")


def shortcomings(names: list[str]) -> list[str]:
    """Reasons why MIB would reject a submission of these folders; empty if it would not.

    Args:
      names: names of the folders, as made by `mib_name`.
    """
    pairs = [name.split("_", 1) for name in names]
    tasks, models = ({pair[place] for pair in pairs} for place in (0, 1))
    found = []
    for kind, given in (("tasks", tasks), ("models", models)):
        if len(given) < 2:
            found.append(
                f"MIB requires at least 2 {kind}, got {len(given)}: {', '.join(sorted(given))}"
            )
    strange = [
        n
        for n, (task, model) in zip(names, pairs, strict=True)
        if task not in MIB_TASKS or model not in MIB_MODELS
    ]
    if strange:
        found.append(
            f"MIB's leaderboard has no task and model {', '.join(strange[:4])}"
            f"{', ...' if len(strange) > 4 else ''}; it has tasks {', '.join(MIB_TASKS)} with "
            f"models {', '.join(MIB_MODELS)}"
        )
    return found


def _plain(name: str) -> str:
    """A name without the characters that separate parts of a path in MIB, such as underscores."""
    return re.sub(r"(?:[^\w.]|_)+", "-", name).strip("-.") or "unnamed"
