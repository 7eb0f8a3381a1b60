"""The lane and BentoML's own way to the same engine: the same answers, refusals and records."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.service.site import Built, Site
from tests.service.spooled import bodies

ROOT = Path(__file__).parents[2]
JSON = {"content-type": "application/json"}

Told = dict[str, Any]


def requests(row: dict[str, Any], other: dict[str, Any]) -> list[dict[str, Any]]:
    """Method, path, body and headers: what is answered, and every kind of refusal."""
    prediction = {"prediction_id": "8f14e45f-ceea-467f-9b0a-5a1b2c3d4e5f", "label": 1}
    sent = [
        ("POST", "/predict", {"rows": [row, other]}),
        ("POST", "/predict", {"rows": [row], "explain": True}),
        ("POST", "/predict", {"rows": [row], "explain": True, "method": "lime"}),
        ("POST", "/predict", {"rows": [{**row, "tenant": "stranger"}]}),
        ("POST", "/predict", {"rows": [row, {**row, "merge_bases": "x"}]}),
        ("POST", "/predict", {"rows": [row] * 5, "explain": True}),
        ("POST", "/predict", {"rows": []}),
        ("POST", "/predict", {}),
        ("POST", "/predict", "{"),
        ("POST", "/predict", ""),
        ("POST", "/predict", '{"rows": [{"tenant": "\\ud800"}]}'),
        ("POST", "/outcome", {"outcomes": [prediction]}),
        ("POST", "/outcome", {"outcomes": [{**prediction, "label": 2}]}),
        ("GET", "/predict", None),
        ("PUT", "/outcome", {}),
        ("POST", "/health", {}),
        ("GET", "/health", None),
        ("GET", "/nowhere", None),
        ("POST", "/predict/more", {}),
    ]
    return [
        {"method": method, "path": path, "content": body if isinstance(body, str) or body is None
         else json.dumps(body)}
        for method, path, body in sent
    ]  # fmt: skip


@pytest.fixture(scope="module")
def both(site: Site, first: Built, tmp_path_factory: pytest.TempPathFactory) -> list[list[Told]]:
    """What is told by the lane and by BentoML, each in a process of its own, and what is logged."""
    asked = requests(dict(first.golden.rows[0]), dict(first.golden.rows[1]))
    given = {"bento": first.ref.tag, "requests": asked}
    processes = []
    for lane in ("1", "0"):
        spool = tmp_path_factory.mktemp(f"spool-{lane}")
        environment = {
            **os.environ, "BENTOML_HOME": str(site.bentos), "BENTOML_DO_NOT_TRACK": "1",
            "ASSAY_PUBLIC_KEY": str(site.keys[1]), "ASSAY_SPOOL": str(spool),
            "ASSAY_FAST_LANE": lane,
        }  # fmt: skip
        running = subprocess.Popen(
            [sys.executable, "-m", "tests.service.test_lane_parity"], cwd=ROOT, env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        processes.append((running, spool))
    found = []
    for running, spool in processes:
        out, err = running.communicate(json.dumps(given), timeout=120)
        assert running.returncode == 0, err[-3000:]
        told = json.loads(out.splitlines()[-1])
        for number, one in enumerate(told):
            one["logged"] = [_plain(b) for kind in ("prediction", "refusal")
                             for b in bodies(spool, kind, request_id=f"r{number}")]  # fmt: skip
        found.append(told)
    return found


def _plain(body: dict[str, Any]) -> dict[str, Any]:
    """A record without what differs from one request to the same request."""
    changing = ("prediction_id", "answered_at", "event_time", "latency_ms")
    return {name: value for name, value in body.items() if name not in changing}


def _same(told: Told) -> Any:
    """An answer without what differs from one request to the same request."""
    body = told["body"]
    for prediction in body.get("predictions", []):
        prediction.pop("prediction_id")
    body.pop("outcome_ids", None)
    body["error"] = body.get("error", "").replace("IODescriptor", "")  # BentoML's, around our type
    body["detail"] = [
        {name: part[name] for name in ("loc", "msg")} for part in body.get("detail", [])
    ]
    headers = {name: told["headers"].get(name) for name in ("content-type", "x-request-id")}
    allow = set((told["headers"].get("allow") or "").replace(" ", "").split(","))
    return told["status"], body, headers, allow


def test_both_ways_answer_refuse_and_log_the_same(both: list[list[Told]]):
    lane, framework = both
    assert [one["status"] for one in lane] == [
        200, 200, 200, 400, 400, 400, 400, 400, 400, 400, 400, 202, 400, 405, 405, 405, 200, 404,
        404,
    ]  # fmt: skip
    for number, (one, other) in enumerate(zip(lane, framework, strict=True)):
        assert _same(one) == _same(other), number
        assert one["logged"] == other["logged"], number
    assert [len(one["logged"]) for one in lane[:4]] == [2, 1, 1, 1]


def test_the_lane_says_less_of_what_it_is_made_of(both: list[list[Told]]):
    for one in both[0]:
        assert not {"server", "x-bentoml-request-id"} & set(one["headers"])
        assert "pydantic" not in json.dumps(one["body"])


async def _tell(app: Any, asked: list[dict[str, Any]]) -> list[Told]:
    import httpx

    from tests.contract.answer import started

    told = []
    async with started(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://inside") as client:
            for number, one in enumerate(asked):
                headers = JSON | {"x-request-id": f"r{number}"}
                answer = await client.request(
                    one["method"], one["path"], content=one["content"], headers=headers
                )
                told.append({"status": answer.status_code, "headers": dict(answer.headers),
                             "body": answer.json()})  # fmt: skip
    return told


def _serve_here() -> None:
    """One bento in this process, as a worker serves it."""
    from _bentoml_impl.loader import load

    given = json.load(sys.stdin)
    service = load(given["bento"], standalone_load=True)
    told = asyncio.run(_tell(service.to_asgi(), given["requests"]))
    sys.stdout.write(f"{json.dumps(told)}\n")


if __name__ == "__main__":
    _serve_here()
