"""Who is let in, and what is believed of what callers say."""

from __future__ import annotations

import asyncio
import json
import math
import time
from pathlib import Path

import pytest

from gateway import door as doors
from gateway import headers as ours
from gateway.asked import Asked
from gateway.door import Door, Wanted
from gateway.errors import Refused, StartError
from gateway.headers import Admitted
from gateway.keys import KeyRing
from gateway.limits import Limits, from_environment
from gateway.scope import OutOfScope, check_rows, claimed
from models.contracts.api import OutcomeReport
from models.contracts.keys import OPEN, Principal
from stores.key_store import KeyStore, Made

KEY = "risk/sync_conflict"
PREDICT = Wanted(KEY, "predict")
TOKEN = "t" * 43


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "api-keys.json")


def made(store: KeyStore, **changes) -> Made:
    given = {"tenants": ["acme"], "products": [KEY], "roles": ["predict"], "by": "Ada"}
    return store.add(**(given | changes))


def admit(
    door: Door, headers: dict[bytes, bytes] | None = None, wanted: Wanted = PREDICT
) -> Admitted:
    return asyncio.run(door.admit(headers or {}, wanted))


def refused(
    door: Door, headers: dict[bytes, bytes] | None = None, wanted: Wanted = PREDICT
) -> Refused:
    with pytest.raises(Refused) as error:
        admit(door, headers, wanted)
    return error.value


def bearer(key: Made) -> dict[bytes, bytes]:
    return {b"authorization": f"Bearer {key.presented}".encode()}


def test_without_keys_everybody_is_let_in_and_believed(tmp_path: Path):
    for door in (Door(), Door(KeyRing(tmp_path / "no-such-file"))):
        assert admit(door) == (OPEN, True)
        assert not door.closed


def test_either_header_brings_a_key(store: KeyStore):
    key = made(store)
    door = Door(KeyRing(store.path))
    presented = key.presented.encode()
    for headers in (
        bearer(key),
        {b"authorization": b"bearer  " + presented},
        {b"x-api-key": presented},
        {b"authorization": b"Basic eDp5", b"x-api-key": presented},
    ):
        admitted = admit(door, headers)
        assert (admitted.principal.id, admitted.trusted) == (key.key.id, False)


def test_no_key_and_a_wrong_key_are_401(store: KeyStore):
    key = made(store)
    door = Door(KeyRing(store.path))
    bare = key.presented.encode()
    for headers in ({}, {b"authorization": b""}, {b"x-api-key": b"ak_"}, {b"authorization": bare},
                    {b"authorization": b"Bearer \xff"}):  # fmt: skip
        refusal = refused(door, headers)
        assert refusal.status == 401
        assert (b"www-authenticate", b"Bearer") in refusal.headers
    store.revoke(key.key.id)
    assert "revoked" in str(refused(Door(KeyRing(store.path)), bearer(key)))


def test_outside_its_products_and_roles_a_key_is_403_and_told_which(store: KeyStore):
    key = made(store)
    door = Door(KeyRing(store.path))
    for wanted, field in (
        (Wanted("other/product", "predict"), "product"),
        (Wanted(KEY, "outcome"), "role"),
        (Wanted(None, "admin"), "role"),
    ):
        refusal = refused(door, bearer(key), wanted)
        assert (refusal.status, str(refusal).partition(":")[0]) == (403, field)
    assert admit(door, bearer(key), Wanted()).principal.id == key.key.id


def test_probes_need_no_key_and_get_no_rights(store: KeyStore):
    made(store)
    door = Door(KeyRing(store.path))
    for path in ("/livez", "/readyz", "/metrics"):
        admitted = admit(door, {}, doors.wanted_by_path("GET", path))
        assert admitted == (ours.NOBODY, False)
    assert refused(door, {}, doors.wanted_by_path("GET", "/health")).status == 401
    assert doors.wanted_by_path("POST", "/outcome") == Wanted(None, "outcome")
    # a path that ends like a probe is none
    assert not doors.wanted_by_path("GET", "/x/metrics").public


def test_a_key_that_asks_too_fast_is_429_and_told_when_to_come_again(store: KeyStore):
    key = made(store, rate=0.1, burst=3)
    door = Door(KeyRing(store.path))
    caller, *_ = [admit(door, bearer(key)).principal for _ in range(3)]
    refusal = refused(door, bearer(key))
    assert (refusal.status, dict(refusal.headers)[b"retry-after"]) == (429, b"10")
    with pytest.raises(Refused, match=r"0\.1 rows a second"):
        asyncio.run(door.charge(caller, 2))
    asyncio.run(door.charge(OPEN, 1_000_000))  # no key, no account


def test_behind_a_gateway_only_its_token_opens(store: KeyStore):
    door = Door(token=TOKEN)
    assert door.closed
    assert refused(door).status == 401
    assert refused(door, {b"x-assay-service-token": b"t" * 42}).status == 401
    assert refused(door, bearer(made(store))).status == 401
    assert admit(door, {}, Wanted(public=True)).trusted is False
    assert admit(door, {b"x-assay-service-token": TOKEN.encode()}) == (
        OPEN._replace(id="service"),
        True,
    )


@pytest.mark.parametrize("tenants", [None, {"acme"}, {'a"b', "ü, x", "c\r\nd"}, set()])
def test_what_the_gateway_says_of_a_caller_arrives(tenants):
    scope = None if tenants is None else frozenset(tenants)
    caller = Principal("0123456789ab", scope, frozenset({KEY}), frozenset({"predict"}))
    asked = Asked("r7", 0, "traffic", caller, time.monotonic() + 2)
    headers = dict(ours.carried(asked, TOKEN, "shadow"))
    assert all(b"\n" not in value and value.isascii() for value in headers.values())
    admitted = admit(Door(token=TOKEN), headers)
    assert (admitted.principal.id, admitted.principal.tenants) == ("0123456789ab", scope)
    assert ours.purpose_of(headers, admitted) == "shadow"
    assert headers[b"x-request-id"] == b"r7"
    assert 1900 <= int(headers[b"x-assay-deadline-ms"]) <= 2000
    assert ours.carried(asked._replace(deadline=math.inf, principal=OPEN), None) == [
        (b"x-request-id", b"r7"), (b"x-assay-caller", b"open")]  # fmt: skip


@pytest.mark.parametrize("said", [b"acme", b'"acme"', b"[1]", b"{}", b"\xff"])
def test_a_gateway_of_another_language_is_refused_and_not_taken_for_all_tenants(said: bytes):
    headers = {b"x-assay-service-token": TOKEN.encode(), b"x-assay-tenants": said}
    assert refused(Door(token=TOKEN), headers).status == 400


def test_strangers_cannot_say_what_a_gateway_says(store: KeyStore):
    key = made(store)
    sent = [(b"x-assay-tenants", b'["globex"]'), (b"x-assay-purpose", b"golden"),
            (b"x-assay-release", b"v1"), (b"x-assay-key", b"k"), (b"x-assay-tenant", b"acme"),
            (b"x-assay-service-token", b"?"), (b"x-assay-deadline-ms", b"1"), (b"x-else", b"1"),
            (b"x-assay-tenants", b'["initech"]')]  # fmt: skip
    admitted = admit(Door(KeyRing(store.path)), dict(sent) | bearer(key))
    assert admitted.principal.tenants == {"acme"}
    assert ours.purpose_of(dict(sent), admitted) == "traffic"
    assert [name for name, _ in ours.within(sent, admitted)] == [
        b"x-assay-key", b"x-assay-tenant", b"x-else"]  # fmt: skip
    admin = admitted._replace(principal=admitted.principal._replace(roles=frozenset({"admin"})))
    assert (b"x-assay-release", b"v1") in ours.within(sent, admin)
    believed = [name for name, _ in ours.within(sent, Admitted(OPEN, True))]
    assert b"x-assay-tenants" in believed
    assert b"x-assay-service-token" not in believed


def test_the_world_is_not_served_without_keys(store: KeyStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("ASSAY_OPEN", raising=False)
    doors.require_closed(Door(), "127.0.0.1")
    with pytest.raises(StartError, match="assay keys add"):
        doors.require_closed(Door(), "0.0.0.0")
    made(store)
    doors.require_closed(Door(KeyRing(store.path)), "0.0.0.0")
    monkeypatch.setenv("ASSAY_OPEN", "1")
    doors.require_closed(Door(), "0.0.0.0")


def test_the_environment_sets_the_door_up(
    store: KeyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("ASSAY_KEYS", "ASSAY_SERVICE_TOKEN_FILE", "ASSAY_REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    assert not doors.for_gateway().closed
    made(store)
    monkeypatch.setenv("ASSAY_KEYS", str(store.path))
    assert doors.for_gateway().closed
    assert not doors.for_service().closed  # it inherits the variable, and is not meant
    file = tmp_path / "service-token"
    monkeypatch.setenv("ASSAY_SERVICE_TOKEN_FILE", str(file))
    for content in (None, "", "short"):
        if content is not None:
            file.write_text(content)
        with pytest.raises(StartError, match="no service token"):
            doors.for_service()
    file.write_text(f"{TOKEN}\n")
    for door in (doors.for_service(), doors.for_gateway()):
        assert admit(door, {b"x-assay-service-token": TOKEN.encode()}).trusted
        assert refused(door).status == 401


@pytest.mark.parametrize("wrong", ["x", "0", "-1", "inf", "nan"])
def test_a_limit_that_is_none_stops_the_start(wrong: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ASSAY_MAX_BODY_BYTES", "7")
    assert from_environment() == Limits(body_bytes=7)
    monkeypatch.setenv("ASSAY_HEADER_SECONDS", wrong)
    with pytest.raises(StartError, match="ASSAY_HEADER_SECONDS"):
        from_environment()


def report(**fields) -> OutcomeReport:
    return OutcomeReport.model_validate_json(json.dumps({"label": 1, **fields}))


PREDICTION = "00000000-0000-0000-0000-000000000001"


def test_reports_get_the_tenant_that_the_key_speaks_for():
    one = OPEN._replace(tenants=frozenset({"acme"}))
    sent = [
        report(event_id="e"),
        report(prediction_id=PREDICTION),
        report(event_id="e", tenant="acme"),
    ]
    assert [r.tenant for r in claimed(one, sent)] == ["acme"] * 3
    assert claimed(OPEN, sent) == sent  # nobody is asked for a key: as it was sent


def test_a_key_of_several_tenants_says_which_event_it_means():
    two = OPEN._replace(tenants=frozenset({"acme", "globex"}))
    assert [r.tenant for r in claimed(two, [report(prediction_id=PREDICTION)])] == [None]
    with pytest.raises(OutOfScope, match="needed beside event_id") as error:
        claimed(two, [report(event_id="e", tenant="acme"), report(event_id="e")])
    assert (error.value.status, error.value.detail[0]["loc"]) == (400, ["outcomes", 1, "tenant"])


def test_nobody_speaks_of_another_s_rows_and_none_is_named():
    for caller in (
        OPEN._replace(tenants=frozenset({"acme"})),
        OPEN._replace(tenants=frozenset({"acme", "b"})),
    ):
        with pytest.raises(OutOfScope) as error:
            claimed(
                caller, [report(event_id="e", tenant="acme"), report(event_id="e", tenant="globex")]
            )
        assert (error.value.status, error.value.detail[0]["loc"][1]) == (403, 1)
        rows = [report(event_id="e", tenant="globex")] * 30
        with pytest.raises(OutOfScope) as error:
            check_rows(caller, rows)
        assert len(error.value.detail) == 10
        assert "globex" not in str(error.value.detail)
    check_rows(OPEN, [report(event_id="e", tenant="globex")])
