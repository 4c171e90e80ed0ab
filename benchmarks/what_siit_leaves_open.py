"""What training by nodes leaves open: edges outside the circuit that change answers all the same.

Certifies the bundled models of `siit` (by nodes) and `edge-siit` (by edges), on sequences that were
kept for tests, q, k and v apart. Prints a Markdown table, then one JSON line.

    python benchmarks/what_siit_leaves_open.py --cases 3 13 --out out/left-open

Columns, for each preset: answers that stay right when all edges outside the circuit are patched at
once; under the worst single edge, inside or outside; and under the worst set of edges, inside and
outside, of 1,000 random ones and those that a greedy search finds.
"""

import json
from pathlib import Path

import numpy as np
import tyro

from interpbench_jax.benchmark.verify import verify_edges
from interpbench_jax.files import to_json, write_json
from interpbench_jax.zoo import bundled_names, load_model

_PRESETS = ("siit", "edge-siit")
_COLUMNS = {"inert": "all outside", "single": "worst edge", "searched": "worst set"}


def main(
    cases: tuple[str, ...] = (), *, n_pairs: int = 4_000, out: Path = Path("out/left-open")
) -> None:
    """Certifies.

    Args:
      cases: names of cases; all with bundled models if none are named.
      n_pairs: pairs to certify on.
      out: where figures go; what is there is not done again.
    """
    rows = {
        case: {preset: _figures(case, preset, n_pairs, out) for preset in _PRESETS}
        for case in cases or bundled_names()
    }
    names = [f"{preset}: {column}" for preset in _PRESETS for column in _COLUMNS.values()]
    print(f"| case | {' | '.join(names)} |")
    print("|---" * (1 + len(names)) + "|")
    for case, row in rows.items():
        shown = [_percent(row[preset][figure]) for preset in _PRESETS for figure in _COLUMNS]
        print(f"| {case} | {' | '.join(shown)} |")
    print(to_json(rows))


def _figures(case: str, preset: str, n_pairs: int, out: Path) -> dict[str, float]:
    file = out / f"{case}-{preset}.json"
    if file.exists():
        return json.loads(file.read_text())
    found = verify_edges(
        load_model(case if preset == "edge-siit" else f"siit/{case}"), n_pairs=n_pairs
    )
    figures: dict[str, float] = {}
    for name, level in (("", found.qkv), ("head_", found.head)):
        single = np.concatenate([level.inside, level.outside])
        figures |= {
            f"{name}inert": level.inert,
            f"{name}single": float(np.nanmin(single)),
            f"{name}random": level.random_mean,
            f"{name}worst": level.worst,
            f"{name}searched": level.searched,
        }
    out.mkdir(parents=True, exist_ok=True)
    write_json(file, figures)
    return figures


def _percent(share: float) -> str:
    """Rounded down: 100 is said of nothing less."""
    return f"{np.floor(1e3 * share) / 10:.1f}"


if __name__ == "__main__":
    tyro.cli(main)
