"""What differs between contracts, behind one interface: the stages ask a kind and know none.

A kind says how the rows of its products are checked, fitted, answered, judged and asked for. One
module per contract joins what ``models.core`` computes on arrays with the tables of a snapshot, and
is pure: tables in, results out. Does not belong here: algorithms (``models.core``), files and runs
(``assets``), HTTP (``bentos``). The code location imports kinds for their checks, so they import in
the bodies what is slow to import.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from models.contracts.api import GoldenSet
from models.contracts.learner import FitContext, Learner, Matrix, Saved, Vector
from models.contracts.product import (
    IDENTITY_PREFIX,
    JUDGED,
    LABEL,
    TENANT,
    Contract,
    Data,
    Gate,
    ModelProduct,
    Trial,
)
from models.contracts.results import Candidate, CheckResult, Estimate, Measure, Scorecard
from models.contracts.routing import Rule

if TYPE_CHECKING:
    import pandas as pd

    from models.core.rivals import Halves
    from models.core.slices import Units
    from models.core.splits import Split


class Tables(NamedTuple):
    """A frozen snapshot in memory.

    Attributes:
        train: Training rows of the feature table, in time order.
        holdout: Holdout rows, in time order, judged and not.
        more: The tables of ``Data.tables`` by their key.
    """

    train: pd.DataFrame
    holdout: pd.DataFrame
    more: Mapping[str, pd.DataFrame]


class Draft(NamedTuple):
    """A snapshot that has to pass its checks before it is frozen.

    Attributes:
        frame: The feature table.
        parts: Its division.
        previous: All rows of the last snapshot; None for the first.
        more: The tables of ``Data.tables``.
        same_definition: False when the features' SQL changed since ``previous``.
    """

    frame: pd.DataFrame
    parts: Split
    previous: pd.DataFrame | None
    more: Mapping[str, pd.DataFrame]
    same_definition: bool


class Fit(NamedTuple):
    """A fitted trial and what validation said of it, without the holdout.

    Attributes:
        cv: Metric to one value per fold.
        threshold: Decision threshold of the watched score (see `Watched`).
        thresholds: The same per label, where there are several.
        seconds: That the fit of ``predictor`` took.
    """

    predictor: Saved
    cv: Mapping[str, tuple[float, ...]]
    threshold: float
    thresholds: Mapping[str, float]
    seconds: float


class Model(NamedTuple):
    """A loaded candidate."""

    candidate: Candidate
    predictor: Any


#: A candidate and its answers: column name to shape (n,), as ``Kind.answer`` gives them.
Answered = tuple[Candidate, Mapping[str, Vector]]


class Watched(NamedTuple):
    """A product's judged units as monitoring sees its traffic: numbers, one score, one label.

    Attributes:
        inputs: Shape (n, d) in the order of ``Data.columns``; NaN for null.
        scores: Shape (n,) in [0, 1], as the service logs it.
        labels: Shape (n,) of 0 or 1, as an outcome reports it.
        times: Shape (n,) of datetime64[us].
    """

    inputs: Matrix
    scores: Vector
    labels: Vector
    times: Any


class Learned(NamedTuple):
    """A learning curve: the gate's metric on the rows fitted and on those left out.

    Attributes:
        rows: Mean training rows per point.
        train: Mean per point over the folds, with deviation ``train_sd``; ``validation`` likewise.
    """

    rows: tuple[int, ...]
    train: tuple[float, ...]
    train_sd: tuple[float, ...]
    validation: tuple[float, ...]
    validation_sd: tuple[float, ...]


class Kind(ABC):
    """One contract. ``units`` below are what is judged one by one: rows, texts, users.

    Attributes:
        checks: Checks of a snapshot: name to the question it answers.
    """

    checks: ClassVar[Mapping[str, str]]

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics of a scorecard, keys of ``models.core.metrics.METRICS``: every binary one."""
        from models.core.metrics import BINARY

        return BINARY

    @abstractmethod
    def check(self, data: Data, draft: Draft) -> tuple[CheckResult, ...]:
        """Every check of ``checks``, in that order."""

    @abstractmethod
    def fit(
        self,
        product: ModelProduct,
        learner: Learner[Any, Any],
        trial: Trial,
        tables: Tables,
        context: FitContext,
    ) -> Fit:
        """Fit one trial on the training rows and validate it inside them. Never reads holdout."""

    def units(self, product: ModelProduct, tables: Tables) -> pd.DataFrame:
        """The judged units of the holdout, in time order: its judged rows.

        Returns:
            Columns ``event_id`` (unique), ``tenant``, boolean ``slice_*``, and whatever ``answer``
            and ``paired`` need (labels, texts). The index is 0 to n - 1.
        """
        del product
        judged: pd.DataFrame = tables.holdout[tables.holdout[JUDGED]].reset_index(drop=True)
        return judged

    @abstractmethod
    def answer(
        self, product: ModelProduct, model: Model, units: pd.DataFrame, tables: Tables
    ) -> dict[str, Vector]:
        """What ``paired`` needs of one model: column name to shape (n,), kept beside the units."""

    @abstractmethod
    def paired(
        self,
        product: ModelProduct,
        units: pd.DataFrame,
        challenger: Answered,
        champion: Answered | None,
    ) -> Units:
        """Answers of one or two models on the same units, as the gate and the scorecard take it."""

    @abstractmethod
    def singles(self, model: Model, units: pd.DataFrame) -> list[Callable[[], object]]:
        """One call per unit that answers it as a request of its own would, for the latency."""

    @abstractmethod
    def examine(
        self, product: ModelProduct, model: Model, units: pd.DataFrame, tables: Tables
    ) -> dict[str, Measure]:
        """Robustness, fairness and what else applies: ``<examination>.<name>`` to its number."""

    @abstractmethod
    def golden(
        self, product: ModelProduct, model: Model, units: pd.DataFrame, rows: int
    ) -> GoldenSet:
        """Request rows spread over the units, with the answers the model gives here."""

    @abstractmethod
    def watched(
        self,
        product: ModelProduct,
        units: pd.DataFrame,
        answers: Mapping[str, Vector],
        tables: Tables,
    ) -> Watched:
        """The units and one model's answers as the prediction log would hold them."""

    def watched_metric(self, product: ModelProduct) -> str:
        """Metric of ``watched`` that traffic is held to: the gate's own, where it can be."""
        return product.gate.metric

    def promised(
        self, product: ModelProduct, card: Scorecard, watched: Watched, threshold: float
    ) -> Mapping[str, Estimate]:
        """What traffic is compared with: every binary metric on ``watched``, with intervals."""
        from models.core import evaluation, metrics, slices

        del card
        units = slices.Scores(watched.labels, watched.scores, None, (threshold, threshold))
        drawn = slices.replicate(metrics.BINARY, units, slices.OVERALL, 1000, 0)
        alpha = product.gate.alpha
        return evaluation.estimates(metrics.BINARY, units, drawn.challenger, alpha=alpha)

    def rescore(self, product: ModelProduct, model: Model, inputs: Matrix) -> Vector | None:
        """Scores of logged inputs, shape (n,); None where the log does not hold what it reads."""
        del product, model, inputs
        return None

    def learned(
        self, product: ModelProduct, learner: Learner[Any, Any], trial: Trial, tables: Tables
    ) -> Learned | None:
        """The trial's learning curve; None where fitting it again takes too long."""
        del product, learner, trial, tables
        return None

    def rule(self, product: ModelProduct, candidate: Candidate, train: pd.DataFrame) -> Rule:
        """What is answered when no model can be asked: the base rate of the training rows."""
        judged = train[train[JUDGED]] if train[JUDGED].any() else train
        return Rule(
            product=product.key,
            probability=float(judged[LABEL].mean()),
            threshold=candidate.threshold,
        )

    def halves(self, product: ModelProduct, tables: Tables) -> Halves | None:
        """The training rows, to be halved at random; None where halves ask another question."""
        del product, tables
        return None


def kind_of(contract: Contract) -> Kind:
    """The kind of a contract (imported when first asked for: pandas and more come with it)."""
    return cast("Kind", import_module(f"models.kinds.{contract}").KIND)


def as_watched(product: ModelProduct) -> ModelProduct:
    """The product as its traffic is judged: by a metric of one score and one label.

    The gate's metric where traffic can give it. Otherwise the kind's, of which more is better,
    without a floor: what counts then is the promise of the holdout.
    """
    metric = kind_of(product.contract).watched_metric(product)
    if metric == product.gate.metric:
        return product
    gate = Gate(metric=metric, floor=0.0, alpha=product.gate.alpha, power=product.gate.power)
    return product.model_copy(update={"gate": gate})


def identities(units: pd.DataFrame) -> list[str]:
    """Columns that mark groups of people."""
    return [str(name) for name in units.columns if str(name).startswith(IDENTITY_PREFIX)]


def spread(units: pd.DataFrame, candidate: Candidate, count: int) -> NDArray[np.intp]:
    """Positions of up to ``count`` units of tenants the model knows, spread evenly over time."""
    known = np.flatnonzero(units[TENANT].isin(candidate.tenants))
    places = np.linspace(0, len(known) - 1, min(count, len(known))).astype(np.intp)
    return known[places]
