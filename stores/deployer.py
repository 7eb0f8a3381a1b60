"""Rolls bentos out on this machine: start, replay golden requests, switch, or leave all as it was.

A product keeps its URL through every roll-out (see ``docs/decisions/0005-rollout.md``). What serves
is what its `Slot` points to and what really runs; nothing is kept in memory, so any process may
roll out, look or stop. Gateways are told what runs. Which bento should serve is not decided here.
"""

from __future__ import annotations

import copy
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import Timeout

from gateway import door as doors
from models.contracts.api import GoldenSet
from models.contracts.base import Frozen
from models.contracts.product import ModelProduct
from stores import gateway_store, service_process
from stores.golden import MismatchError, replay
from stores.home import Home
from stores.key_store import keys_path, service_token
from stores.listener import open_port, take_over
from stores.service_process import StartError
from stores.service_slot import ServiceRecord, Slot

__all__ = ["Deployer", "Rollout", "RolloutError", "ServiceRecord"]

_LOCK_SECONDS = 300.0
_GRACE_SECONDS = 15.0  # beyond a request's own: idle connections for 5.5 s, then the worker's hooks


class RolloutError(Exception):
    """A bento that does not serve; the message says what differed, what serves and what to do."""


class Rollout(Frozen):
    """A finished roll-out.

    Attributes:
        previous: Tag of the bento that served before, None when nothing did.
        golden_rows: Golden requests replayed on the URL.
        max_difference: Largest difference from the offline probabilities.
    """

    product: str
    bento: str
    version: str
    url: str
    previous: str | None
    golden_rows: int
    max_difference: float


class Deployer:
    """Serves products on this machine.

    Args:
        home: Root of everything; pointers and logs lie in ``<home>/services``.
        bento_home: BentoML's home, with the bentos and their models.
        public_key: Key the models must verify against.
        host: Address to serve on.
        spool_mb: Bound on each service's prediction log, in megabytes.
    """

    def __init__(
        self, home: Path, bento_home: Path, public_key: Path, host: str = "127.0.0.1",
        spool_mb: int = 512,
    ) -> None:  # fmt: skip
        self._home, self._host, self._name = Home(home.resolve()), host, ""
        self._environment = {
            "BENTOML_HOME": str(bento_home.resolve()), "BENTOML_DO_NOT_TRACK": "True",
            "ASSAY_PUBLIC_KEY": str(public_key.resolve()), "ASSAY_SPOOL_MB": str(spool_mb),
        }  # fmt: skip

    def roll_out(self, product: ModelProduct, bento_tag: str, golden: GoldenSet) -> Rollout:
        """Make a bento current, once it has answered the golden requests as its model did offline.

        The same bento again only replays them, and is started anew when that fails.

        Args:
            product: What it serves.
            bento_tag: Exact tag of a built bento.
            golden: Requests with the answers of the model called without a service.

        Raises:
            RolloutError: It did not start or answered otherwise. What served before still serves,
                on the same URL.
        """
        with self._alone(product):
            old = self._clean(product)
            try:
                return self._roll_out(product, bento_tag, golden, old)
            except (StartError, MismatchError, OSError) as error:
                now = self.current(product)
                left = f"{now.bento} serves at {now.url}" if now else "nothing serves it"
                raise RolloutError(
                    f"{bento_tag} was not rolled out: {error}\nFor {product.key}, {left} now. "
                    f"Mend the cause and roll out again (`assay serve {product.key}`), or go back "
                    f"(`assay rollback {product.key}`)"
                ) from error
            finally:
                self._tell_gateways(product)

    def slot(self, name: str) -> Deployer:
        """The same for services beside; gateways are told of them by who gives them traffic."""
        beside = copy.copy(self)
        beside._name = name
        return beside

    def spawn(self, product: ModelProduct, bento_tag: str, golden: GoldenSet) -> ServiceRecord:
        """Like `roll_out`; what runs then.

        Raises:
            RolloutError: It did not start or answered otherwise.
        """
        self.roll_out(product, bento_tag, golden)
        if (record := self.current(product)) is None:
            raise RolloutError(f"{bento_tag} ended after its golden requests; see its log")
        return record

    def current(self, product: ModelProduct) -> ServiceRecord | None:
        """The service that runs, None when none does."""
        return self._slot(product).current()

    def stop(self, product: ModelProduct) -> bool:
        """Stop whatever serves the product, leftovers of a crash included.

        Returns:
            Whether there was anything to stop.

        Raises:
            RolloutError: A roll-out of the product goes on.
        """
        with self._alone(product):
            self._slot(product).stopped()
            self._tell_gateways(product, stopping=True)
            found = service_process.marked(self._slot(product).runs)
            for folder in found:
                self._end(product, Path(folder))
            return bool(found)

    def _roll_out(
        self, product: ModelProduct, tag: str, golden: GoldenSet, old: ServiceRecord | None
    ) -> Rollout:
        if old is None:
            with self._own_port(product) as shared:
                return self._first(product, tag, golden, shared)
        if old.bento == tag:
            try:
                return _rollout(old, tag, golden, self._replay(old.url, golden))
            except MismatchError:
                pass  # it hangs or its worker is gone: replace it by a fresh start of the same
        self._rehearse(product, tag, golden)
        with self._port_of(product, old) as shared:
            return self._replace(product, tag, golden, old, shared)

    def _rehearse(self, product: ModelProduct, tag: str, golden: GoldenSet) -> None:
        """Start the bento on a port nobody knows; whatever is wrong with it shows here."""
        with open_port(self._host, 0) as scratch:
            record = self._start(product, tag, scratch)
            try:
                self._replay(record.url, golden)
            finally:
                self._end(product, Path(record.folder))

    def _first(
        self, product: ModelProduct, tag: str, golden: GoldenSet, shared: socket.socket
    ) -> Rollout:
        """Nothing serves: nobody is asking on the port, so it is rehearsal and roll-out at once."""
        new = self._start(product, tag, shared)
        try:
            difference = self._replay(new.url, golden)
        except MismatchError:
            self._end(product, Path(new.folder))
            raise
        self._slot(product).point(new)
        return _rollout(new, None, golden, difference)

    def _replace(
        self,
        product: ModelProduct,
        tag: str,
        golden: GoldenSet,
        old: ServiceRecord,
        shared: socket.socket,
    ) -> Rollout:
        """Both serve for a moment; then the old one leaves and the URL is asked once more."""
        new = self._start(product, tag, shared)
        self._slot(product).point(new)
        self._end(product, Path(old.folder))
        try:
            return _rollout(new, old.bento, golden, self._replay(new.url, golden))
        except MismatchError:
            self._slot(product).point(self._start(product, old.bento, shared))
            self._end(product, Path(new.folder))
            raise

    def _start(self, product: ModelProduct, tag: str, shared: socket.socket) -> ServiceRecord:
        slot, own = self._slot(product), f"{datetime.now(UTC):%Y%m%d_%H%M%S}_{uuid.uuid4().hex[:6]}"
        folder, spool = slot.runs / own, self._home.spool(product)
        more = {"ASSAY_SPOOL": str(spool), "ASSAY_CACHE_FILE": str(slot.kept), **self._door()}
        running = service_process.start(tag, folder, shared, self._environment | more)
        try:
            service_process.wait_ready(running)
        except StartError:
            self._end(product, folder)
            raise
        host, port = shared.getsockname()
        return ServiceRecord(
            product=product.key,
            bento=tag,
            version=tag.partition(":")[2],
            url=f"http://{host}:{port}",
            port=port,
            pid=running.pid,
            folder=str(folder),
            door=str(running.door),
            started_at=datetime.now(UTC),
        )

    def _end(self, product: ModelProduct, folder: Path) -> None:
        service_process.stop(folder, product.serving.timeout_s + _GRACE_SECONDS)

    def _clean(self, product: ModelProduct) -> ServiceRecord | None:
        """The current service, after ending what a crashed roll-out left behind."""
        slot = self._slot(product)
        old = slot.current()
        for folder in slot.leftovers(old):
            self._end(product, folder)
        slot.forget_logs(old)
        return old

    def _port_of(self, product: ModelProduct, old: ServiceRecord) -> socket.socket:
        try:
            return take_over(Path(old.door))
        except OSError:  # it runs but does not hand on: rather a gap than no roll-out
            self._end(product, Path(old.folder))
            return open_port(self._host, old.port)

    def _own_port(self, product: ModelProduct) -> socket.socket:
        """The port the product asks for, else the one it had, else any."""
        wanted = 0 if self._name else product.serving.port
        last = self._slot(product).last()
        try:
            return open_port(self._host, wanted or (last.port if last else 0))
        except OSError as error:
            if wanted:
                raise StartError(
                    f"port {wanted} is taken ({error.strerror}); free it or change serving.port"
                ) from error
            return open_port(self._host, 0)

    def _tell_gateways(self, product: ModelProduct, *, stopping: bool = False) -> None:
        if not self._name:
            gateway_store.follow_services(self._home, product, stopping=stopping)

    def _replay(self, url: str, golden: GoldenSet) -> float:
        """As a gateway asks: the service may believe nobody else."""
        return replay(url, golden, service_token(self._home).read_text(encoding="ascii"))

    def _door(self) -> dict[str, str]:
        """Where there are keys, a service is asked by its gateway only."""
        closed = keys_path(self._home).exists()
        return {doors.TOKEN: str(service_token(self._home))} if closed else {}

    def _slot(self, product: ModelProduct) -> Slot:
        return Slot(self._home, product, self._name)

    @contextmanager
    def _alone(self, product: ModelProduct) -> Iterator[None]:
        """One roll-out or stop of a product at a time, over all processes of this machine."""
        lock = self._slot(product).lock
        try:
            with lock.acquire(timeout=_LOCK_SECONDS):
                yield
        except Timeout as error:
            raise RolloutError(
                f"another roll-out of {product.key} holds {lock.lock_file} for over "
                f"{_LOCK_SECONDS:.0f} s; wait for it or end it"
            ) from error


def _rollout(
    record: ServiceRecord, previous: str | None, golden: GoldenSet, difference: float
) -> Rollout:
    return Rollout(
        **record.model_dump(include={"product", "bento", "version", "url"}),
        previous=previous,
        golden_rows=len(golden.rows),
        max_difference=difference,
    )
