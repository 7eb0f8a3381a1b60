"""The router of this machine: started, replaced without a refused connection, stopped.

``<home>/gateway/``: ``router.json`` says which process it is, ``router.log`` leads to its log,
``runs/`` holds a folder per start. The listening socket goes from one router to the next as it does
between services (``stores.listener``). What the router serves is ``stores.gateway_store``'s.

Run as ``python -m stores.router_process`` this module is the router's process.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from models.contracts.base import Frozen
from stores import service_process
from stores.files import write_atomic
from stores.home import Home
from stores.key_store import keys_path, service_token
from stores.listener import FD, hand_on, open_port, take_over

_MODULE = "stores.router_process"
_LOCK_SECONDS = 60.0
#: Longer than it drains: idle connections, then answers under way.
_GRACE_SECONDS = 45.0
_KEPT_LOGS = 5


class RouterError(Exception):
    """A router that does not start; the message says why and what to do."""


class RouterRecord(Frozen):
    """A router that was started.

    Attributes:
        folder: Run folder with ``service.log``.
        door: Where its successor gets the listening socket from.
    """

    url: str
    port: int
    pid: int
    folder: str
    door: str
    started_at: datetime


class Single(NamedTuple):
    """The gateway that has all models in its own process.

    Attributes:
        tag: Of its bento.
        bento_home: BentoML's home.
        public_key: Key the models must verify against.
    """

    tag: str
    bento_home: Path
    public_key: Path


class RouterProcess:
    """The router of one home.

    Args:
        home: Whose routing table it follows.
        host: Address to serve on.
        port: 0 is the one it had, else any.
        spool_mb: Bound on the log of what it answers without a service.
    """

    def __init__(
        self, home: Home, host: str = "127.0.0.1", port: int = 0, *, spool_mb: int = 512
    ) -> None:
        self._home, self._host, self._port, self._spool_mb = home, host, port, spool_mb
        self._runs = home.gateway / "runs"
        self._pointer = home.gateway / "router.json"

    def start(self, single: Single | None = None) -> RouterRecord:
        """Start it; one that runs is replaced and loses no request.

        Args:
            single: Start this instead of a router, on the same address.

        Raises:
            RouterError: It did not start; one that ran still runs.
        """
        with self._alone():
            old = self.current()
            for folder in service_process.marked(self._runs):
                if old is None or folder != old.folder:
                    service_process.stop(Path(folder), _GRACE_SECONDS)
            try:
                with self._listener(old) as listener:
                    new = self._started(listener, single)
            except (service_process.StartError, OSError) as error:
                where = f"{self._host}:{self._port or 'any port'}"
                raise RouterError(
                    f"the router does not start on {where}: {error}; mend it, or set ASSAY_PORT"
                ) from error
            write_atomic(self._pointer, new.model_dump_json(indent=1))
            self._lead_to(Path(new.folder) / service_process.LOG)
            if old is not None:
                service_process.stop(Path(old.folder), _GRACE_SECONDS)
            return new

    def current(self) -> RouterRecord | None:
        """The router that runs, None when none does."""
        last = self._last()
        return last if last and service_process.alive(last.pid, Path(last.folder)) else None

    def stop(self) -> bool:
        """End every router of this home; whether there was one."""
        with self._alone():
            found = service_process.marked(self._runs)
            for folder in found:
                service_process.stop(Path(folder), _GRACE_SECONDS)
            return bool(found)

    def _started(self, listener: socket.socket, single: Single | None) -> RouterRecord:
        past = sorted(self._runs.iterdir(), reverse=True) if self._runs.is_dir() else []
        for folder in past[_KEPT_LOGS:]:
            shutil.rmtree(folder, ignore_errors=True)
        folder = self._runs / f"{datetime.now(UTC):%Y%m%d_%H%M%S}_{uuid.uuid4().hex[:6]}"
        host, port = listener.getsockname()
        environment = {
            "ASSAY_HOST": host,
            "ASSAY_PORT": str(port),
            "ASSAY_HOME": str(self._home.root),
            "ASSAY_SPOOL": str(self._home.root / "spool"),
            "ASSAY_SPOOL_MB": str(self._spool_mb),
            "ASSAY_KEYS": str(keys_path(self._home)),
            "ASSAY_SERVICE_TOKEN_FILE": str(service_token(self._home)),
        }
        if single is None:
            running = service_process.spawn([_MODULE], folder, listener, environment)
        else:
            environment |= {
                "BENTOML_HOME": str(single.bento_home),
                "BENTOML_DO_NOT_TRACK": "True",
                "ASSAY_PUBLIC_KEY": str(single.public_key),
                "ASSAY_CACHE_FILE": str(self._runs.with_name("kept")),
            }
            running = service_process.start(single.tag, folder, listener, environment)
        try:
            service_process.wait_ready(running)
        except service_process.StartError:
            service_process.stop(folder, 0.0)
            raise
        return RouterRecord(
            url=f"http://{host}:{port}", port=port, pid=running.pid, folder=str(folder),
            door=str(running.door), started_at=datetime.now(UTC),
        )  # fmt: skip

    def _listener(self, old: RouterRecord | None) -> socket.socket:
        last = old or self._last()
        port = self._port or (last.port if last else 0)
        if old is not None and old.port == port:
            try:
                return take_over(Path(old.door))
            except OSError:  # it runs but does not hand on: rather a gap than no router
                service_process.stop(Path(old.folder), _GRACE_SECONDS)
        try:
            return open_port(self._host, port)
        except OSError:
            if self._port:
                raise
            return open_port(self._host, 0)

    def _last(self) -> RouterRecord | None:
        if not self._pointer.exists():
            return None
        return RouterRecord.model_validate_json(self._pointer.read_bytes())

    def _lead_to(self, log: Path) -> None:
        link = self._home.gateway / "router.log"
        link.unlink(missing_ok=True)
        link.symlink_to(log)

    def _alone(self) -> FileLock:
        self._home.gateway.mkdir(parents=True, exist_ok=True)
        return FileLock(self._home.gateway / "router.lock", timeout=_LOCK_SECONDS)


def main() -> None:
    """Be the router, on descriptor ``FD``, until SIGTERM."""
    from gateway.__main__ import serve
    from gateway.errors import StartError

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--door", type=Path, required=True)
    door = parser.parse_args().door
    listener = socket.socket(fileno=FD)
    listener.set_inheritable(False)
    hand_on(listener, door)
    try:
        serve(listener, Path(os.environ[service_process.READY]).touch)
    except StartError as error:
        raise SystemExit(f"the router does not start: {error}") from None
    finally:
        door.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
