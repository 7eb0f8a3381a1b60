"""How long one recommendation takes in a large catalogue, against the plain way in numpy.

All sides answer the same questions in one process, ten in a row each: product of the user's
factors with all items', seen items out, ten best. The plain way multiplies and sorts everything;
ours folds the user in from their history first, filters, picks and makes ids. "All in full" is ours
without the first look in eight bits (``models.core.ranking.screen``); both must give the same. The
other rows say what a request's filters and other algorithms cost. Made-up factors: no quality is
measured here.

    .venv/bin/python benchmarks/ranking_latency.py --items 100000 --factors 128 --threads 1 2
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from models.contracts.learner import Catalogue, Interactions, Query
from models.core.ranking.ials import Ials, Weights
from models.core.ranking.itemknn import ItemKnn
from models.core.ranking.popularity import Popularity
from models.core.ranking.recommender import CatalogueRecommender
from models.core.ranking.scorers import Numbers, Reads, Scorer, Scores

#: Users with a history, items in each, neighbours of an item.
USERS, HISTORY, NEIGHBOURS = 1000, 50, 100
#: Questions of one side before the next has its turn, and of them those not counted: a service
#: answers one request after the other, and finds in the caches what the one before left.
TURN, FIRST = 12, 2
FULL = "ials, all in full"


@dataclass(frozen=True)
class InFull:
    """A scorer that scores every item in full precision."""

    scorer: Scorer
    kind: str = "ials"
    reads: Reads = ("history",)
    liked_only: bool = False

    def score(self, users: Numbers, histories: Sequence[Numbers]) -> Scores:
        """See ``Scorer``."""
        return self.scorer.score(users, histories)

    def save(self, folder: Path) -> None:
        """See ``Scorer``."""
        self.scorer.save(folder)


def built(items: int, factors: int, seed: int) -> CatalogueRecommender:
    """A recommender of three members over drawn histories."""
    generator = np.random.default_rng(seed)
    size = USERS * HISTORY
    drawn = generator.integers(0, items, size)
    rows = Interactions(
        users=np.repeat(np.arange(USERS), HISTORY),
        items=drawn,
        strengths=np.ones(size),
        liked=np.ones(size, bool),
        times=np.arange(size, dtype=float),
        user_ids=tuple(f"user-{number}" for number in range(USERS)),
        catalogue=Catalogue(tuple(f"item-{number}" for number in range(items)), {}),
        friends=np.empty((0, 2), np.int64),
    )
    places = generator.integers(0, items, items * NEIGHBOURS, dtype=np.int32)
    likeness = (generator.random(len(places), np.float32), places,
                np.arange(0, len(places) + 1, NEIGHBOURS))  # fmt: skip
    table = generator.normal(0, 0.1, (items, factors)).astype(np.float32)
    ials = Ials(table, Weights(0.1, 0.01, 1.0))
    members: dict[str, Scorer] = {
        "ials": ials,
        FULL: InFull(ials),
        "itemknn": ItemKnn(sp.csr_array(likeness, shape=(items, items))),
        "popularity": Popularity(generator.random(items).astype(np.float32)),
    }
    return CatalogueRecommender.of(rows, members)


def plain(recommender: CatalogueRecommender) -> Callable[[int], object]:
    """The short way: user factors known, matmul, argsort of everything."""
    scorer = recommender.members["ials"]
    users = scorer.users([recommender.seen.of(user, liked_only=False) for user in range(USERS)])
    table, ids = scorer.items, recommender.items

    def ask(number: int) -> object:
        scores = table @ users[number % USERS]
        scores[recommender.seen.of(number % USERS, liked_only=False)] = -np.inf
        return [ids[item] for item in np.argsort(-scores)[:10]]

    return ask


def asking(recommender: CatalogueRecommender, **query: object) -> Callable[[int], object]:
    """One query at a time through ``recommend``."""

    def ask(number: int) -> object:
        return recommender.recommend([Query(f"user-{number % USERS}", **query)])

    return ask


def sides(recommender: CatalogueRecommender) -> dict[str, Callable[[int], object]]:
    """What is measured, the yardstick first."""
    ids = recommender.items
    tenth, some = frozenset(ids[::10]), frozenset(ids[5:55])
    return {
        "plain matmul + argsort": plain(recommender),
        FULL: asking(recommender, algorithm=FULL),
        "ials": asking(recommender),
        "ials, 3 items since the fit": asking(recommender, history=ids[:3]),
        "ials, 50 excluded": asking(recommender, exclude=some),
        "ials, a tenth of the items allowed": asking(recommender, only=tenth),
        "itemknn": asking(recommender, algorithm="itemknn"),
        "popularity": asking(recommender, algorithm="popularity"),
    }


def measure(asks: Sequence[Callable[[int], object]], rounds: int) -> np.ndarray:
    """Milliseconds, shape (2, len(asks), turns x counted): wall, then CPU of all threads."""
    turns = -(-rounds // (TURN - FIRST))
    taken = np.empty((2, len(asks), turns, TURN))
    for turn in range(-1, turns):  # the one before the first warms up
        for side, ask in enumerate(asks):
            for place in range(TURN):
                begun = time.perf_counter(), time.process_time()
                ask(turn * TURN + place)
                ended = time.perf_counter(), time.process_time()
                taken[:, side, turn, place] = np.subtract(ended, begun) * 1e3
    return taken[..., FIRST:].reshape(2, len(asks), -1)


def differing(recommender: CatalogueRecommender) -> int:
    """Users whose list is another when every item is scored in full.

    Two scores that differ in the last bit: BLAS rounds an item's by its place in the table.
    """
    users = [f"user-{number}" for number in range(USERS)]
    ours, full = (
        [recommender.recommend([Query(user, algorithm=name)])[0].items for user in users]
        for name in ("ials", FULL)
    )
    return sum(one != other for one, other in zip(ours, full, strict=True))


def main() -> None:
    """Print a table per number of BLAS threads."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--factors", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    args = parser.parse_args()
    recommender = built(args.items, args.factors, seed=0)
    asks = sides(recommender)
    print(f"{differing(recommender)} of {USERS} users get another list when all is scored in full")
    batch = [Query(f"user-{number}") for number in range(256)]
    for threads in args.threads:
        with threadpool_limits(threads, "blas"):
            taken = measure(list(asks.values()), args.rounds)
            begun = time.perf_counter()
            recommender.recommend(batch)
            per_user = (time.perf_counter() - begun) * 1e3 / len(batch)
        print(f"\n{args.items} items, {args.factors} factors, k = 10, {threads} BLAS threads, ms")
        print("side", "wall p50", "p95", "p99", "to plain", "CPU p50", "p95", "to plain", sep="\t")
        for side, name in enumerate(asks):
            p50, p95, p99 = np.quantile(taken[0, side], [0.5, 0.95, 0.99])
            cpu50, cpu95 = np.quantile(taken[1, side], [0.5, 0.95])
            wall, cpu = np.median(taken[:, 0], axis=1)
            found = (p50, p95, p99, p50 / wall, cpu50, cpu95, cpu50 / cpu)
            print(name, *(f"{value:.2f}" for value in found), sep="\t")
        print("ials, 256 at once, per user", f"{per_user:.2f}", sep="\t")


if __name__ == "__main__":
    main()
