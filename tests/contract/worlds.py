"""What a feature table holds beside what all have, contract by contract, with a law to be learned.

Belongs here: labels, texts, interactions and the further tables, drawn for any product of the
contract. A new contract is a function and a line in ``WORLDS``. Asserts nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.stats import rankdata

from models.contracts.product import (
    ITEM,
    LABEL,
    LABEL_PREFIX,
    STRENGTH,
    TEXT,
    USER,
    Contract,
    ModelProduct,
)

if TYPE_CHECKING:
    import pandas as pd

_POSITIVE, _LAW_COLUMNS, _NOISE = 0.35, 3, 0.35
_UNKNOWN, _MISTAKEN, _WORDS = 0.1, 0.05, 8
_NEUTRAL = (  # noqa: SIM905  a sentence reads better
    "river garden window teacher library mountain weather kitchen station bread letter music "
    "morning evening market bridge forest castle doctor summer winter island village harbour"
).split()
#: Items in a circle, rows per user, and the share of them taken from the user's own circle.
CIRCLE, _PER_USER, _OWN = 20, 20, 0.9


class World(NamedTuple):
    """The feature table and the tables of ``Data.tables``, in their order."""

    features: pd.DataFrame
    more: tuple[pd.DataFrame, ...] = ()


def row_scores(product: ModelProduct, frame: pd.DataFrame, rng: np.random.Generator) -> World:
    """The label depends, with noise, on columns that every trial reads."""
    names = product.data.names
    read = [n for n in names if all(n in (t.columns or names) for t in product.trials)]
    # trials without a common column share no law: then only those that read the first ones learn it
    chosen = (read or list(names))[:_LAW_COLUMNS]
    ranks = [rankdata(frame[name].fillna(0.0)) / len(frame) for name in chosen]
    law = np.mean(ranks, axis=0) + _NOISE * rng.normal(size=len(frame)) / np.sqrt(12 * len(ranks))
    return World(frame.assign(**{LABEL: (law > np.quantile(law, 1 - _POSITIVE)).astype(np.int32)}))


def text_labels(product: ModelProduct, frame: pd.DataFrame, rng: np.random.Generator) -> World:
    """A text names the labels it deserves; nobody ever said anything of the last label."""
    from models.core.text.describe import describe

    names, count = product.data.labels, len(frame)
    true = rng.random((count, len(names))) < _POSITIVE
    words = [
        rng.permutation([*rng.choice(_NEUTRAL, _WORDS), *(n.replace("_", "") for n in said)])
        for said in (np.array(names)[row] for row in true)
    ]
    texts = [" ".join(line) for line in words]
    labels = np.where(rng.random(true.shape) < _MISTAKEN, ~true, true).astype(float)
    known = rng.random(true.shape) >= _UNKNOWN
    known[:, 0] = True
    known[:, -1] &= len(names) == 1
    labels[~known] = np.nan
    given = {f"{LABEL_PREFIX}{name}": labels[:, number] for number, name in enumerate(names)}
    numbers = dict(zip(product.data.names, describe(texts).T, strict=True))
    first = labels[:, 0].astype(np.int32)
    return World(frame.assign(**{LABEL: first, TEXT: texts, **given, **numbers}))


def ranked_items(product: ModelProduct, frame: pd.DataFrame, rng: np.random.Generator) -> World:
    """Circles of people who take each other's items; the catalogue says which is whose."""
    import pandas as pd

    del product
    users = max(len(frame) // _PER_USER, 2)
    circles = max(users // 16, 2)
    who = rng.permutation(np.arange(len(frame)) % users)
    own = rng.random(len(frame)) < _OWN
    circle = np.where(own, who % circles, rng.integers(0, circles, len(frame)))
    taken = circle * CIRCLE + rng.integers(0, CIRCLE, len(frame))
    liked = own | (rng.random(len(frame)) < 0.5)
    items = pd.DataFrame(
        {
            ITEM: [f"item{number:04d}" for number in range(circles * CIRCLE)],
            "title": [f"The {_NEUTRAL[n % len(_NEUTRAL)]}" for n in range(circles * CIRCLE)],
            "category": [f"circle {n // CIRCLE}" for n in range(circles * CIRCLE)],
        }
    )
    features = frame.assign(
        **{
            LABEL: liked.astype(np.int32),
            USER: [f"user{number:04d}" for number in who],
            ITEM: items[ITEM].to_numpy()[taken],
            STRENGTH: np.where(liked, 5.0, 2.0),
        }
    )
    # a pair is there once: the first time
    return World(features.drop_duplicates([USER, ITEM], ignore_index=True), (items,))


Make = Callable[["ModelProduct", "pd.DataFrame", np.random.Generator], World]
WORLDS: Mapping[Contract, Make] = MappingProxyType(
    {"row_scores": row_scores, "text_labels": text_labels, "ranked_items": ranked_items}
)
