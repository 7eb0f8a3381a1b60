"""Tells people of incidents: always a log file, and every Apprise address of the settings.

What is to be told stands in the outbox of ``stores.alerts``. Here a message is put into words,
sent in bounded time and, when that fails, tried again by a later sweep.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

from filelock import FileLock, Timeout

from models.contracts.incidents import Incident
from stores.alerts import Alerts, Letter
from stores.files import sync_folder

logger = logging.getLogger("assay.alerts")
#: No new message is begun after this many seconds of one delivery; the next sweep goes on.
DELIVERY_SECONDS = 30.0
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class NotifyError(Exception):
    """A message that was not taken; the text is what the other side said, without secrets."""


class Report(NamedTuple):
    """The forensic report of an incident as files.

    Attributes:
        incident: With its decision record and the affected predictions.
        html: Content of ``files[0]``.
        files: Page and JSON; empty when they could not be written.
    """

    incident: Incident
    html: str
    files: tuple[Path, ...]


class Notifier(Protocol):
    """A way to tell one incident."""

    @property
    def name(self) -> str:
        """Stands in the outbox; never a secret."""

    def send(self, report: Report, *, again: bool) -> None:
        """Tell it.

        Args:
            report: What to tell.
            again: An earlier try failed or was cut short.

        Raises:
            NotifyError: It was not taken.
        """


class LogNotifier:
    """One JSON line per incident in ``alerts.log``, and Python's logging."""

    name = "log"

    def __init__(self, folder: Path) -> None:
        self._path = folder / "alerts.log"

    def send(self, report: Report, *, again: bool) -> None:
        """Append the line durably; a try that was cut short may have done so already."""
        incident = report.incident
        if again and self._has(incident.id):
            return
        line = incident.model_dump_json(exclude={"decision_record", "affected"}) + "\n"
        try:
            with self._path.open("ab+") as stream:
                if _cut_off(stream):
                    line = "\n" + line
                stream.write(line.encode())
                stream.flush()
                os.fsync(stream.fileno())
            sync_folder(self._path.parent)
        except OSError as error:
            raise NotifyError(f"{self._path}: {error.strerror}") from error
        logger.log(_LEVELS[incident.severity], "%s: %s", incident.title, incident.message)

    def _has(self, identity: str) -> bool:
        if not self._path.exists():
            return False
        start = f'{{"id":"{identity}"'
        with self._path.open(encoding="utf-8", errors="replace") as stream:
            return any(line.startswith(start) and line.endswith("}\n") for line in stream)


def _cut_off(stream: BinaryIO) -> bool:
    """Whether a try, of this incident or another, was cut in the middle of its line."""
    if stream.seek(0, os.SEEK_END) == 0:
        return False
    stream.seek(-1, os.SEEK_END)
    return stream.read(1) != b"\n"


class AppriseNotifier:
    """One Apprise address: e-mail gets the page as its body, and both files where it takes files.

    Apprise bounds every step on the network: 15 s by mail, 4 s elsewhere (``?cto=`` and ``?rto=``
    in the address change it).

    Raises:
        NotifyError: The address is no Apprise URL.
    """

    def __init__(self, url: str) -> None:
        digest = hashlib.sha256(url.encode()).hexdigest()[:8]
        scheme = _SCHEME.match(url)  # none: a rest of another address, so nothing of it is shown
        self.name = f"{scheme[1] if scheme else 'unknown'}-{digest}"
        self._url = url

    def send(self, report: Report, *, again: bool) -> None:  # noqa: ARG002  # it cannot know
        """Send it, with the report's files where the service takes some."""
        import apprise

        service = self._service()
        html = service.resolve_format() == apprise.NotifyFormat.HTML  # what it likes best
        form = apprise.NotifyFormat.HTML if html else apprise.NotifyFormat.TEXT
        centre = apprise.Apprise(service)
        with apprise.LogCapture(level=logging.WARNING, fmt="%(message)s") as said:
            taken = centre.notify(
                title=report.incident.title,
                body=report.html if html else plain_text(report.incident),
                body_format=form,
                notify_type=_TYPES[report.incident.severity],
                attach=[str(file) for file in report.files] or None,
            )
            words = said.getvalue().strip()
        if not taken:
            raise NotifyError(
                words.replace(self._url, self.name) or "it was refused without a word"
            )

    def _service(self) -> Any:
        import apprise

        service = apprise.Apprise.instantiate(self._url, suppress_exceptions=True)
        if service is None:
            raise NotifyError(
                f"{self.name}: not an Apprise URL; mend ASSAY_ALERT_URLS "
                "(e.g. mailto://user:password@host?to=ops@example.org, json://host/path)"
            )
        return service


_TYPES = {"info": "info", "warning": "warning", "error": "failure"}


def build_notifiers(folder: Path, urls: Sequence[str]) -> tuple[Notifier, ...]:
    """The log first, then every address once."""
    return (LogNotifier(folder), *(AppriseNotifier(url) for url in dict.fromkeys(urls)))


def plain_text(incident: Incident) -> str:
    """An incident as text, for services without HTML."""
    lines = [
        incident.message,
        f"since {incident.opened_at:%Y-%m-%d %H:%M:%S} UTC · owner {incident.owner}",
        *(f"{name}: {json.dumps(value)[:500]}" for name, value in incident.evidence.items()),
        f"next: {incident.next_step}",
        f"incident {incident.id}",
    ]
    return "\n".join(lines)


def deliver(
    alerts: Alerts,
    notifiers: Sequence[Notifier],
    report_of: Callable[[Letter], Report],
    now: datetime,
) -> int:
    """Send what is due; one process at a time, so that no message is sent by two.

    A try is recorded before it is made and its success right after, so a crash can repeat a
    message only between the other side's yes and that record. A notifier that fails is left alone
    until the next delivery; the others go on.

    Returns:
        Messages that were taken; 0 when another process is delivering.
    """
    alerts.folder.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + DELIVERY_SECONDS
    try:
        with FileLock(alerts.folder / "deliver.lock", timeout=0):
            return sum(_deliver_by(n, alerts, report_of, now, until) for n in notifiers)
    except Timeout:
        return 0


def _deliver_by(
    notifier: Notifier,
    alerts: Alerts,
    report_of: Callable[[Letter], Report],
    now: datetime,
    until: float,
) -> int:
    taken = 0
    for letter in alerts.due(notifier.name, now):
        if time.monotonic() > until:
            break
        report = report_of(letter)
        alerts.begin(letter, now)
        try:
            notifier.send(report, again=letter.tries > 0)
        except Exception as error:  # a library may raise anything; the message must not be lost
            known = isinstance(error, NotifyError)
            text = str(error) if known else f"{type(error).__name__}: {error}"
            last = alerts.failed(letter, now, text)
            logger.log(
                logging.ERROR if last else logging.WARNING,
                "%s did not take %s (try %d%s): %s",
                notifier.name, letter.incident.id, letter.tries + 1,
                ", given up" if last else "", text, exc_info=not known,
            )  # fmt: skip
            break
        alerts.delivered(letter, now)
        taken += 1
    return taken
