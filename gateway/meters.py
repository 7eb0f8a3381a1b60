"""Counts and times of this process, by the names of the catalogue (``models.contracts.metrics``).

A name or a label that the catalogue does not have raises, so nothing is exported that no panel and
no rule could name. Knows no product and no HTTP.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from models.contracts.metrics import CATALOGUE, OTHER, Metric, Process, exported_by

#: Set by BentoML for its workers, who share their values in files of this folder.
_SHARED = "PROMETHEUS_MULTIPROC_DIR"
#: Series of one metric; more would mean that a label is what somebody sent. Counted as ``other``.
MOST_SERIES = 1_000
#: Templates of routes; a hundred and one are paths that somebody makes up.
MOST_ROUTES = 100


class MeterError(LookupError):
    """A figure that is not in the catalogue, or not this process's to export."""


class Meters:
    """The figures of one process; made on first use.

    ``prometheus_client`` decides at its import whether values are shared between processes, by a
    variable that BentoML sets for its workers: hence the imports in here.

    Args:
        process: Who exports; ``become`` says so later for the one of the process.
    """

    def __init__(self, process: Process = "service") -> None:
        self._process = process
        self._registry: Any = None
        self._made: dict[str, tuple[Metric, Any]] = {}
        self._children: dict[tuple[str, tuple[str, ...]], Any] = {}
        self._series: Counter[str] = Counter()
        self._routes: set[str] = set()
        self._lock = threading.Lock()

    def become(self, process: Process) -> None:
        """Say whose figures these are; before the first of them.

        Raises:
            MeterError: Figures of another process were kept already.
        """
        if self._made and process != self._process:
            raise MeterError(f"these are the figures of a {self._process} already")
        self._process = process

    def inc(self, name: str, n: float = 1, /, **labels: str) -> None:
        """Add to a counter or a gauge."""
        self.bound(name, **labels).inc(n)

    def observe(self, name: str, value: float, /, **labels: str) -> None:
        """Take a value into a histogram."""
        self.bound(name, **labels).observe(value)

    def set(self, name: str, value: float, /, **labels: str) -> None:
        """Give a gauge its value."""
        self.bound(name, **labels).set(value)

    def request(self, product: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request.

        Args:
            product: Key, or empty where the route belongs to none.
            route: Template of the route, never the path.
            status: Of the answer.
            seconds: From its first byte to the answer.
        """
        if route not in self._routes:
            if len(self._routes) < MOST_ROUTES:
                self._routes.add(route)
            else:
                route = OTHER
        self.inc("assay_requests_total", product=product, route=route, status=str(status))
        self.observe("assay_request_seconds", seconds, product=product, route=route)

    def bound(self, name: str, /, **labels: str) -> Any:
        """The one series of these labels, to be kept by who counts often.

        Raises:
            MeterError: The catalogue has no such metric or other labels, or this process does not
                export it.
        """
        metric, made = self._metric(name)
        if "source" in metric.labels:
            labels.setdefault("source", self._process)
        try:
            values = tuple([labels[label] for label in metric.labels])
        except KeyError:
            values = ()
        if len(values) != len(metric.labels) or len(labels) != len(metric.labels):
            raise MeterError(f"{name} has the labels {metric.labels}, not {tuple(labels)}")
        child = self._children.get((name, values))
        if child is None:
            if self._series[name] >= MOST_SERIES:
                return made.labels(*[OTHER] * len(values))
            self._series[name] += 1
            child = made.labels(*values) if values else made
            self._children[name, values] = child
        return child

    def exposition(self) -> bytes:
        """What Prometheus reads, of a process that shares nothing; BentoML writes its own."""
        from prometheus_client import generate_latest

        self._make()
        return generate_latest(self._registry)

    def _metric(self, name: str) -> tuple[Metric, Any]:
        found = self._made.get(name)
        if found is None:
            self._make()
            found = self._made.get(name)
        if found is None:
            why = "does not export it" if name in CATALOGUE else "finds it in no catalogue"
            raise MeterError(f"{name}: a {self._process} {why} (models/contracts/metrics.py)")
        return found

    def _make(self) -> None:
        with self._lock:
            if self._made:
                return
            import prometheus_client

            prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
            if folder := os.environ.get(_SHARED, ""):
                forget_the_dead(Path(folder))
            # BentoML collects from the shared files, not from this
            self._registry = prometheus_client.CollectorRegistry()
            self._made = {
                one.name: (one, _object(one, self._registry)) for one in exported_by(self._process)
            }


def forget_the_dead(folder: Path) -> None:
    """Remove the live gauges of workers that are gone: a killed one cannot do it itself."""
    for path in folder.glob("gauge_live*_*.db"):
        pid = path.stem.rpartition("_")[2]
        if pid.isdecimal() and not Path("/proc", pid).exists():
            with suppress(FileNotFoundError):
                path.unlink()


def _object(metric: Metric, registry: Any) -> Any:
    import prometheus_client

    given = {"registry": registry}
    if metric.kind == "counter":
        return prometheus_client.Counter(metric.name, metric.help, metric.labels, **given)
    if metric.kind == "gauge":
        return prometheus_client.Gauge(
            metric.name, metric.help, metric.labels, multiprocess_mode=metric.mode, **given
        )
    return prometheus_client.Histogram(
        metric.name, metric.help, metric.labels, buckets=metric.buckets, **given
    )


#: Those of this process.
METERS = Meters()
