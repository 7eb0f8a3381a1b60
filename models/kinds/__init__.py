"""What differs between contracts, behind one interface: the stages ask a kind and know none.

A kind says how the rows of its products are checked, fitted, answered, judged and asked for. One
module per contract implements it; everything in them is pure: tables in, results out. Does not
belong here: algorithms (``models.core``), files and runs (``assets``), HTTP (``bentos``).
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from models.contracts.api import GoldenSet
from models.contracts.learner import FitContext, Learner, Matrix, Saved, Vector
from models.contracts.product import Contract, Data, ModelProduct, Trial
from models.contracts.results import Candidate, CheckResult, Measure

if TYPE_CHECKING:
    import pandas as pd

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


class Kind(Protocol):
    """One contract. ``units`` below are what is judged one by one: rows, texts, users."""

    @property
    def checks(self) -> Mapping[str, str]:
        """Checks of a snapshot: name to the question it answers."""
        ...

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics of a scorecard, keys of ``models.core.metrics.METRICS``."""
        ...

    def check(
        self,
        data: Data,
        frame: pd.DataFrame,
        parts: Split,
        previous: pd.DataFrame | None,
        *,
        more: Mapping[str, pd.DataFrame],
        same_definition: bool,
    ) -> tuple[CheckResult, ...]:
        """Every check of ``checks``, in that order.

        Args:
            data: The product's data.
            frame: The feature table.
            parts: Its division.
            previous: All rows of the last snapshot; None for the first.
            more: The tables of ``Data.tables``.
            same_definition: False when the features' SQL changed since ``previous``.
        """
        ...

    def fit(
        self,
        product: ModelProduct,
        learner: Learner[Any, Any],
        trial: Trial,
        tables: Tables,
        context: FitContext,
    ) -> Fit:
        """Fit one trial on the training rows and validate it inside them. Never reads holdout."""
        ...

    def units(self, product: ModelProduct, tables: Tables) -> pd.DataFrame:
        """The judged units of the holdout, in time order.

        Returns:
            Columns ``event_id`` (unique), ``tenant``, boolean ``slice_*``, and whatever ``answer``
            and ``paired`` need (labels, texts). The index is 0 to n - 1.
        """
        ...

    def answer(
        self, product: ModelProduct, model: Model, units: pd.DataFrame, tables: Tables
    ) -> dict[str, Vector]:
        """What ``paired`` needs of one model: column name to shape (n,), kept beside the units."""
        ...

    def paired(
        self,
        product: ModelProduct,
        units: pd.DataFrame,
        challenger: tuple[Candidate, Mapping[str, Vector]],
        champion: tuple[Candidate, Mapping[str, Vector]] | None,
    ) -> Units:
        """Answers of one or two models on the same units, as the gate and the scorecard take it."""
        ...

    def ask(self, product: ModelProduct, model: Model, units: pd.DataFrame, number: int) -> None:
        """Answer one unit as one request would, for the latency. ``number`` is a row of units."""
        ...

    def examine(
        self, product: ModelProduct, model: Model, units: pd.DataFrame, tables: Tables
    ) -> dict[str, Measure]:
        """Robustness, fairness and what else applies: ``<examination>.<name>`` to its number."""
        ...

    def golden(
        self, product: ModelProduct, model: Model, units: pd.DataFrame, rows: int
    ) -> GoldenSet:
        """Request rows spread over the units, with the answers the model gives here."""
        ...

    def watched(
        self,
        product: ModelProduct,
        units: pd.DataFrame,
        answers: Mapping[str, Vector],
        tables: Tables,
    ) -> Watched:
        """The units and one model's answers as the prediction log would hold them."""
        ...

    def watched_metric(self, product: ModelProduct) -> str:
        """Metric of ``watched`` that traffic is held to; the gate's own where it can be."""
        ...


def kind_of(contract: Contract) -> Kind:
    """The kind of a contract (imported when first asked for: pandas and more come with it)."""
    return cast("Kind", import_module(f"models.kinds.{contract}").KIND)
