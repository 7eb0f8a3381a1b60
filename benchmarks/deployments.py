"""Everything that answers, with small really fitted models: services, front door, router.

For benchmarks that ask all of them; nothing is measured here.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from models import registry
from models.contracts.api import GoldenSet
from stores.home import Home
from stores.router_process import RouterProcess
from tests.service.each import make
from tests.service.site import Site

VERSION = "v20260101_000000"
ROUTER = "router"


class Running(NamedTuple):
    """Something that answers.

    Attributes:
        name: A product's key, or `ROUTER`.
        pid: Its process, or the master of its workers.
        golden: What its model said offline; None of what has none of its own.
    """

    name: str
    url: str
    pid: int
    golden: GoldenSet | None = None


def deployments(stack: ExitStack, home: Path) -> list[Running]:
    """Start everything; the end of the stack stops it.

    Args:
        stack: Ends what runs.
        home: New; keys that are made in it before are asked for.
    """
    home.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    services = [service(stack, home, product.key) for product in registry.products()]
    return [*services, router(stack, home)]


def service(stack: ExitStack, home: Path, key: str) -> Running:
    """A product's own service."""
    site = Site(home, registry.get(key))
    built = make(site, VERSION)
    stack.callback(site.end)
    deployer = site.deployer()
    deployer.roll_out(site.product, built.ref.tag, built.golden)
    record = deployer.current(site.product)
    if record is None:
        raise RuntimeError(f"{key} does not serve")
    return Running(key, record.url, record.pid, built.golden)


def router(stack: ExitStack, home: Path) -> Running:
    """The router before the services of a home."""
    process = RouterProcess(Home(home))
    record = process.start()
    stack.callback(process.stop)
    return Running(ROUTER, record.url, record.pid)
