"""The append-only release ledger: one JSON line per fact, each sealed with the hash of the last.

It is the truth about what serves; aliases, bentos and services follow it. It decides nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from filelock import FileLock
from pydantic import JsonValue

from models.contracts.base import Frozen
from models.contracts.results import GateDecision, Release
from models.contracts.rollout import RolloutStep
from models.core.seal import Sealed, broken, following
from stores.files import sync_folder

#: ``regression``: monitoring found the champion below its promise or its predecessor.
#: ``retrain``: monitoring asks for one retraining, named by its window.
#: ``rollout``: a version passed its golden requests on this machine. ``rollout_step``: an arrow of
#: a challenger's rollout (`RolloutStep`), ``promotion``: it ended with the challenger as champion.
Kind = Literal[
    "decision",
    "approval",
    "release",
    "rollback",
    "rollout",
    "regression",
    "retrain",
    "rollout_step",
    "promotion",
]
VERSION = "v%Y%m%d_%H%M%S"


class LedgerError(Exception):
    """The ledger cannot be trusted or the request makes no sense; the message says what to do."""


class Entry(Sealed):
    """One fact."""

    kind: Kind


def now_utc() -> datetime:
    """The clock of every entry; a test passes its own."""
    return datetime.now(UTC)


class Ledger:
    """One product's ledger file."""

    def __init__(self, path: Path, clock: Callable[[], datetime] = now_utc) -> None:
        self.path = path
        self._clock = clock

    def entries(self) -> tuple[Entry, ...]:
        """All facts, oldest first, with the chain checked.

        Raises:
            LedgerError: A line was altered, removed or inserted.
        """
        entries = []
        for number, line in enumerate(self._lines()):
            try:
                entries.append(Entry.model_validate_json(line))
            except ValueError as error:
                raise self._broken(number) from error
        if (place := broken(entries)) is not None:
            raise self._broken(place)
        return tuple(entries)

    def append(
        self, kind: Kind, body: Frozen | dict[str, JsonValue], *, while_serving: str | None = None
    ) -> Entry:
        """Add one fact durably. Time never runs backwards: a clock that jumped back is held.

        Args:
            kind: What sort of fact.
            body: The fact.
            while_serving: Add it only while this version is the current one: of two who want to
                replace the same champion, one does.

        Raises:
            LedgerError: The ledger was altered, or another version is current by now.
        """
        content = body.model_dump(mode="json") if isinstance(body, Frozen) else body
        content = json.loads(json.dumps(content))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.path}.lock"):
            self._set_torn_tail_aside()
            entries = self.entries()
            if while_serving is not None:
                self._require_current(while_serving)
            last = entries[-1] if entries else None
            entry = following(Entry, last, self._clock(), kind, content)
            with self.path.open("ab") as stream:
                stream.write(entry.model_dump_json().encode() + b"\n")
                stream.flush()
                os.fsync(stream.fileno())
            sync_folder(self.path.parent)
        return entry

    def releases(self) -> tuple[Release, ...]:
        """Every release, oldest first."""
        return tuple(Release.model_validate(e.body) for e in self.entries() if e.kind == "release")

    def current(self) -> Release | None:
        """What should serve: what was last released or promoted, or rolled back to."""
        history = self._history()
        return history[-1] if history else None

    def previous(self) -> Release | None:
        """What ``rollback`` goes to: the release that served before the current one."""
        history = self._history()
        return history[-2] if len(history) > 1 else None

    def staged(self) -> Release | None:
        """The newest release, if it is a staged one that was never promoted."""
        newest = self.newest("release")
        release = Release.model_validate(newest.body) if newest else None
        if release is None or not release.staged or self._promoted(release.version):
            return None
        return release

    def rollout_step(self) -> RolloutStep | None:
        """Where the newest rollout is."""
        entry = self.newest("rollout_step")
        return RolloutStep.model_validate(entry.body) if entry else None

    def rolled_out(self) -> str | None:
        """Version that last passed its golden requests on this machine."""
        entry = self.newest("rollout")
        return str(entry.body["version"]) if entry else None

    def release(self, version: str) -> Release:
        """The release with this version.

        Raises:
            LedgerError: There is none; the message lists those there are.
        """
        releases = {release.version: release for release in self.releases()}
        if version not in releases:
            raise LedgerError(f"no release {version!r}; there are: {', '.join(releases) or 'none'}")
        return releases[version]

    def newest(self, *kinds: Kind) -> Entry | None:
        """The newest fact of these kinds."""
        return next((e for e in reversed(self.entries()) if e.kind in kinds), None)

    def moved(self) -> Entry | None:
        """What last made another release the current one: release, promotion or rollback."""
        return next((e for e in reversed(self.entries()) if _moves(e)), None)

    def rollout_entries(self, rollout_id: str) -> tuple[Entry, ...]:
        """The arrows of one rollout, oldest first."""
        return tuple(
            entry
            for entry in self.entries()
            if entry.kind == "rollout_step" and entry.body["rollout_id"] == rollout_id
        )

    def now(self) -> datetime:
        """The time an entry would get now: never before the newest fact."""
        entries = self.entries()
        return max(self._clock(), entries[-1].at) if entries else self._clock()

    def decision(self, evaluation_id: str) -> GateDecision | None:
        """The newest decision on this evaluation, if the gate has spoken."""
        for entry in reversed(self.entries()):
            if entry.kind == "decision" and entry.body["evaluation_id"] == evaluation_id:
                return GateDecision.model_validate(entry.body["decision"])
        return None

    def approvals(self, candidate_id: str) -> tuple[Entry, ...]:
        """Approvals given to this candidate."""
        return tuple(
            entry
            for entry in self.entries()
            if entry.kind == "approval" and entry.body["candidate_id"] == candidate_id
        )

    def new_version(self) -> str:
        """A version ``vYYYYMMDD_HHMMSS`` (UTC), later than every one given before."""
        taken = max((release.version for release in self.releases()), default="")
        version = self.now().strftime(VERSION)
        if version > taken:
            return version
        last = datetime.strptime(taken, VERSION).replace(tzinfo=UTC)
        return (last + timedelta(seconds=1)).strftime(VERSION)

    def _history(self) -> list[Release]:
        """Releases as a stack: a release is pushed; going back cuts, going forward pushes again.

        A staged release is pushed by its promotion, and is then nowhere else in the stack.
        """
        known: dict[str, Release] = {}
        stack: list[Release] = []
        for entry in self.entries():
            if entry.kind == "release":
                release = Release.model_validate(entry.body)
                known[release.version] = release
                if not release.staged:
                    stack.append(release)
            elif entry.kind == "promotion":
                target = known[str(entry.body["version"])]
                stack = [*(each for each in stack if each != target), target]
            elif entry.kind == "rollback":
                target = known[str(entry.body["to_version"])]
                stack = stack[: stack.index(target) + 1] if target in stack else [*stack, target]
        return stack

    def _promoted(self, version: str) -> bool:
        return any(e.kind == "promotion" and e.body["version"] == version for e in self.entries())

    def _require_current(self, version: str) -> None:
        current = self.current()
        if current is None or current.version != version:
            found = current.version if current else "nothing"
            raise LedgerError(f"{found} is current by now, not {version}; see `assay status`")

    def _lines(self) -> list[bytes]:
        """Complete lines; a torn tail (crash while appending) was never acknowledged."""
        data = self.path.read_bytes() if self.path.exists() else b""
        return data[: data.rfind(b"\n") + 1].splitlines()

    def _set_torn_tail_aside(self) -> None:
        data = self.path.read_bytes() if self.path.exists() else b""
        complete = data.rfind(b"\n") + 1
        if complete < len(data):
            with Path(f"{self.path}.torn").open("ab") as stream:
                stream.write(data[complete:] + b"\n")
            with self.path.open("r+b") as stream:
                stream.truncate(complete)

    def _broken(self, number: int) -> LedgerError:
        return LedgerError(
            f"{self.path}: line {number + 1} does not match its seal; somebody edited the ledger. "
            "Restore the file from a backup; nothing is released until it verifies."
        )


def _moves(entry: Entry) -> bool:
    staged = entry.kind == "release" and bool(entry.body.get("staged"))
    return entry.kind in ("release", "promotion", "rollback") and not staged
