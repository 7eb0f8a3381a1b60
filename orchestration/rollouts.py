r"""The controller of rollouts: which arrow of the state machine comes next, and that it is done.

    requested -> starting -> running(stage 0..k) -> promoted | aborted | inconclusive
              \-> refused

Every arrow is a ledger entry first and its effect then (``rollout_place``), so that whoever comes
after a crash finishes it; only traffic is taken from a challenger before it is written down why.
Driven by a thread of the admin service, by a sensor and by people; a lock lets one act at a time.
"""

from __future__ import annotations

import getpass
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

from models.contracts.product import ModelProduct
from models.contracts.results import Release
from models.contracts.rollout import RolloutPhase, RolloutPlan, RolloutStep
from models.core.rollouts.decide import Verdict, decide, evidence
from models.core.rollouts.enforce import enforced, share, startable
from orchestration.rollout_place import BusyError, Place
from orchestration.rollout_report import write_report
from orchestration.settings import Settings
from stores import gateway_store, rollout_journal
from stores.home import Home
from stores.ledger import Ledger, LedgerError

#: Who acts when nobody asked.
CONTROLLER = "controller"
ENDS: tuple[RolloutPhase, ...] = ("refused", "promoted", "aborted", "inconclusive")
#: A person waits so long for another actor, who may be starting a service.
_PATIENCE = 120.0
_NAME = "r%Y%m%d_%H%M%S"

logger = logging.getLogger("assay.rollouts")


def start(
    product: ModelProduct,
    settings: Settings,
    version: str | None = None,
    plan: RolloutPlan | None = None,
    by: str | None = None,
    **how: Any,
) -> RolloutStep:
    """Give a challenger its first traffic, or say why it gets none.

    Args:
        product: Whose.
        settings: Where everything is.
        version: The challenger; None: the newest staged release.
        plan: None: the product's own, else a canary.
        by: Who asks; None means the user of this process.
        how: Of `Place`.

    Returns:
        The step it came to: ``running`` or ``refused``.

    Raises:
        LedgerError: A rollout is under way, or there is no champion or no challenger.
    """
    place = Place(product, settings, **how)
    with place.alone(_PATIENCE):
        last = place.ledger.rollout_step()
        if last is not None and not _over(place, last):
            raise LedgerError(
                f"{product.key}: {last.rollout_id} is {last.phase}; end it first: "
                f"`assay rollout abort {product.key}`"
            )
        challenger = _challenger(place, version)
        chosen = plan or product.serving.rollout or RolloutPlan()
        return _drive(place, _request(place, challenger, chosen, by or getpass.getuser()))


def tick(product: ModelProduct, settings: Settings, **how: Any) -> RolloutStep | None:
    """Look at the product's rollout once, and begin the one its plan asks for.

    Returns:
        The newest step; None when nothing is under way, or another process acts.
    """
    if not settings.home_paths().ledger(product).exists():
        return None
    place = Place(product, settings, **how)
    step = place.ledger.rollout_step()
    if (step is None or _over(place, step)) and _due(place) is None:
        return None
    try:
        with place.alone(0):
            step = place.ledger.rollout_step()  # another actor may have moved it meanwhile
            if step is not None and not _over(place, step):
                return _drive(place, step)
            due = _due(place)
            plan = product.serving.rollout
            return _drive(place, _request(place, due, plan, CONTROLLER)) if due and plan else None
    except BusyError:
        return None


def wanted(product: ModelProduct, settings: Settings) -> bool:
    """Whether a rollout is under way, or will begin as soon as a gateway lives."""
    home = settings.home_paths()
    step = Ledger(home.ledger(product)).rollout_step()
    under_way = step is not None and not rollout_journal.is_over(home, product, step.rollout_id)
    return under_way or _planned(product, home) is not None


def abort(
    product: ModelProduct, settings: Settings, reason: str, by: str | None = None, **how: Any
) -> RolloutStep:
    """Take the challenger's traffic away and end its rollout.

    Raises:
        LedgerError: Nothing is under way.
    """
    place = Place(product, settings, **how)
    with place.alone(_PATIENCE):
        step = _under_way(place)
        if step.phase not in ENDS:
            known = _known(place, step)
            step = _end(place, step, "aborted", reason, by=by or getpass.getuser(), **known)
        return _drive(place, step)


def promote(
    product: ModelProduct, settings: Settings, reason: str, by: str | None = None, **how: Any
) -> RolloutStep:
    """Make the challenger the champion on a person's word, whatever is proven by now.

    Raises:
        LedgerError: No rollout runs, or ended without a verdict.
    """
    place = Place(product, settings, **how)
    with place.alone(_PATIENCE):
        step = place.ledger.rollout_step()
        if step is None or step.phase not in ("running", "inconclusive"):
            found = f"{step.rollout_id} is {step.phase}" if step else "there is no rollout"
            raise LedgerError(
                f"{product.key}: {found}; one that runs or is inconclusive can be promoted"
            )
        if moved := _moved(place, step):
            raise LedgerError(f"{product.key}: {moved}; start a new rollout against it")
        known, verdict = _known(place, step), Verdict("promoted", step.stage, 0.0, reason, ())
        rollout_journal.reopen(place.home, place.product, step.rollout_id)
        return _drive(place, _enter(place, step, verdict, by=by or getpass.getuser(), **known))


def _drive(place: Place, step: RolloutStep) -> RolloutStep:
    """Follow the arrows until one waits for units, or for nothing more."""
    rollout_journal.look(place.home, place.product, step.rollout_id)
    while step.phase not in ENDS:
        following = _arrow(place, step)
        if following is None:
            return step
        step = following
        _report(place, step)
    if not _over(place, step):
        if step.phase == "promoted":
            place.hand_over(step)
        place.settle()
        _report(place, step)
        rollout_journal.end(place.home, place.product, step.rollout_id)
    return step


def _arrow(place: Place, step: RolloutStep) -> RolloutStep | None:
    """The next arrow, taken; None when it waits."""
    if moved := _moved(place, step):
        return _end(place, step, "aborted", moved)
    if step.phase == "requested":
        return _enter(place, step, Verdict("starting", 0, 0.0, "", ()))
    plan = place.plan(step)
    if step.phase == "starting":
        first = plan.weights[0]
        if reason := startable(first, None, place.prepare(step)):
            return _end(place, step, "refused", reason)
        return _enter(place, step, Verdict("running", 0, first, "golden requests passed", ()))
    return _look(place, step, plan)


def _look(place: Place, step: RolloutStep, plan: RolloutPlan) -> RolloutStep | None:
    """One look at a running rollout."""
    place.give(step, plan)
    tally = place.count(step, plan)
    seen = share(tally)
    routes = place.routes(step)
    if seen.weight != step.weight:  # the journal is still in the stage before
        routes = routes._replace(told=None)
    reason = place.broken(step) or enforced(seen, routes)
    verdict = decide(plan, step, tally, reason, place.elapsed(step))
    if (verdict.phase, verdict.stage) == (step.phase, step.stage):
        return None
    counted = {"share": seen.value, "units": tally.units}
    if verdict.phase in ("aborted", "inconclusive"):
        place.take_away()
    return _enter(place, step, verdict, **counted)


def _request(place: Place, challenger: Release, plan: RolloutPlan, by: str) -> RolloutStep:
    champion = place.ledger.current()
    if champion is None or champion.version == challenger.version:
        raise LedgerError(f"{place.product.key}: a rollout needs a champion and another release")
    step = RolloutStep(
        rollout_id=_identity(place), number=0, phase="requested", kind=plan.kind,
        champion=champion.version, challenger=challenger.version, stage=0, weight=0.0, share=None,
        units=0, reason="", by=by, plan=plan,
    )  # fmt: skip
    place.ledger.append("rollout_step", step, while_serving=champion.version)
    return step


def _enter(place: Place, step: RolloutStep, verdict: Verdict, **more: Any) -> RolloutStep:
    """Write an arrow down."""
    changed = verdict._asdict() | {"number": step.number + 1, "plan": None, "by": CONTROLLER} | more
    following = step.model_copy(update=changed)
    guarded = following.phase not in ENDS or following.phase == "promoted"
    champion = step.champion if guarded else None
    place.ledger.append("rollout_step", following, while_serving=champion)
    told = f"{following.phase} at {following.weight:.1%}"
    place.say(f"{step.rollout_id}: {told}" + (f": {verdict.reason}" if verdict.reason else ""))
    return following


def _end(
    place: Place, step: RolloutStep, phase: RolloutPhase, reason: str, **more: Any
) -> RolloutStep:
    """An end that no figures asked for: traffic first."""
    place.take_away()
    return _enter(place, step, Verdict(phase, step.stage, 0.0, reason, ()), **more)


def _known(place: Place, step: RolloutStep) -> dict[str, Any]:
    """What the figures say where a person decides; an end keeps what it ended with."""
    if step.phase != "running":
        return {"share": step.share, "units": step.units, "evidence": step.evidence}
    plan = place.plan(step)
    tally = place.count(step, plan)
    found = evidence(plan, tally)
    return {"share": share(tally).value, "units": tally.units, "evidence": found}


def _challenger(place: Place, version: str | None) -> Release:
    found = place.ledger.release(version) if version else place.ledger.staged()
    if found is None:
        raise LedgerError(
            f"{place.product.key}: no release is staged; name one with --version "
            f"(`assay versions {place.product.key}` lists them)"
        )
    return found


def _due(place: Place) -> Release | None:
    """A planned rollout's challenger, while gateways live."""
    planned = _planned(place.product, place.home)
    return planned if planned and gateway_store.instances(place.home) else None


def _planned(product: ModelProduct, home: Home) -> Release | None:
    """The staged release whose product plans a rollout that never began."""
    if product.serving.rollout is None:
        return None
    ledger = Ledger(home.ledger(product))
    staged, entries = ledger.staged(), ledger.entries()
    tried = {str(e.body["challenger"]) for e in entries if e.kind == "rollout_step"}
    return staged if staged and staged.version not in tried else None


def _moved(place: Place, step: RolloutStep) -> str | None:
    current = place.ledger.current()
    found = current.version if current else "nothing"
    return None if found == step.champion else f"champion changed: {found} is current by now"


def _under_way(place: Place) -> RolloutStep:
    step = place.ledger.rollout_step()
    if step is None or _over(place, step):
        raise LedgerError(f"{place.product.key}: no rollout is under way")
    return step


def _over(place: Place, step: RolloutStep) -> bool:
    return rollout_journal.is_over(place.home, place.product, step.rollout_id)


def _identity(place: Place) -> str:
    """``r<YYYYMMDD_HHMMSS>`` (UTC), later than every one before."""
    name, last = f"{place.ledger.now():{_NAME}}", place.ledger.rollout_step()
    if last is None or name > last.rollout_id:
        return name
    before = datetime.strptime(last.rollout_id, _NAME).replace(tzinfo=UTC)
    return f"{before + timedelta(seconds=1):{_NAME}}"


def _report(place: Place, step: RolloutStep) -> None:
    """A page that cannot be drawn must not keep a challenger's traffic."""
    try:
        write_report(place.product, place.home, step.rollout_id)
    except Exception:
        logger.exception("the report of %s was not written", step.rollout_id)
