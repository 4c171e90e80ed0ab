"""Entries: scores and circuits of other tools, evaluated and stored like results of methods."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interpbench_jax.benchmark.execution import (
    Inputs,
    described,
    device,
    judge,
    now,
)
from interpbench_jax.benchmark.plan import ModelSource, Run, environment, versions
from interpbench_jax.benchmark.results_store import Store
from interpbench_jax.discovery import METHODS
from interpbench_jax.files import fingerprint, to_json
from interpbench_jax.zoo.formats import Discovered


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Scores or a circuit that another tool found in a model.

    Attributes:
      model: the model.
      method: its name in results.
      discovered: scores or a circuit.
      file: the file it was read from, for the record.
      ablation: the ablation with which it was found, and with which circuits are run.
      seed: seed of the inputs, as in `interpbench export`.
      n_inputs: number of inputs.
      selection: how scores become circuits; `usual` orders edges by absolute score.

    Raises:
      ValueError: the method has the name of a method of this package.
    """

    model: ModelSource
    method: str
    discovered: Discovered
    file: Path
    ablation: str = "resample"
    seed: int = 0
    n_inputs: int = 1_000
    selection: str = "usual"

    def __post_init__(self) -> None:
        """Checks that the name is not that of our own method."""
        if not self.method or self.method in METHODS:
            raise ValueError(
                f"an entry cannot be named {self.method!r}, which is a method of this package; "
                "give it another name"
            )

    @property
    def run(self) -> Run:
        """The entry as a run of a plan; a different result under the same name is another run."""
        found = self.discovered
        parts = {
            "scores": b"" if found.scores is None else found.scores.astype(float).tobytes(),
            "circuit": "" if found.circuit is None else found.circuit.to_json(),
        }
        return Run(
            model=self.model,
            method=self.method,
            method_version=fingerprint(**parts),
            environment=environment(),
            ablation=self.ablation,
            seed=self.seed,
            n_inputs=self.n_inputs,
            selection=self.selection,
        )


def enter(entries: Iterable[Entry], store: Store, *, command: str = "") -> Iterator[dict[str, Any]]:
    """Evaluates entries one by one, and writes every result to a store.

    Scores are evaluated like those of this package's methods. A circuit without scores is evaluated
    as a set of edges. If a file has both, its scores count.

    Args:
      entries: the entries; faster if entries of one model are adjacent.
      store: the store for the results.
      command: the user's command, stored with the results.

    Yields:
      Each result, after it was written.

    Raises:
      ValueError: an entry does not fit its model.
      OSError: a result cannot be written.
    """
    known = {"command": command, "versions": to_json(versions()), "device": device()}
    inputs = Inputs(store)
    for entry in entries:
        run, found = entry.run, entry.discovered
        row = {**known, **described(run), "started": now(), "status": "done"}
        result = found.circuit if found.scores is None else found.scores
        if result is not None:
            row |= judge(run, result, inputs)
        # A tool has a separate file for every model, which is not another version of it.
        row["method_version"] = ""
        row["knobs"] = to_json({"file": entry.file.name, "heads_merged": found.heads_merged})
        store.write(row)
        yield row
