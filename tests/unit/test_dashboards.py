"""Dashboards and rules are what Grafana and Prometheus can read, and name only what is exported."""

import json
import re

import pytest
import yaml

from stores.dashboards import METRICS, RULES_OF, alert_rules, expressions, grafana, write_dashboards

NAMES = {metric.name for metric in METRICS}
WORDS = {
    "sum", "by", "rate", "histogram_quantile", "increase", "on", "absent", "le", "product",
    "service_name", "endpoint", "version", "http_response_code", "basis", "status", "severity", "m",
    "h",
}  # fmt: skip


def test_the_files_are_read_back_as_what_they_say(tmp_path):
    dashboard, rules = write_dashboards(tmp_path)
    assert json.loads(dashboard.read_text()) == grafana()
    assert yaml.safe_load(rules.read_text()) == alert_rules()


@pytest.mark.parametrize("expression", list(expressions()))
def test_an_expression_is_balanced_and_names_only_what_is_exported(expression):
    bare = re.sub(r'"[^"]*"', '""', expression)
    for left, right in ("()", "{}", "[]"):
        assert bare.count(left) == bare.count(right)
    found = set(re.findall(r"[a-z_][a-z0-9_]*", re.sub(r"\[\d+[mh]\]", "", bare)))
    exported = {re.sub(r"_(bucket|count|sum)$", "", name) for name in found - WORDS}
    assert exported
    assert exported <= NAMES


def test_every_rule_waits_routes_and_says_what_to_do():
    rules = alert_rules()["groups"][0]["rules"]
    assert len({rule["alert"] for rule in rules}) == len(rules) == len(RULES_OF)
    for rule in rules:
        assert re.fullmatch(r"\d+[mh]", rule["for"])
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["next_step"]


def test_panels_do_not_overlap_and_have_ids_of_their_own():
    panels = grafana()["panels"]
    places = {(one["gridPos"]["x"], one["gridPos"]["y"]) for one in panels}
    assert len(places) == len({one["id"] for one in panels}) == len(panels)


def test_every_metric_of_the_catalogue_is_shown_or_guarded():
    text = " ".join(expressions())
    assert {name for name in NAMES if name not in text} == set()
