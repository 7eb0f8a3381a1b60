"""Everything that answers, with small really fitted models: services, front door, router.

For benchmarks that ask all of them; nothing is measured here.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.watching import free_port, process, ready, until
from models import registry
from models.contracts.api import GoldenSet
from models.contracts.routing import Member, ProductRoutes
from models.core import signing
from stores.bento_store import build_front_door
from stores.deployer import Deployer
from stores.gateway_store import with_product, write_table
from stores.home import Home
from stores.router_process import RouterProcess, Single
from tests.service.each import make
from tests.service.site import Site

VERSION = "v20260101_000000"
ROUTER, FRONT_DOOR = "router", "front door"


class Running(NamedTuple):
    """Something that answers.

    Attributes:
        name: A product's key, `ROUTER` or `FRONT_DOOR`.
        pid: Its process, or the master of its workers.
        golden: What its model said offline; None of what has none of its own.
    """

    name: str
    url: str
    pid: int
    golden: GoldenSet | None = None


def deployments(stack: ExitStack, home: Path, spool_mb: int = 512) -> list[Running]:
    """Start everything; the end of the stack stops it.

    Args:
        stack: Ends what runs.
        home: New; keys that are made in it before are asked for.
        spool_mb: Bound of each service's log.
    """
    home.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    services = [service(stack, home, one.key, spool_mb) for one in registry.products()]
    os.environ["ASSAY_ADMIN_URL"] = admin(stack, home)
    return [*services, router(stack, home), front_door(stack, home)]


def service(stack: ExitStack, home: Path, key: str, spool_mb: int = 512) -> Running:
    """A product's own service."""
    site = Site(home, registry.get(key))
    built = make(site, VERSION)
    stack.callback(site.end)
    deployer = Deployer(site.root, site.bentos, site.keys[1], spool_mb=spool_mb)
    deployer.roll_out(site.product, built.ref.tag, built.golden)
    record = deployer.current(site.product)
    if record is None:
        raise RuntimeError(f"{key} does not serve")
    return Running(key, record.url, record.pid, built.golden)


def admin(stack: ExitStack, home: Path) -> str:
    """The admin service of a home: the version routes of the router ask it. Its address."""
    port = str(free_port())
    line = [sys.executable, "-m", "uvicorn", "--factory", "orchestration.admin:app",
            "--host", "127.0.0.1", "--port", port]  # fmt: skip
    stack.enter_context(process(line, home / "admin.log", ASSAY_HOME=str(home)))
    url = f"http://127.0.0.1:{port}"
    until("the admin service answers", lambda: ready(f"{url}/metrics"))
    return url


def router(stack: ExitStack, home: Path) -> Running:
    """The router before the services of a home."""
    process = RouterProcess(Home(home))
    record = process.start()
    stack.callback(process.stop)
    return Running(ROUTER, record.url, record.pid)


def front_door(stack: ExitStack, home: Path) -> Running:
    """All products in one process, with a table of its own over the same sealed models."""
    own = Home(home / "front-door")
    own.root.mkdir()
    for product in registry.products():
        artifact = home / "bentos" / "models" / product.slug / VERSION / "artifact"
        member = Member(version=VERSION, semver="1.0.0", url=None, artifact=str(artifact))
        routes = ProductRoutes(
            product=product.key, champion=VERSION, previous=None, members={VERSION: member}
        )
        write_table(own, partial(with_product, routes=routes))
    ref = build_front_door(own.bentos, VERSION)
    process = RouterProcess(own)
    public_key = signing.ensure_keypair(home / "keys")[1]
    record = process.start(Single(ref.tag, own.bentos, public_key))
    stack.callback(process.stop)
    return Running(FRONT_DOOR, record.url, record.pid)
