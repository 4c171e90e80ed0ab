"""What commands print."""

import pytest

from interpbench_jax.cli.output import print_table


def test_cells_of_a_table_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("two", ("case", "computes"), [("w[i]", "in [a, b]"), ("x", "ends in [/b]")])
    printed = capsys.readouterr().out
    assert "w[i]" in printed and "in [a, b]" in printed and "ends in [/b]" in printed
