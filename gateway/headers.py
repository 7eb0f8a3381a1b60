"""The headers of ours, ``x-assay-*``: what clients may send, what a gateway tells its services.

A service believes what is said beside the service token, and nobody else. Whether the token is
right is `Door`'s to say.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from typing import NamedTuple, get_args

from gateway.asked import CHAMPION, DEADLINE_HEADER, Asked
from gateway.errors import Header, Refused
from models.contracts.keys import OPEN, Principal
from models.contracts.serving import Rung
from models.contracts.traffic import PURPOSE_HEADER, Purpose

Headers = Mapping[bytes, bytes]

#: Every header with this prefix is ours.
OURS = b"x-assay-"
#: Of ours, what a client may send: its sticky key, and the tenant of a route whose body has none.
FROM_CLIENTS = frozenset({b"x-assay-key", b"x-assay-tenant"})
#: The release that shall answer; for administrators and services.
RELEASE = b"x-assay-release"

SERVICE_TOKEN = b"x-assay-service-token"
#: Rung of the ladder that is asked; absent: the first.
_RUNG = b"x-assay-rung"
_RUNGS = {rung.encode(): rung for rung in get_args(Rung)}
_CALLER, _TENANTS = b"x-assay-caller", b"x-assay-tenants"
_PURPOSE = PURPOSE_HEADER.encode()
_PURPOSES = {purpose.encode(): purpose for purpose in get_args(Purpose)}

#: Who is not known, or not yet.
NOBODY = Principal("nobody", frozenset(), frozenset(), frozenset())


class Admitted(NamedTuple):
    """A caller who may go on.

    Attributes:
        trusted: What it says in headers of ours is believed.
    """

    principal: Principal
    trusted: bool


def purpose_of(headers: Headers, admitted: Admitted) -> Purpose:
    """What a request is for: golden and shadow ones only from who is believed."""
    return _PURPOSES.get(headers.get(_PURPOSE, b""), "traffic") if admitted.trusted else "traffic"


def rung_of(headers: Headers, admitted: Admitted) -> str:
    """The rung of the ladder that a gateway asks on."""
    return _RUNGS.get(headers.get(_RUNG, b""), CHAMPION) if admitted.trusted else CHAMPION


def within(headers: list[Header], admitted: Admitted) -> list[Header]:
    """The headers that go further in: of ours, those that this caller may send."""
    if admitted.trusted:
        return [pair for pair in headers if pair[0] != SERVICE_TOKEN]
    allowed = FROM_CLIENTS | ({RELEASE} if "admin" in admitted.principal.roles else set())
    return [pair for pair in headers if not pair[0].startswith(OURS) or pair[0] in allowed]


def carried(asked: Asked, token: str | None, purpose: Purpose | None = None) -> list[Header]:
    """What a gateway says to a service about a request; the service's `Door` reads it.

    Args:
        asked: The request.
        token: The service token, None when the services ask for none.
        purpose: If not that of the request: ``shadow`` of a copy.
    """
    caller = asked.principal
    headers = [(b"x-request-id", asked.request_id.encode()), (_CALLER, caller.id.encode())]
    if (purpose or asked.purpose) != "traffic":
        headers.append((_PURPOSE, (purpose or asked.purpose).encode()))
    if asked.rung != CHAMPION:
        headers.append((_RUNG, asked.rung.encode()))
    if caller.tenants is not None:
        headers.append((_TENANTS, json.dumps(sorted(caller.tenants)).encode()))
    if asked.deadline < math.inf:
        left = max(0, round((asked.deadline - time.monotonic()) * 1000))
        headers.append((DEADLINE_HEADER, str(left).encode()))
    return [*headers, (SERVICE_TOKEN, token.encode())] if token else headers


def caller_told(headers: Headers) -> Principal:
    """The caller the gateway tells of; products and roles it has judged itself.

    Raises:
        Refused: 400, when the gateway speaks another language than this service.
    """
    identity = headers.get(_CALLER, b"service").decode("latin-1")
    given = headers.get(_TENANTS)
    if given is None:
        return OPEN._replace(id=identity)
    try:
        tenants = json.loads(given)
    except ValueError:
        tenants = None
    if not isinstance(tenants, list) or not all(isinstance(one, str) for one in tenants):
        raise Refused(400, "x-assay-tenants is no JSON list of names; upgrade the gateway")
    return OPEN._replace(id=identity, tenants=frozenset(tenants))
