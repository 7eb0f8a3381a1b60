"""How long until a product's service answers, and what it takes: beside what its containers get.

    python -m benchmarks.service_start [--rounds 3]

A small model of each product is fitted, sealed and built; then its service is started so many
times, as a container is: from nothing to the last golden request. The model's own part (verify,
load, warm up) is what the service says of itself. Memory is of all its processes, after 200 rows.
Goal: it fits in the memory that the product asks for (``Serving.memory_mb``).
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import httpx
import psutil

from benchmarks.stopping import leave_nothing_behind
from models import registry
from models.contracts.product import ModelProduct
from tests.service.each import make
from tests.service.site import Site

VERSION, ASKED = "v20260101_000000", 200
_LOADED = re.compile(rf'^assay_engine_load_seconds{{.*version="{VERSION}".*}} (\S+)', re.MULTILINE)


class Started(NamedTuple):
    """One start: seconds until it answered, of these the model's, and megabytes."""

    ready: float
    loaded: float
    memory_mb: float


def main() -> None:
    """Start everything so many times, print."""
    leave_nothing_behind()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    print(
        "| product | cores | ready s | model's s | memory MB | of MB |\n|---|---|---|---|---|---|"
    )
    fits = [told(product, starts(product, rounds)) for product in registry.products()]
    raise SystemExit(0 if all(fits) else 1)


def told(product: ModelProduct, found: Sequence[Started]) -> bool:
    """Print a product's line; whether it fits."""
    ready, loaded, memory = (median(values) for values in zip(*found, strict=True))
    wanted = product.serving
    print(f"| {product.key} | {wanted.cores:g} | {ready:.1f} | {loaded:.2f} | {memory:.0f}"
          f" | {wanted.memory_mb} |", flush=True)  # fmt: skip
    return memory <= wanted.memory_mb


def starts(product: ModelProduct, rounds: int) -> list[Started]:
    """Start one product's service, ask it, stop it."""
    found = []
    with tempfile.TemporaryDirectory() as name:
        site = Site(Path(name), product)
        built, deployer = make(site, VERSION), site.deployer()
        try:
            for _ in range(rounds):
                began = time.monotonic()
                url = deployer.roll_out(product, built.ref.tag, built.golden).url
                ready = time.monotonic() - began
                found.append(Started(ready, loaded(url), memory_mb(site, url, built.golden.rows)))
                deployer.stop(product)
        finally:
            site.end()
    return found


def loaded(url: str) -> float:
    """Seconds the service took to have its model in memory, by its own metrics."""
    told = _LOADED.search(httpx.get(f"{url}/metrics").text)
    if told is None:
        raise RuntimeError(f"{url}/metrics does not tell assay_engine_load_seconds")
    return float(told[1])


def memory_mb(site: Site, url: str, rows: Sequence[object]) -> float:
    """Of all processes of a service that was asked some rows."""
    for number in range(ASKED):
        row = rows[number % len(rows)]
        httpx.post(f"{url}/predict", json={"rows": [row]}).raise_for_status()
    record = site.deployer().current(site.product)
    if record is None:
        raise RuntimeError(f"{site.product.key} ended")
    first = psutil.Process(record.pid)
    return sum(one.memory_info().rss for one in (first, *first.children(recursive=True))) / 1e6


if __name__ == "__main__":
    main()
