"""Every detector of the watch: what it reads, whom it asks, what it concludes for one sweep.

One small function each; the judging is in ``watch_events``, ``watch_ticks`` and ``watch_home``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import dagster as dg

from assets.stages.approval import newest_approval
from models.contracts.incidents import AlertKind, Observation
from models.contracts.product import ModelProduct
from orchestration import watch_events, watch_home, watch_ticks
from orchestration.settings import Settings
from orchestration.watch_events import Over
from orchestration.watch_ticks import Instigator
from stores import rollout_journal
from stores.ledger import Entry, Ledger, LedgerError

logger = logging.getLogger("assay.watch")
#: Longer than this between two sweeps, nobody watched: what was silent meanwhile is not accused.
_GAP = timedelta(minutes=10)


class View(NamedTuple):
    """What the detectors look at.

    Attributes:
        declared: Sensors and schedules of the code; None when it cannot be loaded.
        marks: Cursors of the last sweep.
        watched: Since when somebody watches without a gap.
        ticking: Since when, besides, the daemon gave signs of life.
        late: Parts of the daemon in doubt, with the seconds since their last sign; an error when
            that could not be read.
        ledgers: Product key to its entries, or to the error of a ledger that cannot be read.
    """

    settings: Settings
    instance: dg.DagsterInstance
    declared: Sequence[Instigator] | None
    products: Sequence[ModelProduct]
    now: datetime
    marks: Mapping[str, str]
    watched: datetime
    ticking: datetime
    late: Mapping[str, float] | Exception
    ledgers: Mapping[str, tuple[Entry, ...] | Exception]


class Found(NamedTuple):
    """What one detector saw.

    Attributes:
        acts: In their order.
        states: Kinds of which everything that holds is in ``acts``: the rest is over.
        marks: Cursors to keep.
    """

    acts: Sequence[Observation | Over]
    states: tuple[AlertKind, ...] = ()
    marks: Mapping[str, str] = {}


def look(
    settings: Settings,
    instance: dg.DagsterInstance,
    declared: Sequence[Instigator] | None,
    now: datetime,
    *,
    marks: Mapping[str, str],
    products: Sequence[ModelProduct],
) -> View:
    """Read what several detectors need, once.

    Args:
        settings: Where everything is.
        instance: Dagster's records.
        declared: Sensors and schedules of the code; None when unknown.
        now: The clock.
        marks: Kept by the last sweep.
        products: What to watch.
    """
    watched = since(marks, "watched", now)
    late = _late(instance, now, watched)
    doubted = bool(marks.get("doubted"))  # a daemon that is back gets time for its first ticks
    return View(
        settings=settings,
        instance=instance,
        declared=declared,
        products=products,
        now=now,
        marks=marks,
        watched=watched,
        ticking=now if late or doubted else max(watched, since(marks, "ticking", now)),
        late=late,
        ledgers={p.key: _entries(settings, p) for p in products},
    )


def since(marks: Mapping[str, str], name: str, now: datetime) -> datetime:
    """A kept time, or now after a gap in the watch or a clock that went back."""
    if "swept" not in marks:
        return now
    swept = datetime.fromisoformat(marks["swept"])
    unbroken = swept <= now <= swept + _GAP
    return datetime.fromisoformat(marks[name]) if unbroken else now


def times(view: View) -> dict[str, str]:
    """The times to keep for the next sweep."""
    kept = {"swept": view.now, "watched": view.watched, "ticking": view.ticking}
    first = view.marks.get("first", view.now.isoformat())
    doubted = "yes" if view.late else ""
    return {name: at.isoformat() for name, at in kept.items()} | {
        "first": first,
        "doubted": doubted,
    }


def detect(view: View) -> list[Found]:
    """Every detector; one that raises is itself an incident, and the others go on."""
    found, broken = [], []
    for detector in DETECTORS:
        try:
            found.append(detector(view))
        except Exception as error:
            logger.exception("%s raised", detector.__name__)
            name = detector.__name__.strip("_")
            told = f"{name}: {type(error).__name__}: {error}"
            broken.append(Observation(kind="watch_failed", subject=name, message=told[:1_000]))
    return [*found, Found(broken, states=("watch_failed",))]


def _entries(settings: Settings, product: ModelProduct) -> tuple[Entry, ...] | Exception:
    try:
        return Ledger(settings.home_paths().ledger(product)).entries()
    except (LedgerError, OSError) as error:
        return error


def _events(view: View) -> Found:
    cursor = view.marks.get("events")
    news = watch_events.read_news(
        view.instance, int(cursor) if cursor else None, view.now, view.products
    )
    return Found(news.acts, marks={"events": str(news.cursor)})


def _ticks(view: View) -> Found:
    """With the daemon in doubt every instigator is silent: that is told as one incident."""
    if view.late:
        return Found(())
    pulses = watch_ticks.read_pulses(view.instance, view.declared)
    seen = [s for p in pulses for s in watch_ticks.judge_pulse(p, view.now, view.ticking)]
    return Found(
        seen, states=("sensor_failed", "sensor_silent", "schedule_failed", "schedule_silent")
    )


def _late(
    instance: dg.DagsterInstance, now: datetime, watched: datetime
) -> Mapping[str, float] | Exception:
    """Kept as an error here, raised by the detector: one part must not stop the others."""
    try:
        return watch_ticks.daemons_late(instance, now, watched)
    except Exception as error:
        logger.exception("the daemon's heartbeats cannot be read")
        return error


def _daemons(view: View) -> Found:
    if isinstance(view.late, Exception):
        raise view.late
    return Found(watch_ticks.judge_daemons(view.late), states=("daemon_down",))


def _freshness(view: View) -> Found:
    first = datetime.fromisoformat(view.marks.get("first", view.now.isoformat()))
    seen = (
        watch_ticks.judge_freshness(p, watch_ticks.evaluated_at(view.instance, p), view.now, first)
        for p in view.products
    )
    return Found([one for one in seen if one], states=("product_stale",))


def _ledgers(view: View) -> Found:
    home = view.settings.home_paths()
    acts: list[Observation] = []
    marks = {}
    for product in view.products:
        entries, name = view.ledgers[product.key], f"ledger:{product.key}"
        if isinstance(entries, Exception):
            acts.append(watch_home.judge_broken(product, home.ledger(product), str(entries)))
            continue
        first_look = view.now - watch_events.FIRST_LOOK
        cursor = int(view.marks[name]) if name in view.marks else None
        news = watch_home.judge_ledger(product, entries, cursor, first_look)
        ledger = Ledger(home.ledger(product), lambda: view.now)
        asked = newest_approval(product, ledger, home.latest(product, "evaluation"))
        waiting = watch_home.judge_approval(product, asked)
        acts += [*news.seen, *([waiting] if waiting else [])]
        marks[name] = str(news.cursor)
    return Found(acts, ("ledger_broken", "approval_pending", "approval_expired"), marks)


def _services(view: View) -> Found:
    from orchestration.resources import build_deployer

    home = view.settings.home_paths()
    seen = []
    for product in view.products:
        entries = view.ledgers[product.key]
        if isinstance(entries, Exception):
            continue
        version = Ledger(home.ledger(product)).rolled_out()
        if version is None or home.stopped_mark(product).exists():
            continue
        record = build_deployer(view.settings).current(product)
        problem = watch_home.answers(record) if record else None
        logs = home.root / "services" / product.slug
        seen.append(watch_home.judge_service(product, version, record, problem, logs))
    return Found([one for one in seen if one], states=("service_down",))


def _rollouts(view: View) -> Found:
    home = view.settings.home_paths()
    seen = []
    for product in view.products:
        if isinstance(view.ledgers[product.key], Exception):
            continue
        step = Ledger(home.ledger(product)).rollout_step()
        under_way = step is not None and not rollout_journal.is_over(home, product, step.rollout_id)
        looked = rollout_journal.looked_at(home, product, step.rollout_id) if step else None
        seen.append(
            watch_home.judge_rollout(product, step if under_way else None, looked, view.now)
        )
    return Found([one for one in seen if one], states=("rollout_stuck",))


def _spools(view: View) -> Found:
    home, bound = view.settings.home_paths(), view.settings.spool_mb
    seen = [
        watch_home.judge_spool(p, watch_home.size_of(home.spool(p)), bound) for p in view.products
    ]
    damaged = home.root / "quarantine" / "spool"
    seen += [watch_home.judge_quarantine(p, damaged / p.slug) for p in view.products]
    return Found([one for one in seen if one], states=("spool_filling", "spool_damaged"))


DETECTORS: tuple[Callable[[View], Found], ...] = (
    _events,
    _ticks,
    _daemons,
    _freshness,
    _ledgers,
    _services,
    _rollouts,
    _spools,
)
