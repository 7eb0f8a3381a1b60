"""The labelled texts of the mirror, each set read into the rows of ``assets.sources.comments``.

Belongs here: file names, digests, the columns of every set and its official parts. What a set's
labels mean does not (``models.core.text.taxonomy``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.sources.comments import Comment, Span, table_of
from models.core.text.taxonomy import JIGSAW, identities_of

if TYPE_CHECKING:
    import pyarrow as pa

#: Path below the mirror to its pinned digest, in the order that ``from_mirror`` takes them.
MIRROR_FILES = (
    ("tweeteval/tweeteval.parquet",
     "eca9861cdd252c0f6322cb26c782f6609009bd2795b7677089c63836fc1dee28"),
    ("hatexplain/hatexplain.parquet",
     "efb0dbb9e3cfd38ad38259db894b384dceba97f441466167daa1d7a34f792576"),
    ("toxic_spans/civil_comments_toxicity_types.parquet",
     "749025e8c857b4a793bd6cf627a96f2bf9c5ae667610c960d3c339dba78de1eb"),
    ("toxic_spans/semeval2021_task5.parquet",
     "70a6c473674b35b4a7dc3e5a1f67040fb06879f3c23af66ecd3d0214c478df39"),
    ("jigsaw_binary/jigsaw_binary_first20k.parquet",
     "06aaeb02d14bb156725bf18d2fe9b1159aaee825bc068fb980aacfda75b625f7"),
    ("jigsaw_binary/jigsaw_sixlabel_101_test_examples.parquet",
     "ec6f3f249125e4f39dd28f0cd611089ff90c6558acf4bbbfb51b7807576c7127"),
)  # fmt: skip

TWEETEVAL_TASKS = ("hate", "offensive", "irony", "sentiment")
#: A dozen post ids name no platform.
HATEXPLAIN_PLATFORMS = ("gab", "twitter")
#: Annotators of three who must mark a word.
AGREED = 2
#: SemEval calls a small further training part ``trial``.
_PARTS = {"train": "train", "val": "train", "trial": "train", "test": "holdout"}
_CIVIL_TYPES = ("insult", "threat", "profane_obscene", "identity_based_attack")


def from_mirror(*files: Path) -> pa.Table:
    """The mirror's files as raw rows, set after set, in the files' order.

    Args:
        files: As ``MIRROR_FILES`` lists them; verify them against their digests first.

    Returns:
        Columns of ``assets.sources.comments.schema()``.

    Raises:
        duckdb.Error: A file lacks a column or is no Parquet file.
        ValueError: A label that the taxonomy does not know, or another number of files.
    """
    tweets, posts, types, spans, binary, six = files
    return table_of([
        *tweeteval(tweets), *hatexplain(posts), *civil_comments(types, spans),
        *jigsaw_binary(binary), *jigsaw_six(six),
    ])  # fmt: skip


def tweeteval(path: Path) -> Iterator[Comment]:
    """TweetEval's hate, offensive, irony and sentiment tasks with their official parts.

    The mirror has no training part of the sentiment task, only validation and test.
    """
    for number, row in enumerate(_rows(path, "task, split, text, label_name")):
        if row["task"] in TWEETEVAL_TASKS:
            yield Comment(f"tweeteval_{row['task']}", "twitter", str(number), row["text"],
                          (row["label_name"],), _PARTS[row["split"]])  # fmt: skip


def hatexplain(path: Path) -> Iterator[Comment]:
    """HateXplain: the majority of three annotators, and whom they said a post is about."""
    for row in _rows(path, "post_id, split, text, label, targets, rationales"):
        platform = row["post_id"].partition("_")[0]
        platform = platform if platform in HATEXPLAIN_PLATFORMS else "unknown"
        marks = json.loads(row["rationales"] or "[]")
        yield Comment("hatexplain", platform, row["post_id"], row["text"], (row["label"],),
                      _PARTS[row["split"]],
                      identities=identities_of((row["targets"] or "").split("|")),
                      rationale=agreed(row["text"], marks))  # fmt: skip


def agreed(text: str, marks: Sequence[Sequence[int]]) -> list[Span]:
    """Words that two annotators marked, as two decide on a label; a list of marks for each.

    A list with another number of words is of another text and left out.
    """
    words = [word.span() for word in re.finditer(r"\S+", text)]
    votes = map(sum, zip(*(one for one in marks if len(one) == len(words)), strict=True))
    return [word for word, vote in zip(words, votes, strict=False) if vote >= AGREED]


def runs(places: Sequence[int]) -> list[Span]:
    """Character numbers as spans."""
    known = set(places)
    starts = sorted(place for place in known if place - 1 not in known)
    ends = sorted(place + 1 for place in known if place + 1 not in known)
    return list(zip(starts, ends, strict=True))


def civil_comments(types: Path, spans: Path) -> Iterator[Comment]:
    """Civil Comments with the share of raters per type of toxicity; more than half decide.

    Toxic: more than half did not say "not toxic". Exactly half leaves toxicity unknown.

    Args:
        types: The posts with how many raters chose each type.
        spans: SemEval-2021 task 5, posts of the same pool; they keep that task's official parts,
            and the characters that its annotators found toxic.
    """
    official = {
        row["text"]: (_PARTS[row["split"]], runs(json.loads(row["spans"])))
        for row in _rows(spans, "split, text, spans")
    }
    counts = ", ".join(f"raters_{kind}" for kind in (*_CIVIL_TYPES, "not_toxic"))
    for row in _rows(types, f"comment_id, text, n_raters, {counts}"):
        shares = {kind: row[f"raters_{kind}"] / row["n_raters"] for kind in _CIVIL_TYPES}
        said = [kind if share > 0.5 else f"not-{kind}" for kind, share in shares.items()]
        harmless = row["raters_not_toxic"] / row["n_raters"]
        if harmless != 0.5:
            said.append("toxic" if harmless < 0.5 else "not-toxic")
        part, rationale = official.get(row["text"], (None, []))
        yield Comment("civil_comments", "civil_comments", str(row["comment_id"]), row["text"], said,
                      part, rationale=rationale)  # fmt: skip


def jigsaw_binary(path: Path) -> Iterator[Comment]:
    """The first 20,000 Jigsaw comments with one label: toxic in any way, or not."""
    for number, row in enumerate(_rows(path, "text, toxic")):
        yield Comment("jigsaw_binary", "wikipedia", str(number), row["text"],
                      ("toxic" if row["toxic"] else "not-toxic",))  # fmt: skip


def jigsaw_six(path: Path) -> Iterator[Comment]:
    """A few Jigsaw test comments with all six labels."""
    for number, row in enumerate(_rows(path, "text, " + ", ".join(JIGSAW))):
        said = [name if row[name] else f"not-{name}" for name in JIGSAW]
        yield Comment("jigsaw_six", "wikipedia", str(number), row["text"], said, "holdout")


def _rows(path: Path, columns: str) -> Iterator[dict[str, Any]]:
    """The named columns of a Parquet file, row by row, in its order."""
    import duckdb

    with duckdb.connect() as connection:
        query = f"select {columns} from read_parquet(?)"  # noqa: S608 names are ours
        found: pa.Table = connection.sql(query, params=[str(path)]).to_arrow_table()
    yield from found.to_pylist()
