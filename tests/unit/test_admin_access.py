"""Administration by API key, and the record of every call."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from gateway.audit import AuditLog
from orchestration.admin import build_app
from orchestration.admin_access import MAX_BODY_BYTES, token
from orchestration.settings import Settings
from stores.key_store import KeyStore, keys_path

KEY, OTHER = "risk/sync_conflict", "recommendation/films"
VERSIONS = "/models/versions"


class Place:
    """A home with keys, and its admin service."""

    def __init__(self, settings: Settings, client: TestClient) -> None:
        self.home, self.client = settings.home_paths(), client
        self.log = AuditLog(self.home.root / "audit" / "admin.jsonl")

    def key(self, *roles, products=("*",), **more) -> dict[str, str]:
        store = KeyStore(keys_path(self.home))
        made = store.add(
            tenants=["*"], products=products, roles=roles or ("admin",), by="Ada", **more
        )
        return {"authorization": f"Bearer {made.presented}"}

    @property
    def bearer(self) -> dict[str, str]:
        return {"authorization": f"Bearer {token(self.home.root)}"}

    def calls(self) -> list[tuple]:
        bodies = [entry.body for entry in self.log.entries()]
        return [(b["caller"], b["route"], b["product"], b["status"]) for b in bodies]


@pytest.fixture
def settings(tmp_path, monkeypatch) -> Settings:
    monkeypatch.setenv("ASSAY_HOME", str(tmp_path))
    monkeypatch.delenv("ASSAY_KEYS", raising=False)
    return Settings()


@pytest.fixture
def place(settings: Settings) -> Iterator[Place]:
    KeyStore(keys_path(settings.home_paths())).add(
        tenants=["acme"], products=["*"], roles=["predict"], by="Ada"
    )
    with TestClient(build_app(settings)) as client:
        yield Place(settings, client)


def test_the_role_admin_opens_and_others_do_not(settings: Settings):
    with TestClient(build_app(settings)) as client:
        stranger = Place(settings, client)
        assert client.get(VERSIONS, params={"product": KEY}).status_code == 401
        admin, user = stranger.key("admin"), stranger.key("predict", "outcome")
    with TestClient(build_app(settings)) as client:
        found = {
            name: client.get(VERSIONS, params={"product": KEY}, headers=headers).status_code
            for name, headers in {
                "admin": admin, "user": user, "token": stranger.bearer, "none": {},
                "wrong": {"x-api-key": "ak_x"},
            }.items()
        }  # fmt: skip
    assert found == {"admin": 200, "user": 403, "token": 200, "none": 401, "wrong": 401}


def test_a_key_administrates_its_products_only(settings: Settings, tmp_path):
    with TestClient(build_app(settings)) as client:
        headers = Place(settings, client).key("admin", products=[KEY])
    with TestClient(build_app(settings)) as client:
        place = Place(settings, client)
        assert client.get(VERSIONS, params={"product": KEY}, headers=headers).status_code == 200
        assert client.get(VERSIONS, params={"product": OTHER}, headers=headers).status_code == 403
        body = {"product": OTHER, "reason": "x"}
        refused = client.post("/models/rollback", json=body, headers=headers)
        assert (refused.status_code, OTHER in refused.text) == (403, False)
        assert client.get("/alerts", headers=headers).status_code == 403
        # an unknown product is not told from a forbidden one
        unknown = client.get(VERSIONS, params={"product": "no/such"}, headers=headers)
        assert unknown.status_code == 403
        assert [status for *_, status in place.calls()] == [200, 403, 403, 403, 403]


def test_every_call_of_a_known_caller_is_written_down(place: Place):
    named = place.bearer | {"x-request-id": "r7"}
    body = b'{"product": "risk/sync_conflict"}'
    answer = place.client.post("/models/rollback", content=body, headers=named)
    assert (answer.status_code, answer.headers["x-request-id"]) == (409, "r7")
    place.client.get(VERSIONS, params={"product": "no/such"}, headers=place.bearer)
    place.client.post("/models/rollback", content=b"{", headers=place.bearer)
    place.client.get(VERSIONS, params={"product": KEY})  # a stranger leaves no line
    assert place.calls() == [
        ("token", "POST /models/rollback", KEY, 409),
        ("token", f"GET {VERSIONS}", None, 404),
        ("token", "POST /models/rollback", None, 400),
    ]
    first = place.log.entries()[0].body
    assert first["body_digest"] == hashlib.sha256(body).hexdigest()
    assert first["request_id"] == "r7"


def test_what_cannot_be_written_down_is_not_done(place: Place):
    place.client.get(VERSIONS, params={"product": KEY}, headers=place.bearer)
    place.log.path.write_bytes(b"rubbish\n")
    answer = place.client.post("/models/rollback", json={"product": KEY}, headers=place.bearer)
    assert answer.status_code == 503
    assert "Move the file away" in answer.json()["error"]


def test_a_long_body_is_refused(place: Place):
    long = b"x" * (MAX_BODY_BYTES + 1)
    answer = place.client.post("/models/rollback", content=long, headers=place.bearer)
    assert answer.status_code == 413
    assert place.client.post("/models/rollback", content=long).status_code == 401
    assert place.calls() == []


def test_too_many_calls_are_429(settings: Settings):
    with TestClient(build_app(settings)) as client:
        headers = Place(settings, client).key("admin", rate=0.01, burst=2)
    with TestClient(build_app(settings)) as client:
        answers = [client.get(VERSIONS, params={"product": KEY}, headers=headers) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert int(answers[2].headers["retry-after"]) > 60
