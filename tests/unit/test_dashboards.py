"""Dashboards and rules are what Grafana and Prometheus can read, and name only what is exported."""

import json
import re

import pytest
import yaml

from models.contracts.metrics import CATALOGUE, series
from models.contracts.watched import PANELS, ROUTES, RULES, expressions
from stores.dashboards import LOCAL, Site, alert_rules, dashboard_files, grafana, write_dashboards

SERIES = {name for metric in CATALOGUE.values() for name in series(metric)}


def named(expression: str) -> set[str]:
    """Our series in an expression: its words that begin like them, outside of quoted text."""
    return set(re.findall(r"\bassay_[a-z0-9_]+", re.sub(r'"[^"]*"', "", expression)))


def test_the_files_are_read_back_as_what_they_say(tmp_path):
    written = {path.name: path for path in write_dashboards(tmp_path)}
    assert set(written) == {path.name for path in tmp_path.iterdir()}
    assert json.loads(written["grafana-assay.json"].read_text()) == grafana()
    assert yaml.safe_load(written["prometheus-rules.yml"].read_text()) == alert_rules()


@pytest.mark.parametrize("expression", list(expressions()))
def test_an_expression_names_only_what_is_exported(expression):
    found = named(expression)
    assert found <= SERIES
    assert found or "up{" in expression


def test_every_metric_of_the_catalogue_is_shown():
    shown = {
        name for panel in PANELS for text in panel.expressions.values() for name in named(text)
    }
    missing = [one.name for one in CATALOGUE.values() if not shown & set(series(one))]
    assert missing == ["assay_spool_refused_total"], "a rule guards that one"
    assert "assay_spool_refused_total" in " ".join(rule.expression for rule in RULES)


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.title)
def test_a_legend_names_labels_its_expression_keeps(panel):
    for legend, expression in panel.expressions.items():
        for label in set(re.findall(r"{{(\w+)}}", legend)) - {"instance"}:
            by = re.findall(r"by \(([^)]*)\)", expression)
            kept = set(re.findall(r"\w+", by[0])) if by else {
                label for name in named(expression) for label in CATALOGUE[name].labels
            }  # fmt: skip
            assert label in kept, legend


def test_every_rule_waits_routes_and_says_what_to_do():
    rules = alert_rules()["groups"][0]["rules"]
    assert len({rule["alert"] for rule in rules}) == len(rules) == len(RULES)
    for rule in rules:
        assert re.fullmatch(r"\d+[mh]", rule["for"])
        assert rule["labels"]["severity"] in {route.severity for route in ROUTES}
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["next_step"]


def test_panels_do_not_overlap_and_have_ids_of_their_own():
    panels = grafana()["panels"]
    assert len({one["id"] for one in panels}) == len(panels)
    taken = set()
    for place in (one["gridPos"] for one in panels):
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert [one["title"] for one in panels if one["type"] != "row"] == [
        panel.title for panel in PANELS
    ]


def test_nobody_is_told_without_a_webhook_and_everybody_with_one():
    silent = yaml.safe_load(dashboard_files(LOCAL)["alertmanager.yml"])
    assert [list(one) for one in silent["receivers"]] == [["name"]] * len(ROUTES)
    told = yaml.safe_load(dashboard_files(Site(webhook="http://hook/x"))["alertmanager.yml"])
    for receiver in told["receivers"]:
        assert receiver["webhook_configs"] == [{"url": "http://hook/x"}]


def test_services_are_asked_for_where_their_ports_change_and_named_where_not():
    here = yaml.safe_load(dashboard_files(LOCAL)["prometheus.yml"])["scrape_configs"][1]
    assert here["http_sd_configs"] == [{"url": "http://127.0.0.1:3900/targets"}]
    fixed = Site(services={"risk_x": "risk-x:3000"})
    there = yaml.safe_load(dashboard_files(fixed)["prometheus.yml"])["scrape_configs"][1]
    assert there["static_configs"] == [{"targets": ["risk-x:3000"]}]
