"""Prometheus's and Alertmanager's own checkers take the generated files, and the rules do fire."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from models.contracts.metrics import CATALOGUE, Metric
from models.contracts.watched import PANELS, ROUTES, RULES, expressions
from stores.dashboards import LOCAL, Site, write_dashboards

CASES = Path(__file__).with_name("prometheus_rules_test.yml")
HOOK = "http://127.0.0.1:9/hook"


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("watch")
    write_dashboards(folder, LOCAL._replace(webhook=HOOK))
    return folder


def said(tool: str, *words: str, cwd: Path) -> str:
    """What the tool says when it is content; the test fails when it is not."""
    found = shutil.which(tool)
    if found is None:
        pytest.skip(f"{tool} is not installed: the generated files are NOT checked by it")
    done = subprocess.run([found, *words], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_every_rule_has_a_case_in_which_it_fires():
    cases = yaml.safe_load(CASES.read_text())["tests"]
    fired = {
        tested["alertname"]
        for case in cases
        for tested in case["alert_rule_test"]
        if tested["exp_alerts"]
    }
    assert fired == {rule.alert for rule in RULES}


def test_the_rules_fire_on_their_trouble_and_not_beside_it(written):
    shutil.copy(CASES, written)
    assert "SUCCESS" in said("promtool", "test", "rules", CASES.name, cwd=written)


@pytest.mark.parametrize("site", [LOCAL, Site(services={"x": "x:3000"})], ids=["here", "fixed"])
def test_prometheus_takes_its_configuration_and_the_rules(tmp_path, site):
    write_dashboards(tmp_path, site)
    told = said("promtool", "check", "config", "prometheus.yml", cwd=tmp_path)
    assert f"{len(RULES)} rules found" in told
    assert "FAILED" not in told


def test_prometheus_reads_every_expression(written, tmp_path):
    """Panels too: as rules of a file, because this checker reads no single expression."""
    records = [
        {"record": f"panel_{number}", "expr": text} for number, text in enumerate(expressions())
    ]
    (tmp_path / "all.yml").write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": records}]}))
    assert f"{len(records)} rules found" in said(
        "promtool", "check", "rules", "all.yml", cwd=tmp_path
    )


def test_every_panel_shows_data_when_its_metrics_move(tmp_path):
    """Asked of Prometheus's own engine, over series as our exporters make them."""
    asked = [text for panel in PANELS for text in panel.expressions.values()]
    case = {
        "interval": "1m",
        "input_series": [one for metric in CATALOGUE.values() for one in moving(metric)],
        # a division by nothing is no data either: NaN is not above or equal to anything
        "promql_expr_test": [
            {"expr": f"count(({text}) >= 0) > bool 0", "eval_time": "30m",
             "exp_samples": [{"labels": "{}", "value": 1}]}
            for text in asked
        ],
    }  # fmt: skip
    (tmp_path / "panels.yml").write_text(yaml.safe_dump({"tests": [case]}))
    assert "SUCCESS" in said("promtool", "test", "rules", "panels.yml", cwd=tmp_path)


def moving(metric: Metric) -> list[dict[str, str]]:
    """Series of a metric over 40 minutes: counters grow, a histogram's upper buckets faster."""
    known = {"status": ("200", "503"), "result": ("hit", "miss")}
    made = []
    for values in itertools.product(*(known.get(label, ("x",)) for label in metric.labels)):
        labels = dict(zip(metric.labels, values, strict=True)) | {"job": "j", "instance": "i"}
        if metric.kind == "histogram":
            steps = [*metric.buckets, "+Inf"]
            for number, end in enumerate(steps):
                made.append(line(f"{metric.name}_bucket", labels | {"le": str(end)}, number + 1))
            made += [line(f"{metric.name}_{kind}", labels, len(steps)) for kind in ("sum", "count")]
        else:
            made.append(line(metric.name, labels, 5 if metric.kind == "counter" else 0))
    return made


def line(name: str, labels: dict[str, str], step: int) -> dict[str, str]:
    inside = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return {"series": f"{name}{{{inside}}}", "values": f"1+{step}x40"}


@pytest.mark.parametrize("webhook", [None, HOOK])
def test_alertmanager_takes_its_configuration(tmp_path, webhook):
    write_dashboards(tmp_path, LOCAL._replace(webhook=webhook))
    told = said("amtool", "check-config", "alertmanager.yml", cwd=tmp_path)
    assert f"{len(ROUTES)} receivers" in told


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.severity)
def test_alertmanager_tells_who_the_route_says(written, route):
    labels = [f"severity={route.severity}", "alertname=AssayErrors", "product=risk/x"]
    file = ["--config.file", "alertmanager.yml"]
    told = said("amtool", "config", "routes", "test", *file, *labels, cwd=written)
    assert told.splitlines()[0] == route.receiver
