"""Checkpoints: the state after every round on disk, so that an interrupted run can continue.

A directory has `settings.json`, which defines the run, and `states/`, with one file for each of the
last rounds. Files are written whole or not at all, so a run that is killed at any moment leaves its
last state behind. Each file has a checksum, so a damaged one is detected.
"""

import contextlib
import hashlib
import shutil
import warnings
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from interpbench_jax.files import (
    from_json,
    locked,
    read_bytes,
    read_json,
    replacing,
    set_aside,
    to_json,
    write_json,
)
from interpbench_jax.siit.state import TrainState

_SETTINGS = "settings.json"
_STATES = "states"
_SUFFIX = ".state"
_SECONDS = "seconds"  # beside the arrays of the state
_KEPT = 2  # the newest state and one to fall back to
_LARGEST = 2**36  # bytes of a state


class Saved(NamedTuple):
    """What a checkpoint holds.

    Attributes:
      state: the state of training after a round.
      seconds: time that the run had taken, in all its processes.
    """

    state: TrainState
    seconds: float


class Checkpoints:
    """The checkpoints of one run, locked against other processes.

    A context manager that releases the lock.
    """

    def __init__(self, directory: Path, settings: dict[str, Any], *, resume: bool) -> None:
        """Opens the directory.

        Unless the run is resumed, an older run with a finished round is moved aside, with a
        warning. A state is never read without its settings: if they are missing, there is no run to
        resume.

        Args:
          directory: the directory; created if missing.
          settings: the settings that define the run, as JSON data.
          resume: continue the run in the directory.

        Raises:
          ValueError: another process uses the directory, which is then unchanged; it holds other
            files than those of a run; the stored run has other settings (the message names the
            first difference); or its settings cannot be read.
        """
        self._states = directory / _STATES
        with contextlib.ExitStack() as opened:
            directory.parent.mkdir(parents=True, exist_ok=True)
            lock = directory.with_name(f".{directory.name}.lock")
            opened.enter_context(locked(lock, what=directory))
            if not (resume and can_resume(directory, settings)):
                _check_is_a_run(directory)
                if aside := clear(directory):
                    warnings.warn(f"the older run in {directory} is kept in {aside}", stacklevel=2)
                directory.mkdir()
                write_json(directory / _SETTINGS, settings)
            self._states.mkdir(exist_ok=True)
            for partial in self._states.glob(".*"):  # left by a killed process
                partial.unlink()
            self._opened = opened.pop_all()

    def __enter__(self) -> "Checkpoints":
        """Returns itself; the constructor has opened everything."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Releases the directory."""
        self._opened.close()

    def latest(self, like: TrainState) -> Saved | None:
        """The last undamaged state, or None if no state was written.

        Newer states that are damaged are renamed, with a warning that names them.

        Args:
          like: an initial state of the same run, for the shapes of its arrays.

        Raises:
          ValueError: there are states, but all are damaged; the message names them, and they are
            unchanged.
        """
        damaged: dict[Path, ValueError] = {}
        for file in _state_files(self._states):
            try:
                saved = _read(file, like)
            except ValueError as error:
                damaged[file] = error
                continue
            for bad, fault in damaged.items():
                bad.rename(bad.with_name(f"{bad.name}.damaged"))
                warnings.warn(f"{fault}; continuing from {file.name}", stacklevel=2)
            return saved
        if damaged:
            found = "; ".join(str(error) for error in damaged.values())
            raise ValueError(f"no state to continue from: {found}; nothing was deleted")
        return None

    def save(self, state: TrainState, seconds: float) -> None:
        """Writes a state; keeps one older state.

        Args:
          state: the state after a round.
          seconds: time that the run has taken so far.

        Raises:
          OSError: it cannot be written.
        """
        arrays = _named(state) | {_SECONDS: np.array(seconds)}
        content = safetensors.numpy.save(arrays)
        file = self._states / f"{int(state.round.max()):08d}{_SUFFIX}"
        with replacing(file) as partial:
            partial.write_bytes(_checksum(content) + content)
        for older in _state_files(self._states)[_KEPT:]:
            older.unlink()


def _check_is_a_run(directory: Path) -> None:
    """Checks that a directory, if it exists, has only files of a run, which a new run replaces."""
    if directory.is_dir():
        names = {file.name for file in directory.iterdir()} - {_SETTINGS, _STATES}
        if others := sorted(name for name in names if not name.startswith(".")):
            raise ValueError(
                f"{directory} is not a run of training: it holds {others[0]!r}; give an empty or a "
                "new directory"
            )
    elif directory.exists():
        raise ValueError(f"{directory} is not a directory")


def discard(directory: Path) -> None:
    """Deletes a directory, if it exists, in one step even if the process is killed.

    The directory is renamed first. Remains of a killed deletion are deleted too.
    """
    aside = directory.with_name(f".{directory.name}.discarded")
    shutil.rmtree(aside, ignore_errors=True)
    if directory.exists():
        directory.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


def clear(directory: Path, states: Path | None = None) -> Path | None:
    """Makes room for a new run: moves an older run aside, or deletes it if it finished no round.

    Args:
      directory: directory of the older run; need not exist.
      states: the directory of its checkpoints; by default `directory`.

    Returns:
      The new place of the older run, if it is kept.
    """
    if _state_files((states or directory) / _STATES):
        return set_aside(directory)
    discard(directory)
    return None


def stored_settings(directory: Path) -> dict[str, Any] | None:
    """The settings of the run whose checkpoints are in a directory; None if there is no run.

    Raises:
      ValueError: the file cannot be read; the message names it.
    """
    file = directory / _SETTINGS
    try:
        settings = read_json(file)
    except FileNotFoundError:
        return None
    if not isinstance(settings, dict):
        raise ValueError(f"{file} does not hold the settings of a run")
    return settings


def can_resume(directory: Path, settings: dict[str, Any]) -> bool:
    """Whether there is a run that can be resumed.

    Raises:
      ValueError: the run has other settings (the message names the first difference), or its
        settings cannot be read.
    """
    stored = stored_settings(directory)
    if stored is None:
        return False
    settings = from_json(to_json(settings), source="settings")  # as stored settings are read
    for name in sorted(stored.keys() | settings.keys()):
        if stored.get(name) != settings.get(name):
            raise ValueError(
                f"{directory} holds a run with {name} = {stored.get(name)!r}, not "
                f"{settings.get(name)!r}; resume it with its own settings, or start a new run"
            )
    return True


def rounds_stored(directory: Path) -> int:
    """The number of rounds after which a run would continue."""
    if not (directory / _SETTINGS).exists():
        return 0
    for file in _state_files(directory / _STATES):
        with contextlib.suppress(ValueError):
            _content(file)
            return int(file.stem)
    return 0


def _state_files(states: Path) -> list[Path]:
    """The files with states, the newest first."""
    return sorted(states.glob(f"[0-9]*{_SUFFIX}"), reverse=True)


def _read(file: Path, like: TrainState) -> Saved:
    content = _content(file)
    try:
        stored = safetensors.numpy.load(content)
    except SafetensorError as error:
        raise ValueError(f"{file} is damaged: {error}") from error
    expected = _named(like) | {_SECONDS: np.array(0.0)}
    for name, array in expected.items():
        found = stored.get(name)
        if found is None or (found.shape, found.dtype) != (array.shape, array.dtype):
            raise ValueError(f"{file} does not hold a state of this run: {name} differs")
    seconds = float(stored[_SECONDS])
    leaves = [jnp.asarray(stored[name]) for name in expected if name != _SECONDS]
    state = jax.tree.unflatten(jax.tree.structure(_keys_as_data(like)), leaves)
    return Saved(state._replace(key=jax.random.wrap_key_data(state.key)), seconds)


def _content(file: Path) -> bytes:
    """The content after the checksum.

    Raises:
      ValueError: the content does not match the checksum.
    """
    stored = read_bytes(file, limit=_LARGEST)
    size = len(_checksum(b""))
    if stored[:size] != _checksum(stored[size:]):
        raise ValueError(f"{file} is damaged: its checksum differs")
    return stored[size:]


def _checksum(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def _named(state: TrainState) -> dict[str, np.ndarray]:
    """Every array of a state, by its path."""
    with_paths, _ = jax.tree_util.tree_flatten_with_path(_keys_as_data(state))
    return {
        jax.tree_util.keystr(path): np.asarray(leaf, order="C")  # safetensors ignores strides
        for path, leaf in with_paths
    }


def _keys_as_data(state: TrainState) -> TrainState:
    return state._replace(key=jax.random.key_data(state.key))
