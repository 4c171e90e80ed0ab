"""The command line: `interpbench COMMAND`, with a command of `COMMANDS`.

One command a file, imported when it is called; heavy modules are imported inside the commands, so
that `--help` answers at once.
"""

import importlib
import sys
from collections.abc import Callable, Sequence

import tyro

COMMANDS = ("cases", "train", "evaluate", "discover", "benchmark", "report", "paper", "demo")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `interpbench`; exits with 2 and one line on bad input."""
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


def _load(command: str) -> Callable[..., None]:
    return getattr(importlib.import_module(f"interpbench_jax.cli.{command}"), command)
