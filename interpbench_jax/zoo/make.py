"""From a task to a trained model with its card."""

import contextlib
import datetime
import importlib.metadata
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from interpbench_jax.alignment import Alignment, observed_circuit
from interpbench_jax.compiler import CompiledCase
from interpbench_jax.evaluation import edge_scores
from interpbench_jax.files import finite_or_none
from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.siit import (
    VARIED,
    Member,
    Scores,
    SiitConfig,
    SiitProblem,
    TrainResult,
    TrainState,
    device_mesh,
    init_states,
    init_states_together,
    states_by_case,
    train_siit,
    train_together,
    validate,
)
from interpbench_jax.tasks import Pairs, Task
from interpbench_jax.zoo.bar import BAR
from interpbench_jax.zoo.checkpoints import Checkpoints
from interpbench_jax.zoo.model import AlignedVariable, BenchmarkModel, DataRecord
from interpbench_jax.zoo.prepared import Prepared, prepare, problem_for_tests
from interpbench_jax.zoo.progress import OnProgress, progress_of

_PACKAGES = ("interpbench-jax", "jax", "jaxlib", "flax", "optax", "tracr-pypi", "numpy")
# Number of pairs for the card's agreement under patched edges.
_EDGE_PAIRS = 5_000
# The most variables that a card names as the worst.
_N_WEAKEST = 5


def make_model(
    case: Task | str | Prepared,
    population: SiitConfig | Sequence[Member],
    *,
    checkpoints: Path | None = None,
    resume: bool = False,
    on_progress: OnProgress | None = None,
) -> BenchmarkModel:
    """Trains one model per member on a task, and returns the best with its card.

    Training ends when the first member reaches the threshold, or all have used up their batches.
    The best model is chosen by its scores on the validation pairs: one that meets the bar of the
    suite there comes first, then the one whose worst score (accuracy, IIA of any variable, SIIA of
    any free node, agreement under any set of edges) is largest, then the first. IIA and SIIA count
    if their losses have a weight for any member. The card lists all members; its scores of the best
    model are from the test pairs, which were not used for any choice.

    Runs in one process, which may have many devices; `train_siit` runs in several.

    Args:
      case: the task, its name, or the result of `prepare` for the same members.
      population: settings of a single model with seed 0, or the members to train together.
      checkpoints: directory for the state after every round.
      resume: continue from the last checkpoint. Otherwise checkpoints of an older run are moved
        aside, with a warning.
      on_progress: called after every round.

    Raises:
      ValueError: as `prepare` and `Checkpoints`. Existing checkpoints are then unchanged.
    """
    members = (Member(0, population),) if isinstance(population, SiitConfig) else tuple(population)
    config = members[0].config
    task = case if isinstance(case, Prepared) else prepare(case, members)
    clock = [time.perf_counter()]
    with _checkpoints(
        checkpoints,
        describe_run([task.task], members),
        lambda: init_states(members, task.validation, task.alignment.network),
        resume=resume,
    ) as (saved, state, before):
        done_before = 0 if state is None else int(state.round.max())

        def after_round(state: TrainState) -> None:
            clock.append(time.perf_counter())
            if on_progress is not None:  # before saving, so a repeated round is reported again
                rate = _batches_per_second(clock, config, int(state.round.max()))
                on_progress(progress_of(state, task.name, config, rate))
            if saved is not None:
                saved.save(state, before + clock[-1] - clock[0])

        result = train_siit(
            task.training,
            task.alignment.network,
            members,
            validation=task.validation,
            state=state,
            mesh=device_mesh(len(members), config.batch_size),
            on_round=after_round,
            until_first=True,
        )
    return _finish(task, result, members, clock, before, done_before)


def make_models_together(
    cases: Sequence[Task | str | Prepared],
    members: Sequence[Member],
    *,
    checkpoints: Path | None = None,
    resume: bool = False,
    on_progress: OnProgress | None = None,
    on_model: Callable[[BenchmarkModel], None] | None = None,
) -> list[BenchmarkModel]:
    """`make_model` for several cases at once, in one compiled program; see `train_together`.

    Args:
      cases: cases whose models differ only in vocabularies; or their names; or results of
        `prepare`.
      members: the members to train on every case.
      checkpoints: directory for the state of all cases after every round.
      resume: continue from the last checkpoint; otherwise as in `make_model`.
      on_progress: called after every round, once per case that was trained in it.
      on_model: called with each model when it is done, while others are still trained.

    Raises:
      ValueError: as `make_model`, or the models differ in other sizes.
    """
    config = members[0].config
    tasks = [case if isinstance(case, Prepared) else prepare(case, members) for case in cases]
    problems, judged = [task.training for task in tasks], [task.validation for task in tasks]
    models = [task.alignment.network for task in tasks]
    clock = [time.perf_counter()]
    with _checkpoints(
        checkpoints,
        describe_run([task.task for task in tasks], members),
        lambda: init_states_together(judged, models, members),
        resume=resume,
    ) as (saved, state, before):
        done_before = [0] * len(tasks) if state is None else state.round.max(1).tolist()
        reported = list(done_before)
        made: dict[int, BenchmarkModel] = {}

        def after_round(state: TrainState) -> None:
            clock.append(time.perf_counter())
            rate = _batches_per_second(clock, config, int(state.round.max()))
            for place, (task, own) in enumerate(zip(tasks, states_by_case(state), strict=True)):
                n_rounds = int(own.round.max())
                if on_progress is not None and n_rounds > reported[place]:  # otherwise it is done
                    on_progress(progress_of(own, task.name, config, rate))
                reported[place] = n_rounds
            if saved is not None:
                saved.save(state, before + clock[-1] - clock[0])

        def finish(place: int, result: TrainResult) -> None:
            started = time.perf_counter()
            made[place] = _finish(tasks[place], result, members, clock, before, done_before[place])
            if on_model is not None:
                on_model(made[place])
            paused = time.perf_counter() - started
            clock[:] = [earlier + paused for earlier in clock]  # this was no training

        train_together(
            problems,
            models,
            members,
            validation=judged,
            state=state,
            mesh=device_mesh(len(members), config.batch_size),
            on_round=after_round,
            on_result=finish,
            until_first=True,
        )
    return [made[place] for place in range(len(tasks))]


@contextlib.contextmanager
def _checkpoints(
    directory: Path | None,
    run: dict[str, Any],
    fresh: Callable[[], TrainState],
    *,
    resume: bool,
) -> Iterator[tuple[Checkpoints | None, TrainState | None, float]]:
    """Opens the checkpoints of a run, if it has a directory for them.

    Args:
      directory: the directory.
      run: the definition of the run; see `describe_run`.
      fresh: makes an initial state of the run.
      resume: continue from the last checkpoint.

    Yields:
      The checkpoints; the state to continue from, if there is one; and the seconds it took.
    """
    if directory is None:
        yield None, None, 0.0
        return
    like = fresh()  # first: what it raises leaves the directory unchanged
    with Checkpoints(directory, run, resume=resume) as saved:
        last = saved.latest(like)
        yield (saved, None, 0.0) if last is None else (saved, last.state, last.seconds)


def _finish(
    task: Prepared,
    result: TrainResult,
    members: Sequence[Member],
    clock: list[float],
    before: float,
    done_before: int,
) -> BenchmarkModel:
    """The best member with its card."""
    worst = np.asarray(result.worst)
    best = best_member(result)
    config = members[best].config
    params = jax.tree.map(lambda x: np.asarray(x[best]), result.params)
    scores = score_on_tests(params, task.task, task.alignment, task.test)
    card = {
        "case": task.name,
        "title": task.task.title,
        "metrics": scores.metrics,
        **scores.weakest,
        **_compiled_wrongly(task.task),
        "split": task.split.describe(),
        "reached_threshold": bool(worst[best] >= config.threshold),
        "config": asdict(config),
        "seed": members[best].seed,
        "run": describe_run([task.task], members),
        "members": [
            member.describe() | {"worst": float(score), "rounds": int(n), "diverged": bool(failed)}
            for member, score, n, failed in zip(
                members, worst, result.rounds, result.diverged, strict=True
            )
        ],
        "batches": config.batches_after(int(result.rounds[best])),
        "seconds": round(before + clock[-1] - clock[0], 2),
        "rounds_before_resuming": done_before,
        "batches_per_second": _batches_per_second(clock, config, int(result.rounds.max())),
        **provenance(),
    }
    data = DataRecord.of(task.task, config, task.split)
    return assemble_model(task.task, task.alignment, params, card, data)


def _compiled_wrongly(task: Task) -> dict[str, str]:
    """The entry of a card about how the compiled model differs from the program, if it does."""
    wrong = task.disagreement if isinstance(task, CompiledCase) else None
    return {} if wrong is None else {"compiled_wrongly": wrong}


def best_member(result: TrainResult) -> int:
    """The place of the best member by its scores on the validation pairs; see `make_model`."""
    worst, of_nodes = np.asarray(result.worst), np.asarray(result.worst_of_nodes)
    meets = (of_nodes >= BAR["accuracy"]) & (worst >= BAR["edge_agreement_worst"])
    return int(np.lexsort((-worst, ~meets))[0])


def describe_run(tasks: Sequence[Task], members: Sequence[Member]) -> dict[str, Any]:
    """The definition of a run as JSON data; runs with equal descriptions are the same run.

    It holds everything that determines the results: settings, and the tasks' fingerprints.
    """
    shared = asdict(members[0].config)
    for name in VARIED:
        del shared[name]
    return {
        "case": " ".join(task.name for task in tasks),
        "task": [task.fingerprint for task in tasks],
        **shared,
        "members": [member.describe() for member in members],
    }


def _batches_per_second(clock: list[float], config: SiitConfig, rounds: int) -> float | None:
    """The speed with validation but without compilation (the first round); None after one round."""
    timed = len(clock) - 2
    if timed < 1:
        return None
    batches = config.batches_after(rounds) - config.batches_after(rounds - timed)
    return round(batches / (clock[-1] - clock[1]), 1)


def assemble_model(
    task: Task,
    alignment: Alignment[TransformerConfig],
    params: Params,
    card: dict[str, Any],
    data: DataRecord = DataRecord(),
) -> BenchmarkModel:
    """Combines weights with the facts about them."""
    variables = tuple(
        AlignedVariable(values=task.contents[writer], compiled_node=writer, node=node)
        for writer, node in zip(alignment.variables, alignment.nodes, strict=True)
    )
    return BenchmarkModel(
        case=task.name,
        params=params,
        config=alignment.network,
        variables=variables,
        circuit=observed_circuit(task, alignment),
        card=card,
        data=data,
    )


def metrics(scores: Scores) -> dict[str, float]:
    """Scores of one model as in a card; all are fractions."""
    return {
        "accuracy": float(scores.accuracy),
        "iia": float(scores.iia.mean()),
        "siia": float(scores.siia.mean()) if len(scores.siia) else 1.0,
        "iia_worst": float(scores.iia.min()),
        "siia_worst": float(scores.siia.min(initial=1.0)),
    }


class CardScores(NamedTuple):
    """The scores in a card, on pairs that were not used for any choice.

    Attributes:
      metrics: results of `metrics` and of `edge_scores`.
      weakest: where the model fails most, by the entries of a card: `weakest_edges` and
        `weakest_edge_by_position`, see `edge_scores`; and `weakest_variables`, the IIA of the
        worst variables by the nodes that hold them, at most five, without those with an IIA of 1.
    """

    metrics: dict[str, float]
    weakest: dict[str, Any]


def score_on_tests(
    params: Params, task: Task, alignment: Alignment[TransformerConfig], test: SiitProblem
) -> CardScores:
    """Scores a model for its card; the same weights always get the same scores.

    Args:
      params: the model's weights.
      task: the task with the algorithm.
      alignment: its alignment with the model.
      test: the test pairs; see `problem_for_tests`.
    """
    pairs = Pairs(*(np.asarray(part) for part in (test.base, test.source, test.position_weights)))
    edges = edge_scores(
        params,
        alignment.network,
        task,
        alignment,
        pairs,
        jax.random.key(0),
        n_pairs=_EDGE_PAIRS,
    )
    nodes = validate(params, alignment.network, test)
    iia = dict(zip(alignment.nodes, nodes.iia.tolist(), strict=True))
    worst = sorted((share, name) for name, share in iia.items() if share < 1)[:_N_WEAKEST]
    weakest = {
        "weakest_edges": edges.weakest,
        "weakest_edge_by_position": finite_or_none(edges.weakest_at.tolist()),
        "weakest_variables": {name: share for share, name in worst},
    }
    return CardScores(metrics(nodes) | edges.metrics, weakest)


def score_again(model: BenchmarkModel, config: SiitConfig) -> CardScores:
    """Scores a model again from its weights, in the same way as `make_model`.

    Args:
      model: the model.
      config: the settings of its training, which determine the test pairs.

    Raises:
      ValueError: its task does not exist.
    """
    test = problem_for_tests(model.task, model.alignment, config)
    return score_on_tests(model.params, model.task, model.alignment, test)


def provenance() -> dict[str, Any]:
    """Where, when and with which versions a result was made."""
    return {
        "device": f"{jax.devices()[0].device_kind} ({platform.machine()})",
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
