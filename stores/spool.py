"""Brings the services' logs and dropped outcome files into the raw layer, each line exactly once.

A batch of finished segments is named first (``batch.json``), then its parts are written, then the
state names the batch as landed, then the segments and ``batch.json`` go. A crash between any two
steps is finished by the next call: the state is the one commit point. What cannot be read is kept
in ``<home>/quarantine/spool/`` with its reason. Nothing here knows Dagster, dbt or a service.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from models.contracts.base import Frozen
from models.contracts.product import ModelProduct
from models.contracts.traffic import RecordKind
from models.core.journal import Line
from stores import spool_inbox, spool_parts, spool_segments, spool_state
from stores.files import sync_folder
from stores.home import Home
from stores.spool_account import Arrived, Damage, Ingested
from stores.spool_parts import LOGS, write_again
from stores.spool_segments import Segment
from stores.spool_state import Batch, State

if TYPE_CHECKING:
    import pyarrow as pa
    from filelock import BaseFileLock

#: Segments of a batch together; bounds the memory of an ingestion.
BATCH_BYTES = 32 * 2**20
#: Writers whose last number is remembered: a start of a service each, so years.
KEPT_WRITERS = 1_000


class TrafficPolicy(Frozen):
    """Settings of the way back (``orchestration.settings`` describes them)."""

    retention_days: int = 90
    outcome_after_hours: float = 24.0
    outcome_within_days: float = 30.0


def waiting(home: Home, products: Sequence[ModelProduct]) -> tuple[str, ...]:
    """Names of what an ingestion would take; empty when there is nothing to do."""
    segments = (s.stem for p in products for s in spool_segments.finished(home.spool(p)))
    batches = (spool_state.batch_file(home, p.slug) for p in products)
    left = (str(path) for path in batches if path.exists())
    return (*segments, *left, *(file.name for file in spool_inbox.waiting(home)))


def ingest(
    home: Home,
    products: Sequence[ModelProduct],
    *,
    retention_days: int,
    say: Callable[[str], object],
    clock: Callable[[], datetime] = partial(datetime.now, UTC),  # noqa: B008 - called later
) -> Ingested:
    """Land every finished segment and every dropped outcome file, then drop old days.

    Two ingestions never run at once: the second waits. What arrived is told again by the next call
    until ``acknowledge``, so that a crash before the report costs no alarm.

    Args:
        home: Where everything is.
        products: Whose logs.
        retention_days: Days kept, back from the newest day of a log.
        say: Told what happens.
        clock: Gives ``received_at`` of dropped outcomes.

    Raises:
        StateError: What was noted of a product is damaged; nothing of it was taken.
    """
    with _locked(home):
        spool_parts.prepare(home)
        for product in products:
            for batch in _batches(home, product):
                _land(home, product, batch, say)
        slugs = {product.key: product.slug for product in products}
        files = [spool_inbox.take(home, f, slugs, clock()) for f in spool_inbox.waiting(home)]
        for file in files:
            say(f"{file.name}: {file.status}, {file.rows} outcomes {file.reason}".strip())
        dropped: list[str] = []
        for slug in slugs.values():
            spool_parts.merge_small_parts(home, slug)
            dropped += spool_parts.drop_old_days(home, slug, retention_days, clock().date())
        return Ingested(
            arrived={slug: spool_state.load(home, slug).unreported for slug in slugs.values()},
            files=tuple(files),
            dropped=tuple(dropped),
        )


def acknowledge(home: Home, ingested: Ingested) -> None:
    """Say that an ingestion's result was reported; what arrived since is kept for the next."""
    with _locked(home):
        for slug, told in ingested.arrived.items():
            state = spool_state.load(home, slug)
            if state.unreported == told and told != Arrived():
                spool_state.save(home, slug, state.model_copy(update={"unreported": Arrived()}))


def _locked(home: Home) -> BaseFileLock:
    from filelock import FileLock

    spool_state.folder(home).mkdir(parents=True, exist_ok=True)
    return FileLock(spool_state.folder(home) / "lock")


def _batches(home: Home, product: ModelProduct) -> Iterator[Batch]:
    """The batch a crash left, then the finished segments, by writer and order of writing."""
    if left := spool_state.begun(home, product.slug):
        yield left
    chosen: list[str] = []
    size = 0
    for segment in spool_segments.finished(home.spool(product)):
        path = segment.path
        chosen.append(segment.stem)
        size += path.stat().st_size if path else 0
        if size >= BATCH_BYTES:
            yield _named(chosen)
            chosen, size = [], 0
    if chosen:
        yield _named(chosen)


def _named(stems: Sequence[str]) -> Batch:
    name = hashlib.sha256("\n".join(stems).encode()).hexdigest()[:16]
    return Batch(name=name, segments=tuple(stems))


def _land(home: Home, product: ModelProduct, batch: Batch, say: Callable[[str], object]) -> None:
    """Take one batch all the way; every step may be done again."""
    slug, spool = product.slug, home.spool(product)
    segments = [Segment(spool, stem) for stem in batch.segments]
    state = spool_state.load(home, slug)
    spool_state.begin(home, slug, batch)
    if state.landed != batch.name:
        writers = dict(state.writers)
        arrived = _write(home, product, batch.name, segments, writers)
        say(f"{slug}: {arrived.landed} of {arrived.answered} lines landed "
            f"from {arrived.segments} segments")  # fmt: skip
        spool_state.save(home, slug, State(
            landed=batch.name,
            writers=dict(list(writers.items())[-KEPT_WRITERS:]),
            unreported=state.unreported.and_(arrived),
        ))  # fmt: skip
    for segment in segments:
        segment.closed.unlink(missing_ok=True)
        segment.open.unlink(missing_ok=True)
    if spool.is_dir():  # else somebody removed it, and its segments were called damaged
        sync_folder(spool)
    spool_state.end(home, slug)


def _write(
    home: Home,
    product: ModelProduct,
    batch: str,
    segments: Sequence[Segment],
    writers: dict[str, int],
) -> Arrived:
    """Write a batch's parts, keep damaged segments aside, move the writers' numbers on."""
    import pyarrow as pa

    tables: dict[RecordKind, list[pa.Table]] = {kind: [] for kind in LOGS}
    arrived = Arrived(segments=len(segments), batches=1)
    for segment in segments:
        last = writers.pop(segment.writer, 0)
        landed, found, writers[segment.writer] = _read(home, product, segment, last)
        arrived = arrived.and_(landed)
        for kind, rows in found.items():
            tables[kind].append(rows)
    days = 0
    for kind, some in tables.items():
        if some:
            rows = pa.concat_tables(some)
            days += spool_parts.write_parts(home, kind, product.slug, batch, rows)
    return arrived.and_(Arrived(days=days))


def _read(
    home: Home, product: ModelProduct, segment: Segment, last: int
) -> tuple[Arrived, dict[RecordKind, pa.Table], int]:
    """A segment's account, its rows, and its writer's last number."""
    path = segment.path
    if path is None:
        gone = Damage(segment=segment.stem, reason="somebody removed it before it was landed")
        return Arrived(damaged=(gone,)), {}, last
    content = spool_segments.read(path)
    records, faults = _records(product, content.lines)
    numbering = spool_segments.follow(last, content.lines)
    arrived = Arrived(
        answered=numbering.answered,
        rows={kind: len(some) for kind, some in records.items()},
        damaged=(_keep(home, product, path, faults),) if faults else (),
        missing=tuple(f"{segment.writer}: lines {a} to {b} are missing"
                      for a, b in numbering.missing),
        torn_tails=int(content.torn_tail),
    )  # fmt: skip
    found = {kind: spool_parts.table(kind, some) for kind, some in records.items()}
    return arrived, found, numbering.last


def _records(
    product: ModelProduct, lines: Sequence[Line | None]
) -> tuple[dict[RecordKind, list[Frozen]], list[str]]:
    """Records by kind, and what is wrong with the lines that give none."""
    records: dict[RecordKind, list[Frozen]] = {}
    faults = []
    for place, line in enumerate(lines, start=1):
        if line is None:
            faults.append(f"line {place} is torn or altered")
            continue
        if line.kind not in LOGS:
            faults.append(f"line {place} is {line.kind}, which belongs to a rollout's journal")
            continue
        try:
            record = LOGS[line.kind].record.model_validate(line.body)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            faults.append(f"line {place} is no {line.kind}: {where}: {first['msg']}")
            continue
        if line.body["product"] != product.key:
            faults.append(f"line {place} belongs to {line.body['product']}")
            continue
        records.setdefault(line.kind, []).append(record)
    return records, faults


def _keep(home: Home, product: ModelProduct, path: Path, faults: Sequence[str]) -> Damage:
    """Copy a damaged segment to quarantine; its whole lines land all the same."""
    shown = "; ".join(faults[:5]) + (f"; and {len(faults) - 5} more" if len(faults) > 5 else "")
    copy = home.root / "quarantine" / "spool" / product.slug / path.name
    write_again(copy, path.read_bytes())
    reason = {"reason": shown, "next": "the whole lines have landed; mend the disk or the service"}
    write_again(copy.with_name(f"{copy.name}.reason.json"), json.dumps(reason))
    return Damage(segment=path.name, reason=shown)
