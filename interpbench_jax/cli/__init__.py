"""The command line: `interpbench COMMAND`, with a command of `COMMANDS`.

One command a file, imported when it is called; heavy modules are imported inside the commands, so
that `--help` answers at once.
"""

import importlib
import os
import sys
from collections.abc import Callable, Sequence

import tyro

COMMANDS = ("cases", "train", "evaluate", "discover", "benchmark", "report", "paper", "demo")

INTERRUPTED = 130
"""Exit status after Ctrl-C."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `interpbench`; exits with 2 and one line on bad input.

    Args:
      arguments: of the command line; those of the process if not given.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if given and given[0] in COMMANDS:
            tyro.cli(_load(given[0]), prog=f"interpbench {given[0]}", args=given[1:])
        else:
            commands = {name: _load(name) for name in COMMANDS}
            tyro.extras.subcommand_cli_from_dict(commands, prog="interpbench", args=given)
    except ValueError as error:
        print(f"interpbench: {error}", file=sys.stderr)
        sys.exit(2)
    except SystemExit as stop:
        if stop.code == INTERRUPTED and arguments is None:
            # XLA's threads may still compute, and Python cannot be taken down under them.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(INTERRUPTED)
        raise


def _load(command: str) -> Callable[..., None]:
    return getattr(importlib.import_module(f"interpbench_jax.cli.{command}"), command)
