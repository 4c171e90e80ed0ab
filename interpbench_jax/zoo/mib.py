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
"""The tasks and models that MIB's own leaderboard takes."""
_ABLATIONS = {
    "resample": "patching",
    "mean_per_position": "mean-positional",
}


def mib_name(case: str, model: str) -> str:
    """The folder of a task and a model: MIB has an underscore between the two and nowhere else.

    Every model here is one of its own: that of case `3` is in `3_interpbench-3`. MIB's
    `ioi_interpbench` has other weights.

    Args:
      case: the task.
      model: what the model is called here.
    """
    return f"{_plain(case)}_interpbench-{_plain(model)}"


def submission_folder(method: str, ablation: str, level: str) -> str:
    """The folder of one entrant.

    Args:
      method: its name.
      ablation: ours; MIB calls resampling `patching`.
      level: `edge` or `node`.
    """
    return f"{_plain(method)}_{_ABLATIONS.get(ablation, ablation)}_{level}"


def write_importances(directory: Path, discovered: Discovered, *, d_model: int) -> None:
    """Writes scores of one model into its folder.

    Args:
      directory: the folder; made if missing.
      discovered: the scores.
      d_model: width of the model.

    Raises:
      ValueError: the directory cannot be written to, or the network is not a transformer.
    """
    make_directory(directory)
    with replacing(directory / IMPORTANCES) as partial:
        partial.write_text(to_eap_ig(discovered, d_model=d_model))


def shortcomings(names: list[str]) -> list[str]:
    """Why MIB would not take a submission of these folders, a sentence each; empty if it would.

    Args:
      names: of the folders, as `mib_name` makes them.
    """
    pairs = [name.split("_", 1) for name in names]
    tasks, models = ({pair[place] for pair in pairs} for place in (0, 1))
    found = []
    for kind, there in (("tasks", tasks), ("models", models)):
        if len(there) < 2:
            found.append(
                f"MIB asks for at least 2 {kind}, here is {len(there)}: {', '.join(sorted(there))}"
            )
    strange = [
        n
        for n, (task, model) in zip(names, pairs, strict=True)
        if task not in MIB_TASKS or model not in MIB_MODELS
    ]
    if strange:
        found.append(
            f"MIB's leaderboard has no task and model {', '.join(strange[:4])}"
            f"{', ...' if len(strange) > 4 else ''}; it takes tasks {', '.join(MIB_TASKS)} on "
            f"{', '.join(MIB_MODELS)}"
        )
    return found


def _plain(name: str) -> str:
    """A name without underscores, slashes and the like, which separate parts of a path in MIB."""
    return re.sub(r"(?:[^\w.]|_)+", "-", name).strip("-.") or "unnamed"
