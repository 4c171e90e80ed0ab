"""Places to write to, checked before the work whose results go there."""

import tempfile
from pathlib import Path


def make_directory(directory: Path) -> None:
    """Makes a directory, and those above it, and makes sure that files can be written there.

    Raises:
      ValueError: they cannot; the message names the directory.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise ValueError(f"cannot write to {directory}: {error.strerror}") from error
