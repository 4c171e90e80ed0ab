"""Packages that results are compared with."""

import importlib
import importlib.util
import os
from typing import Any

import pytest

MUST_BE_THERE = "INTERPBENCH_PEERS"
"""Environment variable, set by `make test-peers`: a missing package is then a failure."""


def peer_is_installed(*names: str) -> None:
    """Skips the test, or the imported file, if a package is missing; see `MUST_BE_THERE`."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            if os.environ.get(MUST_BE_THERE):
                pytest.fail(f"{name} is not installed, but {MUST_BE_THERE} is set")
            pytest.skip(f"{name} is not installed", allow_module_level=True)


def peer(*names: str) -> Any:
    """Imports the first of some packages, as `peer_is_installed`."""
    peer_is_installed(*names)
    return importlib.import_module(names[0])
