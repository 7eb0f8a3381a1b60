"""What an alert is: the kinds there are, what a detector saw, the incident it opened.

Field lists and the table of kinds only. How a kind is detected is in ``orchestration.watch``, how
incidents are kept in ``stores.alerts``, how they are told in ``stores.notify``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal, NamedTuple

from pydantic import Field, JsonValue

from models.contracts.base import Frozen

AlertKind = Literal[
    "run_failed",
    "check_failed",
    "sensor_failed",
    "sensor_silent",
    "schedule_failed",
    "schedule_silent",
    "daemon_down",
    "product_stale",
    "performance_regression",
    "retraining_started",
    "rolled_back",
    "approval_pending",
    "approval_expired",
    "rollout_aborted",
    "rollout_unenforced",
    "rollout_stuck",
    "service_down",
    "spool_filling",
    "spool_damaged",
    "ledger_broken",
    "watch_failed",
    "test",
]
Severity = Literal["info", "warning", "error"]


class KindSpec(NamedTuple):
    """What a kind means.

    Attributes:
        lasts: The incident stays open until its condition is gone; otherwise it is a thing that
            happened, closed as soon as it is told.
        next_step: For the person who reads the message.
    """

    severity: Severity
    lasts: bool
    means: str
    next_step: str


KINDS: dict[AlertKind, KindSpec] = {
    "run_failed": KindSpec(
        "error", False, "A Dagster run ended in failure for another reason than a failed check.",
        "Open the run in the Dagster UI, mend what the failed step says, then `assay run`.",
    ),
    "check_failed": KindSpec(
        "error", True, "An asset check of severity ERROR did not pass; it closes when it passes.",
        "Read the check's message, mend the data or the code, then `assay run`.",
    ),
    "sensor_failed": KindSpec(
        "error", True, "The newest finished tick of a sensor failed.",
        "Read the error in the evidence; the sensor's page in the Dagster UI shows every tick.",
    ),
    "sensor_silent": KindSpec(
        "error", True, "A running sensor made no tick for three intervals and a minute.",
        "See `<home>/logs/dagster-daemon.log`; restart `assay up` when the daemon hangs.",
    ),
    "schedule_failed": KindSpec(
        "error", True, "The newest finished tick of a schedule failed.",
        "Read the error in the evidence; the schedule's page in the Dagster UI shows every tick.",
    ),
    "schedule_silent": KindSpec(
        "error", True, "A running schedule let a due time pass by more than ten minutes.",
        "See `<home>/logs/dagster-daemon.log`; restart `assay up` when the daemon hangs.",
    ),
    "daemon_down": KindSpec(
        "error", True, "Dagster's daemon, or a part of it, gave no sign of life for five minutes.",
        "See `<home>/logs/dagster-daemon.log` and start `assay up` again.",
    ),
    "product_stale": KindSpec(
        "warning", True, "A product was not evaluated within its cadence and a day.",
        "`assay run PRODUCT --dry-run` says what would run; new raw data may be missing.",
    ),
    "performance_regression": KindSpec(
        "error", False, "Monitoring found the champion below what its release promised.",
        "Read the window's page; `assay explain PRODUCT`, and `assay rollback PRODUCT` if needed.",
    ),
    "retraining_started": KindSpec(
        "info", False, "Monitoring asked for one retraining.",
        "Nothing to do; `assay status PRODUCT` shows what the gate says of the new challenger.",
    ),
    "rolled_back": KindSpec(
        "warning", False, "Another release than the newest was made to serve.",
        "Read the reason in the decision record; `assay versions PRODUCT` lists what can serve.",
    ),
    "approval_pending": KindSpec(
        "info", True, "A challenger passed the gate and waits for a named person.",
        "`assay approve PRODUCT --by NAME`, then `assay promote PRODUCT`.",
    ),
    "approval_expired": KindSpec(
        "warning", True, "Nobody approved a challenger in the time its policy gives.",
        "`assay run PRODUCT` judges anew; then approve in time.",
    ),
    "rollout_aborted": KindSpec(
        "warning", False, "A challenger lost its traffic: it proved worse than its plan tolerates.",
        "Read the report named in the evidence; `assay rollout status PRODUCT` shows the steps.",
    ),
    "rollout_unenforced": KindSpec(
        "error", False, "A rollout was refused or stopped: the shares of its plan cannot be held.",
        "Mend what the message says, then `assay rollout start PRODUCT`.",
    ),
    "rollout_stuck": KindSpec(
        "error", True, "A rollout is under way and nobody has looked at it for five minutes.",
        "Start `assay up`, whose admin service drives it, or `assay rollout abort PRODUCT`.",
    ),
    "service_down": KindSpec(
        "error", True, "A product was rolled out and not stopped, and nothing answers.",
        "`assay serve PRODUCT` starts it again; its log lies in `<home>/services`.",
    ),
    "spool_filling": KindSpec(
        "warning", True, "A service's log reached 80 % of ASSAY_SPOOL_MB; full, it answers 503.",
        "Let the ingestion run (`assay monitor`), or give ASSAY_SPOOL_MB more.",
    ),
    "spool_damaged": KindSpec(
        "error", True, "The ingestion set a damaged log segment aside.",
        "Read the reason file in `<home>/quarantine/spool`; remove both when they are understood.",
    ),
    "ledger_broken": KindSpec(
        "error", True, "A release ledger does not match its seals; nothing is released from it.",
        "Restore the ledger file from a backup.",
    ),
    "watch_failed": KindSpec(
        "error", True, "A part of the watch itself raised an error, so its alerts may be missing.",
        "Read the error in the evidence and mend it; the other parts go on.",
    ),
    "test": KindSpec(
        "info", False, "`assay alerts-test` asked for it.", "Nothing to do.",
    ),
}  # fmt: skip


class Observation(Frozen):
    """What a detector saw at one moment.

    Attributes:
        subject: What it is about; with ``kind`` it names the incident and is what mute rules see.
        key: Identity of the occurrence (a run id, a ledger entry): reported once for ever. Empty
            for a condition, of which one incident is open at a time.
        owner: Who should look.
        product: Key of the product it is about.
        version: Narrows the affected predictions to one release.
        since: First event time of the affected predictions, inclusive (``until``: exclusive).
            Without ``since`` and ``version`` no prediction is called affected.
        patience_s: The condition must have been seen for this long before it opens an incident.
    """

    kind: AlertKind
    subject: str
    message: str
    key: str = ""
    owner: str = "platform"
    product: str | None = None
    evidence: dict[str, JsonValue] = Field(default_factory=dict)
    version: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    patience_s: float = 0.0


class Affected(Frozen):
    """Predictions an incident touches.

    Attributes:
        versions: Model version to its number of predictions.
        first: Event time of the first one (``last``: of the last).
        sample: Ids of the first few.
        note: Why they could not be counted; empty when they were.
    """

    count: int
    versions: dict[str, int] = Field(default_factory=dict)
    first: datetime | None = None
    last: datetime | None = None
    sample: tuple[str, ...] = ()
    note: str = ""


class Incident(Frozen):
    """One alert: told once, however often it is seen.

    Attributes:
        count: How often it was seen.
        closed_at: When the condition was gone; equal to ``opened_at`` for a thing that happened.
        muted: A mute rule matched when it opened: it is kept and not told.
        decision_record: Lines of the product's ledger since its last release, oldest first.
        affected: None when the incident is about no prediction.
    """

    id: str
    kind: AlertKind
    subject: str
    severity: Severity
    owner: str
    opened_at: datetime
    last_seen_at: datetime
    count: int
    closed_at: datetime | None
    message: str
    evidence: dict[str, JsonValue]
    muted: bool = False
    decision_record: tuple[str, ...] = ()
    affected: Affected | None = None

    @property
    def title(self) -> str:
        """Subject line of a message."""
        return f"[assay] {self.severity}: {self.kind} {self.subject}"

    @property
    def next_step(self) -> str:
        """What the reader should do; where a product is named, it is the subject."""
        return KINDS[self.kind].next_step.replace("PRODUCT", self.subject)
