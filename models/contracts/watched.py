"""What is shown of the catalogue's metrics, and what wakes whom: panels, rules, routes.

Data only. ``stores.dashboards`` writes Grafana's, Prometheus's and Alertmanager's files from it;
which metrics there are is in ``metrics``. Every expression here names metrics of the catalogue, or
``up``, which Prometheus makes itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

Severity = Literal["warning", "critical"]
#: Job names of the scrape configuration.
ROUTERS, SERVICES, PLATFORM = "assay-routers", "assay-services", "assay-platform"


class Panel(NamedTuple):
    """One graph: a section, a title, a PromQL expression per legend, a Grafana unit."""

    section: str
    title: str
    expressions: dict[str, str]
    unit: str


class Rule(NamedTuple):
    """One alert rule of Prometheus; ``wait`` is its ``for``."""

    alert: str
    expression: str
    wait: str
    severity: Severity
    summary: str
    next_step: str


class Route(NamedTuple):
    """Where alerts of one severity go, how long they are gathered, when they are told again."""

    severity: Severity
    receiver: str
    gather: str
    repeat: str


def _rate(name: str, by: str, condition: str = "", over: str = "5m") -> str:
    chosen = f"{{{condition}}}" if condition else ""
    return f"sum by ({by}) (rate({name}{chosen}[{over}]))"


def _quantile(q: float, name: str, by: str, over: str = "5m") -> str:
    return f"histogram_quantile({q}, {_rate(f'{name}_bucket', f'le, {by}', over=over)})"


def _mean(name: str, by: str) -> str:
    return f"{_rate(f'{name}_sum', by)} / {_rate(f'{name}_count', by)}"


_FAILED = 'status=~"5.."'
_REQUESTS, _SECONDS = "assay_requests_total", "assay_request_seconds"
_WHO, _JOB = "source, product", "job, product"
_ERRORS = f"{_rate(_REQUESTS, _WHO, _FAILED)} / {_rate(_REQUESTS, _WHO)}"
_FALLBACKS = _rate("assay_fallback_total", "product")
_DROPPED = (f'{_rate("assay_mirror_dropped_total", "product")} / '
            f'({_rate("assay_mirror_total", "product")}'
            f' + {_rate("assay_mirror_dropped_total", "product")})')  # fmt: skip
_HIT = 'result="hit"'
_HITS = (f'{_rate("assay_cache_total", "product, tier", _HIT)} / '
         f'{_rate("assay_cache_total", "product, tier")}')  # fmt: skip
_OFF = "abs(assay_rollout_share - assay_rollout_weight)"

PANELS = (
    Panel("Requests", "Requests per second", {"{{source}} {{product}} {{route}}":
          _rate(_REQUESTS, "source, product, route")}, "reqps"),
    Panel("Requests", "Share of requests that failed (5xx)", {"{{source}} {{product}}": _ERRORS},
          "percentunit"),
    Panel("Requests", "Answers by status", {"{{source}} {{status}}":
          _rate(_REQUESTS, "source, status")}, "reqps"),
    Panel("Requests", "Latency", {
        f"p{q * 100:.0f} {{{{job}}}} {{{{product}}}}": _quantile(q, _SECONDS, _JOB)
        for q in (0.5, 0.95, 0.99)}, "s"),
    Panel("Requests", "Mean latency", {"{{job}} {{product}}": _mean(_SECONDS, _JOB)}, "s"),
    Panel("Requests", "Requests being answered", {"{{source}}":
          "sum by (source) (assay_in_flight)"}, "short"),
    Panel("Requests", "Refused before the model", {
        "shed {{product}} {{reason}}": _rate("assay_shed_total", "product, reason"),
        "key {{reason}}": _rate("assay_auth_refused_total", "reason"),
        "rate": "sum(rate(assay_rate_limited_total[5m]))"}, "reqps"),

    Panel("Model", "Rows answered per second", {"{{product}} {{version}}":
          _rate("assay_predictions_total", "product, version")}, "ops"),
    Panel("Model", "Median score", {"{{product}}":
          _quantile(0.5, "assay_score", "product", "1h")}, "short"),
    Panel("Model", "Rows computed together (mean)", {"{{product}}":
          _mean("assay_batch_rows", "product")}, "short"),
    Panel("Model", "Rows waiting", {"{{product}}": "sum by (product) (assay_queue_rows)"}, "short"),
    Panel("Model", "Wait and model time (p95)", {
        "wait {{product}}": _quantile(0.95, "assay_queue_seconds", "product"),
        "model {{product}}": _quantile(0.95, "assay_model_seconds", "product")}, "s"),
    Panel("Model", "Cache: share of hits", {"{{product}} {{tier}}": _HITS}, "percentunit"),
    Panel("Model", "Cache: size", {"{{tier}}": "sum by (tier) (assay_cache_bytes)"}, "bytes"),
    Panel("Model", "Models in memory", {"{{instance}}": "assay_engines_loaded"}, "short"),
    Panel("Model", "Memory of models", {"{{product}} {{version}}":
          "sum by (product, version) (assay_engine_bytes)"}, "bytes"),
    Panel("Model", "Time to load a model", {"{{product}} {{version}}":
          "assay_engine_load_seconds"}, "s"),
    Panel("Model", "GPU", {"{{gpu}}": "assay_gpu_utilisation"}, "percentunit"),
    Panel("Model", "GPU memory", {"{{gpu}}": "assay_gpu_memory_bytes"}, "bytes"),

    Panel("Rollouts", "Units by release", {"{{product}} {{version}} {{variant}}":
          _rate("assay_answers_total", "product, version, variant")}, "ops"),
    Panel("Rollouts", "Challenger: share wanted and served", {
        "wanted {{product}}": "assay_rollout_weight", "served {{product}}": "assay_rollout_share"},
        "percentunit"),
    Panel("Rollouts", "Evidence against the challenger (1 aborts)", {"{{product}} {{rule}}":
          "assay_rollout_evidence"}, "short"),
    Panel("Rollouts", "Copies to the challenger", {
        "sent {{product}}": _rate("assay_mirror_total", "product"),
        "dropped {{product}}": _rate("assay_mirror_dropped_total", "product")}, "reqps"),
    Panel("Rollouts", "Answers by a lower rung", {"{{product}} {{rung}}":
          _rate("assay_fallback_total", "product, rung")}, "reqps"),
    Panel("Rollouts", "Releases that did not answer", {"{{product}} {{version}} {{kind}}":
          _rate("assay_upstream_failures_total", "product, version, kind")}, "reqps"),

    Panel("Quality", "Quality of champions", {"{{product}} {{basis}}": "assay_quality"}, "short"),
    Panel("Quality", "Share of inputs that drifted", {"{{product}}": "assay_inputs_drifted"},
          "percentunit"),
    Panel("Quality", "Inputs that moved most", {"{{product}} {{column}}": "assay_drift_effect"},
          "short"),
    Panel("Quality", "Latency by the prediction log", {"{{product}} {{quantile}}":
          "assay_latency_ms"}, "ms"),
    Panel("Quality", "Outcomes per second", {"{{product}}":
          _rate("assay_outcomes_total", "product")}, "ops"),

    Panel("Platform", "Released and answering", {"{{product}}": "assay_service_up"}, "short"),
    Panel("Platform", "Log waiting for the ingestion", {"{{product}}": "assay_spool_bytes"},
          "bytes"),
    Panel("Platform", "Runs of seven days", {"{{job}} {{status}}": "assay_runs"}, "short"),
    Panel("Platform", "Open incidents", {"{{kind}}": "assay_incidents_open"}, "short"),
    Panel("Platform", "Cost of 1,000 predictions", {"{{product}}": "assay_cost_per_1000"}, "short"),
)  # fmt: skip

_PRODUCT = "{{ $labels.product }}"
RULES = (
    Rule("AssayServiceDown", "assay_service_up == 0", "5m", "critical",
         f"{_PRODUCT} was released and does not answer", f"assay serve {_PRODUCT}"),
    Rule("AssayGatewayDown", f'up{{job="{ROUTERS}"}} == 0', "1m", "critical",
         "the router {{ $labels.instance }} does not answer",
         "read <home>/gateway/router.log; start `assay up`"),
    Rule("AssayGone", "absent(assay_incidents_open)", "10m", "critical",
         "the admin service exports nothing", "start `assay up`"),
    Rule("AssayErrors", f"{_ERRORS} > 0.01", "10m", "critical",
         f"{_PRODUCT} ({{{{ $labels.source }}}}) fails more than 1 % of its requests",
         "read the service's log below <home>/services"),
    Rule("AssaySlow", f"{_quantile(0.95, _SECONDS, _JOB)} > 0.25", "10m", "warning",
         f"{_PRODUCT} ({{{{ $labels.job }}}}) answers slower than 250 ms at p95",
         "look at the wait for the model: more cores, or more services"),
    Rule("AssayWaiting", f'{_quantile(0.95, "assay_queue_seconds", "product")} > 0.5', "5m",
         "warning", f"rows of {_PRODUCT} wait longer than half a second for the model",
         "give the service more cores or another replica"),
    Rule("AssayShedding", f'{_rate("assay_shed_total", "product")} > 0.1', "5m", "warning",
         f"{_PRODUCT} sends requests away (503) because too many wait",
         "give the service more cores or another replica"),
    Rule("AssayLogRefused", "increase(assay_spool_refused_total[10m]) > 0", "0m", "critical",
         f"{_PRODUCT} answered 503: its prediction log was not writable",
         "let the ingestion run (assay monitor), free disk space"),
    Rule("AssayFallback", f"{_FALLBACKS} > 0.01", "2m", "critical",
         f"{_PRODUCT} is answered by a lower rung than its champion",
         f"assay status {_PRODUCT}; read the service's log below <home>/services"),
    Rule("AssayUpstreamFailures",
         f'{_rate("assay_upstream_failures_total", "product, version")} > 0.1', "5m", "warning",
         f"the router does not reach {_PRODUCT} {{{{ $labels.version }}}}",
         f"assay status {_PRODUCT}"),
    Rule("AssayMirrorDropped", f"{_DROPPED} > 0.1", "10m", "warning",
         f"more than a tenth of the copies of {_PRODUCT} are not sent to its challenger",
         "give the challenger more cores: its answers are compared with fewer of the champion's"),
    Rule("AssayRolloutShare", f"{_OFF} > 0.05", "10m", "critical",
         f"the challenger of {_PRODUCT} does not serve the share it should",
         f"assay rollout status {_PRODUCT}"),
    Rule("AssayRolloutEvidence", "assay_rollout_evidence > 0.8", "5m", "warning",
         f"the challenger of {_PRODUCT} is close to be aborted by {{{{ $labels.rule }}}}",
         f"assay rollout status {_PRODUCT}"),
    Rule("AssayCacheDown",
         'sum by (product, tier) (rate(assay_cache_total{result="error"}[5m])) > 0.1', "10m",
         "warning", f"the cache of {_PRODUCT} ({{{{ $labels.tier }}}}) does not answer",
         "look at Redis; requests are answered without it"),
    Rule("AssayKeysRefused", "sum(rate(assay_auth_refused_total[5m])) > 1", "10m", "warning",
         "more than one request a second comes with a wrong key",
         "find who in the log; a client's key may have expired (assay keys list)"),
    Rule("AssayRateLimited", "sum(rate(assay_rate_limited_total[5m])) > 1", "15m", "warning",
         "more than one request a second is over its key's rate",
         "raise the key's rate, or ask its owner to send less"),
    Rule("AssayDrift", "assay_inputs_drifted > 0.5", "1h", "warning",
         f"more than half of the inputs of {_PRODUCT} moved", f"assay status {_PRODUCT}"),
    Rule("AssayQualityFell", 'assay_quality{basis="realised"} < on (product) '
         '0.9 * assay_quality{basis="promised"}', "1h", "warning",
         f"{_PRODUCT} is 10 % below what its release promised",
         f"assay status {_PRODUCT}; assay rollback {_PRODUCT}"),
    Rule("AssayRunsFail", 'sum(assay_runs{status="failed"}) > sum(assay_runs{status="successful"})',
         "1h", "warning", "more runs failed than succeeded in seven days",
         "open the failed runs in the Dagster UI"),
    Rule("AssayIncidents", 'assay_incidents_open{severity="error"} > 0', "15m", "warning",
         "{{ $labels.kind }} is open", "assay alerts --open"),
)  # fmt: skip

ROUTES = (
    Route("critical", "page", gather="30s", repeat="1h"),
    Route("warning", "ticket", gather="5m", repeat="12h"),
)


def expressions() -> Iterator[str]:
    """Every PromQL expression of panels and rules."""
    for panel in PANELS:
        yield from panel.expressions.values()
    for rule in RULES:
        yield rule.expression
