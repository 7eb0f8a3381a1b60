"""A gateway's side of the routing table: takes a new one whole or not at all, and says so.

The file is looked at every quarter of a second. What this process took and answered is in its
instance file, written every second: whoever changes the table reads there when it counts. Writes no
table (``stores.gateway_store`` does) and chooses no release (``assign`` does).
"""

from __future__ import annotations

import asyncio
import logging
import os
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple

from gateway.errors import StartError
from gateway.meters import METERS
from gateway.ports import Backend
from models.contracts.rollout import Variant
from models.contracts.routing import Instance, RoutingTable

#: ``<home>/gateway/table.json`` is the default.
TABLE = "ASSAY_TABLE"
POLL_SECONDS = 0.25
TELL_SECONDS = 1.0

_EMPTY = RoutingTable(generation=0, written_at=datetime.fromtimestamp(0, UTC), products={})
_LOG = logging.getLogger("assay.table")


class Places(NamedTuple):
    """Files of a gateway.

    Attributes:
        table: The `RoutingTable`; may be mounted read-only.
        instances: Folder that gateways write to.
    """

    table: Path
    instances: Path

    @property
    def rollouts(self) -> Path:
        """Folder of the rollouts' journals, below the home."""
        return self.instances.parents[1] / "rollouts"


class Follower:
    """The table that this process serves.

    Args:
        places: Files; the table may be made later.
        backend: Told of every new table, before it is `current`.
        kind: Of the deployment.
        url: Where this gateway is reached.
        problems: What the backend could not do, in words.
        also: Told of every new table beside the backend.
    """

    def __init__(
        self,
        places: Places,
        backend: Backend,
        kind: Literal["router", "single"],
        url: str,
        *,
        problems: Callable[[], Sequence[str]] = tuple,
        also: Callable[[RoutingTable], None] = lambda _: None,
    ) -> None:
        self.current = _EMPTY
        self.id = f"{kind}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self._path, self._folder, self._backend = *places, backend
        self._kind, self._url, self._problems, self._also = kind, url, problems, also
        self._seen: tuple[int, int, int] | None = None
        self._wrong: str | None = None
        self._answered: dict[str, Counter[str]] = {}

    def answered(self, product: str, version: str, variant: Variant | None) -> None:
        """Count one answered unit, by the release that answered it."""
        self._answered.setdefault(product, Counter())[version] += 1
        METERS.inc(
            "assay_answers_total", product=product, version=version, variant=variant or "none"
        )

    def take(self) -> bool:
        """Look at the file once; whether there was a new table."""
        try:
            found = self._path.stat()
            seen = (found.st_mtime_ns, found.st_size, found.st_ino)
            if seen == self._seen:
                return False
            table = RoutingTable.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return False
        except (OSError, ValueError) as error:
            self._refuse(f"{self._path.name} cannot be read ({type(error).__name__})")
            return False
        self._seen = seen
        if table == self.current:
            return False
        if table.generation <= self.current.generation:
            self._refuse(
                f"generation {table.generation} is no newer than {self.current.generation}"
            )
            return False
        self._backend.follow(table)
        self._also(table)
        self.current, self._wrong = table, None
        _LOG.info("serving generation %d of the routing table", table.generation)
        return True

    async def run(self) -> None:
        """Follow until cancelled; then the instance file is gone."""
        loop = asyncio.get_running_loop()
        next_told = loop.time()
        try:
            while True:
                if self._took() or loop.time() >= next_told:
                    next_told = loop.time() + TELL_SECONDS
                    await asyncio.to_thread(self._tell, self.instance())
                await asyncio.sleep(POLL_SECONDS)
        finally:
            with suppress(OSError):
                self._file().unlink(missing_ok=True)

    def instance(self) -> Instance:
        """What this process says of itself now."""
        wrong = (self._wrong,) if self._wrong else ()
        return Instance(
            id=self.id,
            pid=os.getpid(),
            kind=self._kind,
            url=self._url,
            generation=self.current.generation,
            at=datetime.now(UTC),
            answered={product: dict(counts) for product, counts in self._answered.items()},
            problems=(*wrong, *self._problems()),
        )

    def _took(self) -> bool:
        """Like `take`; whatever is wrong with a table, the next one is looked at."""
        try:
            return self.take()
        except Exception as error:  # noqa: BLE001 - a gateway that follows no more looks alive
            _LOG.exception("a routing table was not taken")
            self._wrong = f"a table was not taken ({type(error).__name__})"
            return False

    def _refuse(self, why: str) -> None:
        """Keep the table of before; told once, and in the instance file until it is mended."""
        if why != self._wrong:
            _LOG.error("generation %d still counts: %s", self.current.generation, why)
        self._wrong = why

    def _file(self) -> Path:
        return self._folder / f"{self.id}.json"

    def _tell(self, instance: Instance) -> None:
        file = self._file()
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            half = file.with_suffix(".half")
            half.write_text(instance.model_dump_json(), encoding="utf-8")
            half.replace(file)  # no fsync: it is written again in a second
        except OSError as error:
            _LOG.error("%s cannot be written (%s)", file, error.strerror)


def places() -> Places:
    """Where the files are, by ``ASSAY_HOME`` and ``ASSAY_TABLE``.

    Raises:
        StartError: Nothing says where.
    """
    named, home = os.environ.get(TABLE, ""), os.environ.get("ASSAY_HOME", "")
    if not (named or home):
        raise StartError(f"set {TABLE} to the routing table, or ASSAY_HOME to the home it is in")
    folder = Path(home) / "gateway" if home else Path(named).parent
    return Places(Path(named) if named else folder / "table.json", folder / "instances")
