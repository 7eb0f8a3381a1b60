"""The guard with a door: who is refused before a byte of the body is read, and what goes inside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.asked import ASKED, Asked
from gateway.door import Door, Wanted
from gateway.keys import KeyRing
from gateway.limits import Limits
from gateway.scope import OutOfScope, check_rows
from models.contracts.api import request_model, to_rows
from models.contracts.keys import OPEN
from models.risk.sync_conflict.product import PRODUCT as CONFLICTS
from stores.key_store import KeyStore
from tests.service.site import draw
from tests.service.test_guard import JSON, App, Told, ask, header, part

PRODUCT = "risk/sync_conflict"


class Inside:
    """An application that notes what reaches it."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.headers: list[dict[bytes, bytes]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.append(ASKED.get())
        self.headers.append(dict(scope["headers"]))
        await App()(scope, receive, send)


class Site:
    """Keys and a guard before an application."""

    def __init__(self, folder: Path) -> None:
        self.store = KeyStore(folder / "api-keys.json")
        self.inside = Inside()
        self.key = self.add()

    def add(self, **changes: Any) -> list[tuple[bytes, bytes]]:
        given = {"tenants": ["acme"], "products": [PRODUCT], "roles": ["predict"], "by": "Ada"}
        presented = self.store.add(**(given | changes)).presented
        return [*JSON, (b"authorization", f"Bearer {presented}".encode())]

    def post(self, headers: Any, body: bytes = b"{}", **options: Any) -> Any:
        options.setdefault("door", Door(KeyRing(self.store.path)))
        return ask(self.inside, [part(body)], headers, wanted=wanted, **options)


def wanted(_: str, path: str) -> Wanted:
    product = PRODUCT if path != "/other" else "other/product"
    return Wanted(product, "outcome" if path == "/outcome" else "predict")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_the_caller_goes_inside(site: Site):
    assert site.post(site.key)[0]["status"] == 200
    (asked,) = site.inside.asked
    assert (asked.principal.tenants, asked.principal.roles) == ({"acme"}, {"predict"})


def test_strangers_are_refused_before_their_body_is_read_and_it_is_told(site: Site):
    told = Told()
    long = Limits(body_bytes=1)
    for headers, status in ((JSON, 401), (site.add(roles=["outcome"]), 403)):
        sent = site.post(headers, b"x" * 100, limits=long, ended=told)
        assert sent[0]["status"] == status
        assert list(json.loads(sent[1]["body"])) == ["error"]
    assert site.post(site.key, path="/other")[0]["status"] == 403
    assert site.post(site.key, path="/outcome")[0]["status"] == 403
    assert header(site.post(JSON), b"www-authenticate") == b"Bearer"
    assert [status for _, _, status in told.of] == [401, 403]
    assert site.inside.asked == []


def test_too_fast_is_429_and_says_when(site: Site):
    key, door = site.add(rate=0.5, burst=1), Door(KeyRing(site.store.path))
    assert site.post(key, door=door)[0]["status"] == 200
    sent = site.post(key, door=door)
    assert (sent[0]["status"], header(sent, b"retry-after")) == (429, b"2")


def test_nobody_with_a_key_says_what_only_the_gateway_may(site: Site):
    said = {
        b"x-assay-purpose": b"golden", b"x-assay-tenants": b'["globex"]',
        b"x-assay-caller": b"root", b"x-assay-key": b"k",
    }  # fmt: skip
    site.post([*site.key, *said.items()])
    (asked,), (headers,) = site.inside.asked, site.inside.headers
    assert (asked.purpose, asked.principal.tenants) == ("traffic", {"acme"})
    assert [name for name in headers if name.startswith(b"x-assay-")] == [b"x-assay-key"]


def test_the_gateway_is_believed(site: Site):
    token = "t" * 43
    said = [*JSON, (b"x-assay-service-token", token.encode()), (b"x-assay-purpose", b"shadow"),
            (b"x-assay-tenants", b'["globex"]'), (b"x-assay-caller", b"0123456789ab")]  # fmt: skip
    assert site.post(said, door=Door(token=token))[0]["status"] == 200
    (asked,), (headers,) = site.inside.asked, site.inside.headers
    assert (asked.purpose, asked.principal.id) == ("shadow", "0123456789ab")
    assert asked.principal.tenants == {"globex"}
    assert b"x-assay-service-token" not in headers
    assert site.post(site.key, door=Door(token=token))[0]["status"] == 401


def test_a_duplicate_key_smuggles_no_tenant():
    """Whatever another parser sees: the one that counts is the typed row's."""
    (row,) = to_rows(CONFLICTS, draw(CONFLICTS, 1, 1), ["globex"])
    text = json.dumps({"rows": [row]})
    for body in (text.replace('{"rows": [{', '{"rows": [{"tenant": "acme", '), text):
        rows = request_model(CONFLICTS).model_validate_json(body).rows
        with pytest.raises(OutOfScope):
            check_rows(OPEN._replace(tenants=frozenset({"acme"})), rows)
    twice = text[:-1] + ', "rows": []}'
    with pytest.raises(ValidationError):
        request_model(CONFLICTS).model_validate_json(twice)
