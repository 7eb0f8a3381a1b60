"""Whose rows a request holds against whose its caller may ask about. Judged on typed rows only.

By who parses them last: what another parser saw in the same bytes (a duplicate key, say) must not
count. No tenant is named in a refusal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.errors import Refused
from models.contracts.api import OutcomeReport
from models.contracts.keys import Principal

_SHOWN = 10


class OutOfScope(Refused):
    """A request about tenants that its caller does not speak for.

    Attributes:
        detail: The first ten places, as in every other refusal of rows.
    """

    def __init__(self, status: int, field: str, positions: Sequence[int], message: str) -> None:
        super().__init__(status, message)
        self.detail = [
            {"loc": [field, place, "tenant"], "msg": message} for place in positions[:_SHOWN]
        ]


def check_rows(caller: Principal, rows: Sequence[Any]) -> None:
    """Let only rows of the caller's tenants through.

    Args:
        caller: Who asks.
        rows: Each with a ``tenant``.

    Raises:
        OutOfScope: 403, when some are of others.
    """
    if foreign := caller.foreign(row.tenant for row in rows):
        raise OutOfScope(403, "rows", foreign, "tenant: this key is not for it")


def claimed(caller: Principal, reports: Sequence[OutcomeReport]) -> list[OutcomeReport]:
    """The reports with the tenant that each is about, as far as the caller's key says it.

    An ``event_id`` is the client's own name: two tenants may use the same. So a key of several
    tenants has to say which; one of a single tenant means that one.

    Args:
        caller: Who reports.
        reports: Outcomes.

    Raises:
        OutOfScope: 403 about others' tenants, 400 where the tenant is needed and missing.
    """
    if caller.tenants is None:
        return list(reports)
    if caller.only_tenant is not None:
        reports = [
            report if report.tenant else report.model_copy(update={"tenant": caller.only_tenant})
            for report in reports
        ]
    unsaid = [n for n, one in enumerate(reports) if one.event_id and not one.tenant]
    if unsaid:
        raise OutOfScope(400, "outcomes", unsaid, "tenant: needed beside event_id with this key")
    named = [(n, one.tenant) for n, one in enumerate(reports) if one.tenant is not None]
    if foreign := caller.foreign(tenant for _, tenant in named):
        places = [named[place][0] for place in foreign]
        raise OutOfScope(403, "outcomes", places, "tenant: this key is not for it")
    return list(reports)
