"""Grafana dashboard and Prometheus alert rules, generated from one catalogue of metrics.

The catalogue says what the services and the admin service export, how a panel shows it and when it
should wake somebody. Files only: nothing here is needed for assay to run or to send its own alerts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from stores.files import write_atomic

DASHBOARD, RULES = "grafana-assay.json", "prometheus-rules.yml"
#: Grafana's dashboard schema the file is written for (Grafana 10 and later read it).
_SCHEMA_VERSION = 39
_WIDTH, _HEIGHT = 12, 8


class Metric(NamedTuple):
    """One exported metric.

    Attributes:
        source: ``service`` exports it at its ``/metrics`` (BentoML's own ones begin with
            ``bentoml_``), ``platform`` the admin service.
    """

    name: str
    source: Literal["service", "platform"]
    help: str


class Panel(NamedTuple):
    """One graph: a title, a PromQL expression per line, a Grafana unit."""

    title: str
    expressions: dict[str, str]
    unit: str


class Rule(NamedTuple):
    """One alert rule of Prometheus; ``wait`` is its ``for``."""

    alert: str
    expression: str
    wait: str
    severity: Literal["warning", "critical"]
    summary: str
    next_step: str


METRICS = (
    Metric("bentoml_service_request_total", "service", "Requests by endpoint and status"),
    Metric("bentoml_service_request_duration_seconds", "service", "Time per request, histogram"),
    Metric("assay_predictions_total", "service", "Answered rows by product, version, risk level"),
    Metric("assay_score", "service", "Scores, histogram"),
    Metric("assay_outcomes_total", "service", "Outcome reports taken"),
    Metric("assay_spool_bytes", "service", "Size of the log that waits for the ingestion"),
    Metric("assay_spool_refused_total", "service", "Requests answered 503: log not writable"),
    Metric("assay_runs", "platform", "Runs of the last seven days by job and status"),
    Metric("assay_incidents_open", "platform", "Open incidents by kind"),
    Metric("assay_service_up", "platform", "1 when the product's service answers"),
    Metric("assay_quality", "platform", "Champion by the gate metric, per basis"),
    Metric("assay_inputs_drifted", "platform", "Share of inputs that moved in the newest window"),
    Metric("assay_latency_ms", "platform", "Latency quantiles of the newest window"),
    Metric("assay_cost_per_1000", "platform", "Cost of 1,000 predictions in the newest window"),
)  # fmt: skip

_DURATION = "bentoml_service_request_duration_seconds_bucket"
_REQUESTS = "bentoml_service_request_total"
_FAILED = f'{_REQUESTS}{{http_response_code=~"5.."}}'


def _quantile(q: float) -> str:
    by = "sum by (le, service_name)"
    return f"histogram_quantile({q}, {by} (rate({_DURATION}[5m])))"


PANELS = (
    Panel("Requests per second", {"{{service_name}} {{endpoint}}":
          f"sum by (service_name, endpoint) (rate({_REQUESTS}[5m]))"}, "reqps"),
    Panel("Latency", {"p50": _quantile(0.5), "p95": _quantile(0.95), "p99": _quantile(0.99)}, "s"),
    Panel("Share of requests that failed (5xx)", {"{{service_name}}":
          f"sum by (service_name) (rate({_FAILED}[5m])) / "
          f"sum by (service_name) (rate({_REQUESTS}[5m]))"}, "percentunit"),
    Panel("Predictions per second by version", {"{{product}} {{version}}":
          "sum by (product, version) (rate(assay_predictions_total[5m]))"}, "ops"),
    Panel("Median score", {"{{product}}":
          "histogram_quantile(0.5, sum by (le, product) (rate(assay_score_bucket[1h])))"}, "short"),
    Panel("Quality of champions", {"{{product}} {{basis}}": "assay_quality"}, "short"),
    Panel("Share of inputs that drifted", {"{{product}}": "assay_inputs_drifted"}, "percentunit"),
    Panel("Latency by the prediction log", {"{{product}} {{quantile}}": "assay_latency_ms"}, "ms"),
    Panel("Log waiting for the ingestion", {"{{product}}": "assay_spool_bytes"}, "bytes"),
    Panel("Outcomes per second", {"{{product}}":
          "sum by (product) (rate(assay_outcomes_total[5m]))"}, "ops"),
    Panel("Runs of seven days", {"{{job}} {{status}}": "assay_runs"}, "short"),
    Panel("Open incidents", {"{{kind}}": "assay_incidents_open"}, "short"),
    Panel("Cost of 1,000 predictions", {"{{product}}": "assay_cost_per_1000"}, "short"),
)  # fmt: skip

RULES_OF = (
    Rule("AssayServiceDown", "assay_service_up == 0", "5m", "critical",
         "{{ $labels.product }} was released and does not answer",
         "assay serve {{ $labels.product }}"),
    Rule("AssayErrors", f"sum by (service_name) (rate({_FAILED}[5m]))"
         f" / sum by (service_name) (rate({_REQUESTS}[5m])) > 0.01", "10m", "critical",
         "{{ $labels.service_name }} fails more than 1 % of its requests",
         "read the service's log below <home>/services"),
    Rule("AssaySlow", f"{_quantile(0.95)} > 0.05", "10m", "warning",
         "{{ $labels.service_name }} answers slower than 50 ms at p95",
         "look at the load and at assay_latency_ms"),
    Rule("AssayLogRefused", "increase(assay_spool_refused_total[10m]) > 0", "0m", "critical",
         "{{ $labels.product }} answered 503: its prediction log was not writable",
         "let the ingestion run (assay monitor), free disk space"),
    Rule("AssayQualityFell", 'assay_quality{basis="realised"} < on (product) '
         '0.9 * assay_quality{basis="promised"}', "1h", "warning",
         "{{ $labels.product }} is 10 % below what its release promised",
         "assay status {{ $labels.product }}; assay rollback {{ $labels.product }}"),
    Rule("AssayRunsFail", 'sum(assay_runs{status="failed"}) > sum(assay_runs{status="successful"})',
         "1h", "warning", "more runs failed than succeeded in seven days",
         "open the failed runs in the Dagster UI"),
    Rule("AssayIncidents", 'assay_incidents_open{severity="error"} > 0', "15m", "warning",
         "{{ $labels.kind }} is open", "assay alerts --open"),
    Rule("AssayGone", "absent(assay_service_up)", "10m", "critical",
         "the admin service exports nothing", "start `assay up`"),
)  # fmt: skip


def write_dashboards(folder: Path) -> tuple[Path, Path]:
    """Write both: Grafana imports the first, ``rule_files`` of Prometheus names the second."""
    import yaml

    dashboard, rules = folder / DASHBOARD, folder / RULES
    write_atomic(dashboard, json.dumps(grafana(), indent=1) + "\n")
    write_atomic(rules, yaml.safe_dump(alert_rules(), sort_keys=False, width=1000))
    return dashboard, rules


def grafana() -> dict[str, Any]:
    """The dashboard as Grafana's JSON; the data source is chosen when it is imported."""
    source = {"type": "prometheus", "uid": "${datasource}"}
    return {
        "title": "assay",
        "uid": "assay",
        "schemaVersion": _SCHEMA_VERSION,
        "refresh": "1m",
        "time": {"from": "now-24h", "to": "now"},
        "templating": {
            "list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}]
        },
        "panels": [_panel(number, panel, source) for number, panel in enumerate(PANELS)],
    }


def alert_rules() -> dict[str, Any]:
    """The rules as Prometheus reads them; Alertmanager routes by ``severity``."""
    rules = [
        {
            "alert": rule.alert,
            "expr": rule.expression,
            "for": rule.wait,
            "labels": {"severity": rule.severity},
            "annotations": {"summary": rule.summary, "next_step": rule.next_step},
        }
        for rule in RULES_OF
    ]
    return {"groups": [{"name": "assay", "rules": rules}]}


def expressions() -> Iterator[str]:
    """Every PromQL expression of both files."""
    for panel in PANELS:
        yield from panel.expressions.values()
    for rule in RULES_OF:
        yield rule.expression


def _panel(number: int, panel: Panel, source: dict[str, str]) -> dict[str, Any]:
    row, column = divmod(number, 24 // _WIDTH)
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": source,
        "gridPos": {"h": _HEIGHT, "w": _WIDTH, "x": column * _WIDTH, "y": row * _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "targets": [
            {"refId": chr(65 + index), "expr": expression, "legendFormat": name}
            for index, (name, expression) in enumerate(panel.expressions.items())
        ],
    }
