"""The models of this process: which are loaded, which are wanted, which have to make room.

Belongs here: loading and warming in the background, memory, who may be dropped. Does not belong
here: what an engine answers, who asks, how it is sent. One process may hold one release (a
product's own service) or many (the front door in one process).
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import importlib
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from pydantic import BaseModel

from bentos import runtime
from bentos.engine import Engine
from gateway.asked import Asked
from gateway.meters import METERS
from gateway.ports import Answered, Shed
from gateway.traffic_log import TrafficLog
from models import registry
from models.contracts.product import Contract, ModelProduct
from models.contracts.routing import RoutingTable

Release = tuple[str, str]  # product key, version

#: ``module:class`` of each contract's engine; imported when one is loaded.
ENGINES: Mapping[Contract, str] = MappingProxyType(
    {
        "row_scores": "bentos.row_scores.engine:RowEngine",
        "text_labels": "bentos.text_labels.engine:TextEngine",
        "ranked_items": "bentos.ranked_items.engine:RankEngine",
    }
)
#: Module of each contract's request type.
_API: Mapping[Contract, str] = MappingProxyType(
    {
        "row_scores": "models.contracts.api.rows",
        "text_labels": "models.contracts.api.texts",
        "ranked_items": "models.contracts.api.rankings",
    }
)
#: When a request may come again whose model found no room.
_NO_ROOM_SECONDS = 5
_LOG = logging.getLogger("assay.host")


class Found(NamedTuple):
    """Where a release is.

    Attributes:
        folder: Its sealed artifact.
        log: Makes the log of its answers; releases of one product may share a spool.
    """

    product: ModelProduct
    folder: Path
    log: Callable[[], TrafficLog]


Find = Callable[[str, str], Found]


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
        self._problems: dict[Release, str] = {}
        self._thread = ThreadPoolExecutor(1, "loader")  # one load at a time

    @property
    def problems(self) -> tuple[str, ...]:
        """Releases that are wanted and could not be loaded, with the reason."""
        return tuple(f"{key} {version}: {why}" for (key, version), why in self._problems.items())

    def load(self, product: str, version: str) -> Engine:
        """Load a release here and now; for the start of a process.

        Raises:
            StartError: It must not be served.
        """
        loaded = self._load((product, version))
        self._loaded[product, version] = loaded
        self._current[product] = product, version
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
            self._begin(release).add_done_callback(_told)
        for release in self._wanted & set(self._loaded):
            self._settle(release)

    def request_type(self, product: str, version: str) -> type[BaseModel]:  # noqa: ARG002 - the protocol's
        """See ``Answers``; the same for all versions of one product in one process."""
        return _request_type(product)

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
                self._thread.submit(_end, loaded)

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
                # shielded: who gives up waiting must not stop the load for the others
                loaded = await asyncio.shield(self._begin(release))
            if not loaded.leaving:  # else it had to make room before its turn came
                return loaded

    def _stand_in(self, release: Release) -> _Loaded | None:
        """The champion of before, while one that the table wants loads or cannot be loaded."""
        if release != self._champions.get(release[0]):
            return None
        return self._loaded.get(self._current.get(release[0], release))

    def _begin(self, release: Release) -> asyncio.Task[_Loaded]:
        task = self._loading.get(release)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._bring(release))
            self._loading[release] = task
        return task

    async def _bring(self, release: Release) -> _Loaded:
        """Load in the thread, then take it in: one assignment, between two requests."""
        loop = asyncio.get_running_loop()
        try:
            self._make_room(release)
            loaded = await loop.run_in_executor(self._thread, self._load, release)
        except Shed:
            raise
        except Exception as error:
            self._problems[release] = str(error)
            _LOG.error("%s %s was not loaded: %s", *release, error)
            raise
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
        begun, before = time.monotonic(), _resident_bytes()
        key, version = release
        found = self._find(key, version)
        name, _, of = ENGINES[found.product.contract].partition(":")
        make: Callable[[runtime.Runtime], Engine] = getattr(importlib.import_module(name), of)
        engine = make(runtime.load(found.product, found.folder, version))
        engine.warm_up()
        size = sum(file.stat().st_size for file in found.folder.rglob("*") if file.is_file())
        engine.bytes = max(size, _resident_bytes() - before)
        METERS.set("assay_engine_load_seconds", time.monotonic() - begun, product=key,
                   version=version)  # fmt: skip
        METERS.set("assay_engine_bytes", engine.bytes, product=key, version=version)
        METERS.inc("assay_engines_loaded")
        return _Loaded(engine)

    def _make_room(self, release: Release) -> None:
        """Drop idle engines until one more fits, the one longest unused first.

        Raises:
            Shed: It does not fit beside those that are busy or pinned.
        """
        if self._budget is None:
            return
        folder = self._find(*release).folder
        need = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        while self._loaded and self._used() + need > self._budget:
            idle = [
                (loaded.used, other)
                for other, loaded in self._loaded.items()
                if not loaded.asking and other not in self._pinned
            ]
            if not idle:
                raise Shed(_NO_ROOM_SECONDS)
            self._drop(min(idle)[1])

    def _used(self) -> int:
        return sum(loaded.engine.bytes for loaded in self._loaded.values())

    def _drop(self, release: Release) -> None:
        """Its last answer, or nobody, closes it, off the loop."""
        loaded = self._loaded.pop(release)
        loaded.leaving = True
        if not loaded.asking:
            self._thread.submit(_end, loaded)


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


def _end(loaded: _Loaded) -> None:
    """Give its memory back."""
    product, version = loaded.engine.runtime.product.key, loaded.engine.runtime.version
    loaded.engine.close()
    METERS.set("assay_engine_bytes", 0, product=product, version=version)
    METERS.inc("assay_engines_loaded", -1)
    del loaded
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # glibc keeps freed memory otherwise


@lru_cache
def _request_type(product: str) -> type[BaseModel]:
    found = registry.get(product)
    module: Any = importlib.import_module(_API[found.contract])
    made: type[BaseModel] = module.request_model(found)
    return made


def _resident_bytes() -> int:
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()
