"""Clients that look at every answer and tell what came of it, for rollout benchmarks."""

from __future__ import annotations

import asyncio
import json
import math
import random
from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from benchmarks import connection
from benchmarks.connection import Connection
from benchmarks.load import requests
from models.contracts.learner import Vector

TOLERANCE = 1e-6
OUTCOME_SECONDS, PATIENCE = 0.05, 30.0
#: Of one report, at most.
OUTCOMES = 200
_ACCEPTED = 202
#: Who asks: so many keys that a share of 5 % of them is a share of 5 % of the requests.
KEYS = 20_000


class Kind(NamedTuple):
    """A way to ask: how many clients, whether they keep their connection, and their pause."""

    clients: int
    kept: bool
    pause: float


KINDS = (Kind(4, True, 0.0), Kind(2, False, 0.0), Kind(2, True, 0.7))


@dataclass
class Seen:
    """What the clients saw.

    Attributes:
        failed: By what was wrong.
        fallback: Answers of the ladder, by rung.
        ids: Predictions that a model answered, which must be in the log.
    """

    failed: Counter[str] = field(default_factory=Counter)
    fallback: Counter[str] = field(default_factory=Counter)
    ids: set[str] = field(default_factory=set)
    seconds: array[float] = field(default_factory=lambda: array("d"))

    @property
    def requests(self) -> int:
        """Answered and failed."""
        return len(self.seconds) + self.failed.total()

    def quantile(self, q: float) -> float:
        """Seconds within which a share ``q`` of the answers came."""
        found = sorted(self.seconds)
        return found[max(0, math.ceil(q * len(found)) - 1)] if found else math.nan


class Clients:
    """Clients of every kind.

    Args:
        url: Of the router.
        path: Of the product.
        cases: Rows and what is true of them.
        offline: Release to what it says of each case without a service.
    """

    def __init__(self, url: str, path: str, cases: Any, offline: Mapping[str, Vector]) -> None:
        self.seen = Seen()
        self._url, self._path, self._cases, self._offline = url, path, cases, offline
        self._ended = False
        self._random = random.Random(1)
        self._known: list[dict[str, Any]] = []

    def end(self) -> None:
        """Let every client finish its request."""
        self._ended = True

    async def ask(self) -> None:
        """Ask until the end."""
        connection._REFUSED = 0.0  # a refused connection is a failed request here
        async with asyncio.TaskGroup() as group:
            group.create_task(self._report())
            for kind in KINDS:
                for _ in range(kind.clients):
                    group.create_task(self._client(kind))

    async def _client(self, kind: Kind) -> None:
        loop, asking = asyncio.get_running_loop(), Connection(self._url)
        while not self._ended:
            case = self._random.randrange(len(self._cases.rows))
            begun = loop.time()
            try:
                status, _, body = await asking.ask(self._request(case), PATIENCE)
                problem = self._judge(case, status, body)
            except OSError as error:
                problem = type(error).__name__
            if problem:
                self.seen.failed[problem] += 1
            else:
                self.seen.seconds.append(loop.time() - begun)
            if not kind.kept:
                asking.close()
            if kind.pause:
                await asyncio.sleep(kind.pause)
        asking.close()

    def _request(self, case: int) -> bytes:
        body = json.dumps({"rows": [self._cases.rows[case]]}).encode()
        key = {"x-assay-key": f"k{self._random.randrange(KEYS)}"}
        return next(requests(f"{self._url}{self._path}/predict", [body], key))

    def _judge(self, case: int, status: int, body: bytes) -> str | None:
        """What is wrong with an answer; its outcome is on its way when nothing is."""
        if status != 200:
            return {0: "connection lost", -1: "no answer in time"}.get(status, f"{status}")
        answer = json.loads(body)
        (told,) = answer["predictions"]
        if rung := answer.get("fallback"):
            self.seen.fallback[rung] += 1
        else:
            said = self._offline.get(told["model_version"])
            if said is None or abs(told["probability"] - said[case]) > TOLERANCE:
                return f"wrong answer of {told['model_version']}"
        self.seen.ids.add(told["prediction_id"])
        label = int(self._cases.labels[case] > 0.5)
        self._known.append({"prediction_id": told["prediction_id"], "label": label})
        return None

    async def _report(self) -> None:
        """Tell what came of the requests of a moment ago, many at once."""
        reporter = Connection(self._url)
        while self._known or not self._ended:
            await asyncio.sleep(OUTCOME_SECONDS)
            told, self._known = self._known[:OUTCOMES], self._known[OUTCOMES:]
            if not told:
                continue
            body = json.dumps({"outcomes": told}).encode()
            asked = next(requests(f"{self._url}{self._path}/outcome", [body]))
            try:
                status, _, _ = await reporter.ask(asked, PATIENCE)
            except OSError:
                status = 0
            if status != _ACCEPTED:
                self.seen.failed[f"outcomes {status}"] += len(told)
        reporter.close()
