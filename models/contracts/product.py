"""What a product declares: its data, its trials, its gate, its serving. No behaviour.

A field that only one product would set does not belong here: that product passes its own function.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue, field_validator, model_validator

from models.contracts.base import Frozen
from models.contracts.serving import Serving

#: Columns that every feature table carries, whatever the product.
#: ``event_id`` unique row key · ``tenant`` owner of the row · ``event_time`` when the prediction is
#: asked for · ``known_time`` when the label became known · ``label`` 0 or 1 · ``judged`` whether
#: the row may be used to judge a model (rows that are not judged may still teach).
#: Boolean columns named ``slice_*`` are slices of the evaluation; those named
#: ``slice_identity_*`` mark groups of people, to whom a model must be fair.
#: A table may also carry ``part``: ``train`` or ``holdout`` where somebody else's split is kept,
#: null where the product's own division by time applies.
EVENT_ID, TENANT, EVENT_TIME, KNOWN_TIME = "event_id", "tenant", "event_time", "known_time"
LABEL, JUDGED, SLICE_PREFIX, PART = "label", "judged", "slice_", "part"
IDENTITY_PREFIX = f"{SLICE_PREFIX}identity_"
FRAME_COLUMNS = (EVENT_ID, TENANT, EVENT_TIME, KNOWN_TIME, LABEL, JUDGED)

#: What a table carries beside these, by contract. ``text_labels``: the text, what it replies to
#: (``context``, null where nothing), and a ``label_<name>``
#: per name of ``Data.labels``, 0, 1 or null where nobody said; ``label`` is the one yes or no that
#: a moderator decides. It may carry ``rationale``: which characters people marked as the reason,
#: as JSON, a list of [start, end), null where nobody did. ``ranked_items``: who, what, and how
#: strongly (a rating, a count).
TEXT, CONTEXT, LABEL_PREFIX, RATIONALE = "text", "context", "label_", "rationale"
USER, ITEM, STRENGTH, FRIEND = "user", "item", "strength", "friend"

Contract = Literal["row_scores", "text_labels", "ranked_items"]
Cadence = Literal["daily", "weekly", "monthly"]


class Column(Frozen):
    """One model input: also the request field, the schema check and a line of the model card."""

    name: str
    kind: Literal["int", "float"] = "float"
    description: str
    nullable: bool = False
    minimum: float | None = None
    maximum: float | None = None


class TimeSplit(Frozen):
    """Train before, judge after, with a gap in which outcomes may still arrive.

    Attributes:
        holdout: Share of rows, latest first, that judges (0 to 1).
        gap_hours: A training row's label must be known this long before the first holdout event.
    """

    holdout: float = Field(default=0.2, gt=0, lt=1)
    gap_hours: float = Field(default=24.0, ge=0)


class Folds(Frozen):
    """Validation inside the training rows.

    Attributes:
        kind: ``stratified`` or ``time``: k fits that validate, then one on all rows. ``newest``:
            the newest 1 / k of the rows validate one fit, and that fit is the candidate (for models
            whose fit takes minutes).
    """

    kind: Literal["stratified", "time", "newest"] = "stratified"
    k: int = Field(default=5, ge=2)


class Data(Frozen):
    """Where the rows come from and how they are divided.

    Attributes:
        features: Asset key of the dbt feature table, e.g. ``features/risk/merges``.
        columns: The model's inputs, in matrix order. Of a text or an interaction: the numbers that
            describe it, which are checked, logged and watched for drift.
        labels: Names of the labels of a ``text_labels`` product, in the order it answers them.
        tables: Further feature tables that are frozen with the snapshot, e.g. a catalogue.
        split: Division into training and holdout rows.
        folds: Division of the training rows for cross-validation.
        max_age_days: Freshness: the newest event may be this old against the source's newest
            arrival before the freshness check fails.
    """

    features: str
    columns: tuple[Column, ...]
    labels: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    split: TimeSplit = TimeSplit()
    folds: Folds = Folds()
    max_age_days: float = 30.0

    @property
    def names(self) -> tuple[str, ...]:
        """Input names in matrix order."""
        return tuple(column.name for column in self.columns)


class Trial(Frozen):
    """One candidate to fit.

    Attributes:
        params: The learner's own.
        columns: Inputs it reads; None means all.
        after: Earlier trials whose fitted models it is made from (an ensemble, a student).
        form: It is the one model of ``after`` in another form (ONNX, INT8): never a challenger by
            itself, it serves in its original's place when it is not inferior and faster.
    """

    name: str
    params: dict[str, JsonValue] = Field(default_factory=dict)
    columns: tuple[str, ...] | None = None
    seed: int = 0
    after: tuple[str, ...] = ()
    form: bool = False

    @model_validator(mode="after")
    def _form_of_one(self) -> Trial:
        if self.form and len(self.after) != 1:
            raise ValueError(
                f"trial {self.name!r} is a form of exactly one trial, name it in after"
            )
        return self


class Guardrail(Frozen):
    """What must not get worse while the primary metric gets better.

    Attributes:
        metric: Name in ``models.core.metrics.METRICS``, or of a measure on the scorecard, e.g.
            ``attack.homoglyph``; a measure knows no slices.
        slice: ``overall``, ``slice_<name>`` or ``tenant`` (every tenant with enough rows).
        max_loss: Relative increase of the error (1 - metric, or the metric itself when lower is
            better) that is still tolerated.
        floor: Absolute bound on the point value, applied to the first champion as well.
    """

    metric: str
    slice: str = "overall"
    max_loss: float = Field(default=0.05, ge=0)
    floor: float | None = None

    @property
    def on_measure(self) -> bool:
        """Whether it is on a measure of the scorecard, ``<examination>.<name>``, not a metric."""
        return "." in self.metric


class Gate(Frozen):
    """The promotion policy: a paired test on the primary metric plus guardrails.

    Attributes:
        metric: Primary metric, a name in ``models.core.metrics.METRICS``.
        floor: The one-sided lower bound of the primary metric must reach this.
        min_effect: Smallest relative reduction of the error worth releasing for.
        alpha: One-sided error level of the test and of the guardrail family.
        power: Power at ``min_effect`` below which a non-significant result is "too few data".
        max_latency_ms: Bound on the p95 of one single-row prediction, in CPU time.
        max_size_mb: Bound on the artifact.
        max_calibration_error: Bound on |calibration slope - 1|; None leaves it unchecked.
        guardrails: Tests in one Holm family.
        form_margin: Relative increase of the error at which another form of the same model (see
            `Trial`) counts as inferior, overall and in every guardrail's slice.
        needs_approval: A named person must approve before a promotion takes effect.
        approval_hours: A challenger waits this long for its approval; then it must be judged anew.
    """

    metric: str
    floor: float
    min_effect: float = Field(default=0.05, gt=0, lt=1)
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    power: float = Field(default=0.8, gt=0.5, lt=1)
    max_latency_ms: float = 5.0
    max_size_mb: float = 50.0
    max_calibration_error: float | None = None
    guardrails: tuple[Guardrail, ...] = ()
    form_margin: float = Field(default=0.05, gt=0)
    needs_approval: bool = False
    approval_hours: float = Field(default=72.0, gt=0)


class Monitoring(Frozen):
    """When traffic is judged, what counts as harm, and what follows from it.

    Attributes:
        window_hours: Length of a window, at least a minute.
        min_rows: A window with fewer predictions judges nothing.
        drift_effect: A column moved when its effect (Jensen-Shannon distance) reaches this.
        drift_share: The inputs drifted when this share of the columns moved.
        max_loss: Tolerated relative increase of the gate metric's error over the promise
            (``1 - metric``, or the metric itself when lower is better). The floor counts too.
        violations: (k, n): retrain when k of the last n judged windows violate.
        min_new_rows: Labelled rows that must have arrived since the champion's snapshot.
        cooldown_hours: Between two retrainings, and between two automatic rollbacks.
        fresh_hours: How long after its release a champion may be rolled back automatically.
    """

    window_hours: float = Field(default=24.0, ge=1 / 60)
    min_rows: int = Field(default=200, ge=30)
    drift_effect: float = Field(default=0.1, gt=0, lt=1)
    drift_share: float = Field(default=0.3, gt=0, le=1)
    max_loss: float = Field(default=0.25, gt=0)
    violations: tuple[int, int] = (2, 5)
    min_new_rows: int = Field(default=500, ge=1)
    cooldown_hours: float = Field(default=24.0, ge=0)
    fresh_hours: float = Field(default=168.0, gt=0)

    @field_validator("violations")
    @classmethod
    def _can_happen(cls, violations: tuple[int, int]) -> tuple[int, int]:
        k, n = violations
        if not 1 <= k <= n:
            raise ValueError(f"violations (k, n) must have 1 <= k <= n, got ({k}, {n})")
        return violations


class ModelProduct(Frozen):
    """One product: everything the chain needs to know of it.

    Attributes:
        key: ``<domain>/<product>``, equal to its folder below ``models/``.
        contract: Which service serves it (a folder below ``bentos/``).
        learner: ``module:attribute`` of a ``models.contracts.learner.Learner``.
    """

    key: str = Field(pattern=r"^[a-z0-9_]+/[a-z0-9_]+$")
    title: str
    contract: Contract
    owner: str = Field(pattern=r"^(team:[a-z0-9_-]+|[^@\s]+@[^@\s]+)$")
    cadence: Cadence
    learner: str = Field(pattern=r"^[\w.]+:\w+$")
    data: Data
    trials: tuple[Trial, ...] = Field(min_length=1)
    gate: Gate
    monitoring: Monitoring = Monitoring()
    serving: Serving = Serving()

    @property
    def domain(self) -> str:
        """First part of the key."""
        return self.key.split("/")[0]

    @property
    def name(self) -> str:
        """Second part of the key."""
        return self.key.split("/")[1]

    @property
    def slug(self) -> str:
        """The key as one identifier, e.g. ``risk_sync_conflict``."""
        return self.key.replace("/", "_")

    @field_validator("trials")
    @classmethod
    def _unique_trials(cls, trials: tuple[Trial, ...]) -> tuple[Trial, ...]:
        names = [trial.name for trial in trials]
        if len(set(names)) != len(names):
            raise ValueError(f"trial names must be unique, got {names}")
        return trials

    @field_validator("trials")
    @classmethod
    def _made_from_earlier_ones(cls, trials: tuple[Trial, ...]) -> tuple[Trial, ...]:
        earlier: set[str] = set()
        for trial in trials:
            if unknown := set(trial.after) - earlier:
                raise ValueError(f"trial {trial.name!r}: list {sorted(unknown)} before it")
            earlier.add(trial.name)
        return trials

    @model_validator(mode="after")
    def _trial_columns_exist(self) -> ModelProduct:
        for trial in self.trials:
            unknown = set(trial.columns or ()) - set(self.data.names)
            if unknown:
                raise ValueError(f"trial {trial.name!r} names unknown columns {sorted(unknown)}")
        return self
