"""What a training went through, and telling a person about it.

Belongs here: the record of a run, lines of progress. Does not belong here: the training, files of
checkpoints, where curves are kept (``stores``).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

#: Seconds between two lines of progress.
QUIET_SECONDS = 5.0
#: Most lines during an epoch: on a slow machine every step takes longer than that.
LINES = 20


class History(NamedTuple):
    """A finished training. Epochs count from 1.

    Attributes:
        best_value: Validation value of the weights that were kept, from epoch ``best_epoch``.
        train_loss: Mean loss of every epoch (``validation`` and ``learning_rates`` likewise).
        resumed_from: Optimizer steps that an earlier, killed process had done; None when none had.
        seconds: Spent training, by all processes one after the other.
    """

    epochs: int
    best_epoch: int
    best_value: float
    train_loss: tuple[float, ...]
    validation: tuple[float, ...]
    learning_rates: tuple[float, ...]
    stopped_early: bool
    resumed_from: int | None
    seconds: float


class Teller:
    """Says a line when the last one is long ago. The clock can be replaced by a test."""

    def __init__(
        self, say: Callable[[str], object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._say, self._clock = say, clock
        self._last = -float("inf")

    def now_and_then(self, line: Callable[[], str]) -> None:
        """Say ``line()`` unless something was said within the last seconds."""
        if self._clock() - self._last >= QUIET_SECONDS:
            self.now(line())

    def now(self, line: str) -> None:
        """Say it in any case."""
        self._last = self._clock()
        self._say(line)


class Speed:
    """How fast this process trains, and for how long."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = self._lap = clock()
        self.steps = 0

    def lap(self) -> float:
        """Seconds since the last lap."""
        before, self._lap = self._lap, self._clock()
        return self._lap - before

    def rate(self) -> float:
        """Optimizer steps per second."""
        return self.steps / max(self._clock() - self._began, 1e-9)

    def remaining(self, steps: int) -> str:
        """Words for the longest that training still takes; early stopping may end it before."""
        seconds = round(steps / max(self.rate(), 1e-9))
        return f"at most {seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d} left"


def progress(
    where: str, loss: float, best: tuple[float, int] | None, rows: float, left: str
) -> str:
    """One line of progress; ``best`` is the value and the epoch, ``rows`` are per second."""
    found = f"best validation {best[0]:.4f} (epoch {best[1]}), " if best else ""
    return f"{where}: loss {loss:.4f}, {found}{rows:.0f} rows/s, {left}"
