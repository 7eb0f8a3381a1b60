"""What Dagster's daemon leaves behind: ticks, heartbeats, times of evaluations.

Readers turn the instance into plain values, pure functions judge those. Nothing is kept here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, NamedTuple

import dagster as dg

from models.contracts.incidents import AlertKind, Observation
from models.contracts.product import Cadence, ModelProduct
from orchestration.watch_events import cause

if TYPE_CHECKING:
    from dagster._core.definitions.repository_definition import RepositoryDefinition
    from dagster._core.scheduler.instigation import InstigatorState
    from pydantic import JsonValue

#: A heartbeat comes every 30 s. After three missing ones no sensor is called silent, because the
#: daemon may be down; after ten it is.
DOUBT_SECONDS, DAEMON_SECONDS = 90.0, 300.0
SCHEDULE_SECONDS = 600.0
SENSOR_INTERVALS, SENSOR_SECONDS = 3.0, 60.0
#: Days between two evaluations by cadence, and how much later one may come.
CADENCE_DAYS: dict[Cadence, float] = {"daily": 1, "weekly": 7, "monthly": 31}
GRACE_DAYS = 1.0
_LONGEST = 4_000


class Instigator(NamedTuple):
    """A sensor or schedule as the code declares it."""

    name: str
    kind: Literal["sensor", "schedule"]
    running: bool
    interval_s: float = 30.0
    cron: str | Sequence[str] = ""


class Pulse(NamedTuple):
    """An instigator that should tick, and its last signs of life (seconds since 1970).

    Attributes:
        started: When the daemon first took it up, or a person switched it on.
        ticked: Begin of its newest tick.
        failed: Error of its newest finished tick, its cause in the first line; None when that
            was fine.
    """

    of: Instigator
    started: float = 0.0
    ticked: float = 0.0
    failed: str | None = None


def read_pulses(
    instance: dg.DagsterInstance, declared: Sequence[Instigator] | None
) -> tuple[Pulse, ...]:
    """Every instigator that should tick.

    Args:
        instance: Where the daemon records states and ticks.
        declared: What the code declares; None when it cannot be loaded: then all that the daemon
            ever took up.
    """
    states: dict[str, list[InstigatorState]] = {}
    for state in instance.all_instigator_state():
        states.setdefault(state.instigator_name, []).append(state)
    if declared is None:
        declared = [_remembered(found[-1]) for found in states.values()]
    pulses = (_pulse(instance, one, states.get(one.name, ())) for one in declared)
    return tuple(pulse for pulse in pulses if pulse)


def declared_in(repository: RepositoryDefinition) -> tuple[Instigator, ...]:
    """Sensors and schedules of a code location."""
    sensors = [
        Instigator(
            name=one.name,
            kind="sensor",
            running=one.default_status == dg.DefaultSensorStatus.RUNNING,
            interval_s=float(one.minimum_interval_seconds or 30),
        )
        for one in repository.sensor_defs
    ]
    schedules = [
        Instigator(
            name=one.name,
            kind="schedule",
            running=one.default_status == dg.DefaultScheduleStatus.RUNNING,
            cron=one.cron_schedule,
        )
        for one in repository.schedule_defs
    ]
    return (*sensors, *schedules)


def judge_pulse(pulse: Pulse, now: datetime, since: datetime) -> tuple[Observation, ...]:
    """Whether an instigator fails or is silent.

    Args:
        pulse: Its signs of life.
        now: The clock.
        since: Nobody can be accused of silence before: nobody watched, or the daemon was down.
    """
    seen = []
    if pulse.failed is not None:
        kind: AlertKind = "sensor_failed" if pulse.of.kind == "sensor" else "schedule_failed"
        message = f"its last tick failed: {pulse.failed.splitlines()[0][:300]}"
        seen.append(
            Observation(
                kind=kind, subject=pulse.of.name, message=message,
                evidence={"error": pulse.failed[:_LONGEST], "last tick": _when(pulse.ticked)},
            )
        )  # fmt: skip
    silence = _silence(pulse, now.timestamp(), since.timestamp())
    if silence:
        kind = "sensor_silent" if pulse.of.kind == "sensor" else "schedule_silent"
        seen.append(
            Observation(
                kind=kind, subject=pulse.of.name, message=silence,
                evidence={"last tick": _when(pulse.ticked), "taken up": _when(pulse.started)},
            )
        )  # fmt: skip
    return tuple(seen)


def daemons_late(instance: dg.DagsterInstance, now: datetime, since: datetime) -> dict[str, float]:
    """Required parts of the daemon that are in doubt, with the seconds since their last sign.

    None where no daemon ever ran.

    A sign from the future (the clock went back) is no sign: the silence counts from ``since``.
    """
    beats = {name: beat.timestamp for name, beat in instance.get_daemon_heartbeats().items()}
    if not beats:
        return {}
    at, begun = now.timestamp(), since.timestamp()
    required = instance.get_required_daemon_types()
    ages = {name: at - _past(beats.get(name, 0.0), at, begun) for name in required}
    return {name: age for name, age in sorted(ages.items()) if age > DOUBT_SECONDS}


def judge_daemons(late: Mapping[str, float]) -> tuple[Observation, ...]:
    """One incident however many parts are down: they share a process."""
    down = {name: round(age) for name, age in late.items() if age > DAEMON_SECONDS}
    if not down:
        return ()
    message = f"no sign of life for {max(down.values())} s from: {', '.join(down)}"
    evidence: dict[str, JsonValue] = {f"seconds without {name}": age for name, age in down.items()}
    return (
        Observation(
            kind="daemon_down", subject="dagster-daemon", message=message, evidence=evidence
        ),
    )


def evaluated_at(instance: dg.DagsterInstance, product: ModelProduct) -> float | None:
    """When the product's evaluation was last materialised (seconds since 1970)."""
    event = instance.get_latest_materialization_event(
        dg.AssetKey([product.domain, product.name, "evaluation"])
    )
    return event.timestamp if event else None


def judge_freshness(
    product: ModelProduct, evaluated: float | None, now: datetime, first_watched: datetime
) -> Observation | None:
    """Whether a product is overdue; one never evaluated counts from when the watch began."""
    days = CADENCE_DAYS[product.cadence] + GRACE_DAYS
    last = evaluated if evaluated is not None else first_watched.timestamp()
    if now.timestamp() - last <= days * 86_400:
        return None
    when = _when(evaluated) if evaluated is not None else "never"
    return Observation(
        kind="product_stale",
        subject=product.key,
        message=f"a {product.cadence} product, last evaluated: {when}; due within {days:.0f} days",
        owner=product.owner,
        product=product.key,
        evidence={"last evaluated": when, "cadence": product.cadence},
    )


def _remembered(state: InstigatorState) -> Instigator:
    from dagster._core.scheduler.instigation import ScheduleInstigatorData

    data = state.instigator_data
    if isinstance(data, ScheduleInstigatorData):
        return Instigator(state.instigator_name, "schedule", True, cron=data.cron_schedule)
    interval = float(getattr(data, "min_interval", None) or 30)
    return Instigator(state.instigator_name, "sensor", True, interval)


def _pulse(
    instance: dg.DagsterInstance, of: Instigator, states: Sequence[InstigatorState]
) -> Pulse | None:
    """None for one that is switched off."""
    from dagster._core.scheduler.instigation import InstigatorStatus, TickStatus

    if not states:
        return Pulse(of) if of.running else None
    by_hand = {s.status for s in states}
    if InstigatorStatus.RUNNING not in by_hand and (
        InstigatorStatus.STOPPED in by_hand or not of.running
    ):
        return None
    ticks = [
        tick
        for state in states
        for tick in instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=2)
    ]
    ticks.sort(key=lambda tick: tick.timestamp, reverse=True)
    finished = [tick for tick in ticks if tick.status != TickStatus.STARTED]
    failed = None
    if finished and finished[0].status == TickStatus.FAILURE:
        error = finished[0].error
        failed = f"{cause(error)}\n{error.to_string()}" if error else "no error was recorded"
    return Pulse(
        of,
        started=max(_started(state) for state in states),
        ticked=ticks[0].timestamp if ticks else 0.0,
        failed=failed,
    )


def _started(state: InstigatorState) -> float:
    data = state.instigator_data
    names = ("last_sensor_start_timestamp", "start_timestamp")
    return max(float(getattr(data, name, None) or 0.0) for name in names)


def _silence(pulse: Pulse, now: float, since: float) -> str | None:
    """Why it counts as silent; None while it does not."""
    if pulse.of.kind == "sensor":
        allowed = SENSOR_INTERVALS * pulse.of.interval_s + SENSOR_SECONDS
        last = max(_past(pulse.ticked, now, since), _past(pulse.started, now, since))
        if now - last <= allowed:
            return None
        return f"no tick for {now - last:.0f} s; it should tick every {pulse.of.interval_s:.0f} s"
    due = _last_due(pulse.of.cron, now - SCHEDULE_SECONDS)
    if due <= max(_past(pulse.started, now, since), since) or pulse.ticked >= due:
        return None
    return f"it was due at {_when(due)} and made no tick"


def _last_due(cron: str | Sequence[str], before: float) -> float:
    from dagster._utils.schedules import schedule_execution_time_iterator

    return next(schedule_execution_time_iterator(before, cron, "UTC", ascending=False)).timestamp()


def _past(at: float, now: float, since: float) -> float:
    """A sign of life, at the earliest ``since``; one from the future is none."""
    return max(at if at <= now else 0.0, since)


def _when(at: float | None) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC" if at else "never"
