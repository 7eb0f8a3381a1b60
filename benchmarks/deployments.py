"""Everything that answers, with small really fitted models: services, front door, router.

For benchmarks that ask all of them; nothing is measured here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from models import registry
from tests.service.each import make
from tests.service.site import Built, Site

VERSION = "v20260101_000000"


class Running(NamedTuple):
    """Something that answers.

    Attributes:
        name: A product's key, ``front door`` or ``router``.
        pids: Its processes.
        golden: By the path that is asked, a model and what it said offline.
    """

    name: str
    url: str
    pids: tuple[int, ...]
    golden: Mapping[str, Built]


def deployments(stack: ExitStack, home: Path) -> list[Running]:
    """Start everything; the end of the stack stops it."""
    home.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    return [service(stack, home, key) for key in (one.key for one in registry.products())]


def service(stack: ExitStack, home: Path, key: str) -> Running:
    """A product's own service."""
    site = Site(home, registry.get(key))
    built = make(site, VERSION)
    stack.callback(site.end)
    deployer = site.deployer()
    url = deployer.roll_out(site.product, built.ref.tag, built.golden).url
    record = deployer.current(site.product)
    if record is None:
        raise RuntimeError(f"{key} does not serve")
    return Running(key, url, (record.pid,), {"": built})
