"""Comments that people labelled: one row per text and version of its labels.

A row says what was written, where, in answer to what, which labels people gave it (null where
nobody said), which of its characters they marked as the reason (`rationale`, null where nobody did)
and when that became known. A correction is a new row with the same `event_id` and a later
`known_at`. What other people's labels mean in ours is one table, `models.core.text.taxonomy`;
the numbers that describe a text are computed here, once, by the function that the service uses.

From the mirror: TweetEval (hate, offensive, irony, sentiment), HateXplain, Civil Comments with the
SemEval-2021 spans, 20,000 Jigsaw comments with one label and 101 with six. Official test parts are
`part` holdout, train and validation parts are train. None of them says when a text was written:
its time is a fixed moment of 2024 drawn from its key, so a division by time is a random one. Only
that training parts lie in the first three quarters of that year and holdout parts in the last
fifth, so that nothing is learned from what comes after it is judged.
From the generator: seeded texts with a known law and real times
(`assets.sources.comments_generator`).

This module holds the schema and puts rows together; it reads no file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from models.core.text.describe import COLUMNS, describe
from models.core.text.taxonomy import LABELS, identities_in, said_of
from stores.landing import OPTIONAL

if TYPE_CHECKING:
    import pyarrow as pa

START_US = 1_704_067_200_000_000  # 2024-01-01 UTC
YEAR_S = 365 * 86_400
#: Where in the year the pseudo-times of a part lie.
SPANS = MappingProxyType({"train": (0.0, 0.75), "holdout": (0.8, 1.0), None: (0.0, 1.0)})

#: Start and end (exclusive) of some characters of a text.
Span = tuple[int, int]


class Comment(NamedTuple):
    """One text as its source has it.

    Attributes:
        source: A source of ``models.core.text.taxonomy.MAPPING``.
        tenant: The platform it was written on.
        key: What tells it from the other texts of the source.
        said: The labels its source gave it, by the source's names.
        part: ``train``, ``holdout``, or None where the source is not divided.
        identities: Groups it speaks of, where people marked them; None: the word list finds them.
        rationale: What people marked as the reason for its labels.
    """

    source: str
    tenant: str
    key: str
    text: str
    said: Sequence[str]
    part: str | None = None
    language: str = "en"
    identities: Sequence[str] | None = None
    rationale: Sequence[Span] = ()


@cache
def schema() -> pa.Schema:
    """Schema of ``raw/comments``: names, order, types, and which columns may be null."""
    import pyarrow as pa

    moment, numbers = pa.timestamp("us"), {"int": pa.int64(), "float": pa.float64()}
    required: list[tuple[str, pa.DataType]] = [
        ("event_id", pa.string()), ("tenant", pa.string()),
        ("event_time", moment), ("known_at", moment),
        ("text", pa.string()), ("source", pa.string()), ("language", pa.string()),
        ("identities", pa.list_(pa.string())),
        *((column.name, numbers[column.kind]) for column in COLUMNS),
    ]  # fmt: skip
    optional: list[tuple[str, pa.DataType]] = [
        ("context", pa.string()), ("part", pa.string()), ("counter_speech", pa.bool_()),
        *((label, pa.bool_()) for label in LABELS),
    ]  # fmt: skip
    fields = [pa.field(name, kind, nullable=False) for name, kind in required]
    fields += [pa.field(name, kind) for name, kind in optional]
    # files from before it was read have no such column
    return pa.schema([*fields, pa.field("rationale", pa.string(), metadata=OPTIONAL)])


def table_of(comments: Sequence[Comment]) -> pa.Table:
    """Texts without a time of their own as raw rows, each with one version of its labels.

    Blank texts are left out: there is nothing to judge. So is a text of which its source says
    nothing that ``MAPPING`` knows.

    Raises:
        ValueError: A label that ``MAPPING`` does not know.
    """
    said = [said_of(one.source, one.said) for one in comments]
    kept = [i for i, one in enumerate(comments) if said[i] and one.text.strip()]
    rows = [comments[i] for i in kept]
    ids = [_event_id(one) for one in rows]
    moments = [_moment_us(one, event_id) for one, event_id in zip(rows, ids, strict=True)]
    columns: dict[str, Sequence[object]] = {
        "event_id": ids,
        "tenant": [one.tenant for one in rows],
        "event_time": moments,
        "known_at": moments,
        "text": [one.text for one in rows],
        "source": [one.source for one in rows],
        "language": [one.language for one in rows],
        "identities": [
            identities_in(one.text) if one.identities is None else one.identities for one in rows
        ],
        "part": [one.part for one in rows],
        "rationale": [written(one.rationale) for one in rows],
        **{label: [said[i].get(label) for i in kept] for label in LABELS},
    }
    return assemble(columns)


def assemble(columns: Mapping[str, Sequence[object]]) -> pa.Table:
    """Columns by name as a table of ``schema()``; the numbers of the text are added.

    Args:
        columns: Equally long; ``text`` among them. A nullable column that is missing is null.
            Labels are 0, 1 or None; times are microseconds since 1970.
    """
    import pyarrow as pa

    texts = [str(text) for text in columns["text"]]
    numbers = dict(zip((c.name for c in COLUMNS), describe(texts).T.tolist(), strict=True))
    arrays = []
    for field in schema():
        values = numbers.get(field.name) or columns.get(field.name)
        if values is None:
            arrays.append(pa.nulls(len(texts), field.type))
        elif pa.types.is_boolean(field.type):
            arrays.append(pa.array([None if v is None else bool(v) for v in values], field.type))
        else:
            arrays.append(pa.array(values, field.type))
    return pa.Table.from_arrays(arrays, schema=schema())


def written(spans: Sequence[Span]) -> str | None:
    """Marked characters as ``raw/comments`` has them: JSON, null where nothing is marked."""
    return json.dumps(spans) if spans else None


def _event_id(one: Comment) -> str:
    return f"{one.source}@{hashlib.sha256(f'{one.key} {one.text}'.encode()).hexdigest()[:16]}"


def _moment_us(one: Comment, event_id: str) -> int:
    """A fixed moment of 2024 within its part's span; which one says nothing of the text."""
    low, high = SPANS[one.part]
    digest = hashlib.sha256(event_id.encode()).digest()
    share = int.from_bytes(digest[:6], "big") / 2**48
    return START_US + int((low + share * (high - low)) * YEAR_S) * 1_000_000
