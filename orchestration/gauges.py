"""What the admin service exports to Prometheus at ``GET /metrics``: runs, incidents, quality.

Read anew at every scrape from the event log, the alert table and the window reports, so a restart
loses nothing. Latency and throughput of requests are the services' own ``/metrics``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from models.contracts.incidents import KINDS, Incident

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from stores.reports.status_page import ProductStatus


def exposition(
    products: Sequence[ProductStatus],
    incidents: Sequence[Incident],
    runs: Mapping[str, tuple[int, int]],
) -> bytes:
    """The text Prometheus reads.

    Args:
        products: As on the status page.
        incidents: Open ones.
        runs: Job to (successful, failed) runs of the last seven days.
    """
    from prometheus_client import CollectorRegistry, Gauge, generate_latest

    registry = CollectorRegistry()
    counted = Gauge("assay_runs", "Runs of seven days", ["job", "status"], registry=registry)
    for job, (good, bad) in runs.items():
        counted.labels(job, "successful").set(good)
        counted.labels(job, "failed").set(bad)
    open_ = Gauge("assay_incidents_open", "Open", ["kind", "severity"], registry=registry)
    for kind, spec in KINDS.items():
        open_.labels(kind, spec.severity).set(sum(one.kind == kind for one in incidents))
    _products(products, registry)
    return generate_latest(registry)


def _products(products: Sequence[ProductStatus], registry: CollectorRegistry) -> None:
    """Per released product: whether it answers, and the newest window of its champion."""
    from prometheus_client import Gauge

    from models.contracts.monitoring import OVERALL
    from stores.reports.status_page import newest_window

    up = Gauge("assay_service_up", "Answers", ["product"], registry=registry)
    quality = Gauge("assay_quality", "Gate metric", ["product", "basis"], registry=registry)
    drifted = Gauge("assay_inputs_drifted", "Share of inputs", ["product"], registry=registry)
    latency = Gauge("assay_latency_ms", "Newest window", ["product", "quantile"], registry=registry)
    cost = Gauge("assay_cost_per_1000", "Newest window", ["product"], registry=registry)
    for one in products:
        key, metric, newest = one.product.key, one.product.gate.metric, newest_window(one)
        if one.release:
            up.labels(key).set(one.url is not None)
        if one.promised:
            quality.labels(key, "promised").set(one.promised.value)
        if newest is None:
            continue
        seen = newest[1]
        for basis, values in (("estimated", seen.estimated), ("realised", seen.realised)):
            if found := values.get(OVERALL, {}).get(metric):
                quality.labels(key, basis).set(found.value)
        if seen.drift:
            drifted.labels(key).set(sum(d.drifted for d in seen.drift) / len(seen.drift))
        for name, value in seen.latency.model_dump().items():
            latency.labels(key, name).set(value)
        cost.labels(key).set(seen.cost_per_1000)
