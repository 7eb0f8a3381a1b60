"""`/predict` of a recommender over 100,000 items against an empty endpoint, in one run.

    python -m benchmarks.recommend_latency [--rounds 10] [--items 100000] [--factors 128]

A factor model of that size, with random factors (its speed does not depend on what it learned),
sealed, built and rolled out as in production, with its prediction log on: the user's factors are
folded in, every item is scored, the ten best that the user has not seen are answered. One client,
one kept connection: latency without queueing. Figures and rounds are those of
``benchmarks.predict_latency``. Goal: p95 of one row at most 5 ms.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.predict_latency import ONE_ROUND, Case, empty_endpoint, measure, table
from benchmarks.stopping import leave_nothing_behind
from models.contracts.learner import Catalogue, Interactions, Query
from models.core.ranking.ials import Ials, Weights
from models.core.ranking.recommender import CatalogueRecommender
from models.registry import get
from tests.service.site import TENANTS, Site
from tests.service.small import ranking_golden

GOAL_MS = 5.0
PRODUCT = "recommendation/films"
USERS, EACH = 20_000, 40


def model(items: int, factors: int) -> CatalogueRecommender:
    """A recommender of that size: random factors, users with random histories."""
    rng = np.random.default_rng(0)
    ids = tuple(f"item-{number:06d}" for number in range(items))
    who = np.repeat(np.arange(USERS), EACH)
    rows = Interactions(
        users=who, items=rng.integers(0, items, len(who)), strengths=np.ones(len(who)),
        liked=np.ones(len(who), bool), times=np.arange(len(who), dtype=float),
        user_ids=tuple(f"user-{number:05d}" for number in range(USERS)),
        catalogue=Catalogue(ids, {}), friends=np.empty((0, 2), np.int64),
    )  # fmt: skip
    length = 0.1 / np.sqrt(factors)
    drawn = rng.normal(0, length, (items, factors)).astype(np.float32)
    return CatalogueRecommender.of(rows, {"ials": Ials(drawn, Weights(0.3, 0.007, 1.0))})


@contextmanager
def served(root: Path, fitted: CatalogueRecommender) -> Iterator[int]:
    """Seal, build and roll out; gives the port."""
    site = Site(root, get(PRODUCT))
    curve = {"hit_intercept": -1.0, "hit_slope": 0.3}
    version = "v20260101_000000"
    folder, predictor = site.seal(version, fitted, thresholds=curve)
    golden = ranking_golden(predictor, [Query(user=f"user-{n:05d}") for n in range(40)])
    built = site.pack(version, folder, predictor, golden)
    try:
        done = site.deployer().roll_out(site.product, built.ref.tag, golden)
        yield int(done.url.rpartition(":")[2])
    finally:
        site.deployer().stop(site.product)


def body(count: int, **fields: Any) -> bytes:
    """A request of several users."""
    users = range(7, 7 + count)
    rows = [{"tenant": TENANTS[0], "user": f"user-{n:05d}", "k": 10, **fields} for n in users]
    return json.dumps({"rows": rows}).encode()


def main() -> None:
    leave_nothing_behind()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--factors", type=int, default=128)
    given = parser.parse_args()
    history = [f"item-{number:06d}" for number in range(0, 50)]
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        empty = stack.enter_context(
            empty_endpoint(root / "empty", "async ", "Nothing", "Nothing()")
        )
        port = stack.enter_context(served(root / "films", model(given.items, given.factors)))
        cases = [
            Case("empty (async, typed)", empty, b"{}"),
            Case("k=10, known user", port, body(1)),
            Case("k=10, known user with 50 new items", port, body(1, history=history)),
            Case("k=10, popularity", port, body(1, user=None)),
            Case("k=10, 4 users", port, body(4)),
        ]
        measure(cases, given.rounds)
    print(f"{given.items} items x {given.factors} factors, {given.rounds} rounds of {ONE_ROUND}"
          f" requests each, {os.cpu_count()} cores\n")  # fmt: skip
    print(table(cases))
    met = all(case.quantile_ms(0.95) <= GOAL_MS for case in cases[1:4])
    print(f"\ngoal p95 of one row <= {GOAL_MS} ms: {'met' if met else 'missed'}")


if __name__ == "__main__":
    main()
