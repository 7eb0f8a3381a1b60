"""What a gateway writes down of a rollout's requests, as its controller reads it."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway import exposure as module
from gateway.asked import CHAMPION, Asked
from gateway.assign import Assigned
from gateway.exposure import Exposures
from gateway.ladder import Step, Told
from gateway.mirror import Done
from gateway.ports import FAULT_HEADER, Call, Reply
from gateway.spool import SpoolError
from models.contracts.keys import OPEN
from models.contracts.rollout import Exposure
from models.contracts.routing import Member, Placement, ProductRoutes, RoutingTable
from models.risk.sync_conflict.product import PRODUCT
from stores import rollout_journal
from stores.home import Home

ID = "r20260101_000000"
BODY = json.dumps({"rows": [{"tenant": "acme", "event_id": "e1"}, {"tenant": "globex"}]}).encode()
GONE = Reply(503, ((FAULT_HEADER, b"gone"),), b"{}")
DRAWN = Assigned("v1", "champion", None, True, "0" * 16)
COPIED = Assigned("v2", "challenger", "v1", True, "f" * 16)


class Copies:
    """A mirror that keeps what it was asked for."""

    def __init__(self) -> None:
        self.done: list[Done] = []
        self.room = True

    def copy(self, call: Call, version: str, done: Done) -> bool:
        self.done.append(done)
        return self.room


def routes(weight: float = 0.25) -> ProductRoutes:
    members = {
        name: Member(version=name, semver="", url="http://x", artifact=None)
        for name in ("v1", "v2")
    }
    placement = Placement(rollout_id=ID, kind="canary", challenger="v2", weight=weight,
                          mirror=1.0, sticky="unit")  # fmt: skip
    return ProductRoutes(product=PRODUCT.key, champion="v1", previous=None, members=members,
                         placement=placement)  # fmt: skip


def table(of: ProductRoutes | None = None) -> RoutingTable:
    products = {PRODUCT.key: of or routes()}
    return RoutingTable(generation=1, written_at="2026-01-01T00:00:00Z", products=products)


def call(body: bytes = BODY, purpose: str = "traffic") -> Call:
    asked = Asked("q1", time.monotonic_ns(), purpose, deadline=math.inf)
    return Call(PRODUCT.key, "v1", "predict", b"", body, asked)


def said(version: str, *scores: float) -> Reply:
    rows = [
        {"prediction_id": f"{version}-{place}", "model_version": version, "probability": score,
         "risk_level": "high" if score >= 0.5 else "low"}
        for place, score in enumerate(scores)
    ]  # fmt: skip
    return Reply(200, (), json.dumps({"predictions": rows}).encode())


def told(reply: Reply, version: str, rung: str = CHAMPION) -> Told:
    return Told(reply, Step(rung, version), ())


def written(
    tmp_path: Path, use: Callable[[Exposures, Copies], None]
) -> list[tuple[str, dict[str, object]]]:
    """The lines that ``use`` leaves, by the reader of the controller."""
    copies = Copies()
    exposures = Exposures(tmp_path / "rollouts", copies)
    exposures.follow(table())
    use(exposures, copies)
    exposures.close()
    reading = rollout_journal.read(Home(tmp_path), PRODUCT, ID)
    assert reading.damaged == 0
    return [(line.kind, line.body) for _, line in reading.lines]


def one(tmp_path: Path, use: Callable[[Exposures, Copies], None]) -> Exposure:
    ((kind, body),) = written(tmp_path, use)
    assert kind == "exposure"
    return Exposure.model_validate(body)


def begun(exposures: Exposures, assigned: Assigned, **changed: str):
    exposed = exposures.begin(PRODUCT, routes(), assigned, call(**changed))
    assert exposed is not None
    return exposed


def test_an_answer_without_a_copy_is_one_line(tmp_path: Path):
    def use(exposures: Exposures, _: Copies) -> None:
        begun(exposures, DRAWN).answered(told(said("v1", 0.2, 0.7), "v1"))

    line = one(tmp_path, use)
    assert (line.rollout_id, line.request_id, line.key) == (ID, "q1", "0" * 16)
    assert (line.assigned, line.drawn, line.served, line.weight) == (
        "champion", True, "champion", 0.25
    )  # fmt: skip
    assert (line.tenants, line.events) == (("acme", "globex"), ("e1", None))
    assert line.challenger is None
    assert line.champion is not None
    assert line.champion.rows == (("v1-0", 0.2, False), ("v1-1", 0.7, True))


def test_a_copy_is_waited_for_by_the_line_and_not_by_the_client(tmp_path: Path):
    def use(exposures: Exposures, copies: Copies) -> None:
        exposed = begun(exposures, COPIED)
        exposed.answered(told(said("v2", 0.2, 0.7), "v2"))
        copies.done[0](said("v1", 0.6, 0.7), 12.5)

    line = one(tmp_path, use)
    assert (line.assigned, line.served) == ("challenger", "challenger")
    assert line.champion is not None
    assert line.challenger is not None
    assert (line.champion.ms, line.champion.rows[0]) == (12.5, ("v1-0", 0.6, True))
    assert line.challenger.rows[0] == ("v2-0", 0.2, False)


@pytest.mark.parametrize("copy", [None, Reply(500, ((FAULT_HEADER, b"model"),), b"{}")])
def test_a_copy_may_come_first_and_may_fail(tmp_path: Path, copy: Reply | None):
    def use(exposures: Exposures, copies: Copies) -> None:
        exposed = begun(exposures, COPIED)
        copies.done[0](copy, 5000.0)
        exposed.answered(told(said("v2", 0.2, 0.7), "v2"))

    line = one(tmp_path, use)
    assert line.champion is not None
    assert (line.champion.status, line.champion.rows) == (500 if copy else 0, ())


def test_a_dropped_or_shed_copy_is_none(tmp_path: Path):
    def use(exposures: Exposures, copies: Copies) -> None:
        copies.room = False
        begun(exposures, COPIED).answered(told(said("v2", 0.2, 0.7), "v2"))
        copies.room = True
        exposed = begun(exposures, COPIED)
        copies.done[1](Reply(503, ((b"retry-after", b"1"),), b"{}"), 1.0)
        exposed.answered(told(said("v2", 0.2, 0.7), "v2"))

    lines = [Exposure.model_validate(body) for _, body in written(tmp_path, use)]
    assert [line.champion for line in lines] == [None, None]


def test_who_failed_has_no_answer_and_who_answered_instead_has(tmp_path: Path):
    def use(exposures: Exposures, copies: Copies) -> None:
        exposed = begun(exposures, COPIED)
        exposed.answered(told(said("v1", 0.6, 0.7), "v1", "previous"))
        copies.done[0](said("v1", 0.1, 0.1), 3.0)

    line = one(tmp_path, use)
    assert (line.assigned, line.served) == ("challenger", "champion")
    assert line.challenger is not None
    assert line.champion is not None
    assert (line.challenger.status, line.champion.rows[0][1]) == (0, 0.6)


def test_what_neither_answered_is_served_by_nobody(tmp_path: Path):
    def use(exposures: Exposures, _: Copies) -> None:
        begun(exposures, DRAWN).answered(told(said("rule", 0.1, 0.1), "rule", "rule"))
        begun(exposures, DRAWN).answered(told(said("v1", 0.1, 0.1), "v1", "baseline"))
        begun(exposures, DRAWN).answered(told(GONE, "v1"))

    lines = [Exposure.model_validate(body) for _, body in written(tmp_path, use)]
    assert [line.served for line in lines] == [None, None, None]
    assert [line.champion.status for line in lines if line.champion] == [0, 0, 503]


@pytest.mark.parametrize("reply", [said("v9", 0.1, 0.2), said("v1", 0.1), Reply(200, (), b"no")])
def test_another_releases_or_an_unreadable_answer_has_no_rows(tmp_path: Path, reply: Reply):
    def use(exposures: Exposures, _: Copies) -> None:
        begun(exposures, DRAWN).answered(told(reply, "v1"))

    line = one(tmp_path, use)
    assert line.champion is not None
    assert line.champion.rows == ()


def test_only_traffic_of_a_running_rollout_is_seen(tmp_path: Path):
    def use(exposures: Exposures, _: Copies) -> None:
        alone = routes().model_copy(update={"placement": None})
        assert exposures.begin(PRODUCT, alone, DRAWN, call()) is None
        assert exposures.begin(PRODUCT, routes(), DRAWN, call(purpose="golden")) is None
        third = Assigned("v3", None, None, False, "")
        assert exposures.begin(PRODUCT, routes(), third, call()) is None

    assert written(tmp_path, use) == []


def test_a_body_that_is_none_is_written_without_rows(tmp_path: Path):
    def use(exposures: Exposures, _: Copies) -> None:
        begun(exposures, DRAWN, body=b"[1").answered(told(Reply(400, (), b"{}"), "v1"))

    line = one(tmp_path, use)
    assert (line.tenants, line.served) == ((), "champion")


def test_outcomes_are_written_beside(tmp_path: Path):
    body = b'{"outcomes": [{"event_id": "e1", "label": 1, "tenant": "acme"}]}'

    def use(exposures: Exposures, _: Copies) -> None:
        exposures.outcomes(PRODUCT, OPEN, body)
        exposures.outcomes(PRODUCT, OPEN, b"{}")

    ((kind, line),) = written(tmp_path, use)
    assert (kind, line["event_id"], line["label"], line["tenant"]) == ("outcome", "e1", 1, "acme")


def test_a_full_journal_stops_the_copies_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def use(exposures: Exposures, copies: Copies) -> None:
        def full(*_: object) -> None:
            raise SpoolError("the prediction log is full")

        monkeypatch.setattr(module.Spool, "append", full)
        exposed = begun(exposures, DRAWN)
        exposed.answered(told(said("v1", 0.1, 0.1), "v1"))
        assert exposures.begin(PRODUCT, routes(), COPIED, call()) is None
        assert copies.done == []
        assert exposures.problems() == [f"the journal of {ID} is full"]

    assert written(tmp_path, use) == []


def test_a_journal_that_cannot_be_made_answers_on(tmp_path: Path):
    (tmp_path / "rollouts").write_text("a file where the folder should be")
    exposures = Exposures(tmp_path / "rollouts", Copies())
    assert exposures.begin(PRODUCT, routes(), DRAWN, call()) is None
    assert exposures.problems() == [f"the journal of {ID} cannot be written"]


def test_a_journal_is_finished_when_its_rollout_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "COPY_SECONDS", -1.0)

    async def within() -> None:
        exposures = Exposures(tmp_path / "rollouts", Copies())
        exposures.follow(table())
        begun(exposures, DRAWN).answered(told(said("v1", 0.1, 0.1), "v1"))
        ended = routes().model_copy(update={"placement": None})
        exposures.follow(table(ended))
        async with asyncio.timeout(5):
            while not rollout_journal.read(Home(tmp_path), PRODUCT, ID).lines:
                await asyncio.sleep(0.01)

    asyncio.run(within())
