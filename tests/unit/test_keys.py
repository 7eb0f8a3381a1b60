"""Keys from their making to their end: the file, the ring that follows it, the command line."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from gateway.errors import StartError
from gateway.keys import EVERY_SECONDS, KeyRing, Unknown
from models.contracts.keys import OPEN, ApiKey, Principal, principal
from orchestration.cli import app
from orchestration.cli_keys import out
from stores.home import Home
from stores.key_store import KeyStore, KeyStoreError, service_token

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    """Moves when told."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)

    def pass_by(self, seconds: float) -> None:
        self.seconds += seconds


class Place:
    """A key file, who writes it and who reads it."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.store = KeyStore(folder / "keys" / "api-keys.json", self.clock.now)

    def ring(self) -> KeyRing:
        return KeyRing(self.store.path, self.clock.now, self.clock)

    def add(self, **changes):
        given = {"tenants": ["acme"], "products": ["*"], "roles": ["predict"], "by": "Ada"}
        return self.store.add(**(given | changes))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def reason(ring: KeyRing, presented: str) -> str:
    with pytest.raises(Unknown) as refused:
        ring.find(presented)
    return refused.value.reason


def test_a_new_key_opens_and_its_secret_is_kept_nowhere(place: Place):
    made = place.add(rate=5.0, burst=7)
    known = place.ring().find(made.presented)
    assert known.caller == Principal(made.key.id, frozenset({"acme"}), None, frozenset({"predict"}))
    assert (known.key.rate, known.key.burst) == (5.0, 7)
    assert re.fullmatch(r"ak_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", made.presented)
    secret = made.presented[16:]
    assert secret not in place.store.path.read_text()
    assert place.store.path.stat().st_mode & 0o077 == 0


def test_what_is_not_the_key_opens_nothing(place: Place):
    made, other = place.add(), place.add()
    ring = place.ring()
    swapped = made.presented[:16] + other.presented[16:]
    by_digest = f"ak_{made.key.id}_{made.key.digest[:43]}"
    for wrong in ("", "x", made.presented[:-1], made.presented + "A", swapped, by_digest,
                  "ak_" + "0" * 56, made.key.digest, "ü" * 59):  # fmt: skip
        assert reason(ring, wrong) == "unknown"
        assert ring.principal(wrong) is None


def test_a_running_process_learns_of_new_and_revoked_keys(place: Place):
    ring = place.ring()
    assert not ring.asked_for  # nobody made a key yet
    made = place.add()
    place.clock.pass_by(EVERY_SECONDS)
    assert ring.asked_for
    assert ring.principal(made.presented)
    place.store.revoke(made.key.id)
    place.clock.pass_by(EVERY_SECONDS)
    assert reason(ring, made.presented) == "revoked"
    assert ring.asked_for  # no key is left: the door stays shut


def test_a_key_expires_at_its_time(place: Place):
    made = place.add(days=1)
    ring = place.ring()
    place.clock.pass_by(86_399)
    assert ring.principal(made.presented)
    place.clock.pass_by(1)
    assert reason(ring, made.presented) == "expired"


@pytest.mark.parametrize("broken", ["", "{", '{"keys": [{"secret": "s3"}]}', None])
def test_a_file_that_breaks_or_vanishes_opens_no_door(place: Place, broken: str | None, caplog):
    made = place.add()
    ring = place.ring()
    place.store.path.unlink()
    if broken is not None:
        place.store.path.write_text(broken)
    for _ in range(3):
        place.clock.pass_by(EVERY_SECONDS)
        assert ring.asked_for
        assert ring.principal(made.presented)
    assert caplog.text.count("the keys of before still count") == 1
    assert "s3" not in caplog.text
    if broken is not None:
        with pytest.raises(StartError, match="is no list of keys; mend it"):
            place.ring()
        with pytest.raises(KeyStoreError, match="restore a copy"):
            place.store.keys()


def test_revoking_again_changes_nothing_and_a_wrong_id_is_told(place: Place):
    made = place.add()
    first = place.store.revoke(made.key.id)
    place.clock.pass_by(10)
    assert place.store.revoke(made.key.id) == first
    with pytest.raises(KeyStoreError, match="assay keys list"):
        place.store.revoke("0" * 12)


@pytest.mark.parametrize(
    "changes",
    [{"tenants": []}, {"tenants": ["*", "acme"]}, {"products": ["*", "a/b"]},
     {"tenants": [f"tenant-{n}" for n in range(1_000)]}],
)  # fmt: skip
def test_a_scope_that_cannot_be_meant_is_refused(place: Place, changes):
    with pytest.raises(KeyStoreError):
        place.add(**changes)
    assert place.store.keys() == ()


@pytest.mark.parametrize("changes", [{"rate": 0.0}, {"rate": float("inf")}, {"burst": 0}])
def test_a_rate_that_lets_nobody_or_everybody_in_is_refused(place: Place, changes):
    with pytest.raises(ValidationError):
        place.add(**changes)


def test_scopes():
    key = ApiKey(
        id="0" * 12, digest="0" * 64, tenants=("*",), products=("a/b",), roles=("predict",),
        rate=1, burst=1, created_at=NOW, by="Ada",
    )  # fmt: skip
    caller = principal(key)
    assert (caller.may_ask("a/b"), caller.may_ask("a/c"), caller.may_ask(None)) == (
        True,
        False,
        False,
    )
    assert (caller.foreign(["x", "y"]), caller.only_tenant) == ([], None)
    two = principal(key.model_copy(update={"tenants": ("x", "y"), "products": ("*",)}))
    assert (two.foreign(["x", "z", "y", ""]), two.only_tenant) == ([1, 3], None)
    assert two.may_ask("a/c")
    assert principal(key.model_copy(update={"tenants": ("x",)})).only_tenant == "x"
    assert OPEN.may_ask(None)
    assert OPEN.foreign(["x"]) == []


def test_the_service_token_is_made_once_and_private(tmp_path: Path):
    path = service_token(Home(tmp_path))
    first = path.read_text()
    assert service_token(Home(tmp_path)).read_text() == first
    assert len(first) >= 43
    assert path.stat().st_mode & 0o077 == 0


@pytest.fixture
def assay(tmp_path, monkeypatch):
    monkeypatch.setenv("ASSAY_HOME", str(tmp_path))
    monkeypatch.delenv("ASSAY_KEYS", raising=False)
    monkeypatch.setattr(out, "width", 200)
    return lambda *words: CliRunner().invoke(app, ["keys", *words])


def test_the_command_line_shows_a_secret_once(assay, tmp_path: Path):
    assert "everybody on this machine" in assay("list").output
    said = assay("add", "--tenant", "acme", "--product", "risk/sync_conflict", "--days", "30")
    assert said.exit_code == 0, said.output
    (presented,) = re.findall(r"^ak_\S+$", said.output, re.MULTILINE)
    found = KeyRing(tmp_path / "keys" / "api-keys.json").find(presented)
    assert found.caller.roles == {"predict", "outcome"}
    assert found.caller.products == {"risk/sync_conflict"}
    listed = assay("list").output
    assert found.key.id in listed
    assert "active" in listed
    assert presented[16:] not in listed
    assert "revoked" in assay("revoke", found.key.id).output
    assert "revoked" in assay("list").output


@pytest.mark.parametrize(
    ("words", "why"),
    [(("add", "--tenant", "a", "--product", "no/such"), "no/such"),
     (("add", "--tenant", "a", "--role", "king"), "there are predict, outcome, admin"),
     (("revoke", "nobody"), "assay keys list")],
)  # fmt: skip
def test_the_command_line_refuses_in_one_sentence(assay, words, why):
    said = assay(*words)
    assert said.exit_code == 1
    assert why in said.output
    assert "Traceback" not in said.output
