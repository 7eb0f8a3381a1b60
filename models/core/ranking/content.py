"""Content: items like those a person liked, by what is written of them.

Each field of the catalogue (title, description, tags, category) becomes unit vectors: TF-IDF, or
sentence embeddings of a backbone of ``models.core.text.backbone``. Fields are weighted, put side by
side and projected to ``width`` dimensions by truncated SVD. A user is the weighted mean of what
they liked, newer things more. Items nobody had to do with are answered like any other, and so is
anybody with a history.

Belongs here: item vectors and profiles. Does not belong here: networks (``models.core.text``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from pydantic import Field

from models.contracts.base import Frozen
from models.contracts.learner import Catalogue, FitContext, Interactions
from models.contracts.product import Trial
from models.core.ranking.factored import Factored
from models.core.ranking.graph_filter import strongest
from models.core.ranking.scorers import Numbers, Reads, Scores, read_scorer, write_scorer

KIND = "content"
FIELDS = ("title", "description", "tags", "category")


class ContentParams(Frozen):
    """Parameters of a content trial.

    Attributes:
        vectors: ``tfidf``, or ``embeddings`` of ``backbone``.
        backbone: A name, folder or hub id (see ``models.core.text.backbone``).
        hub: Whether it may be downloaded.
        max_length: Tokens of a field that the backbone reads.
        weights: Field name to weight; fields not named are left out.
        width: Dimensions kept; fewer where the texts have no more.
        half_life: In items of the history: one so much older counts half. None: all alike.
    """

    model: str = KIND
    liked_only: bool = True
    vectors: Literal["tfidf", "embeddings"] = "tfidf"
    backbone: str = "minilm"
    hub: bool = False
    max_length: int = 128
    weights: dict[str, float] = Field(default_factory=lambda: dict.fromkeys(FIELDS, 1.0))
    width: int = 512
    half_life: float | None = 50.0


@dataclass(frozen=True)
class Content(Factored):
    """Fitted content model.

    Attributes:
        items: Shape (m, d), unit vectors; zero for an item without any text.
        half_life: See ``ContentParams``.
    """

    items: Scores
    half_life: float | None
    liked_only: bool = True
    kind: str = KIND
    reads: Reads = ("history",)

    def users(self, histories: Sequence[Numbers]) -> Scores:
        """Profiles as unit vectors, so that a product is a cosine; see ``Factored``."""
        return _units(self._profiles(histories))

    def parts(self, history: Numbers) -> Scores:
        """Each item as it counts in the profile; see ``Factored``."""
        told = self._weights(len(history))[:, None] * self.items[history]
        length = np.linalg.norm(told.sum(axis=0))
        return told / (length or 1)

    def save(self, folder: Path) -> None:
        """See ``Scorer``."""
        write_scorer(folder, self, {"items": self.items}, half_life=self.half_life)

    def _profiles(self, histories: Sequence[Numbers]) -> Scores:
        profiles = np.zeros((len(histories), self.items.shape[1]), np.float32)
        for profile, history in zip(profiles, histories, strict=True):
            profile[:] = self._weights(len(history)) @ self.items[history]
        return profiles

    def _weights(self, length: int) -> Scores:
        ages = np.arange(length)[::-1]
        weights = np.ones(length) if self.half_life is None else 0.5 ** (ages / self.half_life)
        return weights.astype(np.float32)


def fit(trial: Trial, rows: Interactions, _: FitContext) -> Content:
    """Vectors of the catalogue; interactions teach nothing here.

    Raises:
        ValueError: The catalogue has none of the weighted fields.
        BackboneError: See ``models.core.text.backbone``.
    """
    params = ContentParams.model_validate(trial.params)
    fields = {name: w for name, w in params.weights.items() if name in rows.catalogue.fields}
    if not fields:
        raise ValueError(
            f"trial {trial.name!r}: the catalogue has the fields {sorted(rows.catalogue.fields)}, "
            f"weights name {sorted(params.weights)}: name at least one that is there"
        )
    together: Any
    if params.vectors == "tfidf":
        together = _tfidf(rows.catalogue, fields)
    else:
        together = _embeddings(rows.catalogue, fields, params)
    return Content(project(together, params.width, trial.seed), params.half_life, params.liked_only)


def project(vectors: Any, width: int, seed: int) -> Scores:
    """Unit vectors in the strongest ``width`` dimensions; angles change as little as can be.

    Args:
        vectors: Shape (m, d), dense or sparse.
        width: Dimensions, at least 1.
        seed: Of the solver.

    Returns:
        Shape (m, at most ``width``).
    """
    matrix = sp.csr_array(vectors)
    if width < min(matrix.shape):
        return _units(matrix @ strongest(matrix, width, seed))
    dense = matrix.toarray()
    if width < dense.shape[1]:  # fewer items than that: all their directions are kept
        left, strength, _ = np.linalg.svd(dense, full_matrices=False)
        dense = left * strength
    return _units(dense)


def _tfidf(catalogue: Catalogue, weights: Mapping[str, float]) -> sp.csr_array:
    from sklearn.feature_extraction.text import TfidfVectorizer

    parts = []
    for name, weight in weights.items():
        if any(text.strip() for text in catalogue.fields[name]):
            vectorizer = TfidfVectorizer(sublinear_tf=True, analyzer=_words)
            parts.append(vectorizer.fit_transform(catalogue.fields[name]) * weight)
    if not parts:
        raise ValueError(f"the fields {', '.join(weights)} are empty: give the catalogue texts")
    return sp.csr_array(sp.hstack(parts), dtype=np.float32)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _embeddings(
    catalogue: Catalogue, weights: Mapping[str, float], params: ContentParams
) -> Scores:
    import torch

    from models.core.text import backbone
    from models.core.text.network import Embedder

    encoder, encoding = backbone.load(params.backbone, params.max_length, params.hub)
    embedder = Embedder(encoder, "mean").eval()

    def run(ids: Any, mask: Any) -> Any:
        with torch.inference_mode():
            return embedder(torch.from_numpy(ids), torch.from_numpy(mask)).float().numpy()

    parts = []
    for name, weight in weights.items():
        texts = catalogue.fields[name]
        found = _units(encoding.outputs(run, texts, 32, encoder.config.hidden_size))
        there = np.array([bool(text.strip()) for text in texts])
        parts.append(np.float32(weight) * found * there[:, None])
    return np.hstack(parts)


def _units(vectors: Scores) -> Scores:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), np.float32)


def load(folder: Path) -> Content:
    """Load what ``save`` wrote."""
    settings, arrays = read_scorer(folder)
    return Content(arrays["items"], **settings)
