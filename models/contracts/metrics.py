"""The catalogue of metrics: every figure that any process of assay exports, said once.

Exporters (``gateway.meters``, ``orchestration.gauges``) make their Prometheus objects from it, and
the files for Grafana, Prometheus and Alertmanager (``stores.dashboards``) name nothing else. What
is shown of them, and what wakes somebody, is in ``watched``. No value and no Prometheus here.

A label has few values, known beforehand or made by us: a product, a release, the template of a
route. A tenant, a user, a key or a path is never one (Prometheus keeps a series per value, for
ever): those are in the prediction log.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

#: Who exports: a product's service, the router, both of them, or the admin process. The deployment
#: in one process (``single``) is a service and a router.
Source = Literal["service", "router", "any", "platform"]
Process = Literal["service", "router", "single", "platform"]
#: How the values of several workers become one. A process that died leaves its file behind, so
#: only what is dropped with it (``livesum``) or has a time (``mostrecent``).
Mode = Literal["livesum", "mostrecent"]

#: Answers take 1 ms to 10 s.
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
#: Value of a label that stands for whatever is not known, such as the path of no route.
OTHER = "other"


class Metric(NamedTuple):
    """One exported metric.

    Attributes:
        labels: In the order of the exposition; ``source`` is filled by the exporter itself.
        unit: Of the value, in words.
        buckets: Upper ends, of a histogram.
        mode: Of a gauge, see ``Mode``.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str
    unit: str
    source: Source
    buckets: tuple[float, ...] = ()
    mode: Mode = "livesum"


_METRICS = (
    # requests
    Metric("assay_requests_total", "counter", ("product", "route", "status", "source"),
           "Requests answered, by template of the route and status", "requests", "any"),
    Metric("assay_request_seconds", "histogram", ("product", "route"),
           "From the first byte of a request to its answer", "seconds", "any", SECONDS),
    Metric("assay_in_flight", "gauge", ("source",), "Requests being answered", "requests", "any"),
    Metric("assay_shed_total", "counter", ("product", "reason"),
           "Requests answered 503 because they would have waited too long", "requests", "any"),
    Metric("assay_auth_refused_total", "counter", ("reason",),
           "Requests answered 401 or 403", "requests", "any"),
    Metric("assay_rate_limited_total", "counter", (), "Requests answered 429", "requests", "any"),
    # the model
    # (the router keeps these too, of what its rules answer)
    Metric("assay_predictions_total", "counter", ("product", "version", "risk_level"),
           "Rows of traffic answered and logged", "rows", "any"),
    Metric("assay_score", "histogram", ("product", "version"), "Scores of traffic", "score",
           "any", tuple(step / 20 for step in range(1, 21))),
    Metric("assay_outcomes_total", "counter", ("product", "version"),
           "Outcome reports logged", "reports", "any"),
    Metric("assay_spool_refused_total", "counter", ("product", "version"),
           "Requests answered 503 because the log took no more", "requests", "any"),
    Metric("assay_spool_bytes", "gauge", ("product",), "Log that waits for the ingestion", "bytes",
           "any", mode="mostrecent"),
    Metric("assay_batch_rows", "histogram", ("product",), "Rows computed together", "rows",
           "service", (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024)),
    Metric("assay_queue_rows", "gauge", ("product",), "Rows that wait for the model", "rows",
           "service"),
    Metric("assay_queue_seconds", "histogram", ("product",), "Wait of a row for the model",
           "seconds", "service", SECONDS),
    Metric("assay_model_seconds", "histogram", ("product",), "The model's time for one batch",
           "seconds", "service", SECONDS),
    Metric("assay_cache_total", "counter", ("product", "tier", "result"),
           "Rows asked of the cache: tier memory or redis, result hit, miss or error", "rows",
           "service"),
    Metric("assay_cache_bytes", "gauge", ("tier",), "Answers kept", "bytes", "service"),
    Metric("assay_engines_loaded", "gauge", (), "Models in memory", "models", "service"),
    Metric("assay_engine_bytes", "gauge", ("product", "version"), "Memory of a model", "bytes",
           "service"),
    Metric("assay_engine_load_seconds", "gauge", ("product", "version"),
           "Verify, load and warm up, the last time", "seconds", "service", mode="mostrecent"),
    # the gateway
    Metric("assay_answers_total", "counter", ("product", "version", "variant"),
           "Answered units, by the release that answered", "units", "router"),
    Metric("assay_fallback_total", "counter", ("product", "rung"),
           "Answers by a lower rung of the ladder", "requests", "router"),
    Metric("assay_upstream_failures_total", "counter", ("product", "version", "kind"),
           "Releases that did not answer", "requests", "router"),
    Metric("assay_mirror_total", "counter", ("product",), "Copies sent to a challenger", "requests",
           "router"),
    Metric("assay_mirror_dropped_total", "counter", ("product",),
           "Copies not sent, too many were under way", "requests", "router"),
    # the platform
    Metric("assay_rollout_weight", "gauge", ("product",), "Share the challenger should answer",
           "share", "platform"),
    Metric("assay_rollout_share", "gauge", ("product",), "Share it did answer", "share",
           "platform"),
    Metric("assay_rollout_evidence", "gauge", ("product", "rule"),
           "Evidence against the challenger; 1 aborts", "share", "platform"),
    Metric("assay_runs", "gauge", ("job", "status"), "Runs of the last seven days", "runs",
           "platform"),
    Metric("assay_incidents_open", "gauge", ("kind", "severity"), "Open incidents", "incidents",
           "platform"),
    Metric("assay_service_up", "gauge", ("product",), "1 when the released product answers", "",
           "platform"),
    Metric("assay_quality", "gauge", ("product", "basis"), "Champion by the gate metric", "score",
           "platform"),
    Metric("assay_inputs_drifted", "gauge", ("product",),
           "Share of inputs that moved in the newest window", "share", "platform"),
    Metric("assay_drift_effect", "gauge", ("product", "column"),
           "How far the ten inputs that moved most did (Jensen-Shannon distance)", "distance",
           "platform"),
    Metric("assay_latency_ms", "gauge", ("product", "quantile"), "Of the newest window",
           "milliseconds", "platform"),
    Metric("assay_cost_per_1000", "gauge", ("product",), "Cost of 1,000 predictions", "money",
           "platform"),
    Metric("assay_gpu_utilisation", "gauge", ("gpu",), "Busy share of a GPU", "share", "platform"),
    Metric("assay_gpu_memory_bytes", "gauge", ("gpu",), "Used memory of a GPU", "bytes",
           "platform"),
)  # fmt: skip

CATALOGUE: Mapping[str, Metric] = MappingProxyType({one.name: one for one in _METRICS})

#: What Prometheus makes of a histogram.
_SERIES = ("_bucket", "_sum", "_count")


def exported_by(process: Process) -> Iterable[Metric]:
    """The metrics one process exports."""
    sources = {"single": ("service", "router", "any"), "platform": ("platform",)}
    chosen = sources.get(process, (process, "any"))
    return [one for one in CATALOGUE.values() if one.source in chosen]


def series(metric: Metric) -> tuple[str, ...]:
    """Names under which Prometheus has it."""
    if metric.kind == "histogram":
        return tuple(metric.name + ending for ending in _SERIES)
    return (metric.name,)
