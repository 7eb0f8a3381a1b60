"""The named person's word, read from the ledger: is one asked for, until when, was it given?

Nothing is decided here about the model: that is the gate's (``models.core.gates``). Writing the
approval down is ``orchestration.operations``.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from models.contracts.product import ModelProduct
from models.contracts.results import GateDecision
from stores.ledger import Entry, Ledger


class Approval(NamedTuple):
    """Where the word on one evaluation's challenger stands.

    Attributes:
        asked: The ledger's decision that asks for it.
        until: An approval after this does not count: the evidence is too old by then.
        given: The approval that counts; None while nobody gave it in time.
        expired: Nobody gave it and the time has passed, on the ledger's clock.
    """

    candidate_id: str
    evaluation_id: str
    asked: Entry
    until: datetime
    given: Entry | None
    expired: bool

    @property
    def pending(self) -> bool:
        """Somebody can still give it."""
        return self.given is None and not self.expired

    def sentence(self, product: ModelProduct) -> str:
        """For a person, with the next step."""
        if self.given is not None:
            return f"approved by {self.given.body['by']} at {self.given.at:%Y-%m-%d %H:%M} UTC"
        if self.pending:
            return (
                f"waits for a named person until {self.until:%Y-%m-%d %H:%M} UTC; "
                f"`assay approve {product.key} --by NAME`"
            )
        return (
            f"expired at {self.until:%Y-%m-%d %H:%M} UTC, nobody approved: the challenger must be "
            f"judged anew; `assay run {product.key}` does when data, code or the gate changed"
        )


def approval(product: ModelProduct, ledger: Ledger, evaluation_id: str) -> Approval | None:
    """Where the person's word on this evaluation stands; None when the gate never asked for one.

    An approval counts when it came after the gate asked and within the ``approval_hours`` of the
    policy the gate asked under.
    """
    found: Approval | None = None
    for entry in ledger.entries():
        if entry.kind != "decision" or entry.body["evaluation_id"] != evaluation_id:
            continue
        decision = GateDecision.model_validate(entry.body["decision"])
        if decision.outcome == "awaiting_approval" and not (found and found.given):
            found = _asked(product, ledger, entry, decision)
    return found


def _asked(product: ModelProduct, ledger: Ledger, entry: Entry, decision: GateDecision) -> Approval:
    hours = decision.policy.get("approval_hours", product.gate.approval_hours)
    until = entry.at + timedelta(hours=float(str(hours)))
    given = [
        one
        for one in ledger.approvals(decision.challenger)
        if one.sequence > entry.sequence and one.at <= until
    ]
    return Approval(
        candidate_id=decision.challenger,
        evaluation_id=str(entry.body["evaluation_id"]),
        asked=entry,
        until=until,
        given=given[0] if given else None,
        expired=not given and ledger.now() > until,
    )


def newest_approval(
    product: ModelProduct, ledger: Ledger, evaluation_id: str | None
) -> Approval | None:
    """The approval that decides now: None unless the newest word of the gate is that it waits."""
    decision = ledger.decision(evaluation_id) if evaluation_id else None
    if evaluation_id is None or decision is None or decision.outcome != "awaiting_approval":
        return None
    return approval(product, ledger, evaluation_id)
