"""What monitoring measures and decides: profiles, window reports, decisions. All frozen."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from models.contracts.base import Frozen
from models.contracts.results import Estimate

#: Slice name of all rows; other slices are ``tenant=<name>``.
OVERALL = "overall"


class Histogram(Frozen):
    """A column's reference distribution in its own quantile bins.

    Attributes:
        edges: Inner edges, ascending; value v falls into bin ``searchsorted(edges, v, 'right')``.
        shares: Share of rows per bin, ``len(edges) + 1`` values, then one more: the share of nulls.
    """

    name: str
    edges: tuple[float, ...]
    shares: tuple[float, ...]


class Recalibration(Frozen):
    """P(label = 1) as ``expit(intercept + slope * logit(score))``, with its uncertainty.

    Attributes:
        covariance: 2 x 2 of (intercept, slope): sampling error plus the variance between periods.
    """

    intercept: float
    slope: float
    covariance: tuple[tuple[float, float], tuple[float, float]]


class ReferenceProfile(Frozen):
    """How a model's holdout looked when it was released; kept with the evaluation.

    Attributes:
        rows: Judged holdout rows behind it.
        inputs: One histogram per model input, in column order.
        score: Histogram of the model's scores.
        promised: Metric to its holdout estimate: what the release promised.
        threshold: The candidate's decision threshold.
    """

    product: str
    evaluation_id: str
    candidate_id: str
    rows: int
    inputs: tuple[Histogram, ...]
    score: Histogram
    recalibration: Recalibration
    promised: dict[str, Estimate]
    threshold: float

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the inputs it was released with, in column order."""
        return tuple(each.name for each in self.inputs)


class DriftEffect(Frozen):
    """How far one column moved from the reference.

    Attributes:
        effect: Jensen-Shannon distance (base 2, 0 to 1), freed of the part that sampling alone
            gives, so it does not grow or shrink with the number of rows.
    """

    name: str
    effect: float
    drifted: bool


class DataQuality(Frozen):
    """What was wrong with the rows themselves.

    Attributes:
        outside: Column to the share of values outside the declared bounds.
        nulls: Column to its share of nulls, where that is not zero.
        contradictions: Predictions whose outcome reports contradict each other.
        orphans: Outcome reports of the window that belong to no known prediction.
    """

    outside: dict[str, float]
    nulls: dict[str, float]
    contradictions: int
    orphans: int


class Latency(Frozen):
    """Milliseconds per request, as the service measured them."""

    mean: float
    median: float
    p95: float
    p99: float


Basis = Literal["realised", "estimated", "none"]


class WindowVerdict(Frozen):
    """The one judgement of a window that report, check and sensor share.

    Attributes:
        judged: Whether the window had enough rows to be judged at all.
        drifted: Inputs or scores moved by the policy's effect.
        hurt: The metric is provably below what the policy tolerates.
        basis: What ``hurt`` rests on: outcomes, else the label-free estimate.
        reason: One sentence for a person, with the numbers.
    """

    judged: bool
    drifted: bool
    hurt: bool
    basis: Basis
    reason: str

    @property
    def violated(self) -> bool:
        """Something moved: counted by the retrain rule, which also asks whether it hurts."""
        return self.judged and (self.drifted or self.hurt)


class VersionWindow(Frozen):
    """One release in one window.

    Attributes:
        share: Share of the window's predictions that this version answered.
        errors: Requests answered 5xx.
        error_rate: ``errors / requests``.
        cost_per_1000: Busy machine time of 1,000 predictions in the setting's currency.
        estimated: Slice to metric to label-free estimate with its interval.
        realised: Slice to metric to measured value with its interval, where outcomes are in.
        outcomes: Rows with an outcome.
    """

    version: str
    rows: int
    requests: int
    share: float
    errors: int
    error_rate: float
    latency: Latency
    cost_per_1000: float
    drift: tuple[DriftEffect, ...]
    score_drift: DriftEffect
    quality: DataQuality
    estimated: dict[str, dict[str, Estimate]]
    realised: dict[str, dict[str, Estimate]]
    outcomes: int
    verdict: WindowVerdict


class WindowReport(Frozen):
    """One product in one window of traffic.

    Attributes:
        start: UTC, inclusive; windows are aligned to multiples of their length since 1970.
        end: UTC, exclusive.
        as_of: What was known by then entered the report.
        digest: Digest over everything the report was made from; the same digest, the same report.
        versions: Newest release first.
    """

    product: str
    start: datetime
    end: datetime
    as_of: datetime
    digest: str
    rows: int
    versions: tuple[VersionWindow, ...]


class RetrainDecision(Frozen):
    """Whether to retrain, and why (not).

    Attributes:
        window: Start of the newest judged window, part of the run key.
        new_rows: Labelled rows that arrived since the champion's snapshot.
    """

    retrain: bool
    reason: str
    window: datetime | None
    violations: int
    windows: int
    new_rows: int


class RollbackDecision(Frozen):
    """Whether a fresh champion must go, and why (not).

    Attributes:
        basis: Outcomes of both models on the same rows, else their label-free estimates.
        champion_value: Metric of the champion; None when nothing could be compared.
        previous_value: Metric of the release before it on the same rows.
    """

    roll_back: bool
    reason: str
    champion: str
    previous: str | None
    basis: Basis
    champion_value: Estimate | None = None
    previous_value: Estimate | None = None


class MonitoringResult(Frozen):
    """What one materialisation of a product's monitoring concluded; kept as ``latest.json``.

    Attributes:
        regression: Reason when the champion is provably below its own promise, else None.
        windows: Starts of the windows reported on, oldest first.
    """

    product: str
    as_of: datetime
    champion: str | None
    windows: tuple[datetime, ...]
    retrain: RetrainDecision
    rollback: RollbackDecision | None
    regression: str | None
