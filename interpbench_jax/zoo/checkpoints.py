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

from interpbench_jax.siit.state import TrainState
from interpbench_jax.zoo.store import replacing

_SETTINGS = "settings.json"


class Checkpoints:
    """The checkpoints of one run; a context manager that waits for what is being written.

    Attributes:
      directory: where they are.
    """

    def __init__(self, directory: Path, settings: dict[str, Any], *, resume: bool) -> None:
        """Opens the directory, emptied first unless the run goes on.

        Args:
          directory: made if missing.
          settings: what defines the run, as JSON can hold it.
          resume: go on from what is there.

        Raises:
          ValueError: what is there was made with other settings; the message names the first.
        """
        self.directory = directory
        settings = json.loads(json.dumps(settings))  # as it will be read back
        if not resume:
            shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True, exist_ok=True)
        file = directory / _SETTINGS
        if file.exists():
            _same(json.loads(file.read_text()), settings, directory)
        else:
            with replacing(file) as partial:
                partial.write_text(json.dumps(settings, indent=1))
        self._manager = ocp.CheckpointManager(
            (directory / "states").absolute(), options=ocp.CheckpointManagerOptions(max_to_keep=2)
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

    def remove(self) -> None:
        """Deletes everything: the run is over, and its result is elsewhere."""
        self._manager.wait_until_finished()
        shutil.rmtree(self.directory, ignore_errors=True)


def _keys_as_data(state: TrainState) -> TrainState:
    return state._replace(key=jax.random.key_data(state.key))


def _same(stored: dict[str, Any], settings: dict[str, Any], directory: Path) -> None:
    for name in sorted(stored.keys() | settings.keys()):
        if stored.get(name) != settings.get(name):
            raise ValueError(
                f"{directory} holds a run with {name} = {stored.get(name)!r}, not "
                f"{settings.get(name)!r}; resume it with its own settings, or start it anew"
            )
