"""Rows that wait for a model: who is next, with whom, and how long it will take.

No thread and no lock here: a `bentos.pool.Pool` uses it under its own.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any, Generic, NamedTuple, TypeVar

from gateway.ports import Late

R = TypeVar("R")

#: Rows among which neighbours of like length are looked for, in batches.
WINDOW = 4
#: Weight of the newest batch in the average time of a row.
_NEWEST = 0.1


class Job(Generic[R]):
    """The rows of one call, which may be computed in several batches.

    Attributes:
        deadline: On the monotonic clock, in seconds.
        single: Whether it has one row only.
        begun: When it came.
        trace: Span of its request, None where it is not traced.
        future: Its results.
    """

    def __init__(self, count: int, deadline: float, trace: Any = None) -> None:
        self.deadline, self.single, self.begun = deadline, count == 1, time.monotonic()
        self.trace = trace
        self.future: Future[list[R]] = Future()
        self._results: list[Any] = [None] * count
        self._left = count

    def gone(self, now: float) -> bool:
        """Whether nobody waits for it any more."""
        return self.future.done() or now >= self.deadline

    def take(self, place: int, result: R) -> None:
        """Note one row's result; the last one ends the job."""
        self._results[place] = result
        self._left -= 1
        if not self._left:
            with suppress(InvalidStateError):  # cancelled meanwhile
                self.future.set_result(self._results)

    def fail(self, error: BaseException) -> None:
        """End the job without a result."""
        with suppress(InvalidStateError):
            self.future.set_exception(error)


class Row(NamedTuple):
    """One row of a job.

    Attributes:
        length: In any unit.
        seconds: That it was expected to take when it came.
    """

    job: Job[Any]
    place: int
    item: Any
    length: int
    seconds: float


class Waiting:
    """The queue.

    Args:
        size: Length of an item.
    """

    def __init__(self, size: Callable[[Any], int]) -> None:
        self._size = size
        self._rows: deque[Row] = deque()
        self._row_seconds: dict[int, float] = {}
        self.seconds = 0.0

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, job: Job[Any], items: Sequence[Any]) -> None:
        """A job's rows, behind all others."""
        for place, item in enumerate(items):
            length = self._size(item)
            row = Row(job, place, item, length, self._expected(length))
            self._rows.append(row)
            self.seconds += row.seconds

    def take(self, share: int, most: int) -> list[Row]:
        """The oldest row that anybody waits for and others of like length; they leave the queue.

        Args:
            share: Lanes that the rows are for.
            most: Rows of one batch.
        """
        self._drop_gone()
        if not self._rows:
            return []
        want = min(most, math.ceil(len(self._rows) / share))
        first = self._rows.popleft()
        near = min(len(self._rows), WINDOW * most) if want > 1 else 0
        window = [self._rows.popleft() for _ in range(near)]
        like = sorted(range(near), key=lambda place: abs(window[place].length - first.length))
        chosen = set(like[: want - 1])
        self._rows.extendleft(
            row for place, row in reversed([*enumerate(window)]) if place not in chosen
        )
        batch = [first, *(window[place] for place in sorted(chosen))]
        self._forget(batch)
        return batch

    def learn(self, rows: Sequence[Row], seconds: float) -> None:
        """What a row of each length takes of a lane's time, by one batch."""
        each = seconds / len(rows)
        for length in {row.length.bit_length() for row in rows}:
            before = self._row_seconds.get(length, each)
            self._row_seconds[length] = before + _NEWEST * (each - before)

    def clear(self) -> list[Row]:
        """Everything that still waits; it leaves the queue."""
        left = list(self._rows)
        self._rows.clear()
        self._forget(left)
        return left

    def _expected(self, length: int) -> float:
        """Seconds of one row, by the nearest class of length that was ever computed."""
        if not self._row_seconds:
            return 0.0
        own = length.bit_length()
        return self._row_seconds[min(self._row_seconds, key=lambda other: abs(other - own))]

    def _drop_gone(self) -> None:
        now = time.monotonic()
        while self._rows and self._rows[0].job.gone(now):
            row = self._rows.popleft()
            self._forget([row])
            row.job.fail(Late())

    def _forget(self, rows: Sequence[Row]) -> None:
        self.seconds -= sum(row.seconds for row in rows)
        if not self._rows:
            self.seconds = 0.0  # sums of floats drift
