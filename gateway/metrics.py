"""What a service counts of one release: rows, scores, outcomes, and how full its log is.

Counters only; what is judged is computed from the prediction log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from gateway.meters import METERS, Meters
from models.contracts.api import Answer, RiskLevel
from models.contracts.product import ModelProduct

LEVELS: tuple[RiskLevel, ...] = ("low", "medium", "high")
#: Level of an answer that decides nothing, a ranking.
NO_LEVEL = "none"


class Metrics:
    """Figures of one release; made in the worker.

    Args:
        product: What is served.
        version: Release that answers.
        meters: Where they are kept.
    """

    def __init__(self, product: ModelProduct, version: str, meters: Meters = METERS) -> None:
        release = {"product": product.key, "version": version}
        levels = (NO_LEVEL,) if product.contract == "ranked_items" else LEVELS
        self._levels = {
            level: meters.bound("assay_predictions_total", **release, risk_level=level)
            for level in levels
        }
        self._score = meters.bound("assay_score", **release)
        self._outcomes = meters.bound("assay_outcomes_total", **release)
        self._refused = meters.bound("assay_spool_refused_total", **release)
        self._bytes = meters.bound("assay_spool_bytes", product=product.key)

    def answered(self, predictions: Sequence[Answer]) -> None:
        """Rows that went out."""
        levels = Counter(getattr(one, "risk_level", NO_LEVEL) for one in predictions)
        for level, count in levels.items():
            self._levels[level].inc(count)
        for one in predictions:
            self._score.observe(one.probability)

    def outcomes(self, count: int) -> None:
        """Outcome reports that were taken."""
        self._outcomes.inc(count)

    def refused(self) -> None:
        """One request that the log did not take."""
        self._refused.inc()

    def spool_bytes(self, used: int) -> None:
        """How full the log is."""
        self._bytes.set(used)
