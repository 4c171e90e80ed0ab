"""A table and a plot of the suite's models, made from their cards."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from matplotlib.figure import Figure

from interpbench_jax.benchmark.report.looks import look
from interpbench_jax.benchmark.shares import rounded_down
from interpbench_jax.files import fingerprint, replacing
from interpbench_jax.model.circuit import circuit_kind
from interpbench_jax.zoo import BAR, BenchmarkModel, below_bar

METRICS = {
    "accuracy": "accuracy",
    "iia_worst": "worst IIA",
    "siia_worst": "worst SIIA",
    "inert": "all edges outside",
    "edge_single_worst": "worst edge",
    "edge_agreement": "sets of edges",
    "edge_agreement_worst": "worst set",
}
"""Names of a card's metrics in tables, in order."""

_DRAWN = ("inert", "edge_single_worst", "edge_agreement_worst")
_NONE_WRONG = 1e-4  # position of a share of zero on the logarithmic axis
_HEAD = """# The models of the suite

Made from the models' cards by `interpbench suite --out docs`. `interpbench evaluate --recipe suite`
recomputes the scores from the weights. All scores are shares of answers on held-out sequences.

- **worst IIA**: agreement with the algorithm when one variable is interchanged; the worst variable.
- **worst SIIA**: agreement when one node outside the circuit is patched; the worst node.
- **all edges outside**: agreement when all edges outside the circuit are patched at once.
- **worst edge**: agreement when one edge is patched, inside or outside; the worst edge.
- **sets of edges**, **worst set**: agreement under 1,000 random sets of patched edges, mean and
  worst.

Minutes include compilation and were measured on machines with other load: compare batches; minutes
are only a rough guide.

A model meets the bar if accuracy, worst IIA, worst SIIA, all edges outside and the worst edge reach
99.5 %, and the worst set reaches 99 %.

Tasks have InterpBench's numbers, of which 16 and 27 are missing. The model of `ioi` predicts the
last word of a sentence; that of `ioi_next_token` also predicts every other word.
"""


class SuiteRow(NamedTuple):
    """A model of the suite.

    Attributes:
      task: name of the task.
      title: what the task computes.
      kind: kind of the circuit: `attention`, `MLPs` or `one MLP`.
      size: layers x heads x width.
      n_weights: number of weights.
      batches: number of training batches; None, like all about the training, if the card does not
        say it, as for imported models.
      minutes: time of training, including compilation.
      device: the device that it was trained on, or "".
      metrics: metrics of the card.
      misses: metrics that are below the bar.
      weakest_edges: agreement under the worst single edges.
      by_position: agreement under the first of these at each position; None without an answer.
      weakest_variables: IIA of the worst variables, by the nodes that hold them.
      compiled_wrongly: how the compiled model differs from the program, or "".
    """

    task: str
    title: str
    kind: str
    size: str
    n_weights: int
    batches: int | None
    minutes: float | None
    device: str
    metrics: Mapping[str, float | None]
    misses: Mapping[str, float | None]
    weakest_edges: Mapping[str, float]
    by_position: Sequence[float | None]
    weakest_variables: Mapping[str, float]
    compiled_wrongly: str


def suite_row(model: BenchmarkModel) -> SuiteRow:
    """The row of a model, from the model and its card."""
    card = model.card
    metrics, seconds = card.get("metrics", {}), card.get("seconds")
    return SuiteRow(
        task=model.case,
        title=model.title,
        kind=circuit_kind(model.circuit),
        size=model.config.size,
        n_weights=sum(np.size(weight) for weight in jax.tree.leaves(model.params)),
        batches=card.get("batches"),
        minutes=None if seconds is None else seconds / 60,
        device=card.get("device", ""),
        metrics=metrics,
        misses=below_bar(metrics),
        weakest_edges=card.get("weakest_edges", {}),
        by_position=card.get("weakest_edge_by_position", ()),
        weakest_variables=card.get("weakest_variables", {}),
        compiled_wrongly=card.get("compiled_wrongly", ""),
    )


def summary(rows: Sequence[SuiteRow], tasks: Iterable[str]) -> str:
    """Sentences about how many models meet the bar, which do not, and which tasks have no model.

    Args:
      rows: the models.
      tasks: all tasks of the suite.
    """
    short = [row.task for row in rows if row.misses]
    without = [task for task in tasks if task not in {row.task for row in rows}]
    text = f"{len(rows) - len(short)} of {len(rows)} models meet the bar."
    text += f" Those that do not: {', '.join(short)}." if short else ""
    return text + (f" Tasks without a model so far: {', '.join(without)}." if without else "")


def suite_page(rows: Sequence[SuiteRow], tried: Mapping[str, str]) -> str:
    """The table as a Markdown page, with details of models below the bar; see `summary`.

    Tasks that Tracr compiles wrongly are listed: there the bar cannot be expected to be met.

    Args:
      rows: the models.
      tried: for every task of the suite, what other settings of training led to, or "".
    """
    weights = sum(row.n_weights for row in rows)
    minutes: defaultdict[str, float] = defaultdict(float)
    for row in rows:
        if row.minutes is not None:
            minutes[row.device] += row.minutes
    times = "; ".join(f"{time / 60:.1f} hours on {device}" for device, time in minutes.items())
    about = ("task", "computes", "circuit", "size", "batches", "device", "min")
    headers = (*about, *METRICS.values(), "bar")
    lines = [
        _HEAD,
        f"{summary(rows, tried)} All models together have {weights:,} weights. "
        f"Training took {times}; the time of tasks that were trained together counts for each of "
        "them.\n",
        "![share of wrong answers of every model](suite.png)\n",
        _line(headers),
        _line(["---"] * len(headers)),
    ]
    lines += [_line(_cells(row)) for row in rows]
    short = [row for row in rows if row.misses]
    if short:
        lines.append("\n## Below the bar\n")
        lines += [f"- **{row.task}** ({row.title}): {_what_it_misses(row)}." for row in short]
    if wrong := [row for row in rows if row.compiled_wrongly]:
        lines.append("\n## Compiled wrongly by Tracr\n")
        lines += [f"- **{row.task}**: {row.compiled_wrongly}" for row in wrong]
    if noted := {task: text for task, text in tried.items() if text}:
        lines.append("\n## Other settings that were tried\n")
        lines += [f"- **{task}**: {text}" for task, text in noted.items()]
    return "\n".join(lines) + "\n"


def draw_suite(rows: Sequence[SuiteRow], file: Path) -> None:
    """Draws the share of wrong answers of every model, the worst model last.

    Args:
      rows: the models; those without these scores are left out.
      file: where to write, in the format of its suffix; replaced when the drawing is complete.
        A PNG holds `drawn_fingerprint` as its description.
    """
    order = _drawn_scores(rows)
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    axes = figure.subplots()
    for place, name in enumerate(_DRAWN):
        wrong = [max(1 - scores[place], _NONE_WRONG) for scores in order]
        style = look(place)
        axes.plot(wrong, style.marker, color=style.colour, label=METRICS[name], markersize=3.5)
    for bar in sorted({BAR[name] for name in _DRAWN}):
        axes.axhline(1 - bar, color="black", linewidth=0.7, linestyle=(0, (4, 4)))
        axes.text(0, 1 - bar, f"{bar:.1%} right", fontsize=8, va="bottom")
    axes.set(yscale="log", xlabel="models, the worst last", ylabel="share of wrong answers")
    axes.set_yticks([_NONE_WRONG, 1e-3, 1e-2, 1e-1], ["none", "0.1 %", "1 %", "10 %"])
    axes.legend(frameon=False, loc="upper left")
    axes.grid(axis="y", alpha=0.25)
    about = {"Description": drawn_fingerprint(rows)} if file.suffix == ".png" else {}
    with replacing(file) as partial:
        figure.savefig(partial, dpi=150, metadata=about)


def drawn_fingerprint(rows: Sequence[SuiteRow]) -> str:
    """A digest of the scores that `draw_suite` draws, by which an older drawing is noticed."""
    return fingerprint(names=_DRAWN, scores=_drawn_scores(rows))


def _drawn_scores(rows: Sequence[SuiteRow]) -> list[list[float]]:
    """For each model that has all of them, the drawn scores; the worst model last."""
    found = ([row.metrics.get(name) for name in _DRAWN] for row in rows)
    known = [[share for share in scores if share is not None] for scores in found]
    return sorted((scores for scores in known if len(scores) == len(_DRAWN)), key=lambda s: -s[-1])


def _cells(row: SuiteRow) -> list[str]:
    shares = [rounded_down(row.metrics.get(name)) for name in METRICS]
    title = row.title.replace("|", "\\|")
    bar = "no" if row.misses else "yes"
    return [
        row.task,
        title,
        row.kind,
        row.size,
        "-" if row.batches is None else f"{row.batches:,}",
        row.device or "-",
        "-" if row.minutes is None else f"{row.minutes:.1f}",
        *shares,
        bar,
    ]


def _what_it_misses(row: SuiteRow) -> str:
    misses = ", ".join(
        f"{METRICS[name]} {rounded_down(value)}" for name, value in row.misses.items()
    )
    edges, variables = (
        ", ".join(f"`{name}` {rounded_down(value)}" for name, value in weakest.items())
        for weakest in (row.weakest_edges, row.weakest_variables)
    )
    text = misses + (f"; weakest edges: {edges}" if edges else "")
    if row.by_position:
        text += f"; the first of these by position: {', '.join(map(rounded_down, row.by_position))}"
    return text + (f"; weakest variables, by their nodes: {variables}" if variables else "")


def _line(cells: Sequence[Any]) -> str:
    return f"| {' | '.join(map(str, cells))} |"
