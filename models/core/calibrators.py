"""Making probabilities honest: Platt scaling, isotonic regression, temperature scaling.

Belongs here: fitting one of the three on held-out scores, applying it, keeping it as JSON. Does not
belong here: measuring calibration (``calibration`` the slope, ``metrics`` the ECE), which learner
uses which. Fit on rows the model did not learn from: on its own rows every model looks calibrated.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import Field, TypeAdapter
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit

from models.contracts.base import Frozen
from models.contracts.learner import Vector
from models.core import calibration, metrics

#: Temperatures outside are no calibration: the scores then carry no information, or too much.
TEMPERATURES = (0.01, 100.0)


class Platt(Frozen):
    """``logit p = intercept + slope * logit(score)``.

    Platt 1999, Probabilistic outputs for support vector machines, on the logit of the score, with
    his targets (n+ + 1) / (n+ + 2) and 1 / (n- + 2) instead of 1 and 0: separated classes then keep
    a finite slope.
    """

    kind: Literal["platt"] = "platt"
    intercept: float
    slope: float

    @classmethod
    def fit(cls, labels: Vector, scores: Vector) -> Platt:
        """Maximum likelihood on labels (n,) of 0 or 1 and probabilities (n,)."""
        labels, scores = _both_classes(labels, scores)
        positives = labels.sum()
        high, low = (positives + 1) / (positives + 2), 1 / (len(labels) - positives + 2)
        fitted = calibration.fit(np.where(labels == 1, high, low), scores)
        if not np.isfinite(fitted).all():
            raise ValueError("one distinct score cannot be scaled; mend the model")
        return cls(intercept=fitted.intercept, slope=fitted.slope)

    def apply(self, scores: Vector) -> Vector:
        """Calibrated probabilities, same shape."""
        calibrated: Vector = expit(self.intercept + self.slope * _logits(scores))
        return calibrated


class Isotonic(Frozen):
    """A step-free rising line through the points of an isotonic regression.

    Zadrozny and Elkan 2002, Transforming classifier scores into accurate multiclass probability
    estimates. It needs hundreds of rows, and ties scores that it cannot tell apart.

    Attributes:
        knots: Rising scores.
        values: Their probabilities, never falling; between knots linear, beyond them constant.
    """

    kind: Literal["isotonic"] = "isotonic"
    knots: tuple[float, ...]
    values: tuple[float, ...]

    @classmethod
    def fit(cls, labels: Vector, scores: Vector) -> Isotonic:
        """Least squares on labels (n,) of 0 or 1 and probabilities (n,)."""
        from sklearn.isotonic import IsotonicRegression

        labels, scores = _both_classes(labels, scores)
        fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(scores, labels)
        return cls(
            knots=tuple(fitted.X_thresholds_.tolist()), values=tuple(fitted.y_thresholds_.tolist())
        )

    def apply(self, scores: Vector) -> Vector:
        """Calibrated probabilities, same shape."""
        calibrated: Vector = np.interp(scores, self.knots, self.values)
        return calibrated


class Temperature(Frozen):
    """``logit p = logit(score) / temperature``: one number, and no decision at 0.5 changes.

    Guo, Pleiss, Sun and Weinberger 2017, On calibration of modern neural networks.
    """

    kind: Literal["temperature"] = "temperature"
    temperature: float

    @classmethod
    def fit(cls, labels: Vector, scores: Vector) -> Temperature:
        """Minimise the log loss on labels (n,) of 0 or 1 and probabilities (n,)."""
        labels, scores = _both_classes(labels, scores)
        x = _logits(scores)

        def loss(log_temperature: float) -> float:
            z = x / np.exp(log_temperature)
            return float(np.mean(np.logaddexp(0, z) - labels * z))

        low, high = np.log(TEMPERATURES).tolist()
        found = minimize_scalar(loss, bounds=(low, high), options={"xatol": 1e-8})
        return cls(temperature=float(np.exp(found.x)))

    def apply(self, scores: Vector) -> Vector:
        """Calibrated probabilities, same shape."""
        calibrated: Vector = expit(_logits(scores) / self.temperature)
        return calibrated


Calibrator = Annotated[Platt | Isotonic | Temperature, Field(discriminator="kind")]
#: ``CALIBRATOR.validate_json(text)`` gives back what ``calibrator.model_dump_json()`` wrote.
CALIBRATOR: TypeAdapter[Platt | Isotonic | Temperature] = TypeAdapter(Calibrator)


class Improvement(NamedTuple):
    """Expected calibration error and log loss of the same rows before and after."""

    ece_before: float
    ece_after: float
    log_loss_before: float
    log_loss_after: float


def improvement(
    calibrator: Platt | Isotonic | Temperature, labels: Vector, scores: Vector
) -> Improvement:
    """What a calibrator does to rows that it was not fitted on."""
    after = calibrator.apply(scores)
    found = [
        metrics.compute(name, labels, values)
        for name in ("ece", "log_loss")
        for values in (scores, after)
    ]
    return Improvement(*found)


def _both_classes(labels: Vector, scores: Vector) -> tuple[Vector, Vector]:
    """Judgeable rows of both classes.

    Raises:
        ValueError: One class only, scores outside [0, 1], or what ``metrics.check`` refuses.
    """
    labels, scores = metrics.check(labels, scores)
    if scores.min() < 0 or scores.max() > 1:
        raise ValueError("a calibrator scales probabilities: give scores within [0, 1]")
    if labels.min() == labels.max():
        raise ValueError(
            f"{len(labels)} rows of one class cannot calibrate; hold out rows of both classes"
        )
    return labels, scores


def _logits(scores: Vector) -> Vector:
    values: Vector = logit(np.clip(scores, calibration.CLIP, 1 - calibration.CLIP))
    return values
