"""What the home says: ledgers, waiting approvals, services, spools. One small function per kind.

Readers of files and pure judgements; nothing is kept or sent here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from assets.stages.approval import Approval
from models.contracts.incidents import Observation
from models.contracts.product import ModelProduct
from models.contracts.rollout import RolloutStep
from models.core.rollouts.decide import UNENFORCED
from stores.deployer import ServiceRecord
from stores.ledger import Entry

#: Share of ASSAY_SPOOL_MB from which on a spool counts as filling.
FULL_SHARE = 0.8
#: A worker that died is replaced within seconds: a service is down when it was so for a while.
SERVICE_PATIENCE_S = 45.0
#: Its controller looks at a rollout every two seconds, a start of a service apart.
ROLLOUT_PATIENCE = timedelta(minutes=5)
_PROBE_SECONDS = 2.0
_NAMED = 20


class LedgerNews(NamedTuple):
    """What a ledger says that was not told yet, and how many entries have been read."""

    seen: tuple[Observation, ...]
    cursor: int


def judge_ledger(
    product: ModelProduct, entries: Sequence[Entry], cursor: int | None, first_look: datetime
) -> LedgerNews:
    """Regressions, retrainings and rollbacks behind the cursor.

    Args:
        product: Whose ledger.
        entries: All of it.
        cursor: Entries read before; None on the first sweep, which tells what is younger than
            ``first_look``. A shorter ledger was restored from a backup: its end is where to go on.
        first_look: See ``cursor``.
    """
    if cursor is None:
        fresh = [entry for entry in entries if entry.at >= first_look]
    else:
        fresh = [entry for entry in entries if entry.sequence >= min(cursor, len(entries))]
    seen = (_judge_entry(product, entry) for entry in fresh)
    return LedgerNews(tuple(one for one in seen if one), len(entries))


def judge_approval(product: ModelProduct, asked: Approval | None) -> Observation | None:
    """A challenger that waits for a named person, or waited too long; None when none does.

    Each waiting is told once, even when the clock goes back over its end.
    """
    if asked is None or asked.given is not None:
        return None
    return Observation(
        kind="approval_expired" if asked.expired else "approval_pending",
        subject=product.key,
        key=_key(asked.asked),
        message=f"{asked.candidate_id} {asked.sentence(product)}",
        owner=product.owner,
        product=product.key,
        evidence={
            "candidate": asked.candidate_id,
            "evaluation": asked.evaluation_id,
            "until": f"{asked.until:%Y-%m-%d %H:%M} UTC",
        },
    )


def judge_broken(product: ModelProduct, path: Path, error: str) -> Observation:
    """A ledger that cannot be trusted."""
    return Observation(
        kind="ledger_broken",
        subject=product.key,
        message=error,
        owner=product.owner,
        product=product.key,
        evidence={"file": str(path)},
    )


def answers(record: ServiceRecord) -> str | None:
    """None when the service answers, else what happened instead."""
    import httpx

    try:
        status = httpx.get(f"{record.url}/livez", timeout=_PROBE_SECONDS).status_code
    except httpx.HTTPError as error:
        return f"{record.url} gave no answer: {error or type(error).__name__}"
    return f"{record.url}/livez answered {status}" if status >= 500 else None


def judge_service(
    product: ModelProduct,
    version: str,
    record: ServiceRecord | None,
    problem: str | None,
    logs: Path,
) -> Observation | None:
    """A rolled-out service whose process is gone (no record) or that does not answer.

    Args:
        product: What it serves.
        version: Release that was rolled out.
        record: The running service.
        problem: What it answered instead of being well.
        logs: Folder of the service's runs, for when no record says which one it was.
    """
    if record is not None and problem is None:
        return None
    return Observation(
        kind="service_down",
        subject=product.key,
        message=problem or f"{version} was rolled out and its process is gone",
        owner=product.owner,
        product=product.key,
        evidence={
            "version": version,
            "log": f"{record.folder}/service.log" if record else f"{logs}, the newest folder",
        },
        patience_s=SERVICE_PATIENCE_S,
    )


def judge_spool(product: ModelProduct, used: int, bound_mb: int) -> Observation | None:
    """A log that nears the size at which its service refuses to answer.

    Args:
        product: Whose log.
        used: Bytes.
        bound_mb: ASSAY_SPOOL_MB.
    """
    share = used / (bound_mb * 2**20)
    if share < FULL_SHARE:
        return None
    return Observation(
        kind="spool_filling",
        subject=product.key,
        message=f"its log holds {used / 2**20:.1f} of {bound_mb} MB ({share:.0%}); "
        "full, the service answers 503",
        owner=product.owner,
        product=product.key,
        evidence={"bytes": used, "bound_mb": bound_mb},
    )


def judge_quarantine(product: ModelProduct, folder: Path) -> Observation | None:
    """Damaged log segments that nobody has cleared away yet, with the reasons beside them."""
    names = sorted(path.name for path in folder.glob("*"))
    if not names:
        return None
    return Observation(
        kind="spool_damaged",
        subject=product.key,
        message=f"{len(names)} files in {folder}, the first: {names[0]}",
        owner=product.owner,
        product=product.key,
        evidence={"folder": str(folder), "files": [*names[:_NAMED]], "count": len(names)},
    )


def judge_rollout(
    product: ModelProduct, step: RolloutStep | None, looked_at: datetime | None, now: datetime
) -> Observation | None:
    """A rollout that is not over and that nobody drives.

    Args:
        product: Whose.
        step: Its newest; None when there is none or all of it is done.
        looked_at: When the controller last did.
        now: The clock.
    """
    if step is None or looked_at is None or now - looked_at <= ROLLOUT_PATIENCE:
        return None
    return Observation(
        kind="rollout_stuck",
        subject=product.key,
        message=f"{step.rollout_id} is {step.phase} with {step.weight:.0%} for {step.challenger}, "
        f"and was last looked at {looked_at:%Y-%m-%d %H:%M} UTC",
        owner=product.owner,
        product=product.key,
        evidence={"rollout": step.rollout_id, "phase": step.phase, "weight": step.weight},
        version=step.challenger,
    )


def size_of(folder: Path) -> int:
    """Bytes of the files in a folder; one that is being taken away counts as gone."""
    total = 0
    for path in folder.glob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total


def _judge_entry(product: ModelProduct, entry: Entry) -> Observation | None:
    body = entry.body
    reason = str(body.get("reason") or "no reason was given")
    if entry.kind == "rollback":
        told = f"{body['from_version']} -> {body['to_version']} by {body.get('by')}: {reason}"
        return _told(product, entry, "rolled_back", told, version=str(body["from_version"]))
    if entry.kind == "regression":
        told = f"{body['version']}: {reason}"
        seen = _told(product, entry, "performance_regression", told, version=str(body["version"]))
        return _in_window(product, entry, seen)
    if entry.kind == "retrain":
        return _in_window(product, entry, _told(product, entry, "retraining_started", reason))
    if entry.kind == "rollout_step" and body["phase"] in ("aborted", "refused"):
        unheld = body["phase"] == "refused" or reason.startswith(UNENFORCED)
        kind = "rollout_unenforced" if unheld else "rollout_aborted"
        return _told(product, entry, kind, f"{body['challenger']}: {reason}",
                     version=str(body["challenger"]))  # fmt: skip
    return None


def _told(
    product: ModelProduct, entry: Entry, kind: str, message: str, version: str | None = None
) -> Observation:
    return Observation.model_validate(
        {
            "kind": kind,
            "subject": product.key,
            "key": _key(entry),
            "message": message,
            "owner": product.owner,
            "product": product.key,
            "evidence": {**entry.body, "ledger entry": entry.sequence},
            "version": version,
        }
    )


def _in_window(product: ModelProduct, entry: Entry, seen: Observation) -> Observation:
    """With the event times of the window the entry names."""
    window = entry.body.get("window")
    if window is None:
        return seen
    since = datetime.fromisoformat(str(window))
    since = since if since.tzinfo else since.replace(tzinfo=UTC)
    until = since + timedelta(hours=product.monitoring.window_hours)
    return seen.model_copy(update={"since": since, "until": until})


def _key(entry: Entry) -> str:
    """Names one ledger entry for ever, also in a ledger that was restored."""
    return f"{entry.sequence}:{entry.digest[:16]}"
