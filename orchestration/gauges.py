"""What the admin service exports to Prometheus at ``GET /metrics``: runs, incidents, quality.

Read anew at every scrape from the event log, the alert table and the window reports, so a restart
loses nothing. Latency and throughput of requests are the gateway's and the services' own
``/metrics``. The names are those of the catalogue (``models.contracts.metrics``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from gateway.meters import Meters
from models.contracts.incidents import KINDS, Incident

if TYPE_CHECKING:
    from stores.reports.status_page import ProductStatus

#: Inputs per product whose drift is exported: those that moved most.
MOST_MOVED = 10


class RolloutGauge(NamedTuple):
    """What is known of one rollout under way.

    Attributes:
        weight: Share the challenger should answer.
        share: Share it did answer; None before the first answer.
        evidence: Rule to log e-value / log 1/alpha; from 1 on it aborts.
    """

    product: str
    weight: float
    share: float | None
    evidence: Mapping[str, float]


def exposition(
    products: Sequence[ProductStatus],
    incidents: Sequence[Incident],
    runs: Mapping[str, tuple[int, int]],
    rollouts: Iterable[RolloutGauge] = (),
) -> bytes:
    """The text Prometheus reads.

    Args:
        products: As on the status page.
        incidents: Open ones.
        runs: Job to (successful, failed) runs of the last seven days.
        rollouts: Those under way.
    """
    meters = Meters("platform")
    for job, (good, bad) in runs.items():
        meters.set("assay_runs", good, job=job, status="successful")
        meters.set("assay_runs", bad, job=job, status="failed")
    for kind, spec in KINDS.items():
        count = sum(one.kind == kind for one in incidents)
        meters.set("assay_incidents_open", count, kind=kind, severity=spec.severity)
    for one in products:
        _product(one, meters)
    for rollout in rollouts:
        _rollout(rollout, meters)
    _gpus(meters)
    return meters.exposition()


def _product(one: ProductStatus, meters: Meters) -> None:
    """Whether a released product answers, and the newest window of its champion."""
    from models.contracts.monitoring import OVERALL
    from stores.reports.status_page import newest_window

    key, metric, newest = one.product.key, one.product.gate.metric, newest_window(one)
    if one.release:
        meters.set("assay_service_up", one.url is not None, product=key)
    if one.promised:
        meters.set("assay_quality", one.promised.value, product=key, basis="promised")
    if newest is None:
        return
    seen = newest[1]
    for basis, values in (("estimated", seen.estimated), ("realised", seen.realised)):
        if found := values.get(OVERALL, {}).get(metric):
            meters.set("assay_quality", found.value, product=key, basis=basis)
    if seen.drift:
        share = sum(effect.drifted for effect in seen.drift) / len(seen.drift)
        meters.set("assay_inputs_drifted", share, product=key)
    most = sorted(seen.drift, key=lambda effect: -effect.effect)[:MOST_MOVED]
    for effect in most:
        meters.set("assay_drift_effect", effect.effect, product=key, column=effect.name)
    for name, value in seen.latency.model_dump().items():
        meters.set("assay_latency_ms", value, product=key, quantile=name)
    meters.set("assay_cost_per_1000", seen.cost_per_1000, product=key)


def _rollout(rollout: RolloutGauge, meters: Meters) -> None:
    meters.set("assay_rollout_weight", rollout.weight, product=rollout.product)
    if rollout.share is not None:
        meters.set("assay_rollout_share", rollout.share, product=rollout.product)
    for rule, value in rollout.evidence.items():
        meters.set("assay_rollout_evidence", value, product=rollout.product, rule=rule)


def _gpus(meters: Meters) -> None:
    """The machine's GPUs; nothing without a driver."""
    import pynvml  # type: ignore[import-untyped]  # comes with BentoML, without types

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return
    try:
        for index in range(pynvml.nvmlDeviceGetCount()):
            gpu, name = pynvml.nvmlDeviceGetHandleByIndex(index), str(index)
            busy = pynvml.nvmlDeviceGetUtilizationRates(gpu).gpu / 100
            used = pynvml.nvmlDeviceGetMemoryInfo(gpu).used
            meters.set("assay_gpu_utilisation", busy, gpu=name)
            meters.set("assay_gpu_memory_bytes", used, gpu=name)
    finally:
        pynvml.nvmlShutdown()
