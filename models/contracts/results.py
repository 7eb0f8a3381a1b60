"""What the stages return and keep: manifests, evaluations, decisions, releases. All frozen."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field, JsonValue

from models.contracts.base import Frozen


class Estimate(Frozen):
    """A measured value with its interval (two-sided, level 1 - 2 * alpha of the gate)."""

    value: float
    low: float
    high: float


class CheckResult(Frozen):
    """Outcome of one pure check; ``message`` says what is wrong and what to do next."""

    name: str
    passed: bool
    message: str
    numbers: dict[str, JsonValue] = Field(default_factory=dict)


class Snapshot(Frozen):
    """Manifest of a frozen dataset. Files are relative to the manifest's folder.

    Attributes:
        snapshot_id: First 16 hex digits of the content hash.
        definition: Digest over the SQL of the features and the product's data spec.
        as_of: Newest ``known_time`` in the data: what was known, not when the job ran.
        split_at: First holdout event time.
        files: File name to sha256.
    """

    product: str
    snapshot_id: str
    content_hash: str
    definition: str
    as_of: datetime
    split_at: datetime
    gap_hours: float
    rows: int
    train_rows: int
    gap_rows: int
    holdout_rows: int
    judged_rows: int
    positives: int
    tenants: tuple[str, ...]
    columns: tuple[str, ...]
    source: str
    files: dict[str, str]


class Candidate(Frozen):
    """Manifest of a fitted trial: the only thing that may be evaluated, released or loaded.

    Attributes:
        candidate_id: First 16 hex digits of the digest over files, trial and snapshot.
        files: File name (relative, POSIX) to sha256.
        cv: Metric to one value per fold.
        threshold: Decision threshold: best F1 on the out-of-fold predictions of the training rows.
        thresholds: The same per label, where there are several.
        after: Trial to candidate id of the models it was made from.
        form: Whether it is the one model of ``after`` in another form.
        curves: What its fit showed while it went on: name to one value per step.
    """

    product: str
    trial: str
    candidate_id: str
    snapshot_id: str
    learner: str
    code_version: str
    params: dict[str, JsonValue]
    columns: tuple[str, ...]
    tenants: tuple[str, ...]
    seed: int
    cv: dict[str, tuple[float, ...]]
    threshold: float
    thresholds: dict[str, float] = Field(default_factory=dict)
    after: dict[str, str] = Field(default_factory=dict)
    form: bool = False
    curves: dict[str, tuple[float, ...]] = Field(default_factory=dict)
    fit_seconds: float
    files: dict[str, str]


class CandidateSet(Frozen):
    """The candidates of one snapshot, in the order of the product's trials.

    Attributes:
        set_id: First 16 hex digits over the candidate ids.
        candidates: Candidate ids.
        runs: Candidate id to MLflow run id.
    """

    product: str
    set_id: str
    snapshot_id: str
    candidates: tuple[str, ...]
    runs: dict[str, str]


class Measure(Frozen):
    """A number of one model beyond the metrics of its answers: robustness, fairness, cost.

    Attributes:
        title: Words for a person.
        low: End of its interval; equal to ``value`` where there is none (``high`` likewise).
    """

    title: str
    value: float
    low: float
    high: float
    higher_is_better: bool = True


class Scorecard(Frozen):
    """One model on one holdout.

    Attributes:
        metrics: slice name -> metric name -> estimate.
        rows: slice name -> judged rows in it.
        positives: slice name -> positive rows in it.
        latency_p50_ms: Median CPU time of a single-row prediction (``latency_p95_ms`` likewise).
        measures: ``<examination>.<name>`` to its number; any may be a guardrail.
    """

    candidate_id: str
    trial: str
    metrics: dict[str, dict[str, Estimate]]
    rows: dict[str, int]
    positives: dict[str, int]
    latency_p50_ms: float
    latency_p95_ms: float
    size_bytes: int
    importance: dict[str, float]
    measures: dict[str, Measure] = Field(default_factory=dict)


class Evaluation(Frozen):
    """Candidates and champion on one holdout. ``challenger`` was picked by cross-validation.

    Attributes:
        evaluation_id: First 16 hex digits over snapshot, candidates, champion and code.
        scorecards: Candidate id to its scorecard; the champion's is among them.
    """

    product: str
    evaluation_id: str
    snapshot_id: str
    challenger: str
    champion: str | None
    scorecards: dict[str, Scorecard]


class TestResult(Frozen):
    """One statistical test, with every number behind it."""

    __test__ = False  # not a pytest class

    name: str
    statistic: float
    p_value: float
    effect: float
    low: float
    high: float
    detail: dict[str, JsonValue] = Field(default_factory=dict)


class GuardrailResult(Frozen):
    """One guardrail of the Holm family."""

    metric: str
    slice: str
    challenger: float
    champion: float | None
    relative_loss: float | None
    p_value: float | None
    adjusted_p: float | None
    status: Literal["passed", "violated", "too_few_rows"]
    reason: str


class FormResult(Frozen):
    """Whether another form of the challenger may serve in its place.

    Attributes:
        candidate: The form's id.
        tests: One per slice: is its error less than (1 + margin) times the original's? (``p_value``
            after Holm's correction; ``effect`` is the relative increase of the error.)
        speedup: p95 of the original over p95 of the form.
    """

    candidate: str
    trial: str
    passed: bool
    reason: str
    tests: tuple[TestResult, ...]
    speedup: float
    size_ratio: float


Outcome = Literal["promote", "keep", "too_few_data", "awaiting_approval"]


class GateDecision(Frozen):
    """What the gate said of one challenger, and why.

    Attributes:
        effect: Relative reduction of the error against the champion; None for a first champion.
        required_rows: Holdout rows at which ``min_effect`` is seen with the policy's power.
        forms: What was said of the challenger's other forms.
        serves: The candidate that is released when the outcome is ``promote``: the fastest form
            that passed, else the challenger. None in decisions from before there were forms.
    """

    product: str
    challenger: str
    champion: str | None
    outcome: Outcome
    reason: str
    metric: str
    challenger_value: Estimate
    champion_value: Estimate | None
    effect: Estimate | None
    tests: tuple[TestResult, ...]
    guardrails: tuple[GuardrailResult, ...]
    rows: int
    required_rows: int | None
    policy: dict[str, JsonValue]
    forms: tuple[FormResult, ...] = ()
    serves: str | None = None


class Release(Frozen):
    """A candidate the gate let through. ``version`` is ``vYYYYMMDD_HHMMSS`` (UTC).

    Attributes:
        semver: What it means to its callers, see ``models.core.semver``; "" of older releases.
        staged: It serves only after its rollout promoted it; otherwise from its release on.
    """

    product: str
    version: str
    candidate_id: str
    snapshot_id: str
    evaluation_id: str
    trial: str
    mlflow_version: str
    artifact: str
    semver: str = ""
    staged: bool = False
