"""What a service notes of its traffic before it answers: records, figures, log lines.

The one place where spool, records and metrics meet. Knows no HTTP and no BentoML.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from gateway import records
from gateway.asked import Asked
from gateway.errors import StartError
from gateway.metrics import Metrics
from gateway.records import Body, Moment
from gateway.spool import Entry, Spool, SpoolError, prove
from models.contracts.api import Answer, OutcomeReport
from models.contracts.learner import Matrix
from models.contracts.product import ModelProduct
from models.contracts.traffic import RecordKind

FOLDER, MEGABYTES = "ASSAY_SPOOL", "ASSAY_SPOOL_MB"
_DEFAULT_MB = "512"

#: Refusals may fill only this part of the log: a flood of bad requests must not stop good ones.
REFUSED_SHARE = 0.5

#: Golden requests may fill the log by this much more: a full log must not stop a rollback. A
#: roll-out takes some 0.1 MB of it.
GOLDEN_BYTES = 2_000_000

_LOG = logging.getLogger("assay.traffic")


class TrafficLog:
    """Made in the worker.

    Args:
        product: What is served.
        version: Release that answers.
        metrics: Figures to keep.
        spool: Where records go; None keeps none.
    """

    def __init__(
        self, product: ModelProduct, version: str, metrics: Metrics, spool: Spool | None
    ) -> None:
        self._product, self._version = product, version
        self._metrics, self._spool = metrics, spool
        self._failing = False

    @property
    def state(self) -> Literal["on", "off"]:
        """Whether predictions are logged."""
        return "on" if self._spool else "off"

    def answered(
        self,
        asked: Asked,
        rows: Sequence[Any],
        inputs: Matrix,
        answers: Sequence[Answer],
        digests: Sequence[str] | None = None,
    ) -> None:
        """Log one record per row; the answer may go out when this returns.

        Args:
            asked: The request.
            rows: n validated rows.
            inputs: Shape (n, d), the product's columns.
            answers: n predictions.
            digests: See ``records.predictions``.

        Raises:
            SpoolError: Nothing was logged; the answer must not go out.
        """
        if self._spool:
            bodies = records.predictions(
                self._product, asked, _now(asked),
                rows=rows, inputs=inputs, answers=answers, digests=digests,
            )  # fmt: skip
            if asked.purpose == "golden":
                entries: list[Entry] = [("prediction", body) for body in bodies]
                self._spool.append(entries, self._spool.max_bytes + GOLDEN_BYTES)
            else:
                self._append(self._spool, "prediction", bodies)
        if asked.purpose == "traffic":
            self._metrics.answered(answers)

    def outcomes(self, reports: Sequence[OutcomeReport]) -> list[str]:
        """Log outcome reports.

        Args:
            reports: Of one request.

        Returns:
            An id per report.

        Raises:
            SpoolError: Nothing was logged, also because no log is kept.
        """
        if self._spool is None:
            raise SpoolError(f"this service keeps no log; set {FOLDER}, or roll it out by assay")
        bodies = records.outcomes(self._product, reports, datetime.now(UTC))
        self._append(self._spool, "outcome", bodies)
        self._metrics.outcomes(len(bodies))
        return [body["outcome_id"] for body in bodies]

    def refused(self, asked: Asked, path: str, status: int) -> None:
        """Log a request that was not answered 2xx, if the log takes it."""
        if self._spool:
            body = records.refusal(
                self._product, self._version, asked, _now(asked), path=path, status=status
            )
            with suppress(SpoolError):
                bound = int(self._spool.max_bytes * REFUSED_SHARE)
                self._spool.append([("refusal", body)], bound)

    def close(self) -> None:
        """Finish the log; nothing can be logged afterwards."""
        if self._spool:
            self._spool.close()

    def _append(self, spool: Spool, kind: RecordKind, bodies: Sequence[Body]) -> None:
        """Log, and say when the log stops and when it goes on, not once per request."""
        try:
            spool.append([(kind, body) for body in bodies])
        except SpoolError as error:
            self._metrics.refused()
            if not self._failing:
                _LOG.error("requests are answered 503: %s", error)
            self._failing = True
            raise
        if self._failing:
            _LOG.info("the prediction log takes records again")
        self._failing = False


def verify() -> None:
    """Prove that the log can be kept where the environment says, before a worker tries.

    Raises:
        StartError: The folder cannot be made, listed or written, or the bound is no number.
    """
    _megabytes()
    if folder := os.environ.get(FOLDER, ""):
        try:
            prove(Path(folder))
        except OSError as error:
            raise StartError(
                f"no prediction can be logged in {folder} ({error.strerror}); make {FOLDER} a"
                " folder this service may list and write, on a disk with free space"
            ) from error


def from_environment(product: ModelProduct, version: str) -> TrafficLog:
    """The log of a product's service, that ``ASSAY_SPOOL`` and ``ASSAY_SPOOL_MB`` describe."""
    folder = os.environ.get(FOLDER, "")
    return _in(Path(folder) if folder else None, product, version)


def of_gateway(product: ModelProduct, version: str) -> TrafficLog:
    """The log of one product of many in a process: ``ASSAY_SPOOL`` has a folder for each.

    Without that variable it is where the product's service writes, below ``ASSAY_HOME``.
    """
    folder, home = os.environ.get(FOLDER, ""), os.environ.get("ASSAY_HOME", "")
    root = Path(folder) if folder else Path(home, "spool") if home else None
    return _in(root / product.slug if root else None, product, version)


def _in(folder: Path | None, product: ModelProduct, version: str) -> TrafficLog:
    metrics = Metrics(product, version)
    if folder is None:
        _LOG.warning("%s names no folder: predictions are answered and not logged", FOLDER)
        return TrafficLog(product, version, metrics, None)
    megabytes = _megabytes()
    _LOG.info("predictions are logged, up to %d MB", megabytes)
    spool = Spool(folder, megabytes * 1_000_000, counted=metrics.spool_bytes)
    return TrafficLog(product, version, metrics, spool)


def _megabytes() -> int:
    text = os.environ.get(MEGABYTES, _DEFAULT_MB)
    if not text.isdecimal() or int(text) == 0:
        raise StartError(f"{MEGABYTES} is {text!r}; give the log's bound in whole megabytes")
    return int(text)


def _now(asked: Asked) -> Moment:
    return Moment(datetime.now(UTC), round((time.monotonic_ns() - asked.started_ns) / 1e6, 3))
