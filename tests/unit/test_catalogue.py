"""Figures are those of the catalogue: nothing else can be exported, and labels stay few."""

import os
import subprocess
import sys

import pytest

from gateway.meters import MOST_ROUTES, MOST_SERIES, MeterError, Meters, forget_the_dead
from models.contracts.metrics import CATALOGUE, SECONDS, exported_by
from models.contracts.traffic import PredictionRecord

#: Columns of the log that have a value per client, user or request.
UNBOUNDED = (set(PredictionRecord.model_fields) - {"product", "model_version", "rows"}) | {
    "key", "user", "path", "url", "entity",
}  # fmt: skip


def lines(meters: Meters) -> list[str]:
    text = meters.exposition().decode()
    return [line for line in text.splitlines() if not line.startswith("#")]


def test_no_label_has_a_value_per_client_or_request():
    for metric in CATALOGUE.values():
        assert not set(metric.labels) & UNBOUNDED, metric.name


def test_names_follow_the_rules_of_prometheus():
    for name, metric in CATALOGUE.items():
        assert name == metric.name
        assert name.startswith("assay_")
        assert name.endswith("_total") == (metric.kind == "counter")
        assert (metric.kind == "histogram") == bool(metric.buckets)
        assert tuple(sorted(set(metric.buckets))) == metric.buckets
        assert metric.help
    assert len(SECONDS) == 12


@pytest.mark.parametrize("process", ["service", "router", "single", "platform"])
def test_a_process_exports_its_metrics_and_no_others(process):
    text = Meters(process).exposition().decode()
    told = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert told == {metric.name for metric in exported_by(process)}
    assert not any("_created" in line for line in text.splitlines())


def test_every_metric_is_exported_by_somebody():
    processes = ("service", "router", "platform")
    assert {one.name for each in processes for one in exported_by(each)} == set(CATALOGUE)


def test_what_is_counted_is_what_is_exported():
    meters = Meters("router")
    meters.request("risk/x", "/v1/{domain}/{product}/predict", 200, 0.004)
    meters.request("risk/x", "/v1/{domain}/{product}/predict", 503, 0.002)
    meters.inc("assay_in_flight")
    meters.inc("assay_in_flight", -1)
    told = lines(meters)
    labels = 'product="risk/x",route="/v1/{domain}/{product}/predict"'
    assert f'assay_requests_total{{{labels},source="router",status="503"}} 1.0' in told
    assert f'assay_request_seconds_bucket{{le="0.0025",{labels}}} 1.0' in told
    assert f'assay_request_seconds_bucket{{le="0.005",{labels}}} 2.0' in told
    assert f"assay_request_seconds_count{{{labels}}} 2.0" in told
    assert 'assay_in_flight{source="router"} 0.0' in told


@pytest.mark.parametrize(
    ("name", "labels", "message"),
    [
        ("assay_no_such_total", {}, "no catalogue"),
        ("assay_runs", {"job": "a", "status": "b"}, "does not export it"),
        ("assay_shed_total", {"product": "a"}, "has the labels"),
        ("assay_shed_total", {"product": "a", "reason": "b", "tenant": "c"}, "has the labels"),
        ("assay_shed_total", {"product": "a", "tenant": "c"}, "has the labels"),
    ],
)
def test_what_the_catalogue_does_not_say_is_refused(name, labels, message):
    with pytest.raises(MeterError, match=message):
        Meters("router").inc(name, **labels)


def test_a_flood_of_values_ends_in_one_series():
    meters = Meters("router")
    for number in range(MOST_SERIES + 50):
        meters.inc("assay_auth_refused_total", reason=f"r{number}")
    told = [line for line in lines(meters) if line.startswith("assay_auth_refused_total{")]
    assert len(told) == MOST_SERIES + 1
    assert 'assay_auth_refused_total{reason="other"} 50.0' in told


def test_made_up_paths_cost_their_own_name_only():
    meters = Meters("router")
    for number in range(MOST_ROUTES + 50):
        meters.request("risk/x", f"/made/up/{number}", 404, 0.001)
    meters.request("risk/x", "/made/up/last", 503, 0.001)
    told = lines(meters)
    other = 'assay_requests_total{product="risk/x",route="other",source="router",status='
    assert f'{other}"404"}} 50.0' in told
    assert f'{other}"503"}} 1.0' in told


def test_a_process_is_named_before_its_first_figure():
    meters = Meters()
    meters.become("router")
    meters.inc("assay_rate_limited_total")
    meters.become("router")
    with pytest.raises(MeterError, match="of a router already"):
        meters.become("service")


def test_gauges_of_workers_that_are_gone_are_forgotten(tmp_path):
    """Two workers that wait with three rows each are six; after one was killed, three."""
    script = (
        "from gateway.meters import Meters; import os, sys\n"
        "Meters().set('assay_queue_rows', 3, product='p')\n"
        "os.write(1, b'x'); sys.stdin.read(1); os._exit(0)\n"
    )
    workers = []
    for _ in range(2):
        workers.append(subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
        ))  # fmt: skip
        assert workers[-1].stdout.read(1) == b"x"
    assert waiting(tmp_path) == 6
    workers[0].kill()
    workers[0].communicate()
    forget_the_dead(tmp_path)
    assert waiting(tmp_path) == 3
    workers[1].communicate(b".")


def waiting(folder) -> float:
    from prometheus_client import CollectorRegistry
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))
    return registry.get_sample_value("assay_queue_rows", {"product": "p"})
