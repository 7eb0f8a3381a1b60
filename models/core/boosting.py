"""Gradient boosted trees (XGBoost), alone or as a calibrated average over folds.

Belongs here: fitting, predicting, saving and loading them. Does not belong here: which columns they
read (``tabular``), when they are fitted (a product's ``learner.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.special import expit

from models.contracts.base import Frozen
from models.contracts.learner import Matrix, TrainingRows, Vector
from models.contracts.product import Folds, Trial
from models.core import calibration, tabular
from models.core.artifact import ArtifactError
from models.core.splits import Rows
from models.core.splits import folds as divide
from models.core.tabular import Derived, Inputs

if TYPE_CHECKING:
    from xgboost import Booster

KIND = "xgboost"
#: Fixed, because the sums behind a split depend on how many threads made them; one, because on
#: small data more threads wait for each other (10 times slower on two busy cores).
FIT_THREADS = 1


class BoostingParams(Frozen):
    """Parameters of a boosted trial; the names in brackets are XGBoost's.

    Attributes:
        rounds: Number of trees.
        depth: Deepest tree (max_depth).
        rate: Shrinkage of each tree (eta).
        rows: Share of rows drawn per tree (subsample).
        columns: Share of columns drawn per tree (colsample_bytree).
        min_weight: Smallest sum of Hessians in a leaf (min_child_weight).
        folds: Number of models that are averaged; 1 fits a single, uncalibrated one.
        unjudged_weight: Weight of rows that teach but are not judged.
    """

    model: str = KIND
    rounds: int = 300
    depth: int = 5
    rate: float = 0.05
    rows: float = 0.8
    columns: float = 0.8
    min_weight: float = 1.0
    folds: int = 1
    unjudged_weight: float = 1.0


@dataclass(frozen=True)
class BoostedPredictor:
    """Boosters whose margins are averaged, then recalibrated.

    Attributes:
        recalibration: ``logit P = intercept + slope * mean margin``; (0, 1) changes nothing.
    """

    inputs: Inputs
    boosters: tuple[Booster, ...]
    recalibration: calibration.Recalibration
    probe: Matrix

    def predict(self, inputs: Matrix) -> Vector:
        """Probability of the positive class, shape (n,), for inputs of shape (n, d)."""
        features = self.inputs.select(inputs)
        margins = np.mean([_margin(booster, features) for booster in self.boosters], axis=0)
        return probabilities(margins, self.recalibration)

    def save(self, folder: Path) -> None:
        """Write ``model.json`` and one XGBoost binary JSON file (.ubj) per booster."""
        for number, booster in enumerate(self.boosters):
            booster.save_model(folder / _file(number))
        tabular.write_model(
            folder,
            KIND,
            self.inputs,
            (self.probe, self.predict(self.probe)),
            boosters=len(self.boosters),
            intercept=self.recalibration.intercept,
            slope=self.recalibration.slope,
        )

    def importance(self) -> Mapping[str, float]:
        """Share of each column in the total loss reduction of all splits."""
        weights = np.zeros(len(self.inputs.used) + len(self.inputs.derived))
        for booster in self.boosters:
            for feature, gain in booster.get_score(importance_type="total_gain").items():
                weights[int(feature[1:])] += gain  # XGBoost calls unnamed columns f0, f1, ...
        return self.inputs.importance(weights)


def fit(trial: Trial, rows: TrainingRows, derived: Sequence[Derived] = ()) -> BoostedPredictor:
    """Fit one booster, or with ``folds`` > 1 a calibrated average.

    The average has one booster per stratified fold, fitted without it. Together they score every
    training row out of fold; on those scores the recalibration is fitted (Platt 1999,
    Probabilistic outputs for support vector machines), on judged rows only.

    Args:
        trial: With ``BoostingParams`` as its params.
        rows: Training rows.
        derived: Columns to add where the trial's columns allow.

    Returns:
        The predictor; deterministic given the trial's seed.

    Raises:
        pydantic.ValidationError: A parameter that this model does not have.
        ValueError: Too few rows for the folds.
    """
    params = BoostingParams.model_validate(trial.params)
    inputs = Inputs.of(trial, rows.names, derived)
    weights = tabular.weights_of(rows, params.unjudged_weight)
    data = _Data(inputs.select(rows.inputs), rows.labels, weights)
    probe = tabular.probe_of(rows)
    if params.folds == 1:
        booster = _boost(data, params, trial.seed)
        return BoostedPredictor(inputs, (booster,), calibration.Recalibration(0.0, 1.0), probe)
    boosters: list[Booster] = []
    margins = np.empty(len(rows.labels))
    for fitted, judged in divide(rows.labels, Folds(kind="stratified", k=params.folds), trial.seed):
        booster = _boost(data.take(fitted), params, trial.seed)
        margins[judged] = _margin(booster, data.features[judged])
        boosters.append(booster)
    return BoostedPredictor(inputs, tuple(boosters), _recalibrate(rows, margins), probe)


def load(folder: Path, derived: Sequence[Derived] = ()) -> BoostedPredictor:
    """Load what ``save`` wrote.

    Args:
        folder: A verified artifact folder.
        derived: The product's derived columns as the code has them now.

    Raises:
        ArtifactError: A file XGBoost cannot read, a derived column that is gone, or scores that
            differ from those at save time.
    """
    import xgboost

    content = tabular.read_model(folder)
    boosters = []
    for number in range(content["boosters"]):
        booster = xgboost.Booster()
        try:
            booster.load_model(folder / _file(number))
        except xgboost.core.XGBoostError as error:
            raise ArtifactError(f"{folder / _file(number)} is no XGBoost model: {error}") from error
        boosters.append(_for_serving(booster))
    recalibration = calibration.Recalibration(content["intercept"], content["slope"])
    inputs = tabular.read_inputs(content, derived)
    predictor = BoostedPredictor(
        inputs, tuple(boosters), recalibration, tabular.read_probe(content)
    )
    tabular.check_probe(content, predictor.predict(predictor.probe))
    return predictor


def probabilities(margins: Vector, recalibration: calibration.Recalibration) -> Vector:
    """Probabilities of recalibrated margins (log odds), shape (n,)."""
    scores: Vector = expit(recalibration.intercept + recalibration.slope * margins)
    return scores


def _recalibrate(rows: TrainingRows, margins: Vector) -> calibration.Recalibration:
    judged = slice(None) if rows.judged is None else rows.judged
    return calibration.fit(rows.labels[judged], expit(margins[judged]))


class _Data(NamedTuple):
    features: Matrix
    labels: Vector
    weights: Vector

    def take(self, rows: Rows) -> _Data:
        return _Data(self.features[rows], self.labels[rows], self.weights[rows])


def _boost(data: _Data, params: BoostingParams, seed: int) -> Booster:
    import xgboost

    settings: dict[str, Any] = {
        "objective": "binary:logistic",
        "tree_method": "hist",
        "max_depth": params.depth,
        "eta": params.rate,
        "subsample": params.rows,
        "colsample_bytree": params.columns,
        "min_child_weight": params.min_weight,
        "seed": seed,
        "nthread": FIT_THREADS,
    }
    matrix = xgboost.QuantileDMatrix(
        data.features, data.labels, weight=data.weights, nthread=FIT_THREADS
    )
    return _for_serving(xgboost.train(settings, matrix, num_boost_round=params.rounds))


def _for_serving(booster: Booster) -> Booster:
    """One row is scored faster by one thread than by waking several."""
    booster.set_param({"nthread": 1})
    return booster


def _margin(booster: Booster, features: Matrix) -> Vector:
    margins = booster.inplace_predict(features, predict_type="margin", missing=np.nan)
    return np.asarray(margins, dtype=np.float64)


def _file(number: int) -> str:
    return f"booster_{number}.ubj"
