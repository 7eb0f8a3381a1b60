"""One training's files: which are taken over, what is written in which order.

Belongs here: finding, refusing, writing and tidying the files of a run. Does not belong here: how
one file is written whole (``checkpoint``), what is in it (``state``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from models.core.trainer import checkpoint, state
from models.core.trainer.checkpoint import Checkpoint, CheckpointError
from models.core.trainer.distributed import World


class Files:
    """The folder of a training; None keeps nothing. The first process writes, all read."""

    def __init__(self, folder: Path | None, identity: state.Json, world: World) -> None:
        self.folder = folder
        self._identity, self._world = identity, world

    def load(self) -> tuple[Checkpoint, dict[str, Tensor]] | str | None:
        """The state and the best weights; why they are not taken over; None when there are none.

        What is not taken over is set aside, so that nobody's hours are overwritten.
        """
        if self.folder is None or not (self.folder / checkpoint.STATE).exists():
            return None
        found = self._read(self.folder)
        self._world.wait()
        if isinstance(found, str) and self._world.rank == 0:
            checkpoint.set_aside(self.folder)
        return found

    def _read(self, folder: Path) -> tuple[Checkpoint, dict[str, Tensor]] | str:
        try:
            saved = checkpoint.read(folder / checkpoint.STATE)
            differs = state.difference(saved.scalars.get("identity", {}), self._identity)
            name = saved.scalars.get("best")
            best = checkpoint.read(folder / name).tensors if name and not differs else {}
        except CheckpointError as error:
            return str(error)
        return differs or (saved, best)

    def save(self, saved: Checkpoint, best_epoch: int, best: Mapping[str, Tensor]) -> None:
        """Write a state, and before it the best weights it names when they are new (not empty)."""
        if self.folder is None or self._world.rank:
            return
        name = checkpoint.best_name(best_epoch) if best_epoch else None
        if name and best:
            value = saved.scalars["progress"]["best_value"]
            checkpoint.write(self.folder / name, best, {"validation": value})
        scalars = {**saved.scalars, "identity": self._identity, "best": name}
        checkpoint.write(self.folder / checkpoint.STATE, saved.tensors, scalars)
        checkpoint.tidy(self.folder, name)
