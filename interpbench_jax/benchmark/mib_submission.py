"""Results as folders that can be submitted to MIB's circuit track."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from interpbench_jax.benchmark.report.results import Results
from interpbench_jax.benchmark.results_store import Store
from interpbench_jax.zoo.formats import Discovered
from interpbench_jax.zoo.mib import mib_name, shortcomings, submission_folder, write_importances


class Submission(NamedTuple):
    """A submission of one method with one ablation.

    Attributes:
      directory: the folder to upload.
      names: names of the folders in it, one for each task and model.
      shortcomings: reasons why MIB would reject it, one sentence each.
    """

    directory: Path
    names: list[str]
    shortcomings: list[str]


def write_submissions(store: Store, out: Path) -> list[Submission]:
    """Writes a folder for every method and ablation of a store that has scores.

    If there are several seeds, the first is used. Circuits without scores are left out.

    Args:
      store: the results.
      out: where to write; created if missing.

    Raises:
      ValueError: there are no scores, or two models would have the same folder.
      OSError: a file cannot be written.
    """
    results = Results(store)
    submissions: dict[Path, dict[str, str]] = {}
    for row in results.done.sort("entrant", "model", "seed").iter_rows(named=True):
        if row["selection"] == "given":
            continue
        scores = np.reshape(np.array(row["scores"], float), row["scores_shape"])
        level = "edge" if scores.ndim == 2 else "node"
        directory = out / submission_folder(row["entrant"], row["ablation"], level)
        name = mib_name(row["case"], row["model"])
        written = submissions.setdefault(directory, {})
        if name in written:
            if written[name] != row["model"]:
                raise ValueError(
                    f"models {written[name]} and {row['model']} would both be named {name}"
                )
            continue
        facts = results.facts(row["model_id"])
        graph = results.circuit(row["model_id"]).graph
        found = Discovered(graph=graph, scores=scores)
        write_importances(directory / name, found, d_model=facts["config"]["d_model"])
        written[name] = row["model"]
    if not submissions:
        raise ValueError(f"no scores in {store.directory}")
    return [
        Submission(directory, list(names), shortcomings(list(names)))
        for directory, names in submissions.items()
    ]
