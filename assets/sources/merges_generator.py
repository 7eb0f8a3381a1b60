"""Seeded raw merges with a known conflict law: the origin when there is no mirror.

``generate`` makes the first rows; a ``chapter`` goes on with the same people and files afterwards,
perhaps with other habits, so that monitoring and retraining can be shown where the truth is known.
A conflict is drawn from the law (``merges_world``), so the best possible score is known. Merges by
the button are a selected population: the button refuses a merge that would conflict.

An outcome becomes known minutes to two days later; some first reports are wrong and are corrected
days later by a new version of the row. Nothing here reads a file, and no figure is real.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from assets.sources import merges_world as world
from assets.sources.merges_world import Columns, Floats, Habits, Ints, Population, Rng, World

if TYPE_CHECKING:
    import pyarrow as pa

START_US = 1_704_067_200_000_000  # 2024-01-01 UTC
CORRECTED_SHARE, TIED_SHARE = 0.02, 0.01
HOUR_S = 3600
ROWS = 12_000

Drift = Literal["none", "harmless", "harmful", "noise"]
_SPLIT_UP = Habits(files=1.8, commits=2.0, edits=1.8, freshness=2.5)
#: ``harmless``: repositories are split into smaller files and people commit more often, which moves
#: many inputs and no danger. ``harmful``: besides, a code generator rewrites files, which nobody
#: saw before and the law judges otherwise. ``noise``: nothing tells conflicts apart any more.
HABITS = MappingProxyType[Drift, Habits](
    {
        "none": Habits(),
        "harmless": _SPLIT_UP,
        "harmful": _SPLIT_UP._replace(generated=0.6),
        "noise": _SPLIT_UP._replace(lawless=True),
    }
)


class Simulation(NamedTuple):
    """A generated table and the truth behind it."""

    table: pa.Table  # every version, in the order they became known
    event_ids: list[str]  # one per merge
    probability: Floats  # the law's conflict probability of each of them


def generate(seed: int = 0, rows: int = ROWS) -> pa.Table:
    """Raw events with the schema of ``assets.sources.merges``, in the order they became known.

    Args:
        seed: Same seed, same table.
        rows: Merges, about one per hour; corrections add about 2 % further rows.
    """
    return simulate(seed, rows).table


def simulate(seed: int = 0, rows: int = ROWS) -> Simulation:
    """``generate`` with the truth beside it.

    Raises:
        ValueError: ``rows`` is not positive.
    """
    rng = np.random.default_rng(seed)
    return _simulate(rng, World.of(rng), rows, Habits(), _Place(seed, 0))


def chapter(
    seed: int, number: int, rows: int, drift: Drift = "none", *, after: int = ROWS
) -> pa.Table:
    """Later rows of the world of ``generate(seed, after)``; its columns, new event ids.

    Args:
        seed: That of ``generate``: the same people and files with the same latents.
        number: Of the chapter, from 1; another number draws other merges.
        rows: Merges, about one per hour from hour ``after`` on.
        drift: What changed in the world (``HABITS``).
        after: Rows that came before: those of ``generate`` and of the chapters between.
    """
    return simulate_chapter(seed, number, rows, drift, after=after).table


def simulate_chapter(
    seed: int, number: int, rows: int, drift: Drift = "none", *, after: int = ROWS
) -> Simulation:
    """``chapter`` with the truth beside it.

    Raises:
        ValueError: ``rows`` or ``number`` is not positive.
    """
    if number < 1:
        raise ValueError(f"chapters are numbered from 1, got {number}; 0 is generate()")
    same = World.of(np.random.default_rng(seed))
    rng = np.random.default_rng([seed, number])
    return _simulate(rng, same, rows, HABITS[drift], _Place(seed, after))


class _Place(NamedTuple):
    """Where rows lie in the world's numbering; row n falls into about hour n."""

    seed: int
    after: int


def _simulate(rng: Rng, same: World, rows: int, habits: Habits, place: _Place) -> Simulation:
    if rows < 1:
        raise ValueError(f"rows must be at least 1, got {rows}")
    tenant, merger, moment_s = _askings(rng, rows, same.people)
    moment_s += place.after * HOUR_S
    touched, facts = world.touch(rng, tenant, merger, same, habits)
    probability = world.conflict_probability(facts)
    if habits.lawless:
        probability = np.where(facts.overlap > 0, 0.5, probability)
    conflict = rng.random(rows) < probability
    button = (rng.random(rows) < world.BUTTON_SHARE) & ~conflict
    ids = _event_ids(tenant, place)
    base_s = moment_s - (facts.hours * HOUR_S).astype(np.int64)
    events = {
        "event_id": np.array(ids), "tenant": np.array(world.TENANTS)[tenant],
        "event_time": START_US + moment_s * 1_000_000, "base_time": START_US + base_s * 1_000_000,
        "merger_id": merger, "via_button": button, **touched,
    }  # fmt: skip
    versions = _versions(rng, events, conflict)
    return Simulation(_table(events, versions), ids, probability)


def _askings(rng: Rng, rows: int, people: Population) -> tuple[Ints, Ints, Ints]:
    """Tenant, merging person and second of each merge; some are made together, in one second."""
    tenant = rng.choice(len(world.TENANTS), rows, p=world.SHARES).astype(np.int64)
    merger = people.draw(rng, tenant)
    moment_s = np.sort(rng.integers(0, max(rows, 24) * HOUR_S, rows))
    tied = 1 + np.flatnonzero(rng.random(rows - 1) < TIED_SHARE)
    for column in (tenant, merger, moment_s):
        column[tied] = column[tied - 1]
    return tenant, merger, moment_s


def _event_ids(tenant: Ints, place: _Place) -> list[str]:
    """Distinct ids: an odd factor modulo a power of two never maps two numbers to one."""
    number = (np.arange(len(tenant)) + place.after + place.seed * 1_000_003) * 0x5DEECE66D % 2**48
    return [f"{world.TENANTS[t]}@{n:012x}" for t, n in zip(tenant, number.tolist(), strict=True)]


def _versions(rng: Rng, events: Columns, conflict: NDArray[np.bool_]) -> Columns:
    """Index of the merge, outcome and time of each version, in the order they became known."""
    rows = len(conflict)
    delay_s = np.clip(rng.lognormal(np.log(2 * HOUR_S), 1.2, rows), 60, 48 * HOUR_S)
    known = events["event_time"] + delay_s.astype(np.int64) * 1_000_000
    wrong = np.flatnonzero(rng.random(rows) < CORRECTED_SHARE)
    later_s = np.clip(rng.lognormal(np.log(96 * HOUR_S), 0.8, len(wrong)), HOUR_S, 720 * HOUR_S)
    reported = conflict.copy()
    reported[wrong] = ~reported[wrong]
    merge = np.r_[np.arange(rows), wrong]
    known_at = np.r_[known, known[wrong] + later_s.astype(np.int64) * 1_000_000]
    outcome = np.r_[reported, conflict[wrong]]
    overlap = events["files_overlap"][merge]
    conflicted = np.where(outcome, 1 + rng.binomial(np.maximum(overlap - 1, 0), 0.4), 0)
    order = np.argsort(known_at, kind="stable")
    return {"merge": merge[order], "known_at": known_at[order], "conflict": outcome[order],
            "conflicted_files": conflicted[order]}  # fmt: skip


def _table(events: Columns, versions: Columns) -> pa.Table:
    import pyarrow as pa

    from assets.sources.merges import schema

    index = pa.array(versions["merge"])
    columns = []
    for field in schema():
        if field.name in versions:
            column = pa.array(versions[field.name])
        elif field.name in events:
            column = pa.array(events[field.name]).take(index)
        else:  # only the mirror reports histories of its own
            column = pa.nulls(len(index), field.type)
        columns.append(column.cast(field.type))
    return pa.Table.from_arrays(columns, schema=schema())
