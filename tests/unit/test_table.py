"""The routing table between its writer and gateways: whole or not at all, and acknowledged."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway import table as module
from gateway.errors import StartError
from gateway.meters import Meters
from gateway.ports import Call, Reply
from gateway.table import Follower, Places, places
from models.contracts.results import Release
from models.contracts.routing import Flag, Instance, ProductRoutes, RoutingTable
from models.risk.sync_conflict.product import PRODUCT
from stores import files, gateway_store
from stores.gateway_store import (
    TableError,
    acknowledged,
    follow_ledger,
    instances,
    member,
    read_table,
    refreshed,
    table_file,
    with_product,
    write_table,
)
from stores.home import Home
from stores.ledger import Ledger


class Told:
    """A backend that keeps what it was told."""

    def __init__(self) -> None:
        self.generations: list[int] = []

    async def ask(self, call: Call) -> Reply:
        raise NotImplementedError

    def follow(self, table: RoutingTable) -> None:
        self.generations.append(table.generation)

    async def close(self) -> None:
        return


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture(autouse=True)
def _router_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "METERS", Meters("router"))


def follower(home: Home, backend: Told | None = None) -> Follower:
    where = Places(table_file(home), home.gateway / "instances")
    return Follower(where, backend or Told(), "router", "http://127.0.0.1:3100")


def flagged(name: str) -> gateway_store.Change:
    flag = Flag(name=name, scope="*", on=False)
    return lambda table: table.model_copy(update={"flags": (*table.flags, flag)})


def test_every_change_is_a_generation_and_no_change_is_none(home: Home):
    first, second = write_table(home, flagged("cache")), write_table(home, flagged("explain"))
    assert (first.generation, second.generation) == (1, 2)
    assert write_table(home, lambda table: table).generation == 2
    assert [flag.name for flag in read_table(home).flags] == ["cache", "explain"]


def test_a_follower_takes_new_tables_and_tells_the_backend(home: Home):
    told = Told()
    one = follower(home, told)
    assert not one.take()
    write_table(home, flagged("cache"))
    assert one.take()
    assert not one.take()
    write_table(home, flagged("mirror"))
    assert one.take()
    assert (told.generations, one.current.generation) == ([1, 2], 2)


@pytest.mark.parametrize("damage", [b"", b'{"generation": 7, "writ', b"[]"])
def test_half_a_file_changes_nothing_and_is_told(home: Home, damage: bytes):
    told = Told()
    one = follower(home, told)
    write_table(home, flagged("cache"))
    one.take()
    table_file(home).write_bytes(damage)
    assert not one.take()
    assert not one.take()
    assert (told.generations, one.current.generation) == ([1], 1)
    assert "cannot be read" in one.instance().problems[0]
    with pytest.raises(TableError, match="is damaged"):
        write_table(home, flagged("mirror"))


def test_a_crash_in_the_middle_of_a_write_leaves_the_old_table(
    home: Home, monkeypatch: pytest.MonkeyPatch
):
    write_table(home, flagged("cache"))
    one = follower(home)
    one.take()

    def dies(self: Path, target: Path) -> None:
        raise OSError("the power went")

    with monkeypatch.context() as patched:
        patched.setattr(files.Path, "replace", dies)
        with pytest.raises(OSError, match="power"):
            write_table(home, flagged("mirror"))
    assert not one.take()
    assert read_table(home).generation == 1
    assert write_table(home, flagged("mirror")).generation == 2
    assert one.take()


def test_an_older_table_is_not_taken(home: Home):
    one = follower(home)
    old = write_table(home, flagged("cache"))
    write_table(home, flagged("mirror"))
    one.take()
    table_file(home).write_text(old.model_dump_json())
    assert not one.take()
    assert one.current.generation == 2
    assert "no newer than 2" in one.instance().problems[0]


def test_a_lost_table_goes_on_behind_what_gateways_have(home: Home):
    for name in ("cache", "mirror", "explain"):
        write_table(home, flagged(name))
    one = follower(home)
    one.take()
    one._tell(one.instance())
    table_file(home).unlink()
    assert write_table(home, flagged("cache")).generation == 4
    assert one.take()


def test_instances_say_what_they_answered_and_acknowledge(home: Home):
    one = follower(home)
    table = write_table(home, flagged("cache"))
    assert not acknowledged(home, table.generation, 0.0)
    one._tell(one.instance())
    assert not acknowledged(home, table.generation, 0.0)
    one.take()
    one.answered("risk/sync_conflict", "v1", None)
    one.answered("risk/sync_conflict", "v1", "champion")
    one._tell(one.instance())
    assert acknowledged(home, table.generation, 0.0)
    (living,) = instances(home)
    assert living.answered == {"risk/sync_conflict": {"v1": 2}}
    assert living.pid == os.getpid()


def test_a_silent_gateway_is_not_waited_for(home: Home):
    one = follower(home)
    one._tell(one.instance())
    assert len(instances(home)) == 1
    later = datetime.now(UTC) + timedelta(seconds=4)
    assert instances(home, later) == ()


async def _run_for(one: Follower, seconds: float) -> tuple[Instance, ...]:
    task = asyncio.create_task(one.run())
    await asyncio.sleep(seconds)
    seen = instances(Home(one._folder.parents[1]))
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return seen


def test_a_running_follower_says_so_and_leaves_nothing(home: Home, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    write_table(home, flagged("cache"))
    one = follower(home)
    (seen,) = asyncio.run(_run_for(one, 0.2))
    assert (seen.id, seen.generation) == (one.id, 1)
    assert list((home.gateway / "instances").iterdir()) == []


class _Fails(Told):
    """A backend that cannot take its first table."""

    def follow(self, table: RoutingTable) -> None:
        super().follow(table)
        if table.generation == 1:
            raise RuntimeError("planted")


def test_a_table_that_cannot_be_taken_does_not_end_the_following(
    home: Home, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(module, "TELL_SECONDS", 0.05)
    write_table(home, flagged("cache"))
    one = follower(home, _Fails())
    (seen,) = asyncio.run(_run_for(one, 0.3))
    assert (seen.generation, seen.problems) == (0, ("a table was not taken (RuntimeError)",))
    write_table(home, flagged("mirror"))
    assert asyncio.run(_run_for(one, 0.2))[0].generation == 2


def test_a_products_routes_follow_what_runs_and_keep_what_was_set(home: Home):
    pinned = ProductRoutes(
        product=PRODUCT.key, champion=None, previous=None, members={}, pinned=True
    )
    write_table(home, lambda table: with_product(table, pinned))
    running = [member(home, PRODUCT, name, f"http://127.0.0.1/{name}") for name in ("v1", "v2")]
    table = write_table(home, lambda now: refreshed(now, home, PRODUCT, running, "v1"))
    routes = table.products[PRODUCT.key]
    assert (routes.champion, set(routes.members), routes.pinned) == ("v1", {"v1", "v2"}, True)
    stopped = write_table(home, lambda now: refreshed(now, home, PRODUCT, [], None))
    assert stopped.products[PRODUCT.key].champion is None


def test_a_gateway_that_holds_models_gets_those_that_are_packed(home: Home):
    ledger = Ledger(home.ledger(PRODUCT))
    for version in ("v1", "v2"):
        ledger.append("release", Release(
            product=PRODUCT.key, version=version, candidate_id="c", snapshot_id="s",
            evaluation_id="e", trial="t", mlflow_version="1", artifact="a", semver="1.0.0",
        ))  # fmt: skip
    artifact = home.bentos / "models" / PRODUCT.slug / "v2" / "artifact"
    artifact.mkdir(parents=True)
    routes = follow_ledger(home, PRODUCT).products[PRODUCT.key]
    assert (routes.champion, routes.previous, set(routes.members)) == ("v2", None, {"v2"})
    held = routes.members["v2"]
    assert (held.url, held.artifact, held.semver) == (None, str(artifact), "1.0.0")


def test_where_the_files_are(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("ASSAY_TABLE", raising=False)
    monkeypatch.setenv("ASSAY_HOME", "/srv")
    usual = Path("/srv/gateway")
    assert places() == Places(usual / "table.json", usual / "instances")
    monkeypatch.setenv("ASSAY_TABLE", "/etc/assay/table.json")
    assert places() == Places(Path("/etc/assay/table.json"), usual / "instances")
    monkeypatch.delenv("ASSAY_HOME")
    assert places().instances == Path("/etc/assay/instances")
    monkeypatch.delenv("ASSAY_TABLE")
    with pytest.raises(StartError, match="set ASSAY_TABLE"):
        places()
