"""What an ingestion says of itself: how much arrived, what is missing, what was damaged.

Types and sums only; ``stores.spool`` fills them in.
"""

from __future__ import annotations

from pydantic import Field

from models.contracts.base import Frozen
from models.contracts.traffic import RecordKind
from stores.spool_inbox import OutcomeFile
from stores.spool_parts import LOGS


class Damage(Frozen):
    """A segment whose lines did not all land; a copy is in quarantine."""

    segment: str
    reason: str


class Arrived(Frozen):
    """What arrived of one product since the last report.

    Attributes:
        answered: Lines that the numbers say were written.
        rows: Lines landed by kind.
        missing: Numbers that no segment holds, in words.
        torn_tails: Last lines of writers that died: never acknowledged, no loss.
        days: Day partitions written, counted once per batch and kind.
    """

    answered: int = 0
    rows: dict[RecordKind, int] = Field(default_factory=dict)
    segments: int = 0
    batches: int = 0
    days: int = 0
    damaged: tuple[Damage, ...] = ()
    missing: tuple[str, ...] = ()
    torn_tails: int = 0

    @property
    def landed(self) -> int:
        """Lines landed."""
        return sum(self.rows.values())

    @property
    def complete(self) -> bool:
        """Every line that was answered has landed."""
        return not self.missing and not self.damaged

    def and_(self, other: Arrived) -> Arrived:
        """Both together."""
        return Arrived(
            answered=self.answered + other.answered,
            rows={k: self.rows.get(k, 0) + other.rows.get(k, 0) for k in LOGS},
            segments=self.segments + other.segments,
            batches=self.batches + other.batches,
            days=self.days + other.days,
            damaged=self.damaged + other.damaged,
            missing=self.missing + other.missing,
            torn_tails=self.torn_tails + other.torn_tails,
        )


class Ingested(Frozen):
    """What an ingestion did; arrivals by product slug, and what was never reported before."""

    arrived: dict[str, Arrived]
    files: tuple[OutcomeFile, ...]
    dropped: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Every answered line of every product has landed."""
        return all(arrived.complete for arrived in self.arrived.values())

    @property
    def problems(self) -> tuple[str, ...]:
        """What is missing or damaged, in words."""
        return tuple(
            f"{slug}: {text}"
            for slug, arrived in self.arrived.items()
            for text in (*(f"{d.segment}: {d.reason}" for d in arrived.damaged), *arrived.missing)
        )
