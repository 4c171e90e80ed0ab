"""Printing of certificates of edge agreement."""

from collections.abc import Mapping, Sequence

import numpy as np

from interpbench_jax.benchmark.shares import rounded_down
from interpbench_jax.cli.output import print_line, print_table
from interpbench_jax.evaluation import Audit, Certificate, LevelCertificate, PositionCertificate
from interpbench_jax.evaluation.screening import least

_LEVELS = {"qkv": "q/k/v", "head": "head"}
# The most names of units in a line; the JSON has all of them.
_MOST_NAMES = 6


def print_certificates(found: Mapping[str, Certificate]) -> None:
    """Prints a table with two or three rows per model, and lines that name the worst sets."""
    headers = (
        *("model", "level", "pairs", "all\noutside", "worst\nedge in", "worst\nedge out"),
        *("sets,\nmean", "sets,\nworst", "worst\nfound", "necessity\nworst"),
    )
    rows = []
    for name, certificate in found.items():
        for kind, level in _levels(certificate):
            first = (name, kind, certificate.n_pairs) if kind == "q/k/v" else ("", kind, "")
            shares = (
                *(level.inert, least(level.inside), least(level.outside)),
                *(level.random_mean, level.worst, level.searched, least(level.necessity)),
            )
            rows.append((*first, *map(rounded_down, shares)))
        if (places := certificate.positions) is not None:
            alone = least(places.inert), least(places.inside)
            drawn = places.random_mean, places.worst
            at_positions = map(rounded_down, (*alone, np.nan, *drawn, np.nan, np.nan))
            rows.append(("", "q/k/v, at\npositions", "", *at_positions))
    title = "Edges: do answers agree with the algorithm's under every set of patched edges?"
    print_table(title, headers, rows)
    for name, certificate in found.items():
        n_inputs = certificate.n_inputs
        inputs = f"all {n_inputs} inputs" if certificate.every_input else f"{n_inputs} drawn inputs"
        print_line(f"model {name}: accuracy {rounded_down(certificate.accuracy)} on {inputs}")
        for kind, level in _levels(certificate):
            silent = np.array(level.names[: level.n_inside])[np.isnan(level.necessity)]
            _print_worst(f"model {name}, {kind}", level)
            if len(silent):
                print_line(f"  no tested patch changes an answer through {', '.join(silent)}")
        if certificate.positions is not None:
            _print_worst_positions(f"model {name}, some positions", certificate.positions)


def print_audits(found: Mapping[str, Audit]) -> None:
    """Prints a table of edges outside claimed circuits, and lines that name the worst sets."""
    headers = (
        *("model", "level", "pairs", "edges\noutside", "all\noutside", "worst\nedge"),
        *("sets,\nmean", "sets,\nworst", "worst\nfound"),
    )
    rows = []
    for name, audit in found.items():
        for kind, level in _levels(audit):
            first = (name, kind, audit.n_pairs) if kind == "q/k/v" else ("", kind, "")
            shares = (
                *(level.inert, least(level.outside)),
                *(level.random_mean, level.worst, level.searched),
            )
            rows.append((*first, len(level.names), *map(rounded_down, shares)))
    title = "Edges outside the claimed circuit: are answers unchanged when they are patched?"
    print_table(title, headers, rows)
    for name, audit in found.items():
        for kind, level in _levels(audit):
            _print_worst(f"model {name}, {kind}", level)


def _levels(found: Certificate | Audit) -> list[tuple[str, LevelCertificate]]:
    return [(words, getattr(found, name)) for name, words in _LEVELS.items()]


def _print_worst(what: str, level: LevelCertificate) -> None:
    """Prints the worst single unit and the worst set, if answers do not always agree."""
    alone = np.concatenate([level.inside, level.outside])
    parts = []
    if least(alone) < 1:
        worst = int(np.nanargmin(alone))
        parts.append(f"worst edge {level.names[worst]} ({rounded_down(alone[worst])})")
    if level.searched < 1:
        names = level.of_set(level.searched_set)
        parts.append(f"worst set ({rounded_down(level.searched)}) {_listed(names)}")
    print_line(f"{what}: {'; '.join(parts) or 'no set was found that disagrees'}")


def _print_worst_positions(what: str, found: PositionCertificate) -> None:
    """Prints the worst random set at some positions, if answers do not always agree."""
    described = found.describe()
    if found.worst < 1:
        positions = _listed([str(place) for place in described["worst_positions"]])
        names = _listed(described["worst_set"])
        print_line(
            f"{what}: worst set ({rounded_down(found.worst)}) at positions {positions}: {names}"
        )


def _listed(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return (", ".join(names[:_MOST_NAMES]) or "nothing") + rest
