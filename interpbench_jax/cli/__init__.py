"""The command line: `interpbench COMMAND`, with a command of `COMMANDS`.

Each command has its own file, which is imported when the command is called. Heavy modules are
imported inside the commands, so that `--help` is fast.
"""

import _thread
import contextlib
import importlib
import keyword
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence

import tyro

COMMANDS = (
    *("cases", "suite", "train", "evaluate", "audit", "discover"),
    *("benchmark", "report", "paper", "demo"),
    *("export", "score", "import", "verify"),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `interpbench`.

    Prints one line and exits with 2 on bad input, with 1 on a system error, such as a full disk,
    and with 130 when interrupted. Ends silently, with 141 as `cat` does, if nobody reads its output
    any longer, as with `head`. A command may return another exit status, or raise
    `KeyboardInterrupt` with a sentence that says how to continue.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with _interrupts_that_last():
            try:
                status = _call(given)
            finally:
                sys.stdout.flush()
        if status:
            sys.exit(status)
    except ValueError as error:
        _print_line(error)
        sys.exit(2)
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes at exit
            sys.exit(128 + signal.SIGPIPE)
        _print_line(error)
        sys.exit(1)
    except KeyboardInterrupt as interruption:
        _leave(interruption)


def _call(given: list[str]) -> int | None:
    if given and given[0] in COMMANDS:
        return tyro.cli(_load(given[0]), prog=f"interpbench {given[0]}", args=given[1:])
    commands = {name: _load(name) for name in COMMANDS}
    return tyro.extras.subcommand_cli_from_dict(commands, prog="interpbench", args=given)


def _load(command: str) -> Callable[..., int | None]:
    """The function of a command, which returns an exit status, or None for success."""
    name = f"{command}_" if keyword.iskeyword(command) else command
    return getattr(importlib.import_module(f"interpbench_jax.cli.{name}"), name)


@contextlib.contextmanager
def _interrupts_that_last() -> Iterator[None]:
    """Repeats an interrupt whose exception was swallowed by a callback.

    Python ignores exceptions in finalizers and garbage collection callbacks. JAX has such a
    callback, so a Ctrl-C at that moment would be lost.
    """
    before = sys.unraisablehook

    def hook(ignored: "sys.UnraisableHookArgs") -> None:
        if ignored.exc_type is KeyboardInterrupt:
            threading.Timer(0.05, _thread.interrupt_main).start()  # after the callback
        else:
            before(ignored)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


def _nobody_reads() -> bool:
    """Whether standard output is a pipe whose other end is closed, as that of `head`."""
    ends = select.poll()
    ends.register(sys.stdout, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in ends.poll(0))


def _leave(interruption: KeyboardInterrupt) -> None:
    """Ends the process without finalizing the interpreter.

    XLA's threads may still be running, and would crash when their memory is freed.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ignore a second Ctrl-C
    _print_line(": ".join(filter(None, ("interrupted", str(interruption)))))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(130)


def _print_line(message: object) -> None:
    print(f"interpbench: {' '.join(str(message).split())}", file=sys.stderr)
