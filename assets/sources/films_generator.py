"""Seeded ratings of a known world: the origin when there is neither mirror nor network.

People choose by what is known, what they like and what they saw last, and rate what they chose, so
a model that knows the person beats popularity, and one that knows the order beats one that does not
(`films_world` has the laws). Tastes drift, films and people arrive late: some are cold in any
holdout. Nothing here reads a file, and no figure is real.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from assets.sources import films_world as world
from assets.sources.films import TENANT, items_schema, ratings_schema
from assets.sources.films_world import Films, Floats, Ints, Rng

if TYPE_CHECKING:
    import pyarrow as pa

START_US = 1_704_067_200_000_000  # 2024-01-01 UTC
DAYS, DAY_US = 270, 86_400_000_000
ROWS = 12_000
#: Ratings per person and per film, on average.
PER_PERSON, PER_FILM = 20, 30
#: The ratings of one evening lie this far apart.
APART_US = 360_000_000


class _Drawn(NamedTuple):
    """Every rating, in the order of time; each of shape (n,)."""

    user: Ints
    item: Ints
    stars: Floats
    moment: Ints  # microseconds since 1970


def ratings(seed: int = 0, rows: int = ROWS) -> pa.Table:
    """Raw ratings with the schema of ``assets.sources.films``, in time order.

    Args:
        seed: Same seed, same table.
        rows: Ratings; people and films are as many as give each its usual number.

    Raises:
        ValueError: Fewer rows than make a world.
    """
    import pyarrow as pa

    drawn = _draw(seed, _films(seed, rows), rows)
    when = pa.array(drawn.moment).cast(pa.timestamp("us"))
    columns = {
        "event_id": [_event_id(seed, n) for n in range(len(drawn.user))],
        "tenant": [TENANT] * len(drawn.user),
        "user_id": [f"u{n:04d}" for n in drawn.user.tolist()],
        "item_id": [f"f{n:04d}" for n in drawn.item.tolist()],
        "rating": drawn.stars,
        "event_time": when,
        "known_at": when,
    }
    return pa.table(columns, schema=ratings_schema())


def items(seed: int = 0, rows: int = ROWS) -> pa.Table:
    """The films that ``ratings(seed, rows)`` is about, with the schema of the catalogue."""
    import pyarrow as pa

    made = _films(seed, rows)
    genres = list(world.GENRES)
    strongest = np.argsort(-made.genres, axis=1, kind="stable")
    tags = [[genres[g] for g in order[:3] if w[g] > 0.15]
            for order, w in zip(strongest, made.genres, strict=True)]  # fmt: skip
    moment = START_US + (made.enters * DAYS * DAY_US).astype(np.int64)
    columns = {
        "item_id": [f"f{n:04d}" for n in range(len(made.titles))],
        "tenant": [TENANT] * len(made.titles),
        "title": made.titles,
        "description": made.descriptions,
        "tags": [" ".join(named) for named in tags],
        "category": [genres[order[0]] for order in strongest],
        "known_at": pa.array(moment).cast(pa.timestamp("us")),
    }
    return pa.table(columns, schema=items_schema())


def _films(seed: int, rows: int) -> Films:
    if rows < 10 * PER_PERSON:
        raise ValueError(f"rows must be at least {10 * PER_PERSON}, got {rows}")
    return world.films(np.random.default_rng([seed, 1]), max(40, rows // PER_FILM))


def _draw(seed: int, known: Films, rows: int) -> _Drawn:
    """All people choose their first film, then all their second, and so on."""
    rng = np.random.default_rng([seed, 2])
    crowd = world.people(rng, rows // PER_PERSON, rows)
    amount = np.minimum(crowd.amount, len(known.titles) // 2)
    moments = _moments(rng, crowd.begins, amount)
    left = np.ones((len(amount), len(known.titles)), bool)
    last = np.full(len(amount), -1)
    steps = []
    for step in range(moments.shape[1]):
        user = np.flatnonzero(amount > step)
        part = moments[user, step]
        taste = crowd.taste[user] + part[:, None] * (crowd.later[user] - crowd.taste[user])
        there = left[user] & (known.enters <= part[:, None])
        chosen = world.choose(rng, known, taste, last[user], there)
        stars = world.rate(rng, known, crowd.kindness[user], taste, chosen)
        left[user, chosen], last[user] = False, chosen
        steps.append((user, chosen, stars, part))
    user, item, stars, part = (np.concatenate(column) for column in zip(*steps, strict=True))
    moment = START_US + (part * DAYS * DAY_US).astype(np.int64)
    order = np.lexsort((user, moment))
    return _Drawn(user[order], item[order], stars[order], moment[order])


def _moments(rng: Rng, begins: Floats, amount: Ints) -> Floats:
    """Shape (u, most): when each rating is given, as a share of the whole time; rising.

    People come in evenings of about three films, from when they begin until they lose interest.
    """
    shape = len(begins), int(amount.max())
    opens = rng.random(shape) < 1 / 3
    opens[:, 0] = True
    ends = begins + (1 - begins) * rng.beta(3, 1, len(begins))
    drawn = begins[:, None] + rng.random(shape) * (ends - begins)[:, None]
    used = opens & (np.arange(shape[1]) < amount[:, None])
    evenings = np.sort(np.where(used, drawn, np.inf), axis=1)
    which = np.cumsum(opens, axis=1) - 1
    evening = np.take_along_axis(evenings, which, axis=1)
    minutes = np.arange(shape[1]) * APART_US / (DAYS * DAY_US)
    moments: Floats = 0.98 * evening + minutes
    return moments


def _event_id(seed: int, number: int) -> str:
    """Distinct ids: an odd factor modulo a power of two never maps two numbers to one."""
    return f"{TENANT}@{(number + seed * 1_000_003) * 0x5DEECE66D % 2**48:012x}"
