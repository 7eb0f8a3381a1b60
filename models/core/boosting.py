"""Gradient boosted trees (XGBoost), alone or as a calibrated average over folds.

Belongs here: fitting, predicting, saving and loading them. Does not belong here: which columns they
read (``tabular``), when they are fitted (a product's ``learner.py``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.special import expit, logit

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
FILE = "booster.ubj"
#: What XGBoost writes for the child of a leaf.
LEAF = -1
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
    """A booster, recalibrated.

    Attributes:
        recalibration: ``logit P = intercept + slope * margin``; (0, 1) changes nothing.
    """

    inputs: Inputs
    booster: Booster
    recalibration: calibration.Recalibration
    probe: Matrix

    def predict(self, inputs: Matrix) -> Vector:
        """Probability of the positive class, shape (n,), for inputs of shape (n, d)."""
        features = self.inputs.select(inputs)
        return probabilities(_margin(self.booster, features), self.recalibration)

    def save(self, folder: Path) -> None:
        """Write ``model.json`` and the booster as XGBoost binary JSON (.ubj)."""
        self.booster.save_model(folder / FILE)
        tabular.write_model(
            folder,
            KIND,
            self.inputs,
            (self.probe, self.predict(self.probe)),
            intercept=self.recalibration.intercept,
            slope=self.recalibration.slope,
        )

    def importance(self) -> Mapping[str, float]:
        """Share of each column in the total loss reduction of all splits."""
        weights = np.zeros(len(self.inputs.used) + len(self.inputs.derived))
        for feature, gain in self.booster.get_score(importance_type="total_gain").items():
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
        return BoostedPredictor(inputs, booster, calibration.Recalibration(0.0, 1.0), probe)
    boosters: list[Booster] = []
    margins = np.empty(len(rows.labels))
    for fitted, judged in divide(rows.labels, Folds(kind="stratified", k=params.folds), trial.seed):
        booster = _boost(data.take(fitted), params, trial.seed)
        margins[judged] = _margin(booster, data.features[judged])
        boosters.append(booster)
    return BoostedPredictor(inputs, average(boosters), _recalibrate(rows, margins), probe)


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
    booster = xgboost.Booster()
    try:
        booster.load_model(folder / FILE)
    except xgboost.core.XGBoostError as error:
        raise ArtifactError(f"{folder / FILE} is no XGBoost model: {error}") from error
    recalibration = calibration.Recalibration(content["intercept"], content["slope"])
    inputs = tabular.read_inputs(content, derived)
    probe = tabular.read_probe(content)
    predictor = BoostedPredictor(inputs, _for_serving(booster), recalibration, probe)
    tabular.check_probe(content, predictor.predict(predictor.probe))
    return predictor


def average(boosters: Sequence[Booster]) -> Booster:
    """One booster whose margin is the mean of theirs: all their trees, every leaf divided.

    A row then costs one call instead of one per fold. Source: XGBoost's documented JSON model.

    Args:
        boosters: Fitted alike, objective ``binary:logistic``, number of trees may differ.

    Returns:
        A booster; its margins differ from the mean by float32 rounding only (about 1e-5).
    """
    import xgboost

    models = [json.loads(booster.save_raw("json"))["learner"] for booster in boosters]
    trees = [tree for model in models for tree in model["gradient_booster"]["model"]["trees"]]
    for number, tree in enumerate(trees):
        tree["id"] = number
        tree["split_conditions"] = [
            value / len(models) if child == LEAF else value
            for value, child in zip(tree["split_conditions"], tree["left_children"], strict=True)
        ]
    scores = [float(model["learner_model_param"]["base_score"].strip("[]")) for model in models]
    mean = float(expit(np.mean(logit(scores))))
    models[0]["learner_model_param"]["base_score"] = f"[{mean!r}]"
    forest = models[0]["gradient_booster"]["model"]
    forest |= {"trees": trees, "tree_info": [0] * len(trees)}
    forest["iteration_indptr"] = list(range(len(trees) + 1))
    forest["gbtree_model_param"]["num_trees"] = str(len(trees))
    version = json.loads(boosters[0].save_raw("json"))["version"]
    merged = xgboost.Booster()
    merged.load_model(bytearray(json.dumps({"learner": models[0], "version": version}).encode()))
    return _for_serving(merged)


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
