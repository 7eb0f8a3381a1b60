"""The front door without a server: paths, who answers, what is told when nobody can."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway import drain
from gateway.door import Door
from gateway.keys import KeyRing
from gateway.limits import Limits
from gateway.meters import Meters
from models.contracts.routing import Flag, Override
from stores.key_store import KeyStore
from tests.unit.front_door import AT, JSON, KEY, ROW, Scripted, World, figures, gone, routes, says

BODY = {"rows": [ROW]}
FAULT = (b"x-assay-fault", b"model")


@pytest.fixture
def meters(monkeypatch: pytest.MonkeyPatch) -> Meters:
    return figures(monkeypatch)


@pytest.fixture(autouse=True)
def _own_figures(meters: Meters, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ASSAY_SPOOL", str(tmp_path / "spool"))


@pytest.fixture
def world(tmp_path: Path) -> Callable[..., World]:
    def make(*versions: str, backend: Scripted | None = None, **changed: Any) -> World:
        more = {name: changed.pop(name) for name in ("flags",) if name in changed}
        told = backend or Scripted(**{version: says() for version in versions})
        return World(tmp_path, told, routes(*versions, **changed), **more)

    return make


def logged(root: Path) -> list[dict[str, Any]]:
    """Lines of the product's log."""
    lines = []
    for file in sorted((root / "spool" / "risk_sync_conflict").glob("*.*")):
        lines += [json.loads(line[line.index(b"{") :]) for line in file.read_bytes().splitlines()]
    return lines


def test_the_champion_answers_and_who_asks_sees_it(world: Callable[..., World]):
    here = world("v2", "v1")
    (got,) = here.asks(("POST", f"{AT}/predict?explain=true", BODY))
    assert (got.status, got.json) == (200, {"by": "v2", "rung": "champion"})
    (call,) = here.backend.calls
    assert (call.product, call.path, call.query) == (KEY, "predict", b"explain=true")
    assert json.loads(call.body) == BODY
    assert got.headers[b"x-content-type-options"] == b"nosniff"
    assert len(got.headers[b"x-request-id"]) == 32
    assert here.backend.closed


def test_releases_are_listed_with_their_part(world: Callable[..., World]):
    listed, one, none = world("v2", "v1").asks(
        ("GET", f"{AT}/models"), ("GET", f"{AT}/models/v1"), ("GET", f"{AT}/models/v9")
    )
    assert [(model["version"], model["part"]) for model in listed.json["models"]] == [
        ("v2", "champion"), ("v1", "previous"),
    ]  # fmt: skip
    assert one.json == {"product": KEY, "version": "v1", "semver": "1.0.0", "part": "previous"}
    assert (none.status, "does not run here" in none.json["error"]) == (404, True)


def test_what_is_served_is_told(world: Callable[..., World]):
    health, products, live, ready, metrics = world("v2").asks(
        *(("GET", path) for path in ("/health", "/v1/products", "/livez", "/readyz", "/metrics"))
    )
    assert health.json == {"status": "ok", "generation": 1, "models": {KEY: "v2"}}
    told = {one["product"]: one["model_version"] for one in products.json["products"]}
    assert told[KEY] == "v2"
    assert told["moderation/text_toxicity"] is None
    assert (live.status, ready.status) == (200, 200)
    assert b"assay_requests_total" in metrics.body


def test_a_gateway_without_a_table_or_about_to_end_is_not_ready(
    tmp_path: Path, world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
):
    ready, asked = World(tmp_path, Scripted(), None).asks(
        ("GET", "/readyz"), ("POST", f"{AT}/predict", BODY)
    )
    assert (ready.status, asked.status) == (503, 503)
    assert asked.headers[b"retry-after"] == b"30"
    monkeypatch.setattr(drain, "leaving", lambda: True)
    (ready,) = world("v1").asks(("GET", "/readyz"))
    assert (ready.status, ready.body) == (503, b"leaving")


def test_other_paths_and_methods_are_refused_and_counted_as_one(
    world: Callable[..., World], meters: Meters
):
    paths = ("/predict", "/v1/risk/nothing/predict", f"{AT}/models/", f"{AT}/predict/x", "/v1")
    lost = world("v1").asks(*(("POST", path, BODY) for path in paths))
    assert {got.status for got in lost} == {404}
    got, put = world("v1").asks(("GET", f"{AT}/predict"), ("PUT", "/health"))
    assert (got.status, got.headers[b"allow"]) == (405, b"POST")
    assert (put.status, put.headers[b"allow"]) == (405, b"GET, HEAD")
    series = [
        line for line in meters.exposition().decode().splitlines() if "requests_total{" in line
    ]
    assert sorted(line.split('route="')[1].split('"')[0] for line in series) == [
        "/health", f"{AT}/predict", "other",
    ]  # fmt: skip


def test_outcomes_go_to_the_champion_and_into_the_own_log_when_it_is_gone(
    world: Callable[..., World], tmp_path: Path
):
    report = {"outcomes": [{"event_id": "e1", "label": 1}]}
    here = world("v2", "v1")
    (got,) = here.asks(("POST", f"{AT}/outcome", report))
    assert (got.json["by"], here.backend.calls[0].path) == ("v2", "outcome")
    (got,) = world("v2", backend=Scripted(v2=gone)).asks(("POST", f"{AT}/outcome", report))
    assert got.status == 202
    assert len(got.json["outcome_ids"]) == 1
    assert any('"e1"' in json.dumps(line) for line in logged(tmp_path))


def test_a_tenant_s_override_and_a_named_release(world: Callable[..., World]):
    here = world("v2", "v1", overrides=(Override(tenant="acme", version="v1"),))
    one, named, strange = here.asks(
        ("POST", f"{AT}/predict", BODY),
        ("POST", f"{AT}/predict", BODY, (b"x-assay-release", b"v2")),
        ("POST", f"{AT}/predict", BODY, (b"x-assay-release", b"v7")),
    )
    assert (one.json["by"], named.json["by"], strange.status) == ("v1", "v2", 404)


def test_flags_switch_off_what_they_name(world: Callable[..., World]):
    off = {
        name: Flag(name=name, scope=KEY, on=False, tenants=("acme",))  # type: ignore[arg-type]
        for name in ("serve", "explain", "fallback")
    }
    (got,) = world("v1", flags=(off["serve"],)).asks(("POST", f"{AT}/predict", BODY))
    assert (got.status, got.headers[b"retry-after"]) == (503, b"60")
    plain, query, body, none = world("v1", flags=(off["explain"],)).asks(
        ("POST", f"{AT}/predict", BODY),
        ("POST", f"{AT}/predict?explain=true", BODY),
        ("POST", f"{AT}/predict", BODY | {"explain": True}),
        ("POST", f"{AT}/predict?explain=true", BODY | {"explain": False}),
    )
    assert [got.status for got in (plain, query, body, none)] == [200, 403, 403, 200]
    broken = Scripted(v1=says(500, FAULT))
    (got,) = world("v1", flags=(off["fallback"],), backend=broken).asks(
        ("POST", f"{AT}/predict", BODY)
    )
    assert (got.status, len(broken.calls)) == (500, 1)


def test_a_key_s_rows_are_taken_from_its_account_and_its_products_are_all_it_sees(
    world: Callable[..., World], tmp_path: Path
):
    store = KeyStore(tmp_path / "keys.json")
    made = store.add(
        tenants=["acme"], products=[KEY], roles=["predict"], rate=0.001, burst=3, by="t"
    )
    key = (b"x-api-key", made.presented.encode())
    door = Door(KeyRing(store.path))
    nobody, listed, docs, two, more = world("v1").asks(
        ("POST", f"{AT}/predict", BODY),
        ("GET", "/v1/products", None, key),
        ("GET", "/v1/moderation/text_toxicity/health", None, key),
        ("POST", f"{AT}/predict", {"rows": [ROW, ROW]}, key),
        ("POST", f"{AT}/predict", BODY, key),
        door=door,
    )
    assert [got.status for got in (nobody, docs, two, more)] == [401, 403, 200, 429]
    assert [one["product"] for one in listed.json["products"]] == [KEY]


def test_what_is_refused_in_front_is_counted_and_in_no_log(
    world: Callable[..., World], meters: Meters, tmp_path: Path
):
    store, large = KeyStore(tmp_path / "keys.json"), Limits().body_bytes + 1
    made = store.add(
        tenants=["acme"], products=[KEY], roles=["predict"], burst=1, rate=0.001, by="t"
    )
    key = (b"x-api-key", made.presented.encode())
    here = world("v1")
    got = here.asks(
        ("POST", f"{AT}/predict", BODY),
        ("POST", f"{AT}/predict", b" " * large, key),
        ("POST", f"{AT}/predict", BODY, key),
        door=Door(KeyRing(store.path)),
    )
    assert [one.status for one in got] == [401, 413, 429]
    counted = [
        (line.split('status="')[1][:3], line.split()[-1])
        for line in meters.exposition().decode().splitlines()
        if "requests_total{" in line and f'route="{AT}/predict"' in line
    ]
    assert sorted(counted) == [("401", "1.0"), ("413", "1.0"), ("429", "1.0")]
    assert (here.backend.calls, logged(tmp_path)) == ([], [])


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"rows": []}', b'{"rows": [3]}'])
def test_a_body_that_cannot_be_looked_into_is_left_to_the_release(
    world: Callable[..., World], body: bytes
):
    override = Override(tenant="acme", version="v1")
    (got,) = world("v1", overrides=(override,)).asks(("POST", f"{AT}/predict", body, JSON))
    assert got.status == 200
