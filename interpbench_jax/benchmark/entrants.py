"""Scores and circuits of other tools: judged as methods are, and kept beside their results."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interpbench_jax.benchmark.execution import (
    Inputs,
    described,
    device,
    judge,
    judge_circuit,
    now,
)
from interpbench_jax.benchmark.plan import ModelSource, Run, environment, versions
from interpbench_jax.benchmark.results_store import Store
from interpbench_jax.discovery import METHODS
from interpbench_jax.files import fingerprint, to_json
from interpbench_jax.zoo.formats import Discovered


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What somebody found in a model by other means than this package.

    Attributes:
      model: the model.
      method: what results call it.
      discovered: scores or a circuit.
      file: where it was read from, for the record.
      ablation: what patches put in, when it was found and when circuits are run.
      seed: of the inputs, as `interpbench export` draws them.
      n_inputs: how many of them.
      selection: how circuits are read off scores; `usual` is by their size.

    Raises:
      ValueError: the method has the name of one of this package.
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
        """Checks that results of others are never taken for our own."""
        if not self.method or self.method in METHODS:
            raise ValueError(
                f"an entrant cannot be called {self.method!r}, which is a method of this package; "
                "give it another name"
            )

    @property
    def run(self) -> Run:
        """As a run of a plan; another finding under the same name is another run."""
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
    """Judges what others found, one by one, and writes every result to a store.

    Scores are judged as those of this package's methods are. A circuit that comes without scores is
    judged as a set of edges. Where a file has both, its scores count.

    Args:
      entries: what was found; best those of one model together.
      store: where results go.
      command: what the user called; written next to the results.

    Yields:
      What was written, after it was.

    Raises:
      ValueError: something does not fit its model.
      OSError: a result cannot be written.
    """
    known = {"command": command, "versions": to_json(versions()), "device": device()}
    inputs = Inputs(store)
    for entry in entries:
        run, found = entry.run, entry.discovered
        row = {**known, **described(run), "started": now(), "status": "done"}
        if found.scores is not None:
            row |= judge(run, found.scores, inputs)
        elif found.circuit is not None:
            row |= judge_circuit(run, found.circuit, inputs)
        # Of one entrant every model has a file of its own: that is no other version of it.
        row["method_version"] = ""
        row["knobs"] = to_json({"file": entry.file.name, "heads_merged": found.heads_merged})
        store.write(row)
        yield row
