"""Small rows of text and of interactions with a law that a small model can learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from models.contracts.api import GoldenSet
from models.contracts.learner import Catalogue, FitContext, Interactions, Query, TextRows
from models.contracts.product import ModelProduct
from models.registry import load_learner
from tests.service.site import TENANTS

RUDE = ("you", "are", "a", "stupid", "idiot", "and", "everybody", "hates", "you", "go", "away")
KIND = ("what", "a", "lovely", "day", "to", "meet", "good", "friends", "and", "share", "bread")
USERS, ITEMS = 60, 90


def texts(product: ModelProduct, seed: int, count: int = 240) -> TextRows:
    """Rude and kind words, mixed a little; the last label is never known."""
    rng = np.random.default_rng(seed)
    rude = np.arange(count) % 2 == 1
    written = tuple(
        " ".join([*rng.choice(RUDE if bad else KIND, 7), *rng.choice(RUDE + KIND, 2)])
        for bad in rude
    )
    labels = np.tile(rude[:, None].astype(float), (1, len(product.data.labels)))
    labels[:, 1:][rng.random((count, labels.shape[1] - 1)) < 0.2] = np.nan
    labels[:, -1] = np.nan
    return TextRows(written, labels, product.data.labels)


def fitted(product: ModelProduct, name: str, rows: Any) -> Any:
    """A trial of the product by its name, after the trials it is made from."""
    (trial,) = (trial for trial in product.trials if trial.name == name)
    bases = {base: fitted(product, base, rows) for base in trial.after}
    return load_learner(product).fit(trial, rows, FitContext(bases=bases))


def text_golden(product: ModelProduct, predictor: Any, asked: Sequence[str]) -> GoldenSet:
    """What the model says of texts offline."""
    scores = predictor.predict(asked).tolist()
    return GoldenSet(
        rows=tuple({"tenant": TENANTS[n % 2], "text": text} for n, text in enumerate(asked)),
        expected=tuple(
            {
                name: None if np.isnan(p) else p
                for name, p in zip(product.data.labels, of, strict=True)
            }
            for of in scores
        ),
    )


def interactions(seed: int, users: int = USERS, items: int = ITEMS) -> Interactions:
    """Every user likes one of three thirds of the catalogue, and takes little else."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(users), 12)
    own = rng.random(len(who)) < 0.85
    taken = rng.integers(0, items // 3, len(who)) * 3 + np.where(
        own, who % 3, rng.integers(0, 3, len(who))
    )
    n = rng.permutation(len(who))
    return Interactions(
        users=who[n], items=taken[n], strengths=np.ones(len(n)), liked=np.ones(len(n), bool),
        times=np.arange(len(n), dtype=float), user_ids=tuple(f"u{u:03d}" for u in range(users)),
        catalogue=Catalogue(
            tuple(f"f{i:03d}" for i in range(items)),
            {"title": tuple(f"Film {i}" for i in range(items)),
             "category": tuple(("drama", "comedy", "horror")[i % 3] for i in range(items))},
        ),
        friends=np.empty((0, 2), np.int64),
    )  # fmt: skip


def ranking_golden(predictor: Any, asked: Sequence[Query]) -> GoldenSet:
    """What the model recommends offline."""
    return GoldenSet(
        rows=tuple(
            {"tenant": TENANTS[0], "user": query.user, "k": query.k, "history": list(query.history)}
            for query in asked
        ),
        expected=tuple(list(ranking.items) for ranking in predictor.recommend(asked)),
    )
