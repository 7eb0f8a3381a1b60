"""Factors of items that also know what is written of them (needs torch).

Source: Kula, "Metadata Embeddings for User and Item Cold-start Recommendations", 2015 (LightFM): an
item is its own factors and the mean of those of its words. An item that nobody had to do with has
no factors of its own, as only negatives would have taught them: it is what is written of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.contracts.learner import Catalogue
from models.core.ranking.scorers import Numbers


class Words(NamedTuple):
    """What is written of m items.

    Attributes:
        numbers: Shape (n,), words by number, item after item.
        starts: Shape (m,), where an item's begin; an item may have none.
        known: Shape (m,), whether anybody had to do with it.
    """

    numbers: Tensor
    starts: Tensor
    known: Tensor


def words_of(catalogue: Catalogue, fields: Sequence[str], users: Numbers) -> Words:
    """Each item's different words in some fields; ``users`` has how many each item had.

    Raises:
        ValueError: A field that the catalogue does not have, or nothing is written in them.
    """
    from sklearn.feature_extraction.text import CountVectorizer

    if strange := sorted(set(fields) - set(catalogue.fields)):
        raise ValueError(f"no fields {strange} in the catalogue, it has {sorted(catalogue.fields)}")
    together = zip(*(catalogue.fields[name] for name in fields), strict=True)
    lines = (" ".join(texts).lower() for texts in together)
    found = CountVectorizer(binary=True, analyzer=str.split).fit_transform(lines)
    numbers, starts = (torch.from_numpy(part).long() for part in (found.indices, found.indptr))
    return Words(numbers, starts[:-1], torch.from_numpy(users > 0))


class Items(nn.Embedding):
    """An embedding of items; with words it is the sum of two."""

    def __init__(self, count: int, width: int, words: Words | None) -> None:
        super().__init__(count, width)
        self.known: Tensor
        self.told = None
        if words is not None:
            self.told = nn.EmbeddingBag(int(words.numbers.max()) + 1, width, mode="mean")
            for name, tensor in words._asdict().items():
                self.register_buffer(name, tensor)

    def table(self) -> Tensor:
        """Factors of all items, shape (m, width)."""
        if self.told is None:
            return self.weight
        told: Tensor = self.told(self.numbers, self.starts)
        return self.weight * self.known[:, None] + told

    def forward(self, items: Tensor) -> Tensor:
        """Factors of some items, of any shape."""
        return functional.embedding(items, self.table())
