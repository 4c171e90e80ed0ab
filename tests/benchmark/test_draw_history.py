"""The plot of a training run's rounds."""

from pathlib import Path
from typing import Any

import pytest

from interpbench_jax.benchmark.draw_history import draw_history


def rounds(n_rounds: int, siia: list[float]) -> list[dict[str, Any]]:
    """One member for each SIIA; all other numbers are equal."""
    n_members = len(siia)
    return [
        {
            "batches": 10 * (place + 1),
            "losses": [[1.0, 0.1, None]] * n_members,
            "accuracy": [0.9] * n_members,
            "iia": [0.8] * n_members,
            "siia": siia,
            "edges": [0.7] * n_members,
        }
        for place in range(n_rounds)
    ]


def draw(file: Path, n_rounds: int, siia: list[float]) -> bytes:
    draw_history(rounds(n_rounds, siia), file, title="a run")
    return file.read_bytes()


@pytest.mark.parametrize("n_rounds", [1, 2, 50])
def test_every_round_of_every_member_is_drawn(n_rounds: int, tmp_path: Path) -> None:
    """Each one changes the plot, even if there are too few for a line."""
    file = tmp_path / "history.png"
    pictures = [draw(file, n_rounds, siia) for siia in ([0.3], [0.7], [0.3, 0.7], [0.7, 0.3])]
    assert len(set(pictures)) == 4


def test_members_are_named_if_there_are_several(tmp_path: Path) -> None:
    file = tmp_path / "history.svg"
    assert b"member" not in draw(file, 2, [0.3])
    picture = draw(file, 2, [0.3] * 14)
    assert b"<!-- member 0 -->" in picture and b"<!-- member 13 -->" in picture
