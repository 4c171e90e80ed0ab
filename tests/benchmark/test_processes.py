"""Work in several processes: rows are the same, errors are raised, all processes end."""

import os
import signal
import time
from collections.abc import Iterator

import pytest

from interpbench_jax.benchmark.processes import in_processes


def twice(item: int) -> Iterator[tuple[int, int]]:
    for copy in range(2):
        yield item + copy, os.getpid()


def fails_at_two(item: int) -> Iterator[int]:
    yield 10 * item
    if item == 2:
        raise ValueError("item 2 is bad")


def ends_itself(item: int) -> Iterator[int]:
    os.kill(os.getpid(), signal.SIGKILL)
    yield item


def gives_its_process(item: int) -> Iterator[int]:
    yield os.getpid()
    time.sleep(0.2)
    yield os.getpid()


class Picky(Exception):
    """An exception that cannot be copied to another process."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def fails_pickily(item: int) -> Iterator[int]:
    yield item
    raise Picky(item, 2)


@pytest.mark.parametrize("n_processes", [1, 2, 9])
def test_every_row_of_every_item_comes_once(n_processes: int) -> None:
    rows = list(in_processes(twice, [10, 20, 30], n_processes))
    assert sorted(row for row, _ in rows) == [10, 11, 20, 21, 30, 31]
    processes = {process for _, process in rows}
    assert (processes == {os.getpid()}) == (n_processes == 1)
    assert len(processes) <= min(n_processes, 3)


@pytest.mark.parametrize("n_processes", [1, 2])
def test_an_error_is_raised(n_processes: int) -> None:
    with pytest.raises(ValueError, match="item 2 is bad"):
        list(in_processes(fails_at_two, [2, 2, 2], n_processes))


def test_an_error_that_cannot_be_sent_is_told_by_its_text() -> None:
    with pytest.raises(RuntimeError, match=r"(?s)fails_pickily.*Picky: 1 and 2"):
        list(in_processes(fails_pickily, [1, 1], 2))


def test_a_process_that_dies_is_an_error() -> None:
    with pytest.raises(ChildProcessError, match="killed from outside"):
        list(in_processes(ends_itself, [1, 2], 2))


def test_closing_the_iterator_ends_all_processes() -> None:
    rows = in_processes(gives_its_process, [1, 2], 2)
    process = next(rows)
    rows.close()
    for _ in range(500):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return
        os.waitpid(process, os.WNOHANG)
        time.sleep(0.02)
    pytest.fail("the process is still there")


def test_workers_ignore_ctrl_c() -> None:
    """A terminal sends it to all processes, and each worker would print a traceback."""
    rows = in_processes(gives_its_process, [1, 2], 2)
    process = next(rows)
    os.kill(process, signal.SIGINT)
    assert {process} < {process, *rows}


def test_zero_processes(no_shape_checks: None) -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        list(in_processes(twice, [1], 0))
