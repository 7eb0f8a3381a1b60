"""Seeded raw edit events with a known conflict law: the origin when there is no mirror.

Six tenants number their people and files from zero (the same ids mean different people). A person
has a latent carelessness, a file a latent hotness; neither is in the table, only histories reveal
them. A conflict is drawn from ``conflict_probability``, so the best possible score is known. Merges
by the button are a selected population: the button refuses a merge that would conflict.

An outcome becomes known minutes to two days later; some first reports are wrong and are corrected
days later by a new version of the row. Nothing here reads a file, and no figure is real.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Columns = dict[str, Any]  # name to an array over merges or versions
Rng = np.random.Generator

TENANTS = ("aster", "birch", "cedar", "dahlia", "elm", "fern")
SHARES = (0.30, 0.22, 0.18, 0.14, 0.10, 0.06)
PEOPLE, FILES = 40, 120
START_US = 1_704_067_200_000_000  # 2024-01-01 UTC
BUTTON_SHARE, CORRECTED_SHARE, TIED_SHARE = 0.25, 0.02, 0.01
HOUR_S = 3600


class Facts(NamedTuple):
    """What the law looks at, one entry per merge, each of shape (n,)."""

    bias: Floats  # the tenant's own log-odds
    overlap: Ints  # files changed on both sides
    hours: Floats  # since the last common sync
    editors: Ints  # distinct people on both sides
    merger_carelessness: Floats  # latent, standard normal over people
    editors_carelessness: Floats  # its mean over the people on both sides
    hotness: Floats  # latent of the hottest overlapping file, standard normal over files
    lines_ours: Floats  # changed in the overlapping files
    lines_theirs: Floats
    directory_overlap: Floats  # Jaccard, 0 to 1


class Simulation(NamedTuple):
    """A generated table and the truth behind it."""

    table: pa.Table  # every version, in the order they became known
    event_ids: list[str]  # one per merge
    probability: Floats  # the law's conflict probability of each of them


def conflict_probability(facts: Facts) -> Floats:
    """The law: probability that a merge conflicts, shape (n,).

    Without an overlapping file a conflict is nearly impossible. With one, careless people, a hot
    file and many changed lines on BOTH sides add up; and a stale branch is dangerous when many
    people worked on it but safe when few did, a fresh one the other way round, which no weighted
    sum of the columns can express.
    """
    stale = np.tanh(4 * (np.log(facts.hours) - np.log(48.0)))
    crowded = np.where(facts.editors >= 4, 1.0, -1.0)
    both_sides = np.minimum(np.log1p(facts.lines_ours), np.log1p(facts.lines_theirs))
    log_odds = (
        facts.bias
        + 1.4 * stale * crowded
        + 1.0 * facts.merger_carelessness
        + 1.3 * facts.editors_carelessness
        + 0.9 * facts.hotness
        + 0.8 * (both_sides - 2.5)
        + 1.0 * np.where(facts.directory_overlap > 0.4, 1.0, -0.5)
    )
    log_odds = np.where(facts.overlap > 0, log_odds, -5.5)
    probability: Floats = 1 / (1 + np.exp(-log_odds))
    return probability


def given_no_button(probability: Floats) -> Floats:
    """The law among merges made without the button, which takes a share of the peaceful ones."""
    peaceful = (1 - probability) * (1 - BUTTON_SHARE)
    return probability / (probability + peaceful)


def generate(seed: int = 0, rows: int = 12_000) -> pa.Table:
    """Raw events with the schema of ``assets.sources.merges``, in the order they became known.

    Args:
        seed: Same seed, same table.
        rows: Merges; corrections add about 2 % further rows.
    """
    return simulate(seed, rows).table


def simulate(seed: int = 0, rows: int = 12_000) -> Simulation:
    """``generate`` with the truth beside it.

    Raises:
        ValueError: ``rows`` is not positive.
    """
    if rows < 1:
        raise ValueError(f"rows must be at least 1, got {rows}")
    rng = np.random.default_rng(seed)
    people, files = _Population(rng, PEOPLE), _Population(rng, FILES)
    tenant, merger, moment_s = _askings(rng, rows, people)
    touched, facts = _touch(rng, tenant, merger, people, files)
    probability = conflict_probability(facts)
    conflict = rng.random(rows) < probability
    button = (rng.random(rows) < BUTTON_SHARE) & ~conflict
    ids = _event_ids(tenant, seed)
    base_s = moment_s - (facts.hours * HOUR_S).astype(np.int64)
    events = {
        "event_id": np.array(ids), "tenant": np.array(TENANTS)[tenant],
        "event_time": START_US + moment_s * 1_000_000, "base_time": START_US + base_s * 1_000_000,
        "merger_id": merger, "via_button": button, **touched,
    }  # fmt: skip
    versions = _versions(rng, events, conflict)
    return Simulation(_table(events, versions), ids, probability)


class _Population:
    """Per tenant: how often each member is drawn (Zipf) and its latent, both (tenants, size)."""

    def __init__(self, rng: Rng, size: int) -> None:
        weights = 1 / np.arange(1, size + 1) ** 0.8
        self.size = size
        self.share = rng.permuted(np.tile(weights / weights.sum(), (len(TENANTS), 1)), axis=1)
        self.latent = rng.standard_normal((len(TENANTS), size))
        # one ladder over all tenants: rung t + u is tenant t's member at quantile u
        self._ladder = (self.share.cumsum(axis=1) + np.arange(len(TENANTS))[:, None]).ravel()

    def draw(self, rng: Rng, tenant: Ints) -> Ints:
        """One member of each tenant in ``tenant``, same shape."""
        rung = np.searchsorted(self._ladder, tenant + rng.random(tenant.shape))
        member: Ints = np.minimum(rung - tenant * self.size, self.size - 1)
        return member


class _Members(NamedTuple):
    """Ragged sets: ``member[j]`` belongs to merge ``event[j]``; every one of ``rows`` has a set."""

    rows: int
    event: Ints
    member: Ints

    def sizes(self) -> Ints:
        return np.bincount(self.event, minlength=self.rows)

    def lists(self) -> pa.Array:
        import pyarrow as pa

        offsets = np.concatenate([[0], np.cumsum(self.sizes())]).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), pa.array(self.member))

    def reduce(self, function: np.ufunc, values: Floats) -> Floats:
        """``function`` over the values of each set; 0 for an empty one."""
        out = np.zeros(self.rows)
        present, starts = np.unique(self.event, return_index=True)
        if len(present):
            out[present] = function.reduceat(values, starts)
        return out


def _members(rows: int, event: Ints, member: Ints, size: int) -> _Members:
    """Distinct members per merge, ordered."""
    keys = np.unique(event * size + member)
    return _Members(rows, keys // size, keys % size)


def _askings(rng: Rng, rows: int, people: _Population) -> tuple[Ints, Ints, Ints]:
    """Tenant, merging person and second of each merge; some are made together, in one second."""
    tenant = rng.choice(len(TENANTS), rows, p=SHARES).astype(np.int64)
    merger = people.draw(rng, tenant)
    moment_s = np.sort(rng.integers(0, max(rows, 24) * HOUR_S, rows))
    tied = 1 + np.flatnonzero(rng.random(rows - 1) < TIED_SHARE)
    for column in (tenant, merger, moment_s):
        column[tied] = column[tied - 1]
    return tenant, merger, moment_s


def _touch(
    rng: Rng, tenant: Ints, merger: Ints, people: _Population, files: _Population
) -> tuple[Columns, Facts]:
    """The touched columns of the table, and the law's view of them."""
    rows = len(tenant)
    hours = np.clip(rng.lognormal(np.log(48.0), 1.3, rows), 0.05, 5000)
    editors, sides = _editors(rng, tenant, merger, hours, people)
    overlap, sizes = _overlap(rng, tenant, files)
    n_overlap = overlap.sizes()
    lines = [np.where(n_overlap > 0, np.ceil(rng.lognormal(3, 1.3, rows)), 0.0) for _ in range(2)]
    share = n_overlap / np.minimum(*sizes.values())
    directories = np.clip(rng.beta(1, 3, rows) + 0.5 * share * rng.random(rows), 0, 1)
    place = tenant[overlap.event], overlap.member
    edits = rng.poisson(300 * files.share[place]).astype(float)
    busiest = overlap.reduce(np.maximum, edits)
    touched = {
        "concurrent_editors": editors.sizes(), **sides,
        "commits_ours": sides["editors_ours"] + rng.poisson(hours / 24),
        "commits_theirs": sides["editors_theirs"] + rng.poisson(2.0, rows),
        **sizes, "files_overlap": n_overlap,
        "merge_bases": 1 + (rng.random(rows) < 0.01),
        "overlap_edits_sum": overlap.reduce(np.add, edits).astype(np.int64),
        "overlap_edits_max": busiest.astype(np.int64),
        "directory_overlap_score": directories,
        "hours_since_tip_ours": hours * rng.beta(1, 4, rows) - (rng.random(rows) < 0.01),
        "hours_since_tip_theirs": hours * rng.beta(1, 3, rows) - (rng.random(rows) < 0.01),
        "theirs_edit_frequency": rng.gamma(2, 4, rows),
        "entity_edit_frequency": rng.gamma(2, 2, rows) + busiest / 4,
        "lines_overlap_ours": lines[0], "lines_overlap_theirs": lines[1],
        "editor_ids": editors.lists(), "overlap_file_ids": overlap.lists(),
    }  # fmt: skip
    careless = people.latent[tenant[editors.event], editors.member]
    facts = Facts(
        bias=np.linspace(-1.9, 0.0, len(TENANTS))[tenant],
        overlap=n_overlap, hours=hours, editors=editors.sizes(),
        merger_carelessness=people.latent[tenant, merger],
        editors_carelessness=editors.reduce(np.add, careless) / editors.sizes(),
        hotness=overlap.reduce(np.maximum, files.latent[place]),
        lines_ours=lines[0], lines_theirs=lines[1], directory_overlap=directories,
    )  # fmt: skip
    return touched, facts


def _editors(
    rng: Rng, tenant: Ints, merger: Ints, hours: Floats, people: _Population
) -> tuple[_Members, Columns]:
    """People on either side and the counts per side; the merging person is one of ours."""
    rows = len(tenant)

    def side(first: Ints, mean: Floats) -> _Members:
        event = np.repeat(np.arange(rows), np.minimum(rng.poisson(mean), 12))
        others = people.draw(rng, tenant[event])
        return _members(rows, np.r_[np.arange(rows), event], np.r_[first, others], PEOPLE)

    our = side(merger, 0.6 + 0.35 * np.log1p(hours / 24))
    their = side(people.draw(rng, tenant), np.full(rows, 0.8))
    both = _members(rows, np.r_[our.event, their.event], np.r_[our.member, their.member], PEOPLE)
    counts = {"editors_ours": our.sizes(), "editors_theirs": their.sizes()}
    counts["editors_both_sides"] = sum(counts.values()) - both.sizes()
    return both, counts


def _overlap(rng: Rng, tenant: Ints, files: _Population) -> tuple[_Members, Columns]:
    """Files changed on both sides, and how many each side changed."""
    rows = len(tenant)
    drawn = np.where(rng.random(rows) < 0.58, rng.geometric(0.45, rows), 0)
    event = np.repeat(np.arange(rows), drawn)
    overlap = _members(rows, event, files.draw(rng, tenant[event]), FILES)
    size = {
        side: np.maximum(overlap.sizes(), 1) + rng.negative_binomial(1, 1 / mean, rows)
        for side, mean in (("files_ours", 14), ("files_theirs", 6))
    }
    return overlap, size


def _event_ids(tenant: Ints, seed: int) -> list[str]:
    """Distinct ids: an odd factor modulo a power of two never maps two numbers to one."""
    number = (np.arange(len(tenant)) + seed * 1_000_003) * 0x5DEECE66D % 2**48
    return [f"{TENANTS[t]}@{n:012x}" for t, n in zip(tenant, number.tolist(), strict=True)]


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
