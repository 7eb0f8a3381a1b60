"""TensorBoard's files, for a person who wants to watch a fit. What is kept is MLflow's affair."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

#: A point is on disk after so many seconds: the page is opened while the fit is under way.
FLUSH_SECONDS = 10


class TensorBoardError(Exception):
    """Curves were asked for and cannot be written; the message says what to install."""


class TensorBoardCurves:
    """A ``FitContext.curve`` that writes TensorBoard's files; view with ``tensorboard --logdir``.

    Use it in a ``with`` block, or call ``close``: the last values are written then.
    """

    def __init__(self, folder: Path) -> None:
        """Get ready to write; the folder is made for the first point: many fits have no curve.

        Raises:
            TensorBoardError: The package tensorboard is not installed.
        """
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise TensorBoardError(
                "ASSAY_TENSORBOARD asks for curves and the package tensorboard is not installed: "
                "pip install -e '.[tensorboard]', or unset it"
            ) from error
        self._open: Callable[[], Any] = partial(SummaryWriter, folder, flush_secs=FLUSH_SECONDS)
        self._writer: Any = None

    def __call__(self, name: str, step: int, value: float) -> None:
        """Add one point to a curve."""
        if self._writer is None:
            self._writer = self._open()
        self._writer.add_scalar(name, value, step)

    def __enter__(self) -> TensorBoardCurves:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()
