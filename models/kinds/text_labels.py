"""Products that give each text a probability per label; a judged text is one unit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import JsonValue

from models.contracts.api import GoldenSet
from models.contracts.learner import FitContext, Learner, TextRows, Vector
from models.contracts.product import (
    CONTEXT,
    EVENT_TIME,
    JUDGED,
    LABEL,
    LABEL_PREFIX,
    TENANT,
    TEXT,
    Data,
    ModelProduct,
    Trial,
)
from models.contracts.results import Candidate, CheckResult, Measure
from models.contracts.routing import Rule
from models.core.checks import CHECKS
from models.core.checks.texts import MIN_CLASS_ROWS
from models.kinds import Answered, Draft, Fit, Kind, Model, Tables, Watched, spread

if TYPE_CHECKING:
    import pandas as pd

    from models.contracts.learner import Matrix
    from models.core.rivals import Halves
    from models.core.slices import Units
    from models.core.splits import Rows

#: Metrics followed on the validating fold.
CV_METRICS = ("roc_auc", "average_precision", "macro_f1", "f1", "brier", "log_loss")
#: Two texts may be described alike: copies are looked for in the texts themselves.
_SHARED = tuple(name for name in CHECKS if name != "overlap")


class TextLabels(Kind):
    """The kind of contract ``text_labels``.

    Traffic has the first label alone, and its log holds what describes a text, not the text: no
    other release can score it again. A learning curve would cost an hour a point.
    """

    checks = MappingProxyType(
        {
            **{name: CHECKS[name] for name in _SHARED},
            "texts": "Is every text there, and described as the service describes it?",
            "text_overlap": "Does no holdout text nearly repeat a training text?",
            "label_counts": "Has every label texts enough that say yes and no?",
            "fold_balance": "Has every fold its share of positives?",
        }
    )

    def check(self, data: Data, draft: Draft) -> tuple[CheckResult, ...]:
        """The checks of any table that make sense here, then those of texts."""
        from models.core import splits
        from models.core.checks import check_dataset, texts

        frame, parts, previous, _, same_definition = draft
        shared = check_dataset(
            data, frame, parts, previous, same_definition=same_definition, only=_SHARED
        )
        decided = frame[LABEL].to_numpy(float)[parts.train]
        return (
            *shared,
            texts.texts(current=frame, data=data),
            texts.text_overlap(current=frame, split=parts),
            texts.label_counts(current=frame, previous=previous, data=data, split=parts),
            splits.fold_balance(decided, splits.folds(decided, data.folds), data.folds),
        )

    def fit(
        self,
        product: ModelProduct,
        learner: Learner[TextRows, Any],
        trial: Trial,
        tables: Tables,
        context: FitContext,
    ) -> Fit:
        """Fit on all training rows but the newest 1 / k, validate on those, keep that fit.

        Every validating row sets the thresholds; only the judged ones count in the metrics.
        """
        from models.core import splits
        from models.core.text import frames, validated

        older, newer = splits.newest(len(tables.train), product.data.folds)
        rows = frames.text_rows(tables.train.iloc[older], product.data.labels, MIN_CLASS_ROWS)
        begun = time.perf_counter()
        predictor = learner.fit(trial, rows, context)
        seconds = time.perf_counter() - begun
        validation = tables.train.iloc[newer]
        labels = frames.label_matrix(validation, product.data.labels)
        scores = _predict(predictor, frames.texts(validation), product.data.labels)
        thresholds = validated.thresholds(labels, scores, product.data.labels)
        judged = validation[JUDGED].to_numpy(bool)
        cv = validated.one_fold(CV_METRICS, labels[judged], scores[judged], thresholds)
        return Fit(predictor, cv, thresholds[product.data.labels[0]], thresholds, seconds)

    def answer(
        self, product: ModelProduct, model: Model, units: pd.DataFrame, tables: Tables
    ) -> dict[str, Vector]:
        """Probability of every label, by its name; NaN where the model never learned it."""
        from models.core.text import frames

        del tables
        names = product.data.labels
        scores = _predict(model.predictor, frames.texts(units), names)
        return dict(zip(names, scores.T, strict=True))

    def paired(
        self,
        product: ModelProduct,
        units: pd.DataFrame,
        challenger: Answered,
        champion: Answered | None,
    ) -> Units:
        """Scores of both on every label of the same texts."""
        from models.core.text import frames
        from models.core.units import LabelScores

        names = product.data.labels
        given = challenger, champion or challenger
        thresholds = [np.array([one.thresholds[name] for name in names]) for one, _ in given]
        scores = [np.column_stack([answers[name] for name in names]) for _, answers in given]
        return LabelScores(
            frames.label_matrix(units, names),
            scores[0],
            scores[1] if champion else None,
            (thresholds[0], thresholds[1]),
            names,
        )

    def singles(self, model: Model, units: pd.DataFrame) -> list[Callable[[], object]]:
        """Describe and label one text."""
        from models.core.text import frames
        from models.core.text.describe import describe

        def answer(said: str, text: str) -> object:
            return describe([said]), model.predictor.predict([text])

        said = units[TEXT].astype(str)
        return [partial(answer, *pair) for pair in zip(said, frames.texts(units), strict=True)]

    def examine(
        self, product: ModelProduct, model: Model, units: pd.DataFrame, tables: Tables
    ) -> dict[str, Measure]:
        """Attacks, strange texts, shift; the first label's fairness, calibration, explanations."""
        from models.core.explain.fidelity import lime_fidelity
        from models.core.explain.plausibility import rationale_auprc
        from models.core.frames import matrix
        from models.core.text import frames, measured
        from models.core.text.examine import examine

        names, columns = product.data.labels, product.data.names
        first = measured.of_first_label(
            lambda texts: _predict(model.predictor, tuple(texts), names)[:, 0],
            units,
            names[0],
            model.candidate.thresholds[names[0]],
            seed=model.candidate.seed,
        )
        texts, seed = frames.texts(units), model.candidate.seed
        first |= lime_fidelity(model.predictor, texts, names[0], seed=seed)
        marked = frames.rationales(units)
        first |= rationale_auprc(model.predictor, texts, marked, names[0], seed=seed)
        return first | examine(
            model.predictor,
            texts,
            frames.label_matrix(units, names),
            names,
            [model.candidate.thresholds[name] for name in names],
            seed=seed,
            train=frames.texts(tables.train),
            columns=(matrix(tables.train, columns), matrix(units, columns)),
        )

    def golden(
        self, product: ModelProduct, model: Model, units: pd.DataFrame, rows: int
    ) -> GoldenSet:
        """Texts of tenants the model knows, spread over the holdout."""
        from models.contracts.api.texts import MAX_TEXT
        from models.core.text import frames, saved

        length = units[TEXT].str.len()
        short = units[(length > 0) & (length <= MAX_TEXT)].reset_index(drop=True)
        chosen = short.iloc[spread(short, model.candidate, rows)]
        asked = [_request(row) for row in chosen.to_dict("records")]
        names = product.data.labels
        scores = _predict(model.predictor, frames.texts(chosen), names)
        return GoldenSet(
            rows=tuple(asked),
            expected=tuple(_expected(line, names) for line in scores),
            tolerance=saved.tolerance(model.predictor),
        )

    def watched(
        self,
        product: ModelProduct,
        units: pd.DataFrame,
        answers: Mapping[str, Vector],
        tables: Tables,
    ) -> Watched:
        """Texts of which the first label is known: what describes them, its probability, itself."""
        from models.core.frames import matrix
        from models.core.text.frames import label_matrix

        del tables
        first = product.data.labels[0]
        labels = label_matrix(units, (first,))[:, 0]
        known = ~np.isnan(labels)
        inputs = matrix(units, product.data.names)[known]
        times = units[EVENT_TIME].to_numpy("datetime64[us]")[known]
        return Watched(inputs, np.asarray(answers[first])[known], labels[known], times)

    def rule(self, product: ModelProduct, candidate: Candidate, train: pd.DataFrame) -> Rule:
        """The base rate of every label that somebody gave."""
        rates = {name: float(train[f"{LABEL_PREFIX}{name}"].mean()) for name in product.data.labels}
        known = {name: None if math.isnan(rate) else rate for name, rate in rates.items()}
        return Rule(
            product=product.key,
            probability=known[product.data.labels[0]] or 0.0,
            threshold=candidate.threshold,
            labels=known,
        )

    def halves(self, product: ModelProduct, tables: Tables) -> Halves:
        """Copies of a text stay together; a metric is its mean over the labels, of judged texts."""
        from models.core.rivals import Halves
        from models.core.text import frames, rows, validated

        names, train = product.data.labels, tables.train
        texts, labels = frames.texts(train), frames.label_matrix(train, names)
        judged = train[JUDGED].to_numpy(bool)

        def some(chosen: Rows) -> TextRows:
            return frames.text_rows(train.iloc[chosen], names, MIN_CLASS_ROWS)

        def answers(model: Any, chosen: Rows) -> Matrix:
            return _predict(model, tuple(texts[i] for i in chosen), names)

        def value(metric: str, chosen: Rows, said: Matrix) -> float:
            counted = judged[chosen]
            truth, scores = labels[chosen][counted], said[counted]
            at = validated.thresholds(truth, scores, names)
            return validated.one_fold((metric,), truth, scores, at)[metric][0]

        return Halves(train[LABEL].to_numpy(), rows.copies(texts), some, answers, value)


def _predict(predictor: Any, texts: tuple[str, ...], names: tuple[str, ...]) -> Matrix:
    """Probabilities in the product's order of labels, shape (n, L).

    Raises:
        ValueError: The predictor answers other labels.
    """
    if tuple(predictor.labels) != names:
        raise ValueError(f"the model answers {predictor.labels}, the product asks {names}")
    scores: Matrix = predictor.predict(texts)
    return scores


def _request(row: Mapping[Any, Any]) -> dict[str, JsonValue]:
    asked: dict[str, JsonValue] = {TENANT: row[TENANT], TEXT: row[TEXT]}
    context = row.get(CONTEXT)
    return {**asked, CONTEXT: context} if isinstance(context, str) and context else asked


def _expected(line: Vector, names: tuple[str, ...]) -> dict[str, JsonValue]:
    pairs = zip(names, line.tolist(), strict=True)
    return {name: None if np.isnan(value) else value for name, value in pairs}


KIND = TextLabels()
