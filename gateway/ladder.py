"""Who is asked when the champion cannot answer: previous release, baseline, rule.

A rung is left for a fault of its own: no connection, an error of the model, too late. It is never
left for a refusal, for what was sent away because too much waits, or for a log that is full:
another rung would say the same, or answer what must not be answered. Asks through a function; knows
no product and no HTTP client.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from gateway.asked import CHAMPION, Asked
from gateway.ports import FAULT_HEADER, Reply, Unreachable
from models.contracts.product import ModelProduct
from models.contracts.routing import ProductRoutes

#: Of the time that is left, divided among the rungs that are left.
_SHARES: Mapping[str, float] = MappingProxyType(
    {CHAMPION: 0.6, "previous": 0.2, "baseline": 0.15, "rule": 0.05}
)
_GONE = b'{"error": "the release that answers this cannot be reached; send it again"}'
_JSON = (b"content-type", b"application/json")


class Step(NamedTuple):
    """One rung: its name, and the release that is asked (of a baseline: that it lies beside)."""

    rung: str
    version: str


class Told(NamedTuple):
    """An answer, who gave it, and what the rungs before said."""

    reply: Reply
    step: Step
    failed: tuple[Step, ...]


def steps(
    product: ModelProduct, routes: ProductRoutes, version: str | None, *, fallback: bool
) -> tuple[Step, ...]:
    """The rungs of one request.

    Args:
        product: Says which rungs it has.
        routes: Releases that can be asked, and the rule.
        version: Release the request was assigned to, the first rung; None when none runs.
        fallback: Whether there is more than the first.
    """
    first = (Step(CHAMPION, version),) if version else ()
    if not fallback:
        return first
    # a challenger's requests fall back to the champion, the champion's to the release before it
    behind = routes.previous if version == routes.champion else routes.champion
    found = {
        "previous": behind if behind in routes.members else None,
        "baseline": routes.champion,
        "rule": "rule" if routes.rule else None,
    }
    lower = [Step(rung, of) for rung in product.serving.fallback if (of := found[rung])]
    return (*first, *lower)


async def climb(
    rungs: Sequence[Step], ask: Callable[[Step, Asked], Awaitable[Reply]], asked: Asked
) -> Told:
    """Ask one rung after the other until one answers.

    Args:
        rungs: At least one, in order.
        ask: Asks one; the request it gets has the rung's name and its share of the time.
        asked: The request.

    Returns:
        The first answer that is no fault; what the first rung said when all are at fault.
    """
    failed: list[tuple[Step, Reply]] = []
    for place, step in enumerate(rungs):
        limited = asked._replace(rung=step.rung, deadline=_until(asked.deadline, rungs[place:]))
        reply = await _asked(ask, step, limited)
        if not at_fault(reply):
            return Told(reply, step, tuple(one for one, _ in failed))
        failed.append((step, reply))
    step, reply = failed[0]
    return Told(reply, step, tuple(one for one, _ in failed))


def at_fault(reply: Reply) -> bool:
    """Whether the answer is one of a model or process that is broken, so that another may do."""
    if reply.status < 500:
        return False
    return reply.status != 503 or any(name == FAULT_HEADER for name, _ in reply.headers)


async def _asked(ask: Callable[[Step, Asked], Awaitable[Reply]], step: Step, asked: Asked) -> Reply:
    try:
        return await ask(step, asked)
    except Unreachable:
        return Reply(503, (_JSON, (b"retry-after", b"1"), (FAULT_HEADER, b"gone")), _GONE)


def _until(deadline: float, left: Sequence[Step]) -> float:
    """The moment up to which the first of these may take; whoever is asked keeps to it."""
    if math.isinf(deadline) or len(left) == 1:
        return deadline
    share = _SHARES[left[0].rung] / sum(_SHARES[step.rung] for step in left)
    now = time.monotonic()
    return now + max(0.0, deadline - now) * share
