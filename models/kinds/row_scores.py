"""Products that give each row of numbers one probability; a judged row is one unit."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from models.contracts.api import GoldenSet, to_rows
from models.contracts.learner import FitContext, Learner, TrainingRows, Vector
from models.contracts.product import (
    EVENT_TIME,
    JUDGED,
    LABEL,
    TENANT,
    Data,
    ModelProduct,
    Trial,
)
from models.contracts.results import CheckResult, Estimate, Measure, Scorecard
from models.core import frames
from models.core.checks import CHECKS, check_dataset
from models.kinds import (
    Answered,
    Draft,
    Fit,
    Kind,
    Learned,
    Model,
    Tables,
    Watched,
    identities,
    spread,
)

if TYPE_CHECKING:
    import pandas as pd

    from models.contracts.learner import Matrix
    from models.core.rivals import Halves
    from models.core.slices import Units
    from models.core.splits import Rows

SCORE, OVERALL = "score", "overall"
#: Metrics followed per fold.
CV_METRICS = ("roc_auc", "average_precision", "brier", "log_loss", "f1")
#: Shares of the past that the learning curve fits on, and the newest folds it is judged on.
FRACTIONS, CURVE_FOLDS = (0.25, 0.5, 1.0), 3


class RowScores(Kind):
    """The kind of contract ``row_scores``."""

    checks = MappingProxyType({**CHECKS, "fold_balance": "Has every fold its share of positives?"})

    def check(self, data: Data, draft: Draft) -> tuple[CheckResult, ...]:
        """Every check of a snapshot; the folds are checked when the rest can be judged."""
        from models.core import splits

        found = check_dataset(
            data, draft.frame, draft.parts, draft.previous, same_definition=draft.same_definition
        )
        labels = draft.frame[LABEL].to_numpy(float)[draft.parts.train]
        folds = splits.folds(labels, data.folds)
        return (*found, splits.fold_balance(labels, folds, data.folds))

    def fit(
        self,
        product: ModelProduct,
        learner: Learner[TrainingRows, Any],
        trial: Trial,
        tables: Tables,
        context: FitContext,
    ) -> Fit:
        """Cross-validate, then fit on all training rows."""
        from models.core import metrics, splits, training

        rows = frames.training_rows(tables.train, product.data.names)
        parts = splits.folds(rows.labels, product.data.folds, trial.seed)
        found = training.cross_validate(learner, trial, rows, parts, CV_METRICS, metrics.compute)
        begun = time.perf_counter()
        predictor = learner.fit(trial, rows, context)
        seconds = time.perf_counter() - begun
        return Fit(predictor, found.per_fold, found.threshold, {}, seconds)

    def answer(
        self, product: ModelProduct, model: Model, units: pd.DataFrame, tables: Tables
    ) -> dict[str, Vector]:
        """One score per row."""
        del product, tables
        inputs = frames.matrix(units, model.candidate.columns)
        return {SCORE: model.predictor.predict(inputs)}

    def paired(
        self,
        product: ModelProduct,
        units: pd.DataFrame,
        challenger: Answered,
        champion: Answered | None,
    ) -> Units:
        """Scores of both on the same rows."""
        from models.core.slices import Scores

        del product
        return Scores(
            frames.labels(units),
            challenger[1][SCORE],
            champion[1][SCORE] if champion else None,
            (challenger[0].threshold, champion[0].threshold if champion else 0.5),
        )

    def singles(self, model: Model, units: pd.DataFrame) -> list[Callable[[], object]]:
        """Predict one row."""
        inputs = frames.matrix(units, model.candidate.columns)
        return [partial(model.predictor.predict, row[None, :]) for row in inputs]

    def examine(
        self, product: ModelProduct, model: Model, units: pd.DataFrame, tables: Tables
    ) -> dict[str, Measure]:
        """Disturbed, strange and shifted inputs; calibration, coverage, fairness to groups."""
        from models.core import fairness, probabilities
        from models.core.linear import LogisticPredictor
        from models.core.robustness.logistic import worst_scores
        from models.core.robustness.rows import examine_rows

        candidate, names = model.candidate, model.candidate.columns
        columns = [column for column in product.data.columns if column.name in names]
        inputs, labels = frames.matrix(units, names), frames.labels(units)
        linear = model.predictor if isinstance(model.predictor, LogisticPredictor) else None
        found = examine_rows(
            model.predictor.predict,
            inputs,
            labels,
            columns,
            product.gate.metric,
            threshold=candidate.threshold,
            seed=candidate.seed,
            train=frames.matrix(tables.train, names),
            worst=partial(worst_scores, linear) if linear else None,
        )
        groups = fairness.groups_of({str(c): units[c].to_numpy(bool) for c in identities(units)})
        scores, at = model.predictor.predict(inputs), candidate.threshold
        found |= probabilities.examine(labels, scores, seed=candidate.seed)
        if groups:
            found |= fairness.examine(labels, scores, at, groups, seed=candidate.seed)
        return found

    def golden(
        self, product: ModelProduct, model: Model, units: pd.DataFrame, rows: int
    ) -> GoldenSet:
        """Rows of tenants the model knows, spread over the holdout."""
        chosen = units.iloc[spread(units, model.candidate, rows)]
        inputs = frames.matrix(chosen, product.data.names)
        return GoldenSet(
            rows=to_rows(product, inputs, chosen[TENANT].tolist()),
            expected=tuple(model.predictor.predict(inputs).tolist()),
        )

    def watched(
        self,
        product: ModelProduct,
        units: pd.DataFrame,
        answers: Mapping[str, Vector],
        tables: Tables,
    ) -> Watched:
        """The rows themselves."""
        del tables
        times = units[EVENT_TIME].to_numpy("datetime64[us]")
        inputs = frames.matrix(units, product.data.names)
        return Watched(inputs, answers[SCORE], frames.labels(units), times)

    def promised(
        self, product: ModelProduct, card: Scorecard, watched: Watched, threshold: float
    ) -> Mapping[str, Estimate]:
        """What the scorecard says: traffic is judged as the holdout was."""
        del product, watched, threshold
        return card.metrics[OVERALL]

    def rescore(self, product: ModelProduct, model: Model, inputs: Matrix) -> Vector | None:
        """What another release says of logged inputs."""
        places = [product.data.names.index(name) for name in model.candidate.columns]
        scores: Vector = model.predictor.predict(np.ascontiguousarray(inputs[:, places]))
        return scores

    def learned(
        self, product: ModelProduct, learner: Learner[TrainingRows, Any], trial: Trial,
        tables: Tables,
    ) -> Learned | None:  # fmt: skip
        """The trial fitted on more and more of the past, judged on the newest folds."""
        from models.core import metrics, splits, training

        rows = frames.training_rows(tables.train, product.data.names)
        parts = splits.folds(rows.labels, product.data.folds, trial.seed)[-CURVE_FOLDS:]
        curves = [
            training.learning_curve(
                learner, trial, rows, part, fractions=FRACTIONS, metric=product.gate.metric,
                compute=metrics.compute,
            )
            for part in parts
        ]  # fmt: skip
        values = np.array([[(p.rows, p.train, p.validation) for p in curve] for curve in curves])
        mean, deviation = values.mean(axis=0).T.tolist(), values.std(axis=0).T.tolist()
        rounded = tuple(round(n) for n in mean[0])
        return Learned(rounded, tuple(mean[1]), tuple(deviation[1]), tuple(mean[2]),
                       tuple(deviation[2]))  # fmt: skip

    def halves(self, product: ModelProduct, tables: Tables) -> Halves:
        """Every row by itself; a metric counts the judged ones, at their own best threshold."""
        from models.core import metrics, training
        from models.core.rivals import Halves

        rows = frames.training_rows(tables.train, product.data.names)
        judged = tables.train[JUDGED].to_numpy(bool)

        def answers(model: Any, chosen: Rows) -> Matrix:
            said: Matrix = model.predict(rows.inputs[chosen])[:, None]
            return said

        def value(metric: str, chosen: Rows, said: Matrix) -> float:
            counted = judged[chosen]
            labels, scores = rows.labels[chosen][counted], said[counted, 0]
            threshold = training.best_f1_threshold(labels, scores)
            return metrics.compute(metric, labels, scores, threshold)

        return Halves(rows.labels, None, partial(training.take, rows), answers, value)


KIND = RowScores()
