"""The service's own figures in ``/metrics``, beside the request counts that BentoML keeps.

Counters only; what is judged is computed from the prediction log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from models.contracts.api import Answer, RiskLevel
from models.contracts.product import ModelProduct

LEVELS: tuple[RiskLevel, ...] = ("low", "medium", "high")
#: Level of an answer that decides nothing, a ranking.
NO_LEVEL = "none"
_SCORES = tuple(step / 20 for step in range(1, 21))


class Metrics:
    """Figures of one worker; made in the worker.

    ``prometheus_client`` decides at its import whether values are shared between processes, by a
    variable that BentoML sets for its workers: hence the import in here.
    """

    def __init__(self, product: ModelProduct, version: str) -> None:
        import prometheus_client as prometheus

        own = prometheus.CollectorRegistry()  # BentoML collects from the shared files, not from it
        release = {"product": product.key, "version": version}
        predictions = prometheus.Counter(
            "assay_predictions_total", "Rows of traffic answered and logged",
            (*release, "risk_level"), registry=own,
        )  # fmt: skip
        levels = (NO_LEVEL,) if product.contract == "ranked_items" else LEVELS
        self._levels = {level: predictions.labels(**release, risk_level=level) for level in levels}
        self._score = prometheus.Histogram(
            "assay_score", "Scores of traffic", tuple(release), buckets=_SCORES, registry=own
        ).labels(**release)
        self._outcomes = prometheus.Counter(
            "assay_outcomes_total", "Outcome reports logged", tuple(release), registry=own
        ).labels(**release)
        self._refused = prometheus.Counter(
            "assay_spool_refused_total", "Requests answered 503 because the log took no more",
            tuple(release), registry=own,
        ).labels(**release)  # fmt: skip
        self._bytes = prometheus.Gauge(
            "assay_spool_bytes", "Bytes that wait for the ingestion", ("product",), registry=own,
            multiprocess_mode="mostrecent",
        ).labels(product.key)  # fmt: skip

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
