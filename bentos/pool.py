"""Rows of many requests, computed together by threads that each ask one model.

A free lane takes the oldest row and others of like length (see ``waiting``). Nobody waits for
company: a row that comes alone is computed at once, and under load the queue itself makes the
batches. Knows no model, no HTTP and no contract.

Not BentoML's batching (its dispatcher polls, cancels what takes long and has no bound), and no
result depends on it: what may be asked together, and how much of it, says the caller.
"""

from __future__ import annotations

import asyncio
import logging
import math
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from bentos.waiting import Job, Row, Waiting
from gateway import shedding, tracing
from gateway.meters import METERS
from gateway.ports import Late
from models.contracts.traffic import Purpose

T = TypeVar("T")
R = TypeVar("R")
S = TypeVar("S")

#: Batches without running out of memory after which larger ones are tried again.
_GOOD_BATCHES = 1000

_LOG = logging.getLogger("assay.pool")


class Pool(Generic[T, R]):
    """Threads that ask one model, and the rows that wait for them.

    Args:
        lanes: Threads, at least 1; each asks the model on its own.
        batch_rows: Rows asked together at most.
        call: Asks the model: n items, and whether they are one row that has all lanes to itself.
            Returns n results, which must not depend on which items are asked together.
        size: Length of an item, in any unit; rows of like length are asked together.
        longest_wait: Estimated wait in seconds from which on requests are sent away.
        product: Key, by which its times and its queue are counted.
    """

    def __init__(
        self,
        lanes: int,
        batch_rows: int,
        call: Callable[[Sequence[T], bool], Sequence[R]],
        size: Callable[[T], int],
        *,
        longest_wait: float = shedding.LONGEST_WAIT,
        product: str = "",
    ) -> None:
        self.batch_rows, self._most_rows = batch_rows, batch_rows
        self._call, self._longest_wait = call, longest_wait
        self._rows = Waiting(size)
        self._apart: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._changed = threading.Condition()
        self._busy, self._hooked, self._closed, self._good = 0, False, False, 0
        self._batch = METERS.bound("assay_batch_rows", product=product)
        self._queue = METERS.bound("assay_queue_rows", product=product)
        self._waited = METERS.bound("assay_queue_seconds", product=product)
        self._took = METERS.bound("assay_model_seconds", product=product)
        METERS.bound("assay_shed_total", product=product, reason="queue")  # 0 is said, too
        self._lanes = [
            threading.Thread(target=self._work, name=f"model_{number}", daemon=True)
            for number in range(lanes)
        ]
        for lane in self._lanes:
            lane.start()

    @property
    def waiting(self) -> int:
        """Rows nobody computes yet."""
        return len(self._rows)

    @property
    def wait_seconds(self) -> float:
        """How long a row that comes now would probably wait."""
        return self._rows.seconds / len(self._lanes)

    async def run(
        self,
        items: Sequence[T],
        deadline: float = math.inf,
        purpose: Purpose = "traffic",
        trace: Any = None,
    ) -> list[R]:
        """Results of a request's rows, in their order; who waits no longer cancels this.

        Args:
            items: At least one.
            deadline: On the monotonic clock, in seconds; what nobody began by then never is.
            purpose: Golden requests are never sent away, copies of traffic before anything else.
            trace: Span of the request.

        Raises:
            Shed: So much waits that this one would probably be late.
            Late: The deadline passed before a lane was free.
        """
        self._check_wait(deadline, purpose)
        return await asyncio.wrap_future(self.submit(items, deadline, trace))

    def submit(
        self, items: Sequence[T], deadline: float = math.inf, trace: Any = None
    ) -> Future[list[R]]:
        """The same for a caller that is no coroutine; cancel the future to give up.

        Raises:
            Late: The pool was closed.
        """
        job: Job[R] = Job(len(items), deadline, trace)
        with self._changed:
            if self._closed:
                raise Late
            self._rows.add(job, items)
            self._queue.set(len(self._rows))
            self._changed.notify(len(items))
        return job.future

    def apart(self, call: Callable[[], S]) -> Future[S]:
        """Run a call on a lane while no other lane asks the model, e.g. one that hooks into it.

        Raises:
            Late: The pool was closed.
        """
        future: Future[S] = Future()
        with self._changed:
            if self._closed:
                raise Late
            self._apart.append((call, future))
            self._changed.notify_all()
        return future

    def close(self) -> None:
        """End the lanes; what still waits is late."""
        with self._changed:
            self._closed = True
            left, apart = self._rows.clear(), list(self._apart)
            self._apart.clear()
            self._changed.notify_all()
        for row in left:
            row.job.fail(Late())
        for _, future in apart:
            future.cancel()
        for lane in self._lanes:
            lane.join()

    def _check_wait(self, deadline: float, purpose: Purpose) -> None:
        left = deadline - time.monotonic()
        shedding.check(self.wait_seconds, left, self._longest_wait, purpose)

    def _work(self) -> None:
        while (work := self._next()) is not None:
            try:
                work()
            finally:
                with self._changed:
                    self._busy -= 1
                    self._changed.notify_all()

    def _next(self) -> Callable[[], None] | None:
        """What a free lane does next; None when the pool is closed."""
        with self._changed:
            while not self._closed:
                if self._apart and not self._hooked:
                    if not self._busy:  # else the others finish first, and nobody begins
                        self._busy, self._hooked = 1, True
                        call, future = self._apart.popleft()
                        return lambda: self._run_apart(call, future)
                elif not self._hooked and (
                    batch := self._rows.take(len(self._lanes), self.batch_rows)
                ):
                    self._queue.set(len(self._rows))
                    alone = len(batch) == 1 and batch[0].job.single
                    alone = alone and not self._busy and not len(self._rows)
                    self._busy += 1
                    return lambda: self._compute(batch, alone)
                self._changed.wait()
            return None

    def _compute(self, rows: Sequence[Row], alone: bool) -> None:
        """Ask the model; a batch it fails on is halved until only the rows at fault have failed."""
        now = time.monotonic()
        rows = [row for row in rows if not row.job.gone(now)]
        if not rows:
            return
        self._waited.observe(now - rows[0].job.begun)  # of the oldest
        try:
            asked = [row.item for row in rows]
            results = list(zip(rows, self._call(asked, alone), strict=True))
        except Exception as error:  # noqa: BLE001 - whatever a model raises ends these rows only
            self._halve(rows, error)
            return
        self._note(rows, now, time.monotonic())
        with self._changed:
            for row, result in results:
                row.job.take(row.place, result)

    def _run_apart(self, call: Callable[[], Any], future: Future[Any]) -> None:
        try:
            _settle(call, future)
        finally:
            with self._changed:
                self._hooked = False

    def _halve(self, rows: Sequence[Row], error: Exception) -> None:
        if type(error).__name__ == "OutOfMemoryError":  # torch's, without importing torch
            self._make_room(len(rows))
        if len(rows) == 1:
            rows[0].job.fail(error)
            return
        half = len(rows) // 2
        self._compute(rows[:half], False)
        self._compute(rows[half:], False)

    def _make_room(self, tried: int) -> None:
        with self._changed:
            self.batch_rows, self._good = min(self.batch_rows, max(1, tried // 2)), 0
        _LOG.warning("out of the GPU's memory with %d rows; %d from now on", tried, self.batch_rows)
        if torch := sys.modules.get("torch"):
            torch.cuda.empty_cache()

    def _note(self, rows: Sequence[Row], began: float, ended: float) -> None:
        _trace(rows, began, ended)
        seconds = ended - began
        self._batch.observe(len(rows))
        self._took.observe(seconds)
        with self._changed:
            self._rows.learn(rows, seconds)
            self._good += 1
            if self._good >= _GOOD_BATCHES and self.batch_rows < self._most_rows:
                self.batch_rows, self._good = min(self._most_rows, 2 * self.batch_rows), 0


def _trace(rows: Sequence[Row], began: float, ended: float) -> None:
    """How long each traced request waited for this batch, and how long the batch took."""
    for job in {id(row.job): row.job for row in rows if row.job.trace is not None}.values():
        computed = int(began * 1e9), int(ended * 1e9)
        tracing.note("queue", job.trace, int(job.begun * 1e9), computed[0])
        tracing.note("model", job.trace, *computed, rows=len(rows))


def _settle(call: Callable[[], Any], future: Future[Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(call())
    except Exception as error:  # noqa: BLE001 - it belongs to who asked
        future.set_exception(error)
