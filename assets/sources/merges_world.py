"""The world behind the generated merges: who works on what, how, and the law of a conflict.

Six tenants number their people and files from zero (the same ids mean different people). A person
has a latent carelessness, a file a latent hotness; neither is in the table, only histories reveal
them. ``Habits`` say how people work; a chapter may change them (``assets.sources.merges_generator``
turns all of this into rows with times, ids and outcomes). Nothing here reads a file or a clock.
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
BUTTON_SHARE = 0.25
#: A code generator's change has so many times the lines of a person's.
GENERATED_LINES = 200


class Habits(NamedTuple):
    """How people work. The defaults are those of the first rows; factors act on their means."""

    files: float = 1.0  # factor: files changed besides the overlapping ones
    commits: float = 1.0  # factor: commits besides one per editor
    edits: float = 1.0  # factor: how often the touched files are edited
    freshness: float = 1.0  # factor: how close the newest commits are to the merge
    generated: float = 0.0  # share of merges whose overlapping files a code generator rewrote
    lawless: bool = False  # with an overlapping file, a conflict is a coin flip


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
    generated: NDArray[np.bool_]  # a code generator rewrote the overlapping files


def conflict_probability(facts: Facts) -> Floats:
    """The law: probability that a merge conflicts, shape (n,).

    Without an overlapping file a conflict is nearly impossible. With one, careless people, a hot
    file and many changed lines on BOTH sides add up; and a stale branch is dangerous when many
    people worked on it but safe when few did, a fresh one the other way round, which no weighted
    sum of the columns can express. Generated code is written anew instead of merged: its many lines
    make no danger, and age and crowd act the other way round.
    """
    stale = np.tanh(4 * (np.log(facts.hours) - np.log(48.0)))
    crowded = np.where(facts.editors >= 4, 1.0, -1.0)
    crossed = np.where(facts.generated, -1.4, 1.4) * stale * crowded
    both_sides = np.minimum(np.log1p(facts.lines_ours), np.log1p(facts.lines_theirs))
    log_odds = (
        facts.bias
        + crossed
        + 1.0 * facts.merger_carelessness
        + 1.3 * facts.editors_carelessness
        + 0.9 * facts.hotness
        + np.where(facts.generated, -2.5, 0.8 * (both_sides - 2.5))
        + 1.0 * np.where(facts.directory_overlap > 0.4, 1.0, -0.5)
    )
    log_odds = np.where(facts.overlap > 0, log_odds, -5.5)
    probability: Floats = 1 / (1 + np.exp(-log_odds))
    return probability


def given_no_button(probability: Floats) -> Floats:
    """The law among merges made without the button, which takes a share of the peaceful ones."""
    peaceful = (1 - probability) * (1 - BUTTON_SHARE)
    return probability / (probability + peaceful)


class Population:
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


class World(NamedTuple):
    """Who works on what: the first draws of a seed, the same for every chapter of it."""

    people: Population
    files: Population

    @classmethod
    def of(cls, rng: Rng) -> World:
        """The world of a fresh stream."""
        return cls(Population(rng, PEOPLE), Population(rng, FILES))


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


def touch(
    rng: Rng, tenant: Ints, merger: Ints, world: World, habits: Habits
) -> tuple[Columns, Facts]:
    """The touched columns of the table, and the law's view of them."""
    rows, (people, files) = len(tenant), world
    # a stream of its own: what a later chapter draws besides must not change the first rows
    generated = rng.spawn(1)[0].random(rows) < habits.generated
    hours = np.clip(rng.lognormal(np.log(48.0), 1.3, rows), 0.05, 5000)
    editors, sides = _editors(rng, tenant, merger, hours, people)
    overlap, sizes = _overlap(rng, tenant, files, habits)
    n_overlap = overlap.sizes()
    lines = [np.where(n_overlap > 0, np.ceil(rng.lognormal(3, 1.3, rows)), 0.0) for _ in range(2)]
    lines = [np.where(generated, GENERATED_LINES * side, side) for side in lines]
    share = n_overlap / np.minimum(*sizes.values())
    directories = np.clip(rng.beta(1, 3, rows) + 0.5 * share * rng.random(rows), 0, 1)
    place = tenant[overlap.event], overlap.member
    edits = rng.poisson(300 * files.share[place]).astype(float)
    busiest = overlap.reduce(np.maximum, edits)
    touched = {
        "concurrent_editors": editors.sizes(), **sides,
        "commits_ours": sides["editors_ours"] + rng.poisson(habits.commits * hours / 24),
        "commits_theirs": sides["editors_theirs"] + rng.poisson(habits.commits * 2.0, rows),
        **sizes, "files_overlap": n_overlap,
        "merge_bases": 1 + (rng.random(rows) < 0.01),
        "overlap_edits_sum": overlap.reduce(np.add, edits).astype(np.int64),
        "overlap_edits_max": busiest.astype(np.int64),
        "directory_overlap_score": directories,
        "hours_since_tip_ours": _since_tip(rng, hours, 4 * habits.freshness),
        "hours_since_tip_theirs": _since_tip(rng, hours, 3 * habits.freshness),
        "theirs_edit_frequency": rng.gamma(2, 4 * habits.edits, rows),
        "entity_edit_frequency": rng.gamma(2, 2 * habits.edits, rows) + busiest / 4,
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
        generated=generated,
    )  # fmt: skip
    return touched, facts


def _since_tip(rng: Rng, hours: Floats, freshness: float) -> Floats:
    """Hours since a side's newest commit; an hour ahead where a clock was wrong."""
    since: Floats = hours * rng.beta(1, freshness, len(hours)) - (rng.random(len(hours)) < 0.01)
    return since


def _editors(
    rng: Rng, tenant: Ints, merger: Ints, hours: Floats, people: Population
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


def _overlap(rng: Rng, tenant: Ints, files: Population, habits: Habits) -> tuple[_Members, Columns]:
    """Files changed on both sides, and how many each side changed."""
    rows = len(tenant)
    drawn = np.where(rng.random(rows) < 0.58, rng.geometric(0.45, rows), 0)
    event = np.repeat(np.arange(rows), drawn)
    overlap = _members(rows, event, files.draw(rng, tenant[event]), FILES)
    size = {
        side: np.maximum(overlap.sizes(), 1) + rng.negative_binomial(1, 1 / mean, rows)
        for side, mean in (("files_ours", 14 * habits.files), ("files_theirs", 6 * habits.files))
    }
    return overlap, size
