"""Routes that others defined, through the gateway: their bodies, their answers, their refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from gateway.aliases import ALIASES, request_type
from gateway.door import Door
from gateway.keys import KeyRing
from gateway.ports import Call, Reply
from models import registry
from models.contracts.api import request_model
from models.contracts.api.aliases import AutoRollbackRequest, version_id
from models.moderation.text_toxicity.product import PRODUCT as TEXTS
from models.recommendation.films.product import PRODUCT as FILMS
from models.risk.sync_conflict.product import PRODUCT as RISK
from stores.home import Home
from stores.key_store import KeyStore
from stores.online_store import build
from tests.service.scripted import Heard, Server, answer
from tests.unit.front_door import JSON, ROW, Scripted, World, figures, routes

CONFLICT, CLASSIFY, RECOMMEND = (alias.path for alias in ALIASES)
WHO = {"domain": "acme", "user_id": 7, "entity_type": "file", "entity_id": "e1"}
SIGNALS = {name: value for name, value in ROW.items() if name != "tenant"}
TOLD = {
    RISK.key: {"probability": 0.73, "risk_level": "high", "confidence": 0.85},
    TEXTS.key: {
        "labels": {"toxicity": 0.85, "hate": 0.1, "offensive": 0.2, "negative_sentiment": None},
        "flagged": ["toxicity"],
    },
    FILMS.key: {"items": [{"item": "f1", "score": 2.0}, {"item": "f2", "score": 1.5}]},
}
ACME = (b"x-assay-tenant", b"acme")


def told(call: Call) -> Reply:
    """As a release of each product would answer."""
    row = {"prediction_id": "p1", "model_version": "v20251102_120000", **TOLD[call.product]}
    return Reply(200, (JSON,), json.dumps({"predictions": [row], "fallback": None}).encode())


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., World]:
    figures(monkeypatch)
    monkeypatch.setenv("ASSAY_HOME", str(tmp_path))

    def make(product: str, say: Callable[[Call], Reply] = told, **more: Any) -> World:
        return World(tmp_path, Scripted(v1=say), routes("v1", product=product, rule=None), **more)

    return make


def test_every_alias_has_its_product():
    assert {alias.product for alias in ALIASES} <= {one.key for one in registry.products()}
    assert all(request_type(alias.path) for alias in ALIASES)


def test_a_conflict_is_predicted_from_what_is_sent(world: Callable[..., World]):
    here = world(RISK.key)
    (got,) = here.asks(("POST", CONFLICT, WHO | {"signals": SIGNALS}))
    assert got.json == {
        "probability": 0.73, "risk_level": "high", "confidence": 0.85,
        "model_version": "v20251102_120000", "prediction_id": "p1", "fallback": None,
    }  # fmt: skip
    assert got.headers[b"x-assay-features"] == b"sent"
    (row,) = json.loads(here.backend.calls[0].body)["rows"]
    assert row == ROW
    request_model(RISK).model_validate({"rows": [row]})


def table(home: Home, **columns: Any) -> None:
    """Two rows of acme, the newer one with other counts, and one of globex."""
    path = home.table(RISK.data.features)
    path.parent.mkdir(parents=True)
    known = {name: [ROW[name]] * 3 for name in RISK.data.names}
    known["commits_ours"] = [5.0, 6.0, 7.0]
    times = [datetime(2026, 1, day) for day in (2, 1, 1)]
    keys = {"tenant": ["acme", "acme", "globex"], "event_time": times}
    pq.write_table(pa.table({**keys, **known, **columns}), path)


def test_what_is_not_sent_is_the_newest_known(world: Callable[..., World], tmp_path: Path):
    home = Home(tmp_path)
    table(home, user=["9", "7", "7"], entity=[["file:x"], None, ["file:e0", "file:e1"]])
    assert build(home, RISK) is not None
    here = world(RISK.key)
    asked = [
        (WHO, "user", 6), (WHO | {"user_id": "8"}, "tenant", 5),
        (WHO | {"domain": "globex"}, "entity", 7),
        (WHO | {"signals": {"commits_ours": 9}}, "user", 9),
        (WHO | {"domain": "initech"}, "sent", None),
    ]  # fmt: skip
    answers = here.asks(*(("POST", CONFLICT, body) for body, _, _ in asked))
    for got, call, (_, level, commits) in zip(answers, here.backend.calls, asked, strict=True):
        (row,) = json.loads(call.body)["rows"]
        assert (got.headers[b"x-assay-features"].decode(), row.get("commits_ours")) == (
            level, commits,
        )  # fmt: skip


def test_the_online_view_is_of_the_table_and_of_nothing_without_one(tmp_path: Path):
    assert build(Home(tmp_path), RISK) is None
    table(Home(tmp_path))  # names neither users nor entities
    path = build(Home(tmp_path), RISK)
    assert path == tmp_path / "online" / "risk_sync_conflict.sqlite"
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_text_is_classified_by_the_models_named(world: Callable[..., World]):
    here = world(TEXTS.key)
    every, some, kind = here.asks(
        ("POST", CLASSIFY, {"text": "you"}, ACME),
        ("POST", CLASSIFY, {"text": "you", "models": ["hate-bert", "sentiment-bert"]}, ACME),
        ("POST", CLASSIFY, {"text": "you", "models": ["toxic-bert"]}, ACME),
    )
    assert (every.json["is_harmful"], every.json["confidence"]) == (True, 0.85)
    assert every.json["details"]["toxic-bert"] == {
        "label": "toxicity", "probability": 0.85, "flagged": True,
    }  # fmt: skip
    assert every.json["details"]["sentiment-bert"] is None
    assert (some.json["is_harmful"], some.json["confidence"]) == (False, 0.9)
    assert set(some.json["details"]) == {"hate-bert", "sentiment-bert"}
    assert kind.json["is_harmful"] is True
    assert json.loads(here.backend.calls[0].body) == {"rows": [{"tenant": "acme", "text": "you"}]}


@pytest.mark.parametrize("user", [123, "123"])
def test_a_user_s_id_may_be_a_number(world: Callable[..., World], user: int | str):
    here = world(FILMS.key)
    (got,) = here.asks(("POST", RECOMMEND, {"user_id": user, "top_k": 5}, ACME))
    assert got.json["user_id"] == user
    assert got.json["recommendations"][0] == {"item_id": "f1", "score": 2.0}
    (row,) = json.loads(here.backend.calls[0].body)["rows"]
    assert row == {"tenant": "acme", "user": "123", "k": 5}


@pytest.mark.parametrize(
    ("product", "path", "body"),
    [
        (RISK.key, CONFLICT, {"domain": "acme"}),
        (RISK.key, CONFLICT, WHO | {"signals": {"nonsense": 1}}),
        (RISK.key, CONFLICT, WHO | {"signals": {"commits_ours": -1}}),
        (TEXTS.key, CLASSIFY, {"text": "x", "models": ["other-bert"]}),
        (TEXTS.key, CLASSIFY, {"text": ""}),
        (FILMS.key, RECOMMEND, {"user_id": 1.5}),
        (FILMS.key, RECOMMEND, {"user_id": 1, "top_k": 0}),
        (FILMS.key, RECOMMEND, b"{"),
    ],
)
def test_a_body_of_another_form_is_422(
    world: Callable[..., World], product: str, path: str, body: Any
):
    here = world(product)
    (got,) = here.asks(("POST", path, body, ACME))
    assert (got.status, here.backend.calls) == (422, [])
    assert got.json["detail"]


def test_what_the_release_refuses_is_422_here(world: Callable[..., World]):
    def refuses(_: Call) -> Reply:
        return Reply(400, (JSON,), b'{"error": "unknown tenant"}')

    (got,) = world(FILMS.key, refuses).asks(("POST", RECOMMEND, {"user_id": 1}, ACME))
    assert (got.status, got.json) == (422, {"error": "unknown tenant"})


@pytest.mark.parametrize(
    ("product", "path", "body", "column", "place"),
    [
        (RISK.key, CONFLICT, WHO | {"signals": {}}, "commits_ours", ["signals", "commits_ours"]),
        (RISK.key, CONFLICT, WHO | {"signals": {}}, "tenant", ["domain"]),
        (TEXTS.key, CLASSIFY, {"text": "x"}, "text", ["text"]),
        (FILMS.key, RECOMMEND, {"user_id": 1}, "user", ["user_id"]),
        (FILMS.key, RECOMMEND, {"user_id": 1}, "tenant", ["x-assay-tenant"]),
    ],
)
def test_what_is_wrong_is_named_as_the_request_calls_it(
    world: Callable[..., World], product: str, path: str, body: Any, column: str, place: list[str]
):
    def refuses(_: Call) -> Reply:
        detail = [{"loc": ["rows", 0, column], "msg": "Field required"}]
        return Reply(400, (JSON,), json.dumps({"error": "wrong", "detail": detail}).encode())

    (got,) = world(product, refuses).asks(("POST", path, body, ACME))
    assert (got.status, got.json["detail"][0]["loc"]) == (422, place)


def test_whose_data_it_is_comes_from_the_key_or_a_header(
    world: Callable[..., World], tmp_path: Path
):
    here, store = world(FILMS.key), KeyStore(tmp_path / "keys.json")
    asked = ("POST", RECOMMEND, {"user_id": 1})
    assert here.asks(asked)[0].status == 422  # nobody says so

    def key(*tenants: str) -> tuple[bytes, bytes]:
        made = store.add(tenants=tenants, products=["*"], roles=["predict"], by="t")
        return b"x-api-key", made.presented.encode()

    one, two = key("globex"), key("acme", "globex")
    got = here.asks(
        (*asked, one), (*asked, two), (*asked, two, ACME), (*asked, one, ACME),
        door=Door(KeyRing(store.path)),
    )  # fmt: skip
    assert [each.status for each in got] == [200, 422, 200, 403]
    tenants = [json.loads(call.body)["rows"][0]["tenant"] for call in here.backend.calls]
    assert tenants == ["globex", "acme"]


def test_version_routes_ask_the_admin_service(world: Callable[..., World]):
    heard: list[tuple[str, Any, bytes | None]] = []

    async def admin(one: Heard, writer: Any) -> None:
        body = json.loads(one.body) if one.body else None
        heard.append((one.path, body, one.header(b"authorization")))
        writer.write(answer(200, b"[]", b"content-type: application/json"))

    token = (b"authorization", b"Bearer t")
    world(FILMS.key).beside(
        Server(admin),
        ("GET", "/models/versions?model_type=recommendation", None, token),
        ("GET", "/models/best?product=risk/sync_conflict&metric=brier", None, token),
        ("POST", "/models/rollback",
         {"model_type": "recommendation", "version_id": "20241201_143022"}, token),
        ("POST", "/models/performance",
         {"model_type": "recommendation", "accuracy": 0.95, "precision": 0.92, "recall": 0.88}),
        ("POST", "/models/auto-rollback",
         {"model_type": "recommendation", "current_accuracy": 0.8, "rows": 500}),
    )  # fmt: skip
    assert heard == [
        ("/models/versions?product=recommendation%2Ffilms", None, b"Bearer t"),
        ("/models/best?product=risk%2Fsync_conflict&metric=brier", None, b"Bearer t"),
        ("/models/rollback", {"product": FILMS.key, "version_id": "v20241201_143022",
                              "reason": "by request"}, b"Bearer t"),
        ("/models/performance",
         {"product": FILMS.key,
          "metrics": {"accuracy": 0.95, "precision": 0.92, "recall": 0.88}}, None),
        ("/models/auto-rollback",
         {"product": FILMS.key, "metric": "accuracy", "current": 0.8, "rows": 500,
          "degradation_threshold": 0.05}, None),
    ]  # fmt: skip


def test_version_routes_refuse_what_names_no_product(world: Callable[..., World]):
    trend, none, wrong, gone = world(FILMS.key).asks(
        ("GET", "/models/versions?model_type=trend"),
        ("GET", "/models/versions"),
        ("POST", "/models/rollback", {"product": FILMS.key, "version_id": "1"}),
        ("POST", "/models/rollback", {"product": FILMS.key}),
    )
    assert (trend.status, "no product has this model_type yet" in trend.json["error"]) == (
        404,
        True,
    )
    assert (none.status, wrong.status) == (422, 422)
    assert (gone.status, "assay up" in gone.json["error"]) == (503, True)


def test_versions_are_taken_with_and_without_their_v():
    assert {version_id("20241201_143022"), version_id("v20241201_143022")} == {"v20241201_143022"}
    assert version_id(None) is None


def test_a_number_of_rows_is_one_that_json_can_carry_on():
    """Found by fuzzing: 2**64 passed and could not be written for the admin service."""
    with pytest.raises(ValidationError):
        AutoRollbackRequest.model_validate({"current_accuracy": 0.5, "rows": 2**64})
