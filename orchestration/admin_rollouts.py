"""Routes of the admin service about rollouts, and the thread that drives them.

A thin face of ``rollouts`` and ``switches``.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from pydantic import Field

from models.contracts.rollout import RolloutKind, RolloutPlan
from models.registry import products
from orchestration import rollouts, switches
from orchestration.admin_access import permitted, require_all_products
from orchestration.admin_bodies import ProductBody, StrictBody, parsed
from orchestration.rollout_report import gather
from orchestration.settings import Settings
from orchestration.switches import FlagName
from stores.ledger import Ledger

Answer = tuple[int, Any]
EVERY_SECONDS = 2.0
#: A product whose rollout raised an error is left alone for so long.
_PAUSE_SECONDS = 30.0

logger = logging.getLogger("assay.rollouts")


class StartBody(ProductBody):
    """``version_id`` None: the newest staged release; without kind and plan, what is planned."""

    version_id: str | None = None
    kind: RolloutKind | None = None
    plan: RolloutPlan | None = None
    by: str | None = Field(default=None, min_length=1, max_length=200)


class EndBody(ProductBody):
    """A person's word on a rollout."""

    reason: str = Field(default="by admin request", max_length=500)
    by: str | None = Field(default=None, min_length=1, max_length=200)


class OverrideBody(ProductBody):
    """``version_id`` None: the tenant is answered as everybody."""

    tenant: str = Field(min_length=1, max_length=200)
    version_id: str | None = None


class FlagBody(StrictBody):
    """``on`` None forgets the switch."""

    name: FlagName
    scope: str = "*"
    on: bool | None
    tenants: tuple[str, ...] = ()


def start(settings: Settings, body: bytes) -> Answer:
    """``POST /rollouts/start``: the step it came to; 409 with the reason when it was refused."""
    asked = parsed(StartBody, body)
    by_kind = RolloutPlan.model_validate({"kind": asked.kind}) if asked.kind else None
    plan = asked.plan or by_kind
    step = rollouts.start(permitted(asked.product), settings, asked.version_id, plan, asked.by)
    if step.phase == "refused":
        return 409, {"error": step.reason, "detail": [step.model_dump(mode="json")]}
    return 200, step.model_dump(mode="json")


def abort(settings: Settings, body: bytes) -> Answer:
    """``POST /rollouts/abort``: no traffic to the challenger any more."""
    asked = parsed(EndBody, body)
    step = rollouts.abort(permitted(asked.product), settings, asked.reason, asked.by)
    return 200, step.model_dump(mode="json")


def promote(settings: Settings, body: bytes) -> Answer:
    """``POST /rollouts/promote``: the challenger becomes the champion."""
    asked = parsed(EndBody, body)
    step = rollouts.promote(permitted(asked.product), settings, asked.reason, asked.by)
    return 200, step.model_dump(mode="json")


def override(settings: Settings, body: bytes) -> Answer:
    """``POST /rollouts/override``: a release for one tenant."""
    asked = parsed(OverrideBody, body)
    chosen = permitted(asked.product)
    found = switches.override(chosen, settings, asked.tenant, asked.version_id)
    return 200, [one.model_dump(mode="json") for one in found]


def flag(settings: Settings, body: bytes) -> Answer:
    """``POST /rollouts/flag``: a switch; of all products only for who may ask all."""
    asked = parsed(FlagBody, body)
    if asked.scope == "*":
        require_all_products()
    else:
        permitted(asked.scope.partition("@")[0])
    found = switches.flag(settings, asked.name, asked.scope, on=asked.on, tenants=asked.tenants)
    return 200, [one.model_dump(mode="json") for one in found]


def listed(settings: Settings, query: Any) -> Answer:
    """``GET /rollouts?product=``: each product's newest rollout with its evidence as of now."""
    if key := query.get("product", ""):
        chosen = [permitted(key)]
    else:
        require_all_products()
        chosen = list(products())
    home = settings.home_paths()
    shown = [one for one in chosen if Ledger(home.ledger(one)).rollout_step()]
    return 200, [_shown(gather(one, home)) for one in shown]


def drive(settings: Settings, ended: threading.Event, every: float = EVERY_SECONDS) -> None:
    """Look at every product's rollout until told to end, whatever happens; not at once."""
    paused: dict[str, float] = {}
    rested: dict[str, tuple[int, int]] = {}
    while not ended.wait(every):
        for product in products():
            ledger = settings.home_paths().ledger(product)
            if time.monotonic() < paused.get(product.key, 0.0) or not ledger.exists():
                continue
            seen = ledger.stat().st_mtime_ns, ledger.stat().st_size
            if rested.get(product.key) == seen:  # reading it again and again would cost more
                continue
            try:
                rollouts.tick(product, settings)
                if not rollouts.wanted(product, settings):
                    rested[product.key] = seen
            except Exception:
                logger.exception("%s: its rollout is looked at again later", product.key)
                paused[product.key] = time.monotonic() + _PAUSE_SECONDS


def _shown(data: Any) -> dict[str, Any]:
    step = data.newest.model_copy(update={"evidence": data.evidence, "units": data.tally.units})
    return {
        **step.model_dump(mode="json"),
        "product": data.product.key,
        "answered": data.tally.answered,
        "report": f"/rollouts/{data.product.slug}/{step.rollout_id}/report.html",
    }
