"""The world behind the generated ratings: films, people, and what makes somebody pick a film.

A film has genres, an appeal that makes it known, a quality that makes it good, and most belong to a
series that is watched in order. A person has a taste (that of a circle of people, and their own),
which drifts towards another circle's over the months. None of this is in the tables but the words
of the genres; only ratings reveal it. Nothing here reads a file or a clock.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Rng = np.random.Generator

#: A genre and the words that its films' texts are made of.
GENRES = {
    "drama": "family letter grief promise winter debt silence sister",
    "comedy": "wedding neighbour mistake holiday twins cook landlord joke",
    "thriller": "witness cipher hostage alibi tunnel deadline informer chase",
    "romance": "summer dance letter station kiss harbour violin promise",
    "adventure": "island map desert caravan treasure river expedition storm",
    "crime": "heist detective ledger bribe vault alibi gang verdict",
    "fantasy": "dragon oath kingdom spell forest crown prophecy sword",
    "space": "orbit colony signal android airlock comet captain planet",
    "horror": "cellar ritual shadow asylum mirror scream fog curse",
    "music": "band stage melody tour piano choir record rehearsal",
    "war": "trench front regiment siege medal convoy armistice scout",
    "documentary": "archive glacier reef factory village interview harvest bridge",
}
_FIRST = "Silent Golden Broken Distant Hidden Last Crooked Burning Paper Iron Quiet Second"
_SECOND = "Harbour Letter Season Witness Garden Engine Crown Mirror River Signal Winter Road"
CIRCLES, SERIES = 8, 4
#: Share of films that enter the catalogue only while people already rate.
NEW_SHARE = 0.1
#: Weights of appeal, taste and what was seen last in the choice of a film.
APPEAL, TASTE, NEXT_IN_SERIES, SAME_GENRES = 0.9, 2.4, 4.0, 0.8


class Films(NamedTuple):
    """m films.

    Attributes:
        genres: Shape (m, g), rows sum to 1.
        appeal: Shape (m,), standard normal: log of how known a film is.
        quality: Shape (m,), standard normal.
        follows: Shape (m,), the film of the same series before this one, -1 for none.
        enters: Shape (m,), share of the whole time that passes before it is there (0 to 1).
        titles: m titles.
        descriptions: m texts made of the genres' words.
    """

    genres: Floats
    appeal: Floats
    quality: Floats
    follows: Ints
    enters: Floats
    titles: list[str]
    descriptions: list[str]


class People(NamedTuple):
    """u people.

    Attributes:
        taste: Shape (u, g): how much they like a genre when they start.
        later: Shape (u, g): what that has become at the end of the time.
        begins: Shape (u,), when they start (0 to 1); most are there from the beginning.
        amount: Shape (u,), films they rate.
        kindness: Shape (u,), what they add to every rating.
    """

    taste: Floats
    later: Floats
    begins: Floats
    amount: Ints
    kindness: Floats


def films(rng: Rng, count: int) -> Films:
    """Draw the films; those of a series share their genres and come in order."""
    names = list(GENRES)
    series = np.arange(count) // SERIES
    mixed = rng.dirichlet(np.full(len(names), 0.15), series[-1] + 1)[series]
    first = np.arange(count) % SERIES == 0
    alone = rng.random(count) < 0.3
    fame = rng.normal(size=series[-1] + 1)[series]
    return Films(
        genres=mixed,
        appeal=0.8 * fame + 0.6 * rng.normal(size=count),
        quality=rng.normal(size=count),
        follows=np.where(first | alone, -1, np.arange(count) - 1),
        enters=np.where(rng.random(count) < NEW_SHARE, rng.uniform(0.1, 0.9, count), 0.0),
        titles=[_title(rng, number) for number in range(count)],
        descriptions=[_description(rng, names, weights) for weights in mixed],
    )


def people(rng: Rng, count: int, ratings: int) -> People:
    """Draw the people, who rate so many films together."""
    genres = len(GENRES)
    circles = rng.normal(size=(CIRCLES, genres))
    own, other = rng.integers(0, CIRCLES, (2, count))
    taste = circles[own] + 0.5 * rng.normal(size=(count, genres))
    drift = rng.beta(1.0, 2.0, (count, 1))
    share = rng.lognormal(0.0, 0.7, count)
    return People(
        taste=taste,
        later=(1 - drift) * taste + drift * circles[other],
        begins=np.where(rng.random(count) < 0.55, rng.uniform(0, 0.1, count), rng.random(count)),
        amount=_parts(share, ratings),
        kindness=0.5 * rng.normal(size=count),
    )


def choose(rng: Rng, known: Films, taste: Floats, last: Ints, open_to: NDArray[np.bool_]) -> Ints:
    """What each of u people watches next.

    Args:
        rng: Draws.
        known: The films.
        taste: Shape (u, g), of this moment.
        last: Shape (u,), the film watched last; -1 for none.
        open_to: Shape (u, m), not yet seen and there already; at least one per person.

    Returns:
        Shape (u,) film numbers.
    """
    logits = APPEAL * known.appeal + TASTE * (taste @ known.genres.T)
    seen = last >= 0
    logits += np.where((known.follows == last[:, None]) & seen[:, None], NEXT_IN_SERIES, 0.0)
    logits += SAME_GENRES * np.where(seen[:, None], known.genres[last] @ known.genres.T, 0.0)
    # the largest of logits with Gumbel noise is a draw from their softmax
    drawn: Ints = np.where(open_to, logits + rng.gumbel(size=logits.shape), -np.inf).argmax(axis=1)
    return drawn


def rate(rng: Rng, known: Films, kindness: Floats, taste: Floats, chosen: Ints) -> Floats:
    """Whole stars, 1 to 5: taste, quality, kindness and a mood."""
    liking = (taste * known.genres[chosen]).sum(axis=1)
    stars = 3.0 + 0.7 * liking + 0.5 * known.quality[chosen] + kindness
    whole: Floats = np.clip(np.rint(stars + 0.6 * rng.normal(size=len(chosen))), 1, 5)
    return whole


def _parts(share: Floats, whole: int) -> Ints:
    """Whole numbers in proportion to ``share`` that sum to ``whole``."""
    edges = np.rint(np.cumsum(share) / share.sum() * whole).astype(np.int64)
    parts: Ints = np.diff(edges, prepend=0)
    return parts


def _title(rng: Rng, number: int) -> str:
    first, second = rng.choice(_FIRST.split()), rng.choice(_SECOND.split())
    return f"The {first} {second} {number % SERIES + 1} ({1950 + int(rng.integers(70))})"


def _description(rng: Rng, names: list[str], weights: Floats) -> str:
    drawn = rng.choice(len(names), 9, p=weights)
    return " ".join(str(rng.choice(GENRES[names[genre]].split())) for genre in drawn)
