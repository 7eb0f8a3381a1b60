"""The files of Grafana, Prometheus and Alertmanager, made from the catalogue of metrics.

What is exported, shown and told is said in ``models.contracts.metrics`` and ``.watched``. Files
only: nothing here is needed for assay to run or to send its own alerts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from models.contracts.watched import (
    PANELS,
    PLATFORM,
    ROUTERS,
    ROUTES,
    RULES,
    SERVICES,
    Panel,
    Route,
    Rule,
)
from stores.files import write_atomic
from stores.home import ADMIN_PORT

GRAFANA_DASHBOARD, PROMETHEUS_RULES = "grafana-assay.json", "prometheus-rules.yml"
PROMETHEUS, ALERTMANAGER = "prometheus.yml", "alertmanager.yml"
GRAFANA_SOURCE, GRAFANA_PROVIDER = "grafana-datasource.yml", "grafana-provider.yml"
#: Where the admin service lists the addresses of the services as of now.
TARGETS_PATH = "/targets"
#: Port of the gateway, ``ASSAY_PORT``.
GATEWAY_PORT = 3100
#: Grafana's dashboard schema the file is written for (Grafana 10 and later read it).
_SCHEMA_VERSION = 39
_WIDTH, _HEIGHT, _COLUMNS = 8, 8, 3
_SOURCE_UID = "assay-prometheus"


class Site(NamedTuple):
    """Where the processes are that these files speak of.

    Attributes:
        routers: ``host:port`` of every gateway.
        platform: ``host:port`` of the admin service.
        services: Slug to ``host:port``; None asks the admin service, for ports may change.
        alertmanager: Its ``host:port``.
        prometheus: Its URL, as Grafana reaches it.
        dashboards: Folder in which Grafana finds the dashboard.
        webhook: Takes what Alertmanager tells; None: alerts are seen in its pages only.
    """

    routers: tuple[str, ...] = (f"127.0.0.1:{GATEWAY_PORT}",)
    platform: str = f"127.0.0.1:{ADMIN_PORT}"
    services: Mapping[str, str] | None = None
    alertmanager: str = "127.0.0.1:9093"
    prometheus: str = "http://127.0.0.1:9090"
    dashboards: str = "/var/lib/grafana/dashboards"
    webhook: str | None = None


#: Everything on this machine, as `assay up` starts it.
LOCAL = Site()


def write_dashboards(folder: Path, site: Site = LOCAL) -> tuple[Path, ...]:
    """Write every file, each in one step.

    Returns:
        Their paths.
    """
    for name, text in dashboard_files(site).items():
        write_atomic(folder / name, text)
    return tuple(folder / name for name in dashboard_files(site))


def dashboard_files(site: Site) -> dict[str, str]:
    """Name to content."""
    return {
        GRAFANA_DASHBOARD: json.dumps(grafana(), indent=1) + "\n",
        GRAFANA_SOURCE: as_yaml(grafana_source(site)),
        GRAFANA_PROVIDER: as_yaml(grafana_provider(site)),
        PROMETHEUS: as_yaml(prometheus(site)),
        PROMETHEUS_RULES: as_yaml(alert_rules()),
        ALERTMANAGER: as_yaml(alertmanager(site)),
    }


def as_yaml(content: Any) -> str:
    """YAML in the order given, without wrapped lines and without anchors."""
    import yaml

    class Plain(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            del data  # what stands twice is written twice: anchors are hard to read
            return True

    text: str = yaml.dump(content, Dumper=Plain, sort_keys=False, width=1000)
    return text


def grafana() -> dict[str, Any]:
    """The dashboard as Grafana's JSON; the data source is chosen when it is imported."""
    source = {"type": "prometheus", "uid": "${datasource}"}
    chosen = {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Source"}
    return {
        "title": "assay",
        "uid": "assay",
        "schemaVersion": _SCHEMA_VERSION,
        "refresh": "1m",
        "time": {"from": "now-24h", "to": "now"},
        "templating": {"list": [chosen]},
        "panels": _panels(source),
    }


def grafana_source(site: Site) -> dict[str, Any]:
    """The data source, for Grafana's folder ``provisioning/datasources``."""
    source = {"name": "assay", "uid": _SOURCE_UID, "type": "prometheus", "access": "proxy",
              "url": site.prometheus, "isDefault": True}  # fmt: skip
    return {"apiVersion": 1, "datasources": [source]}


def grafana_provider(site: Site) -> dict[str, Any]:
    """Where the dashboard lies, for Grafana's folder ``provisioning/dashboards``."""
    provider = {"name": "assay", "type": "file", "allowUiUpdates": False,
                "options": {"path": site.dashboards}}  # fmt: skip
    return {"apiVersion": 1, "providers": [provider]}


def alert_rules() -> dict[str, Any]:
    """The rules as Prometheus reads them; Alertmanager routes by ``severity``."""
    return {"groups": [{"name": "assay", "rules": [_rule(one) for one in RULES]}]}


def prometheus(site: Site) -> dict[str, Any]:
    """Whom Prometheus asks, how often, and which rules it judges by."""
    if site.services is None:
        where: Any = {"http_sd_configs": [{"url": f"http://{site.platform}{TARGETS_PATH}"}]}
    else:
        where = {"static_configs": [{"targets": list(site.services.values())}]}
    return {
        "global": {"scrape_interval": "15s", "evaluation_interval": "15s"},
        "rule_files": [PROMETHEUS_RULES],
        "alerting": {
            "alertmanagers": [{"static_configs": [{"targets": [site.alertmanager]}]}],
        },
        "scrape_configs": [
            {"job_name": ROUTERS, "static_configs": [{"targets": list(site.routers)}]},
            {"job_name": SERVICES, **where},
            # drawn anew for every scrape from event log, alert table and window reports
            {"job_name": PLATFORM, "scrape_interval": "1m", "scrape_timeout": "30s",
             "static_configs": [{"targets": [site.platform]}]},
        ],
    }  # fmt: skip


def alertmanager(site: Site) -> dict[str, Any]:
    """Who is told of what: one receiver per severity; a critical alert hides its warnings."""
    return {
        "route": {
            "receiver": ROUTES[-1].receiver,
            "group_by": ["alertname", "product"],
            "routes": [_route(one) for one in ROUTES],
        },
        "inhibit_rules": [
            {
                "source_matchers": ['severity="critical"'],
                # without a product all would be equal, and one page would hide every warning
                "target_matchers": ['severity="warning"', 'product!=""'],
                "equal": ["product"],
            }
        ],
        "receivers": [_receiver(one, site) for one in ROUTES],
    }


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "alert": rule.alert,
        "expr": rule.expression,
        "for": rule.wait,
        "labels": {"severity": rule.severity},
        "annotations": {"summary": rule.summary, "next_step": rule.next_step},
    }


def _route(route: Route) -> dict[str, Any]:
    return {
        "matchers": [f'severity="{route.severity}"'],
        "receiver": route.receiver,
        "group_wait": route.gather,
        "repeat_interval": route.repeat,
    }


def _receiver(route: Route, site: Site) -> dict[str, Any]:
    told = {"webhook_configs": [{"url": site.webhook}]} if site.webhook else {}
    return {"name": route.receiver, **told}


def _panels(source: dict[str, str]) -> list[dict[str, Any]]:
    """Three graphs a line below a heading per section."""
    made: list[dict[str, Any]] = []
    top = 0
    for section in dict.fromkeys(panel.section for panel in PANELS):
        place = {"h": 1, "w": 24, "x": 0, "y": top}
        made.append({"id": len(made) + 1, "type": "row", "title": section, "gridPos": place,
                     "collapsed": False, "panels": []})  # fmt: skip
        inside = [panel for panel in PANELS if panel.section == section]
        for number, panel in enumerate(inside):
            row, column = divmod(number, _COLUMNS)
            place = {"h": _HEIGHT, "w": _WIDTH, "x": column * _WIDTH, "y": top + 1 + row * _HEIGHT}
            made.append({"id": len(made) + 1, "gridPos": place, **_panel(panel, source)})
        top += 1 + -(-len(inside) // _COLUMNS) * _HEIGHT
    return made


def _panel(panel: Panel, source: dict[str, str]) -> dict[str, Any]:
    return {
        "type": "timeseries",
        "title": panel.title,
        "datasource": source,
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "targets": [
            {"refId": chr(65 + index), "expr": expression, "legendFormat": name}
            for index, (name, expression) in enumerate(panel.expressions.items())
        ],
    }
