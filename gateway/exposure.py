"""The journal of a rollout: who answered each request, and what both releases said.

``<home>/rollouts/<slug>/<rollout id>/journal/``, in the form of the prediction log. One line per
request, written when its copy came back; one per outcome. Only while a rollout runs. What the lines
come to is counted by ``models.core.rollouts``, and who answers was decided before (``assign``).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from gateway import records, scope
from gateway.asked import CHAMPION
from gateway.assign import Assigned, running
from gateway.errors import Refused
from gateway.ladder import Told, at_fault
from gateway.mirror import COPY_SECONDS, Mirror
from gateway.ports import Call, Reply
from gateway.spool import Entry, Spool, SpoolError
from models.contracts.api import OutcomeRequest
from models.contracts.keys import Principal
from models.contracts.product import Contract, ModelProduct
from models.contracts.rollout import Exposure, Seen, Variant
from models.contracts.routing import Placement, ProductRoutes, RoutingTable
from models.core.rollouts.units import read

#: Of one rollout's journal: full, the copies stop and the controller ends the rollout.
MAX_BYTES = 256_000_000
ROTATE_SECONDS = 2.0
_SERVER_ERROR = 500
_LOG = logging.getLogger("assay.exposure")


class Journal:
    """What one rollout's requests are written to.

    Args:
        folder: Of the journal.
        max_bytes: See `MAX_BYTES`.
    """

    def __init__(self, folder: Path, max_bytes: int = MAX_BYTES) -> None:
        self.full = False
        self._folder = folder
        self._spool = Spool(folder, max_bytes, rotate_seconds=ROTATE_SECONDS)

    def write(self, *entries: Entry) -> None:
        """Append; what it does not take is lost, and told once."""
        if self.full:
            return
        try:
            self._spool.append(entries)
        except SpoolError as error:
            self.full = True
            _LOG.error("the journal %s takes no more: %s", self._folder.parent.name, error)

    def close(self) -> None:
        """Finish it for its reader."""
        self._spool.close()


class Exposures:
    """Writes down the requests of rollouts, and has them copied.

    Args:
        rollouts: Folder ``<home>/rollouts``.
        mirror: Sends copies.
    """

    def __init__(self, rollouts: Path, mirror: Mirror) -> None:
        self._rollouts, self._mirror = rollouts, mirror
        self._journals: dict[str, Journal | None] = {}
        self._placed: dict[str, str] = {}

    def begin(
        self, product: ModelProduct, routes: ProductRoutes, assigned: Assigned, call: Call
    ) -> Exposed | None:
        """A request that a rollout sees is about to be asked; its copy goes out now.

        Args:
            product: Whose request it is.
            routes: That it was assigned by.
            assigned: Who is asked.
            call: As it goes out.

        Returns:
            To be told of the answer; None where no rollout counts the request.
        """
        placement = running(routes)
        if placement is None or assigned.variant is None or call.asked.purpose != "traffic":
            return None
        journal = self._journal(product, placement.rollout_id)
        if journal is None or journal.full:
            return None
        exposed = Exposed(
            product.contract, placement, routes.champion or "", assigned,
            call=call, journal=journal,
        )  # fmt: skip
        if assigned.copy_to is not None:
            exposed.awaits = self._mirror.copy(call, assigned.copy_to, exposed.copied)
        return exposed

    def outcomes(self, product: ModelProduct, caller: Principal, body: bytes) -> None:
        """Outcomes that were taken: the rollout of their product counts them, too.

        Args:
            product: Whose predictions they are about.
            caller: Who reported them.
            body: Of the request, as it was logged.
        """
        rollout = self._placed.get(product.key)
        journal = self._journal(product, rollout) if rollout else None
        if journal is None:
            return
        try:
            reports = scope.claimed(caller, OutcomeRequest.model_validate_json(body).outcomes)
        except (ValueError, Refused):  # whoever logged it read it otherwise
            return
        bodies = records.outcomes(product, reports, datetime.now(UTC))
        journal.write(*[("outcome", body) for body in bodies])

    def follow(self, table: RoutingTable) -> None:
        """Take a new table; journals of rollouts that ended are finished."""
        self._placed = {
            key: routes.placement.rollout_id
            for key, routes in table.products.items()
            if routes.placement
        }
        for rollout in self._journals.keys() - set(self._placed.values()):
            journal = self._journals.pop(rollout)
            if journal is not None:  # copies that are under way still come
                loop = asyncio.get_running_loop()
                loop.call_later(COPY_SECONDS + 1, loop.run_in_executor, None, journal.close)

    def problems(self) -> list[str]:
        """The journals that take nothing."""
        return [
            f"the journal of {rollout} {'is full' if journal else 'cannot be written'}"
            for rollout, journal in self._journals.items()
            if journal is None or journal.full
        ]

    def close(self) -> None:
        """Finish every journal."""
        for journal in self._journals.values():
            if journal is not None:
                journal.close()
        self._journals = {}

    def _journal(self, product: ModelProduct, rollout: str) -> Journal | None:
        if rollout not in self._journals:
            folder = self._rollouts / product.slug / rollout / "journal"
            try:
                self._journals[rollout] = Journal(folder)
            except OSError as error:
                _LOG.error("%s cannot be written (%s); nothing is counted", folder, error.strerror)
                self._journals[rollout] = None
        return self._journals[rollout]


class Exposed:
    """One request on its way: its line is written when answer and copy are there.

    Args:
        contract: Of the product; says how an answer is read.
        placement: Of the rollout.
        champion: Version.
        assigned: Who is asked.
        call: As it goes out.
        journal: Gets the line.
    """

    def __init__(
        self, contract: Contract, placement: Placement, champion: str, assigned: Assigned,
        *, call: Call, journal: Journal,
    ) -> None:  # fmt: skip
        #: Whether a copy is under way.
        self.awaits = False
        self._contract, self._placement, self._journal = contract, placement, journal
        self._assigned, self._call = assigned, call
        self._versions: dict[Variant, str] = {
            "champion": champion, "challenger": placement.challenger
        }  # fmt: skip
        self._mine: Variant = "challenger" if assigned.variant == "challenger" else "champion"
        self._other: Variant = "champion" if self._mine == "challenger" else "challenger"
        self._at, self._begun = datetime.now(UTC), time.monotonic_ns()
        self._tenants, self._events = _rows(call.body)
        self._seen: dict[Variant, Seen] = {}
        self._served: Variant | None = None
        self._answered = False

    def answered(self, told: Told) -> None:
        """The client's answer is chosen."""
        ms = (time.monotonic_ns() - self._begun) / 1e6
        mine = told.step.rung == CHAMPION
        if mine:
            self._seen[self._mine] = self._read(self._mine, told.reply, ms)
        else:
            self._seen[self._mine] = Seen(status=0, ms=ms)
            if told.step.version == self._versions[self._other] and told.step.rung == "previous":
                self._seen[self._other] = self._read(self._other, told.reply, ms)
        if told.reply.status < _SERVER_ERROR and (mine or self._other in self._seen):
            self._served = self._mine if mine else self._other
        self._answered = True
        if not self.awaits:
            self._write()

    def copied(self, reply: Reply | None, ms: float) -> None:
        """From the mirror: the copy came back, or did not."""
        self.awaits = False
        shed = reply is not None and reply.status == 503 and not at_fault(reply)
        if not shed and self._other not in self._seen:  # what the client got counts before a copy
            seen = Seen(status=0, ms=ms) if reply is None else self._read(self._other, reply, ms)
            self._seen[self._other] = seen
        if self._answered:
            self._write()

    def _read(self, variant: Variant, reply: Reply, ms: float) -> Seen:
        rows = read(self._contract, reply.status, reply.body)
        if any(row.version != self._versions[variant] for row in rows):
            return Seen(status=0, ms=ms)
        told = tuple(row.row for row in rows) if len(rows) == len(self._tenants) else ()
        return Seen(status=reply.status, ms=ms, rows=told)

    def _write(self) -> None:
        line = Exposure(
            rollout_id=self._placement.rollout_id,
            at=self._at,
            request_id=self._call.asked.request_id,
            key=self._assigned.key,
            weight=self._placement.weight,
            assigned=self._mine,
            drawn=self._assigned.drawn,
            served=self._served,
            tenants=self._tenants,
            events=self._events,
            champion=self._seen.get("champion"),
            challenger=self._seen.get("challenger"),
        )
        self._journal.write(("exposure", line.model_dump(mode="json")))


def _rows(body: bytes) -> tuple[tuple[str, ...], tuple[str | None, ...]]:
    """Tenants and events of a body's rows; none of a body that is none."""
    try:
        rows = orjson.loads(body)["rows"]
        found = [row for row in rows if isinstance(row, Mapping)]
    except (ValueError, TypeError, KeyError):
        return (), ()
    return (
        tuple(_text(row.get("tenant")) or "" for row in found),
        tuple(_text(row.get("event_id")) for row in found),
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
