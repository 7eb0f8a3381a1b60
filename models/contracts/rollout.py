"""The traffic plan of a challenger: what is declared, what is written down, what is counted.

Field lists only, shared by the gateway (which writes exposures), the pure rules
(``models.core.rollouts``) and the controller (which keeps steps and tallies). No file, no clock.
Words: a *unit* is one request; the *challenger* is the release on trial beside the *champion*.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field, model_validator

from models.contracts.base import Frozen

RolloutKind = Literal["shadow", "canary", "ab"]
RuleName = Literal["errors", "latency", "disagreement", "estimated", "realised"]
RolloutPhase = Literal[
    "requested", "refused", "starting", "running", "promoted", "aborted", "inconclusive"
]
Variant = Literal["champion", "challenger"]
Sticky = Literal["unit", "tenant", "key"]


class Limit(Frozen):
    """One rule: how much worse the challenger may be.

    Attributes:
        tolerance: Aborted when the mean difference is provably above it.
        margin: Proven good when the mean difference is provably below it; None: never required.
    """

    rule: RuleName
    tolerance: float = Field(gt=-1, lt=1)
    margin: float | None = Field(default=None, gt=-1, lt=1)


#: Differences are shares of requests: 0.005 is half a percentage point.
DEFAULT_LIMITS = (
    Limit(rule="errors", tolerance=0.0, margin=0.005),
    Limit(rule="latency", tolerance=0.05, margin=0.10),
    Limit(rule="disagreement", tolerance=0.10),
    Limit(rule="estimated", tolerance=0.01, margin=0.01),
    Limit(rule="realised", tolerance=0.0, margin=0.01),
)

#: What a kind means where the plan does not say; a canary is what the fields' defaults say.
_BY_KIND: dict[str, dict[str, Any]] = {
    "shadow": {"weights": (0.0,), "mirror": 1.0, "on_end": "report"},
    "ab": {"weights": (0.5,), "mirror": 0.0},
}


class RolloutPlan(Frozen):
    """How a challenger gets traffic and what ends its rollout.

    Attributes:
        kind: ``shadow`` answers nobody, ``canary`` a growing share, ``ab`` a fixed one.
        weights: Share of the challenger, stage by stage; the defaults of this, of
            ``mirror`` and of ``on_end`` are the kind's.
        mirror: Share of the requests the other release answers too, so that both can be compared.
        sticky: What stays with one release: the unit's key, the tenant, or the caller's key.
        require: Rules that must be proven for a promotion; () is the default of ``core.rollouts``.
        alpha: Chance that an equal challenger is ever aborted, over all rules together.
        promote_alpha: Chance that one beyond a required rule's margin is ever promoted.
        warm_units: First units of the challenger, which count for errors only.
        min_units: Units of the challenger before a stage may end.
        min_seconds: Time before a stage may end.
        max_units: Units of the challenger after which the rollout ends without a verdict.
        max_hours: Time after which it does.
        on_end: Whether a proven challenger is promoted, or reported to a person.
    """

    kind: RolloutKind = "canary"
    weights: tuple[float, ...] = Field(default=(0.05, 0.25, 0.5), min_length=1)
    mirror: float = Field(default=1.0, ge=0, le=1)
    sticky: Sticky = "unit"
    limits: tuple[Limit, ...] = Field(default=DEFAULT_LIMITS, min_length=1)
    require: tuple[RuleName, ...] = ()
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    promote_alpha: float = Field(default=0.05, gt=0, lt=0.5)
    warm_units: int = Field(default=50, ge=0)
    min_units: int = Field(default=200, ge=1)
    min_seconds: float = Field(default=30.0, ge=0)
    max_units: int = Field(default=200_000, ge=1)
    max_hours: float = Field(default=72.0, gt=0)
    on_end: Literal["promote", "report"] = "promote"

    @model_validator(mode="before")
    @classmethod
    def _of_its_kind(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return _BY_KIND.get(given.get("kind", "canary"), {}) | given

    @model_validator(mode="after")
    def _can_run(self) -> RolloutPlan:
        low, high = (0.0, 0.0) if self.kind == "shadow" else (0.001, 0.999)
        if not all(low <= weight <= high for weight in self.weights):
            raise ValueError(f"weights of a {self.kind} lie in [{low}, {high}]: {self.weights}")
        if list(self.weights) != sorted(set(self.weights)):
            raise ValueError(f"weights must rise from stage to stage: {self.weights}")
        if self.kind == "shadow" and self.mirror == 0:
            raise ValueError("a shadow without copies sees nothing: give mirror above 0")
        rules = [limit.rule for limit in self.limits]
        if len(set(rules)) != len(rules):
            raise ValueError(f"one limit per rule, got {rules}")
        bound = {limit.rule for limit in self.limits if limit.margin is not None}
        if not bound:
            raise ValueError("nothing could ever be proven: give a limit a margin")
        if unproven := set(self.require) - bound:
            raise ValueError(f"{sorted(unproven)} cannot be proven: give their limits a margin")
        return self


class Seen(Frozen):
    """What one release made of a request.

    Attributes:
        status: HTTP status; 0 when there was no answer in time, or another release gave it.
        ms: From sending to the whole answer.
        rows: Per row prediction id, score, and the decision or the list; empty when the answer is
            none, cannot be read or has not one prediction per row.
    """

    status: int
    ms: float
    rows: tuple[tuple[str, float, bool | tuple[str, ...]], ...] = ()


class Exposure(Frozen):
    """A line of the journal: one request during a rollout.

    Attributes:
        key: Hash of what the request was assigned by (16 hex digits).
        weight: The challenger's share at the time.
        assigned: Whose turn it was.
        drawn: Whether the hash said so, not an override or a flag.
        served: Whose answer the client got; None when it was neither's.
        tenants: Per row.
        events: Per row the client's key of it, if it sent one.
        champion: None when it was not asked, or its copy was dropped or shed. Likewise challenger.
    """

    rollout_id: str
    at: datetime
    request_id: str
    key: str
    weight: float
    assigned: Variant
    drawn: bool = True
    served: Variant | None
    tenants: tuple[str, ...]
    events: tuple[str | None, ...]
    champion: Seen | None = None
    challenger: Seen | None = None

    @model_validator(mode="after")
    def _one_of_each_per_row(self) -> Exposure:
        rows = len(self.tenants)
        answers = {len(seen.rows) for seen in (self.champion, self.challenger) if seen}
        if len(self.events) != rows or answers - {0, rows}:
            raise ValueError(f"{self.request_id}: tenants, events and answers are one per row")
        return self


class Evidence(Frozen):
    """What is known of one rule.

    Attributes:
        mean: Mean difference, above 0 when the challenger is worse.
        low: Of the confidence sequence: holds at every look at once. Likewise ``high``.
        abort_e: Natural logarithm of the e-value against "not worse than tolerated".
        promote_e: Of that against "worse by the margin or more"; None without a margin.
    """

    rule: RuleName
    units: int
    mean: float
    low: float
    high: float
    abort_e: float
    promote_e: float | None


class RolloutStep(Frozen):
    """One arrow of the state machine, written to the ledger before its effect.

    Attributes:
        number: 0 for the first; repeating a number finishes what a crash cut short.
        share: Of the units that the challenger really answered; None before there are any.
        plan: In step 0 only.
    """

    rollout_id: str
    number: int
    phase: RolloutPhase
    kind: RolloutKind
    champion: str
    challenger: str
    stage: int
    weight: float
    share: float | None
    units: int
    reason: str
    by: str
    evidence: tuple[Evidence, ...] = ()
    plan: RolloutPlan | None = None


class Block(Frozen):
    """Units of releases that did not see the same requests, on their way into differences.

    Attributes:
        single: The rarer side: each of its values meets the next few of the other's.
        waiting: Its values, oldest first, with the token that rounds their difference.
        total: Sum over the other side's values met by the first of ``waiting``.
        met: How many these are.
    """

    single: Variant
    waiting: tuple[tuple[float, str], ...] = ()
    total: float = 0.0
    met: int = 0


class Open(Frozen):
    """A request whose outcome is not in; one row, drawn by the request's id, stands for it.

    Attributes:
        token: The request's id.
        champion: Its decision on the row; None where it gave none. Likewise ``challenger``.
        served: Whose answer the client saw.
    """

    token: str
    key: str
    tenant: str
    weight: float
    event: str | None
    champion: bool | None
    challenger: bool | None
    served: Variant


class Stage(Frozen):
    """What was answered since the weight is what it is.

    Attributes:
        units: Requests whose release was drawn and that one of the two answered.
        challenger: Of these answered by the challenger.
        seen: Units that show the challenger, copies included.
        keys: Of the newest units, shortened.
    """

    weight: float = -1.0
    units: int = 0
    challenger: int = 0
    seen: int = 0
    keys: tuple[str, ...] = ()


class Tally(Frozen):
    """Everything a rollout has counted; kept beside its journal and enough to go on from.

    Attributes:
        cursor: Journal writer to the last line number counted.
        counts: Rule to 33 counts of differences on the grid -1, -15/16 ... 1.
        answered: Units by who answered the client.
        units: Units that show the challenger.
        stage: Of the present weight.
        latency_limit_ms: From here on an answer is slow; None until it is known.
        latency_sample: The champion's first latencies, gone when the limit is known.
        blocks: Rule to the differences under way.
        met: Keys whose first unit was counted in a block, as a base64 bit field.
        open: Prediction id to what waits for its outcome, oldest first.
        events: The client's key to prediction id, of ``open``.
        early: Outcomes that came before their exposure, oldest first: name to tenant and label.
        outcome_unit: ``units`` when the last outcome was counted; None before the first.
    """

    rollout_id: str
    cursor: dict[str, int] = Field(default_factory=dict)
    counts: dict[RuleName, tuple[int, ...]] = Field(default_factory=dict)
    answered: dict[Variant, int] = Field(default_factory=dict)
    units: int = 0
    stage: Stage = Stage()
    latency_limit_ms: float | None = None
    latency_sample: tuple[float, ...] = ()
    blocks: dict[RuleName, Block] = Field(default_factory=dict)
    met: str = ""
    open: dict[str, Open] = Field(default_factory=dict)
    events: dict[str, str] = Field(default_factory=dict)
    early: dict[str, tuple[str | None, int]] = Field(default_factory=dict)
    outcome_unit: int | None = None
