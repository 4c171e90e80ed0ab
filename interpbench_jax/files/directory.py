"""Output directories, checked before the work whose results they will hold."""

import tempfile
from pathlib import Path


def make_directory(directory: Path) -> None:
    """Makes a directory and its parents, and checks that files can be written to it.

    Raises:
      ValueError: it cannot be made or written to; the message names the directory.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise ValueError(f"cannot write to {directory}: {error.strerror}") from error
