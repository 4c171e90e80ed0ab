"""Several processes on one machine, since XLA compiles on one core only."""

import contextlib
import multiprocessing
import signal
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Literal, TypeVar, cast

Item = TypeVar("Item")
Row = TypeVar("Row")

_Message = tuple[Literal["row", "done", "failed"], Row | Exception | None]


def in_processes(
    work: Callable[[Item], Iterable[Row]], items: Sequence[Item], n_processes: int
) -> Generator[Row, None, None]:
    """What `work` yields on each item: in order from one process, in no order from several.

    Programs compiled for one item are gone before the next. The processes end with the generator:
    when it is exhausted, closed or interrupted. A process whose parent was killed ends at the next
    row. What `work` wrote by then is written.

    Args:
      work: can be pickled, as a function of a module can.
      items: what to work on; hand in together what shares compiled programs.
      n_processes: how many at most. With one, or for one item, `work` runs in this process.

    Raises:
      ValueError: `n_processes` is smaller than 1.
      ChildProcessError: a process was ended from outside.
      Exception: whatever `work` raises, once; nothing more is yielded.
    """
    if n_processes < 1:
        raise ValueError(f"processes must be at least 1, got {n_processes}")
    if min(n_processes, len(items)) < 2:
        for item in items:
            yield from _alone(work, item)
        return
    spawn = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    waiting, working, processes = list(reversed(items)), [], []
    try:
        for _ in range(min(n_processes, len(items))):
            here, there = spawn.Pipe()
            process = spawn.Process(target=_serve, args=(work, there), daemon=True)
            with _interrupts_held():
                process.start()
            processes.append(process)
            there.close()
            here.send(waiting.pop())
            working.append(here)
        while working:
            for connection in cast(list[Connection], wait(working)):
                try:
                    kind, value = connection.recv()
                except EOFError:
                    raise ChildProcessError(
                        "a process was ended from outside, as happens where memory is short"
                    ) from None
                if kind == "row":
                    yield value
                elif kind == "failed":
                    raise value
                elif waiting:
                    connection.send(waiting.pop())
                else:
                    working.remove(connection)
                    connection.close()
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C comes through afterwards only, and never to processes that are started meanwhile.

    A terminal sends it to all of them; this one ends the others.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # which lets signals through when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _alone(work: Callable[[Item], Iterable[Row]], item: Item) -> Iterator[Row]:
    import jax  # not before there is something to do

    yield from work(item)
    jax.clear_caches()


def _serve(work: Callable[[Item], Iterable[Row]], connection: Connection) -> None:
    """Works on what comes in, until the other end is closed."""
    try:
        while True:
            item, message = connection.recv(), cast(_Message, ("done", None))
            try:
                for row in _alone(work, item):
                    connection.send(("row", row))
            except Exception as error:
                message = ("failed", error)
            connection.send(message)
    except (EOFError, OSError, KeyboardInterrupt):
        return
