"""Work in several processes on one machine, since XLA compiles on one core only."""

import contextlib
import multiprocessing
import pickle
import signal
import traceback
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
    """Yields the rows of `work` for each item: in order with one process, unordered with several.

    Programs compiled for one item are released before the next. The processes end with the
    generator: when it is exhausted, closed or interrupted. A process whose parent was killed ends
    at its next row; what `work` has written until then is kept.

    Args:
      work: the function; it must be picklable, so define it in a module.
      items: the items; group work that shares compiled programs into one item.
      n_processes: the largest number of processes. With one process, or one item, `work` runs in
        this process.

    Raises:
      ValueError: `n_processes` is smaller than 1.
      ChildProcessError: a process was killed from outside.
      Exception: the first exception of `work`; nothing more is yielded.
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
            own_end, other_end = spawn.Pipe()
            process = spawn.Process(target=_serve, args=(work, other_end), daemon=True)
            with _interrupts_held():
                process.start()
            processes.append(process)
            other_end.close()
            own_end.send(waiting.pop())
            working.append(own_end)
        while working:
            for connection in cast(list[Connection], wait(working)):
                try:
                    kind, value = connection.recv()
                except EOFError:
                    raise ChildProcessError(
                        "a process was killed from outside, for example because memory was short"
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
    """Delays Ctrl-C until the block ends, and blocks it in processes started in the block.

    A terminal sends Ctrl-C to all processes; this one ends the others.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # it unblocks signals when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _alone(work: Callable[[Item], Iterable[Row]], item: Item) -> Iterator[Row]:
    import jax  # only when there is work

    yield from work(item)
    jax.clear_caches()


def _sendable(error: Exception) -> Exception:
    """The error, or its text if another process could not read the error itself."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError("".join(traceback.format_exception(error)))
    return error


def _serve(work: Callable[[Item], Iterable[Row]], connection: Connection) -> None:
    """Works on incoming items until the connection is closed."""
    try:
        while True:
            item, message = connection.recv(), cast(_Message, ("done", None))
            try:
                for row in _alone(work, item):
                    connection.send(("row", row))
            except Exception as error:
                message = ("failed", _sendable(error))
            connection.send(message)
    except (EOFError, OSError, KeyboardInterrupt):
        return
