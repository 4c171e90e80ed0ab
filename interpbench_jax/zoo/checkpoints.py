"""Runs on disk: the state after every few rounds, so that an interrupted run can go on.

Written by Orbax, which writes elsewhere and renames: a run that is killed at any moment leaves the
last whole checkpoint behind. What is stored is arrays only.
"""

import json
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import orbax.checkpoint as ocp

from interpbench_jax.files import replacing
from interpbench_jax.siit.state import TrainState

_SETTINGS = "settings.json"
_STATES = "states"


class Checkpoints:
    """The checkpoints of one run; a context manager that waits for what is being written."""

    def __init__(self, directory: Path, settings: dict[str, Any], *, resume: bool) -> None:
        """Opens the directory, emptied first unless the run goes on.

        A state is never read without the settings that it belongs to: where these are missing there
        is no run to go on with.

        Args:
          directory: made if missing.
          settings: what defines the run, as JSON can hold it.
          resume: go on from what is there.

        Raises:
          ValueError: what is there was made with other settings; the message names the first.
        """
        if not (resume and can_resume(directory, settings)):
            discard(directory)
            directory.mkdir(parents=True)
            with replacing(directory / _SETTINGS) as partial:
                partial.write_text(json.dumps(settings, indent=1))
        self._manager = ocp.CheckpointManager(
            (directory / _STATES).absolute(), options=ocp.CheckpointManagerOptions(max_to_keep=2)
        )

    def __enter__(self) -> "Checkpoints":
        """Nothing more to open."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Waits until the last checkpoint is written."""
        self._manager.close()

    def latest(self, like: TrainState) -> TrainState | None:
        """The last state that was written, if there is one.

        Args:
          like: a fresh state of the same run, for the shapes of its arrays.
        """
        step = self._manager.latest_step()
        if step is None:
            return None
        wanted = jax.tree.map(ocp.utils.to_shape_dtype_struct, _keys_as_data(like))
        stored = self._manager.restore(step, args=ocp.args.StandardRestore(wanted))
        return stored._replace(key=jax.random.wrap_key_data(stored.key))

    def save(self, state: TrainState) -> None:
        """Writes a state, in the background."""
        step = int(state.round.max())
        self._manager.save(step, args=ocp.args.StandardSave(_keys_as_data(state)))


def discard(directory: Path) -> None:
    """Deletes a directory, if it is there, so that a kill leaves all of it or nothing.

    It is renamed first. What a kill has left under the other name is deleted, too.
    """
    aside = directory.with_name(f".{directory.name}.discarded")
    shutil.rmtree(aside, ignore_errors=True)
    if directory.exists():
        directory.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


def stored_settings(directory: Path) -> dict[str, Any] | None:
    """What defines the run whose checkpoints are in a directory; none if there are none."""
    file = directory / _SETTINGS
    return json.loads(file.read_text()) if file.exists() else None


def can_resume(directory: Path, settings: dict[str, Any]) -> bool:
    """Whether there is a run to go on with.

    Raises:
      ValueError: there is one, with other settings; the message names the first.
    """
    stored = stored_settings(directory)
    if stored is None:
        return False
    settings = json.loads(json.dumps(settings))  # as they are read back
    for name in sorted(stored.keys() | settings.keys()):
        if stored.get(name) != settings.get(name):
            raise ValueError(
                f"{directory} holds a run with {name} = {stored.get(name)!r}, not "
                f"{settings.get(name)!r}; resume it with its own settings, or start it anew"
            )
    return True


def rounds_stored(directory: Path) -> int:
    """After how many rounds a run would go on."""
    states = directory / _STATES
    if stored_settings(directory) is None or not states.exists():
        return 0
    return max(ocp.utils.checkpoint_steps(states), default=0)


def _keys_as_data(state: TrainState) -> TrainState:
    return state._replace(key=jax.random.key_data(state.key))
