"""Who answers when the champion cannot, and what is said about it."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from gateway.asked import Asked
from gateway.ladder import Step, climb, steps
from gateway.meters import Meters
from gateway.ports import Reply, Unreachable
from models.contracts.routing import Placement
from models.risk.sync_conflict.product import PRODUCT
from tests.unit.front_door import AT, KEY, ROW, RULE, Scripted, World, figures, gone, routes, says

BODY = {"rows": [ROW, ROW]}
FAULT = (b"x-assay-fault", b"model")
ALL = ("champion", "previous", "baseline", "rule")


@pytest.fixture
def meters(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Meters:
    monkeypatch.setenv("ASSAY_SPOOL", str(tmp_path / "spool"))
    return figures(monkeypatch)


def fallen(meters: Meters) -> dict[str, float]:
    lines = meters.exposition().decode().splitlines()
    mine = [line for line in lines if line.startswith("assay_fallback_total{")]
    return {line.split('rung="')[1].split('"')[0]: float(line.split()[-1]) for line in mine}


@pytest.mark.parametrize(
    ("backend", "by", "rung"),
    [
        ({"v2": says(500, FAULT), "v1": says()}, "v1", "previous"),
        ({"v2": gone, "v1": says()}, "v1", "previous"),
        ({"v2": says(504, FAULT), "v1": says()}, "v1", "previous"),
        ({"v2": says(502), "v1": says()}, "v1", "previous"),
    ],
)
def test_a_fault_leads_to_the_release_before(
    tmp_path: Path, meters: Meters, caplog: pytest.LogCaptureFixture,
    backend: dict[str, Any], by: str, rung: str,
):  # fmt: skip
    here = World(tmp_path, Scripted(**backend), routes("v2", "v1"))
    with caplog.at_level(logging.WARNING, "assay.gateway"):
        (got,) = here.asks(("POST", f"{AT}/predict", BODY))
    assert (got.status, got.json["by"], got.json["rung"]) == (200, by, rung)
    assert got.headers[b"x-assay-fallback"] == rung.encode()
    assert fallen(meters) == {rung: 1.0}
    assert "answered by previous, after champion v2" in caplog.text


def test_the_baseline_lies_beside_the_champion(tmp_path: Path, meters: Meters):
    def first_fails(call: Any) -> Reply:
        return says(500, FAULT)(call) if call.asked.rung == "champion" else says()(call)

    here = World(tmp_path, Scripted(v2=first_fails), routes("v2"))
    (got,) = here.asks(("POST", f"{AT}/predict", BODY))
    assert (got.json["by"], got.json["rung"]) == ("v2", "baseline")
    assert fallen(meters) == {"baseline": 1.0}


@pytest.mark.parametrize("status", [400, 403, 413, 503])
def test_a_refusal_or_a_full_log_is_nobody_s_fault(tmp_path: Path, meters: Meters, status: int):
    here = World(tmp_path, Scripted(v2=says(status), v1=says()), routes("v2", "v1"))
    (got,) = here.asks(("POST", f"{AT}/predict", BODY))
    assert (got.status, len(here.backend.calls), fallen(meters)) == (status, 1, {})


def test_the_rule_answers_when_no_process_does_and_is_logged(tmp_path: Path, meters: Meters):
    (got, health) = World(tmp_path, Scripted(), routes("v2", "v1")).asks(
        ("POST", f"{AT}/predict", BODY), ("GET", f"{AT}/health")
    )
    assert (got.status, got.json["fallback"], got.headers[b"x-assay-fallback"]) == (
        200, "rule", b"rule",
    )  # fmt: skip
    one, other = got.json["predictions"]
    assert (one["probability"], one["risk_level"], one["confidence"]) == (0.2, "low", 0.8)
    assert one["model_version"] == "rule"
    assert uuid.UUID(one["prediction_id"]) != uuid.UUID(other["prediction_id"])
    assert health.json["status"] == "fallback"
    (file,) = (tmp_path / "spool" / "risk_sync_conflict").glob("*.log")
    lines = [json.loads(line[line.index(b"{") :]) for line in file.read_bytes().splitlines()]
    assert [line["model_version"] for line in lines] == ["rule", "rule"]
    assert lines[0]["inputs"][0] == ROW["concurrent_editors"]
    assert fallen(meters) == {"rule": 1.0}


def test_the_rule_refuses_what_every_release_refuses(tmp_path: Path, meters: Meters):
    (got,) = World(tmp_path, Scripted(), routes("v2")).asks(
        ("POST", f"{AT}/predict", {"rows": [{"tenant": "acme"}]})
    )
    assert (got.status, got.json["detail"][0]["loc"][0]) == (400, "rows")


def test_without_a_champion_the_rule_is_left_and_without_a_rule_nothing(
    tmp_path: Path, meters: Meters
):
    (got,) = World(tmp_path, Scripted(), routes()).asks(("POST", f"{AT}/predict", BODY))
    assert got.json["fallback"] == "rule"
    (got,) = World(tmp_path, Scripted(), routes(rule=None)).asks(("POST", f"{AT}/predict", BODY))
    assert got.status == 503
    (got,) = World(tmp_path, Scripted(), routes("v2", rule=None)).asks(
        ("POST", f"{AT}/predict", BODY)
    )
    assert (got.status, b"x-assay-fault" in got.headers) == (503, False)


def test_a_challenger_s_requests_fall_back_to_the_champion():
    placement = Placement(
        rollout_id="r1", kind="canary", challenger="v3", weight=1, mirror=0, sticky="unit"
    )
    of = routes("v2", "v1", "v3", placement=placement)
    assert steps(PRODUCT, of, "v3", fallback=True)[:2] == (
        Step("champion", "v3"), Step("previous", "v2"),
    )  # fmt: skip
    told = steps(PRODUCT, of, "v2", fallback=True)
    assert [step.rung for step in told] == list(ALL)
    assert steps(PRODUCT, of, "v2", fallback=False) == told[:1]
    few = PRODUCT.model_copy(
        update={"serving": PRODUCT.serving.model_copy(update={"fallback": ("rule",)})}
    )
    assert [step.rung for step in steps(few, of, "v2", fallback=True)] == ["champion", "rule"]


def test_each_rung_has_its_share_of_the_time():
    seen: dict[str, float] = {}

    async def ask(step: Step, asked: Asked) -> Reply:
        seen[step.rung] = asked.deadline - time.monotonic()
        raise Unreachable

    asked = Asked("r1", time.monotonic_ns(), "traffic", deadline=time.monotonic() + 10)
    told = asyncio.run(climb([Step(rung, "v") for rung in ALL], ask, asked))
    assert seen["champion"] == pytest.approx(6, abs=0.1)  # 60 of 100
    assert seen["previous"] == pytest.approx(5, abs=0.1)  # 20 of 40 of 10 s: nobody took time
    assert seen["baseline"] == pytest.approx(7.5, abs=0.1)  # 15 of 20
    assert seen["rule"] == pytest.approx(10, abs=0.1)
    assert (told.step.rung, told.reply.status) == ("champion", 503)
    assert [step.rung for step in told.failed] == list(ALL)


def test_a_rule_of_another_product_is_none_of_ours(tmp_path: Path, meters: Meters):
    assert RULE.product == KEY
    of = routes("v2", product="recommendation/films", rule=None)
    (got,) = World(tmp_path, Scripted(), of).asks(("POST", f"{AT}/predict", BODY))
    assert got.status == 503
