"""What is kept of one running service of a product: which it is, its run folders, its lock.

A product has a main slot, which keeps its URL, and may have named ones beside it: a challenger runs
in its own, on its own port. Nothing is started or stopped here.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from filelock import FileLock

from models.contracts.base import Frozen
from models.contracts.product import ModelProduct
from stores import service_process
from stores.files import write_atomic
from stores.home import Home

#: Slot of a release that runs beside the champion.
CHALLENGER = "challenger"
_KEPT_LOGS = 5


class ServiceRecord(Frozen):
    """A service that was made current.

    Attributes:
        bento: Tag, ``<slug>:<version>``.
        folder: Run folder with ``service.log``.
        door: Where its successor gets the listening socket from.
    """

    product: str
    bento: str
    version: str
    url: str
    port: int
    pid: int
    folder: str
    door: str
    started_at: datetime


class Slot:
    """``<home>/services/<slug>.json`` and ``<slug>/``; of a named one ``<slug>--<name>``.

    Args:
        home: Of the deployment.
        product: What is served.
        name: "" is the main slot.
    """

    def __init__(self, home: Home, product: ModelProduct, name: str = "") -> None:
        stem = f"{product.slug}--{name}" if name else product.slug
        self.services, self.name = home.root / "services", name
        self.runs = self.services / stem
        self.kept = self.services / f"{stem}.kept"
        self._pointer = self.services / f"{stem}.json"
        self._stopped = self.services / f"{stem}.stopped" if name else home.stopped_mark(product)

    @property
    def lock(self) -> FileLock:
        """Held while anything changes here."""
        self.services.mkdir(parents=True, exist_ok=True)
        return FileLock(self.runs.with_name(f"{self.runs.name}.lock"))

    def last(self) -> ServiceRecord | None:
        """What was made current last, whether it still runs or not."""
        if not self._pointer.exists():
            return None
        return ServiceRecord.model_validate_json(self._pointer.read_bytes())

    def current(self) -> ServiceRecord | None:
        """The service that runs, None when none does."""
        last = self.last()
        return last if last and service_process.alive(last.pid, Path(last.folder)) else None

    def point(self, record: ServiceRecord) -> None:
        """Make a service current."""
        # first: what a crash leaves in between is then missed and started again, not called stopped
        self._stopped.unlink(missing_ok=True)
        write_atomic(self._pointer, record.model_dump_json(indent=1))

    def stopped(self) -> None:
        """Note that somebody wants nothing to run here."""
        write_atomic(self._stopped, "")

    def leftovers(self, old: ServiceRecord | None) -> Iterable[Path]:
        """Run folders with processes that are not the current service's."""
        for folder in service_process.marked(self.runs):
            if old is None or folder != old.folder:
                yield Path(folder)

    def forget_logs(self, old: ServiceRecord | None) -> None:
        """Keep the newest run folders."""
        past = sorted(self.runs.iterdir(), reverse=True) if self.runs.is_dir() else []
        for folder in past[_KEPT_LOGS:]:
            if old is None or str(folder) != old.folder:
                shutil.rmtree(folder, ignore_errors=True)
