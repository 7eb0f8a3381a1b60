"""The models of this process: which are loaded, which are wanted, which have to make room.

Belongs here: which release answers, loading in the background, who may be dropped. Does not belong
here: how one is loaded (``loading``), what it answers, who asks. One process may hold one release
(a product's own service) or many (the front door in one process).
"""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from pydantic import BaseModel

from bentos.engine import Engine
from bentos.loading import Find, load, size_of, unload
from gateway.asked import Asked
from gateway.openapi_routes import request_type
from gateway.ports import Answered, Shed
from gateway.traffic_log import TrafficLog
from models.contracts.routing import RoutingTable

Release = tuple[str, str]  # product key, version

#: When a request may come again whose model found no room.
_NO_ROOM_SECONDS = 5
#: A model that cannot be loaded is tried again after this time: a try reads and verifies all of it.
_RETRY_SECONDS = 30
_LOG = logging.getLogger("assay.host")


class _Problem(NamedTuple):
    """Why a release could not be loaded, and when it may be tried again."""

    error: Exception
    again: float


class _Loaded:
    """An engine, and who uses it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.asking, self.used, self.leaving = 0, time.monotonic(), False


class EngineHost:
    """Answers of the engines in this process; a `gateway.ports.Answers`.

    All but loading runs on one event loop.

    Args:
        find: Where a release is; raises ``StartError`` where there is none.
        budget_bytes: Memory for engines together; None has no bound.
    """

    def __init__(self, find: Find, budget_bytes: int | None = None) -> None:
        self._find, self._budget = find, budget_bytes
        self._loaded: dict[Release, _Loaded] = {}
        self._loading: dict[Release, asyncio.Task[_Loaded]] = {}
        self._logs: dict[Release, TrafficLog] = {}
        self._wanted: frozenset[Release] = frozenset()
        self._pinned: frozenset[Release] = frozenset()
        self._replaced: set[Release] = set()
        self._champions: dict[str, Release] = {}
        self._current: dict[str, Release] = {}  # the newest champion that is loaded
        self._problems: dict[Release, _Problem] = {}
        self._thread = ThreadPoolExecutor(1, "loader")  # one load at a time

    @property
    def problems(self) -> tuple[str, ...]:
        """Releases that are wanted and could not be loaded, with the reason."""
        return tuple(
            f"{key} {version}: {one.error}" for (key, version), one in self._problems.items()
        )

    def load(self, product: str, version: str) -> Engine:
        """Load a release here and now; for the start of a process.

        Raises:
            StartError: It must not be served.
        """
        loaded = self._load((product, version))
        self._loaded[product, version] = loaded
        self._current.setdefault(product, (product, version))
        self.log(product, version)
        return loaded.engine

    def follow(self, table: RoutingTable) -> None:
        """Take a new table: begin to load what it names, and let go of what it does not.

        What is asked for while its model loads is answered by the product's release of before.
        """
        releases = _releases(table)
        self._replaced = (self._replaced | self._wanted) - releases
        self._wanted, self._problems = releases, {}
        self._champions = {
            key: (key, routes.champion) for key, routes in table.products.items() if routes.champion
        }
        self._pinned = frozenset(
            release for key, release in self._champions.items() if table.products[key].pinned
        )
        for release in self._wanted - set(self._loaded):
            self._begin(release)
        for release in self._wanted & set(self._loaded):
            self._settle(release)

    async def settled(self, seconds: float) -> None:
        """Wait until what is loading now is loaded or has failed, and no longer than this."""
        if self._loading:
            await asyncio.wait(self._loading.values(), timeout=seconds)

    def request_type(self, product: str, version: str) -> type[BaseModel]:  # noqa: ARG002 - the protocol's
        """See ``Answers``; the same for all versions of one product in one process."""
        return request_type(product)

    async def answer(
        self, product: str, version: str, request: BaseModel, asked: Asked
    ) -> Answered:
        """See ``Answers``."""
        loaded = await self._get((product, version))
        loaded.asking += 1
        loaded.used = time.monotonic()
        try:
            return await loaded.engine.answer(request, asked)
        finally:
            loaded.asking -= 1
            if loaded.leaving and not loaded.asking:
                self._thread.submit(unload, [loaded.engine])

    async def health(self, product: str, version: str) -> dict[str, str]:
        """See ``Answers``."""
        answering = (await self._get((product, version))).engine.runtime
        log = self.log(product, answering.version)
        return answering.health() | {"prediction_log": log.state}

    def log(self, product: str, version: str) -> TrafficLog:
        """See ``Answers``; needs no model, so that an outcome loads none."""
        log = self._logs.get((product, version))
        if log is None:
            log = self._logs[product, version] = self._find(product, version).log()
        return log

    async def close(self) -> None:
        """Let go of every engine and finish the logs."""
        for task in self._loading.values():
            task.cancel()
        self.end()

    def end(self) -> None:
        """The same where nothing is loading."""
        for loaded in self._loaded.values():
            loaded.engine.close()
        for log in self._logs.values():
            log.close()
        self._loaded.clear()
        self._thread.shutdown(wait=False)

    async def _get(self, release: Release) -> _Loaded:
        while True:
            loaded = self._loaded.get(release) or self._stand_in(release)
            if loaded is None:
                self._check(release)
                # shielded: who gives up waiting must not stop the load for the others
                loaded = await asyncio.shield(self._begin(release))
            if not loaded.leaving:  # else it had to make room before its turn came
                return loaded

    def _check(self, release: Release) -> None:
        """Not to try again too soon what cannot be loaded."""
        problem = self._problems.get(release)
        if problem and time.monotonic() < problem.again:
            raise problem.error.with_traceback(None)

    def _stand_in(self, release: Release) -> _Loaded | None:
        """The champion of before, while one that the table wants loads or cannot be loaded."""
        if release != self._champions.get(release[0]):
            return None
        other = self._loaded.get(self._current.get(release[0], release))
        problem = self._problems.get(release)
        if other and problem and time.monotonic() >= problem.again:
            self._begin(release)
        return other

    def _begin(self, release: Release) -> asyncio.Task[_Loaded]:
        task = self._loading.get(release)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._bring(release))
            task.add_done_callback(_told)
            self._loading[release] = task
        return task

    async def _bring(self, release: Release) -> _Loaded:
        """Load in the thread, then take it in: one assignment, between two requests."""
        loop = asyncio.get_running_loop()
        try:
            self._make_room(release)
            loaded = await loop.run_in_executor(self._thread, self._load, release)
        except Exception as error:
            pause = 0 if isinstance(error, Shed) else _RETRY_SECONDS  # room may come at any time
            if release not in self._problems:
                _LOG.error("%s %s was not loaded: %s", *release, error)
            self._problems[release] = _Problem(error, time.monotonic() + pause)
            raise
        else:
            self._problems.pop(release, None)
        finally:
            self._loading.pop(release, None)
        self._loaded[release] = loaded
        self._settle(release)
        return loaded

    def _settle(self, release: Release) -> None:
        """A release is loaded: if it is the champion, it answers, and those of before may go."""
        key = release[0]
        if release != self._champions.get(key):
            return
        self._current[key] = release
        for other in [one for one in self._replaced if one[0] == key]:
            self._replaced.discard(other)
            if other in self._loaded:
                self._drop(other)

    def _load(self, release: Release) -> _Loaded:
        return _Loaded(load(self._find(*release), release[1]))

    def _make_room(self, release: Release) -> None:
        """Drop idle engines until one more fits, the one longest unused first.

        Raises:
            Shed: It does not fit beside those that are busy or pinned.
        """
        if self._budget is None:
            return
        need = size_of(self._find(*release).folder)
        kept = set(self._pinned)
        if release == self._champions.get(release[0]):  # until it answers, the one of before does
            kept.add(self._current.get(release[0], release))
        while self._loaded and self._used() + need > self._budget:
            idle = [
                (loaded.used, other)
                for other, loaded in self._loaded.items()
                if not loaded.asking and other not in kept
            ]
            if not idle:
                raise Shed(_NO_ROOM_SECONDS, "memory")
            self._drop(min(idle)[1])

    def _used(self) -> int:
        return sum(loaded.engine.bytes for loaded in self._loaded.values())

    def _drop(self, release: Release) -> None:
        """Its last answer, or nobody, closes it, off the loop."""
        loaded = self._loaded.pop(release)
        loaded.leaving = True
        if not loaded.asking:
            self._thread.submit(unload, [loaded.engine])


def _releases(table: RoutingTable) -> frozenset[Release]:
    """What a table may send requests to at any moment."""
    found: set[Release] = set()
    for key, routes in table.products.items():
        rival = routes.placement.challenger if routes.placement else None
        versions = {routes.champion, rival, *(one.version for one in routes.overrides)}
        found |= {(key, version) for version in versions if version}
    return frozenset(found)


def _told(task: asyncio.Task[_Loaded]) -> None:
    """A load that nobody waits for ended; what went wrong is in the problems."""
    if not task.cancelled():
        task.exception()
