"""The semantic version of a release: what changed for those who call it. Pure.

Belongs here: the comparison of two designs (https://semver.org). Does not belong here: where the
version is kept (ledger, model registry) or the release's own name (``vYYYYMMDD_HHMMSS``).
"""

from __future__ import annotations

from collections.abc import Iterator

from models.contracts.base import Frozen
from models.contracts.product import Column, Contract, Trial

FIRST = "1.0.0"


class Spec(Frozen):
    """What a release promises its callers, and how it was made.

    Attributes:
        columns: Fields of a request row.
        labels: As answered; the first is the one that decides.
        max_rows: Of a request.
        trial: What was fitted, of the form that serves.
        learner: The learner and a digest of its code.
        features: Digest of what makes the feature table.
    """

    contract: Contract
    columns: tuple[Column, ...]
    labels: tuple[str, ...]
    max_rows: int
    trial: Trial
    learner: str
    features: str


def bump(before: tuple[str, Spec] | None, now: Spec) -> tuple[str, str]:
    """The next version and every reason why it is this one.

    MAJOR: a request or an answer that was valid is not any more. MINOR: the model answers
    differently by design. PATCH: the same design, fitted on newer data.

    Args:
        before: Version and design of the release before; None for the first.
        now: The design to release.

    Raises:
        ValueError: The version before is not ``MAJOR.MINOR.PATCH``.
    """
    if before is None:
        return FIRST, "the first release"
    version, old = before
    major, minor, patch = _numbers(version)
    if reasons := "; ".join(_breaks(old, now)):
        return f"{major + 1}.0.0", reasons
    if reasons := "; ".join(_differs(old, now)):
        return f"{major}.{minor + 1}.0", reasons
    return f"{major}.{minor}.{patch + 1}", "the same design, fitted on newer data"


def _numbers(version: str) -> tuple[int, int, int]:
    parts = version.split(".")
    if len(parts) != len(("major", "minor", "patch")) or not all(p.isdecimal() for p in parts):
        raise ValueError(f"{version!r} is no semantic version; it looks like {FIRST}")
    major, minor, patch = map(int, parts)
    return major, minor, patch


def _breaks(old: Spec, new: Spec) -> Iterator[str]:
    """Why somebody who called the old release may be refused or misled by the new one."""
    if old.contract != new.contract:
        yield f"contract {old.contract} became {new.contract}"
    if old.labels and old.labels[:1] != new.labels[:1]:
        yield f"the deciding label is no longer {old.labels[0]!r}"
    if gone := set(old.labels) - set(new.labels):
        yield f"labels {sorted(gone)} are gone"
    if new.max_rows < old.max_rows:
        yield f"a request takes {new.max_rows} rows, not {old.max_rows}"
    before = {column.name: column for column in old.columns}
    if gone := set(before) - {column.name for column in new.columns}:
        yield f"columns {sorted(gone)} are gone"
    for column in new.columns:
        for reason in _narrows(before.get(column.name), column):
            yield f"column {column.name!r} {reason}"


def _narrows(old: Column | None, new: Column) -> Iterator[str]:
    if old is None:
        if not new.nullable:
            yield "is new and required"
        return
    if old.nullable and not new.nullable:
        yield "became required"
    if (old.kind, new.kind) == ("float", "int"):
        yield "takes whole numbers only"
    if new.minimum is not None and (old.minimum is None or new.minimum > old.minimum):
        yield f"starts at {new.minimum:g}"
    if new.maximum is not None and (old.maximum is None or new.maximum < old.maximum):
        yield f"ends at {new.maximum:g}"


def _differs(old: Spec, new: Spec) -> Iterator[str]:
    """What makes the model answer differently by design."""
    if added := {column.name for column in new.columns} - {column.name for column in old.columns}:
        yield f"columns {sorted(added)} are new"
    if added := set(new.labels) - set(old.labels):
        yield f"labels {sorted(added)} are new"
    if old.trial.name != new.trial.name:
        yield f"trial {old.trial.name!r} became {new.trial.name!r}"
    elif old.trial != new.trial:
        yield f"trial {new.trial.name!r} is set differently"
    if old.learner != new.learner:
        yield "the learner changed"
    if old.features != new.features:
        yield "the features changed"
    if _taken(old) != _taken(new):
        yield "requests are taken that were refused before"


def _taken(spec: Spec) -> list[object]:
    """The request without its descriptions."""
    fields = (column.model_dump(exclude={"description"}) for column in spec.columns)
    return [spec.max_rows, *sorted(fields, key=lambda field: str(field["name"]))]
