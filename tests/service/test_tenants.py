"""No route tells one tenant anything of another. Routes and bodies come from the document, so a
new route is tried without a line here.

Two things are shown. What a tenant is answered does not depend on what another did before: bodies,
statuses, headers, the cache's included, are the same in a world where nobody else was. And whoever
names another's tenant learns nothing, not even whether there is one of that name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.service.from_document import TENANT_HEADER, Maker, Operation, operations
from tests.service.front import VERSION, Answer, Front, Sealed, front, seal_all
from tests.service.site import TENANTS

ACME, GLOBEX = TENANTS
NOBODY = "nosuchtenant"
MARK = "secretofacme"
#: The same request of both: what both send must not be known to come from the other.
SHARED = "askedbyboth"
#: What differs between two answers to the same request: ids that are made for each.
MADE = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
#: Totals over all tenants, by product and status; no tenant is a label.
FIGURES = "GET /metrics"
#: Answered by the admin service, which is not there in these tests.
ADMIN = frozenset({502, 503})


class Asked(NamedTuple):
    """An operation, the request that was sent, and what came back."""

    operation: Operation
    body: Any
    answer: Answer


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Sealed:
    return seal_all(tmp_path_factory.mktemp("sealed"))


@pytest.fixture(scope="module")
def world(sealed: Sealed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """Where acme has asked for everything."""
    with front(sealed, tmp_path_factory.mktemp("world")) as made:
        acme_asks(made)
        yield made


def acme_asks(made: Front) -> None:
    """With marks of its own, and what both ask."""
    key = made.key([ACME])
    for mark in (MARK, SHARED):
        everything(made, key, ACME, mark)
        everything(made, key, ACME, mark, "?explain=true")


def document(made: Front, key: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = made.ask("GET", "/docs.json", key=key).json
    return found


def everything(made: Front, key: str, tenant: str, mark: str, more: str = "") -> list[Asked]:
    """Ask for every operation in the name of a tenant, with the first body that is taken."""
    told = document(made, key)
    maker, found = Maker(told, tenant, mark), []
    for one in operations(told, {"version": VERSION}):
        if one.name == "GET /docs.json":
            continue
        for body in maker.bodies(one.schema) if one.schema else [None]:
            headers = {TENANT_HEADER: tenant, "x-request-id": "r-1"}
            answer = made.ask(one.method, one.path + more, body, key, headers)
            if answer.status not in (400, 422):
                break
        found.append(Asked(one, body, answer))
    return found


def comparable(asked: Asked) -> tuple[int, dict[str, str], bytes]:
    return asked.answer.status, asked.answer.headers, MADE.sub(b"id", asked.answer.body)


def told_of_acme(answer: Answer, made: Front) -> list[str]:
    """What an answer says that only acme knows."""
    whole = answer.body.decode() + json.dumps(answer.headers)
    secrets = [MARK, ACME, *made.ids(ACME)]
    return [secret for secret in secrets if secret in whole]


def test_every_route_that_takes_a_body_was_really_answered(world: Front):
    """Else the tests below would compare refusals."""
    for one in everything(world, world.key([GLOBEX]), GLOBEX, SHARED):
        status = one.answer.status
        if one.operation.schema is not None and status not in ADMIN | {403}:
            assert status in (200, 202), (one.operation.name, one.body, one.answer.body)


def test_what_a_tenant_is_answered_does_not_depend_on_another(sealed: Sealed, tmp_path: Path):
    said = []
    for others in (acme_asks, lambda _: None):
        with front(sealed, tmp_path / str(len(said))) as made:
            others(made)
            key = made.key([GLOBEX])
            said.append(
                [one for more in ("", "?explain=true")
                 for one in everything(made, key, GLOBEX, SHARED, more)]
            )  # fmt: skip
            secrets = [told_of_acme(one.answer, made) for one in said[-1]]
            assert not any(secrets), secrets
    caches = [one.answer.headers.get("x-assay-cache") for one in said[0]]
    assert {"miss", "hit"} <= set(caches), "nothing was kept, so nothing was compared"
    for after, before in zip(*said, strict=True):
        assert after.operation == before.operation
        if after.operation.name != FIGURES:
            assert comparable(after) == comparable(before), after.operation.name


def test_who_names_anothers_tenant_learns_nothing(world: Front):
    """In bodies and in the header; acme is a tenant of the models and has asked, the other not."""
    key = world.key([GLOBEX])
    of_acme, of_nobody = (everything(world, key, tenant, MARK) for tenant in (ACME, NOBODY))
    named = 0
    for one, other in zip(of_acme, of_nobody, strict=True):
        if one.operation.name == FIGURES:
            continue
        assert comparable(one) == comparable(other), one.operation.name
        assert told_of_acme(one.answer, world) == [], one.operation.name
        if one.operation.schema is not None and ACME in json.dumps(one.body):
            named += 1
            assert one.answer.status == 403, (one.operation.name, one.answer)
    assert named >= 6, "predict and outcome of every product"


def test_headers_of_ours_open_nothing(world: Front):
    """Who is not the gateway is not believed, whatever it says beside its key."""
    key = world.key([GLOBEX])
    told = document(world, key)
    forged = {
        "x-assay-tenants": json.dumps([ACME]), "x-assay-caller": "service",
        "x-assay-purpose": "golden", "x-assay-release": VERSION, TENANT_HEADER: ACME,
    }  # fmt: skip
    for one in operations(told, {"version": VERSION}):
        for body in Maker(told, ACME, MARK).bodies(one.schema) if one.schema else ():
            answer = world.ask(one.method, one.path, body, key, forged)
            assert told_of_acme(answer, world) == [], one.name
            assert ACME not in json.dumps(body) or answer.status in (400, 403, 422), one.name


def test_a_key_of_one_product_opens_no_other_and_sees_no_other(world: Front):
    key = world.key([GLOBEX], products=["recommendation/films"])
    for one in operations(document(world, world.key([GLOBEX])), {"version": VERSION}):
        if not one.path.startswith("/v1/") or "films" in one.path or one.path == "/v1/products":
            continue
        answer = world.ask(one.method, one.path, {} if one.schema else None, key)
        assert answer.status == 403, (one.name, answer)
    listed = world.ask("GET", "/v1/products", key=key).json["products"]
    assert [one["product"] for one in listed] == ["recommendation/films"]
    assert list(world.ask("GET", "/health", key=key).json["models"]) == ["recommendation/films"]


def test_without_a_key_every_route_says_the_same(world: Front):
    public = {"/livez", "/readyz", "/metrics"}
    for one in operations(document(world, world.key([GLOBEX])), {"version": VERSION}):
        body = {} if one.schema else None
        answer = world.ask(one.method, one.path, body)
        assert answer.status == (200 if one.path in public else 401), (one.name, answer)
        wrong = world.ask(one.method, one.path, body, f"ak_{'0' * 12}_{'A' * 43}")
        assert wrong.status == (200 if one.path in public else 401)


def test_one_tenants_haste_is_not_anothers_wait(world: Front):
    fast, slow = world.key([ACME], rate=0.001, burst=2), world.key([GLOBEX], rate=0.001, burst=2)
    assert [world.ask("GET", "/health", key=fast).status for _ in range(4)] == [200, 200, 429, 429]
    assert world.ask("GET", "/health", key=slow).status == 200


def test_an_outcome_is_kept_with_the_tenant_that_reported_it(world: Front):
    """Both use the same names for their events: an outcome of one is no outcome of the other."""
    everything(world, world.key([GLOBEX]), GLOBEX, SHARED)
    named = [one for one in world.logged("outcome") if one["event_id"]]
    assert {one["tenant"] for one in named} == {ACME, GLOBEX}
    assert not [one for one in named if MARK in one["event_id"] and one["tenant"] != ACME]
