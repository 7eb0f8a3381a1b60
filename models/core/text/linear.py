"""TF-IDF of words and of pieces of words, and one logistic regression per label. The baseline.

Belongs here: fitting, predicting, saving and loading it. Does not belong here: when it is fitted
(a product's ``learner.py``).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit

from models.contracts.base import Frozen
from models.contracts.learner import Matrix, TextRows, Vector
from models.contracts.product import Trial
from models.core import tabular
from models.core.text import saved
from models.core.text.rows import at_most, held_out, learnable_or_raise, take

KIND = "tfidf_linear"
_TERMS, _WEIGHTS = "terms.json", "weights.safetensors"
#: Analyzers: words and pairs of words; 2 to 5 letters within a word, which survive odd spelling.
ANALYZERS: tuple[Mapping[str, Any], ...] = (
    {"analyzer": "word", "ngram_range": (1, 2), "token_pattern": r"(?u)\b\w+\b"},
    {"analyzer": "char_wb", "ngram_range": (2, 5)},
)
_BLOCKS = ("words", "letters")


class LinearParams(Frozen):
    """Parameters of a linear trial.

    Attributes:
        penalty: Inverse strength of the L2 penalty, scikit-learn's C.
        balanced: Weigh both classes of a label equally. The probabilities are then of a world in
            which both are equally frequent.
        terms: Most terms kept per analyzer, the most frequent ones.
        min_texts: A term must occur in this many texts.
        max_rows: Fit on at most so many texts, drawn by the trial's seed.
        held: Share of the texts left out of the fit (see ``rows.held_out``); an ensemble that this
            model is a member of needs some.
    """

    model: str = KIND
    penalty: float = 1.0
    balanced: bool = False
    terms: int = 60_000
    min_texts: int = 2
    max_rows: int | None = None
    held: float = 0.0


@dataclass(frozen=True)
class Terms:
    """One analyzer with what it knows.

    Attributes:
        analyze: Text to terms.
        numbers: Term to its column.
        idf: Shape (terms,).
    """

    analyze: Callable[[str], list[str]]
    numbers: Mapping[str, int]
    idf: Vector

    def row(self, text: str) -> tuple[list[int], Vector]:
        """Columns and values of one text: (1 + log count) * idf, of unit length.

        Written out because scikit-learn needs a millisecond per call for one text.
        """
        numbers = self.numbers
        found = Counter(numbers[t] for t in self.analyze(text) if t in numbers)
        columns = sorted(found)
        values = (1.0 + np.log([found[c] for c in columns])) * self.idf[columns]
        length = np.linalg.norm(values)
        return columns, values / length if length else values


@dataclass(frozen=True)
class LinearText:
    """Fitted terms and weights.

    Attributes:
        labels: The L labels answered.
        answered: Numbers of those that could be learned; the others are NaN.
        blocks: One per analyzer.
        weights: Shape (all terms, answered).
        intercepts: Shape (answered,).
        held: Share of the texts it was not fitted on.
    """

    labels: tuple[str, ...]
    answered: tuple[int, ...]
    blocks: tuple[Terms, ...]
    weights: Matrix
    intercepts: Vector
    held: float

    @cached_property
    def _offsets(self) -> list[int]:
        return [0, *accumulate(len(block.idf) for block in self.blocks)]

    def predict(self, texts: Sequence[str]) -> Matrix:
        """Probability of every label, shape (n, L); NaN for labels it never saw."""
        scores = np.full((len(texts), len(self.labels)), np.nan)
        for number, text in enumerate(texts):
            scores[number, self.answered] = expit(self._logits(text))
        return scores

    def _logits(self, text: str) -> Vector:
        total = self.intercepts.copy()
        for block, offset in zip(self.blocks, self._offsets, strict=False):
            columns, values = block.row(text)
            total += values @ self.weights[np.array(columns, int) + offset]
        return total

    def save(self, folder: Path) -> None:
        """Write ``model.json``, the terms as JSON, idf and weights as safetensors."""
        from safetensors.numpy import save_file

        terms = [list(block.numbers) for block in self.blocks]
        (folder / _TERMS).write_text(json.dumps(terms))
        arrays = {
            f"idf_{name}": block.idf for name, block in zip(_BLOCKS, self.blocks, strict=True)
        }
        save_file(
            {**arrays, "weights": self.weights, "intercepts": self.intercepts}, folder / _WEIGHTS
        )
        saved.write_model(folder, KIND, self, answered=self.answered, held=self.held)

    def importance(self) -> Mapping[str, float]:
        """Share of words and of pieces of words in the sum of |weight|.

        Not by term: terms are what people wrote.
        """
        sizes = np.abs(self.weights).sum(axis=1)
        parts = [float(sizes[a:b].sum()) for a, b in pairwise(self._offsets)]
        total = sum(parts)
        return {
            name: part / total if total else 0.5 for name, part in zip(_BLOCKS, parts, strict=True)
        }


def fit(trial: Trial, rows: TextRows) -> LinearText:
    """Fit one logistic regression per label, on the texts where that label is known.

    Args:
        trial: With ``LinearParams`` as its params.
        rows: Training texts.

    Returns:
        The predictor; deterministic given the trial's seed.

    Raises:
        pydantic.ValidationError: A parameter that this model does not have.
        ValueError: No label has both values, or no term is frequent enough.
    """
    params = LinearParams.model_validate(trial.params)
    rows = at_most(rows, params.max_rows, trial.seed)
    rows = take(rows, ~held_out(rows.texts, params.held))
    answered = learnable_or_raise(rows)
    vectorizers = [_vectorizer(params, analyzer).fit(rows.texts) for analyzer in ANALYZERS]
    blocks = tuple(_terms(vectorizer) for vectorizer in vectorizers)
    features = _stack([vectorizer.transform(rows.texts) for vectorizer in vectorizers])
    columns = [_coefficients(params, features, rows.labels[:, i], trial.seed) for i in answered]
    weights = np.stack([weights for weights, _ in columns], axis=1)
    intercepts = np.array([intercept for _, intercept in columns])
    numbers = tuple(answered.tolist())
    return LinearText(rows.names, numbers, blocks, weights, intercepts, params.held)


def load(folder: Path) -> LinearText:
    """Load what ``save`` wrote.

    Raises:
        ArtifactError: The probe is scored differently than when it was saved.
    """
    from safetensors.numpy import load_file

    content = tabular.read_model(folder)
    arrays = load_file(folder / _WEIGHTS)
    terms = json.loads((folder / _TERMS).read_text())
    blocks = tuple(
        Terms(_analyzer(analyzer), {t: i for i, t in enumerate(known)}, arrays[f"idf_{name}"])
        for analyzer, known, name in zip(ANALYZERS, terms, _BLOCKS, strict=True)
    )
    labels, answered = tuple(content["labels"]), tuple(content["answered"])
    predictor = LinearText(
        labels, answered, blocks, arrays["weights"], arrays["intercepts"], content["held"]
    )
    saved.check_probe(content, predictor)
    return predictor


def _vectorizer(params: LinearParams, analyzer: Mapping[str, Any]) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(
        **analyzer, min_df=params.min_texts, max_features=params.terms, sublinear_tf=True
    )


def _analyzer(analyzer: Mapping[str, Any]) -> Callable[[str], list[str]]:
    from sklearn.feature_extraction.text import TfidfVectorizer

    analyze: Callable[[str], list[str]] = TfidfVectorizer(**analyzer).build_analyzer()
    return analyze


def _terms(vectorizer: Any) -> Terms:
    numbers = {str(t): i for i, t in enumerate(vectorizer.get_feature_names_out())}
    return Terms(vectorizer.build_analyzer(), numbers, vectorizer.idf_)


def _stack(parts: list[Any]) -> Any:
    from scipy.sparse import hstack

    return hstack(parts, format="csr")


def _coefficients(
    params: LinearParams, features: Any, labels: Vector, seed: int
) -> tuple[Vector, float]:
    from sklearn.linear_model import LogisticRegression

    known = ~np.isnan(labels)
    model = LogisticRegression(
        C=params.penalty,
        class_weight="balanced" if params.balanced else None,
        solver="liblinear",  # Newton steps for many sparse columns; one thread, so reproducible
        random_state=seed,
        max_iter=200,
    ).fit(features[known], labels[known])
    return model.coef_[0], float(model.intercept_[0])
