"""Public labelled sets that are not in the mirror, as files for the inbox of ``raw/comments``.

    python -m assets.sources.comments_public jigsaw train.csv --out <home>/inbox/comments/j.parquet

Jigsaw's six labels and Jigsaw multilingual lie behind a login of Kaggle: download them there and
name the local files. HateXplain's ``dataset.json`` is public: name a local copy, or an address with
its SHA-256. Belongs here: the layouts of these files. What their labels mean is in
``models.core.text.taxonomy``.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from assets.sources.comments import Comment, table_of
from assets.sources.comments_mirror import HATEXPLAIN_PLATFORMS, agreed
from models.core.text.taxonomy import JIGSAW, identities_of

if TYPE_CHECKING:
    import pyarrow as pa

KAGGLE = "https://www.kaggle.com/competitions/"
#: Set to where a person gets it, and the files to name, in order.
SETS = {
    "jigsaw": (KAGGLE + "jigsaw-toxic-comment-classification-challenge/data",
               "train.csv, or test.csv test_labels.csv"),
    "jigsaw_multilingual": (KAGGLE + "jigsaw-multilingual-toxic-comment-classification/data",
                            "validation.csv, or test.csv test_labels.csv"),
    "hatexplain": ("https://github.com/hate-alert/HateXplain/tree/master/Data",
                   "dataset.json post_id_divisions.json"),
}  # fmt: skip
#: Kaggle's mark of a test row that was not scored.
NOT_SCORED = "-1"


class PublicSetError(Exception):
    """A file is missing or of another layout; the message says where to get it."""


def read(name: str, files: Sequence[Path]) -> pa.Table:
    """The files of one set as raw rows.

    Args:
        name: A key of ``SETS``.
        files: As ``SETS`` lists them.

    Returns:
        Columns of ``assets.sources.comments.schema()``.

    Raises:
        PublicSetError: A file is missing, too many or too few, or lacks a column.
    """
    readers: dict[str, Callable[..., Iterator[Comment]]] = {
        "jigsaw": jigsaw,
        "jigsaw_multilingual": jigsaw_multilingual,
        "hatexplain": hatexplain,
    }
    address, wanted = SETS[name]
    step = f"{name} needs {wanted}, from {address}"
    if "kaggle" in address:
        step += " (log in there and accept the terms; no program can)"
    if missing := [str(file) for file in files if not file.is_file()]:
        raise PublicSetError(f"{', '.join(missing)} not found; {step}")
    try:
        return table_of(list(readers[name](*files)))
    except (TypeError, KeyError) as error:
        raise PublicSetError(f"{', '.join(map(str, files))}: {error!r}; {step}") from error


def jigsaw(comments: Path, labels: Path | None = None) -> Iterator[Comment]:
    """Comments with six labels each.

    Args:
        comments: ``train.csv`` (id, comment_text, six labels), or ``test.csv`` (id, comment_text).
        labels: ``test_labels.csv`` (id, six labels; -1 for rows that were never scored).
    """
    found = _by_id(labels)
    for row in _csv(comments):
        given = row if found is None else found[row["id"]]
        if given["toxic"] != NOT_SCORED:
            said = [name if int(given[name]) else f"not-{name}" for name in JIGSAW]
            yield Comment("jigsaw_six", "wikipedia", row["id"], row["comment_text"], said,
                          "train" if found is None else "holdout")  # fmt: skip


def jigsaw_multilingual(comments: Path, labels: Path | None = None) -> Iterator[Comment]:
    """Comments in several languages with one label.

    Args:
        comments: ``validation.csv`` (id, comment_text, lang, toxic), or ``test.csv`` (id, content,
            lang).
        labels: ``test_labels.csv`` (id, toxic).
    """
    found = _by_id(labels)
    for row in _csv(comments):
        given = row if found is None else found[row["id"]]
        text = row["comment_text"] if found is None else row["content"]
        yield Comment("jigsaw_multilingual", "wikipedia", f"{comments.stem} {row['id']}", text,
                      ("toxic" if int(given["toxic"]) else "not-toxic",),
                      "train" if found is None else "holdout", row["lang"])  # fmt: skip


def hatexplain(dataset: Path, divisions: Path) -> Iterator[Comment]:
    """HateXplain's own files: the majority of three annotators, and the groups any of them named.

    A word is marked when two of them marked it.

    Posts on which all three disagree are in no division and are left out, as by the authors.

    Args:
        dataset: ``dataset.json``.
        divisions: ``post_id_divisions.json``.
    """
    posts = json.loads(dataset.read_text(encoding="utf-8"))
    for part, ids in json.loads(divisions.read_text(encoding="utf-8")).items():
        for post_id in ids:
            post = posts[post_id]
            ((label, _),) = Counter(a["label"] for a in post["annotators"]).most_common(1)
            platform, text = post_id.rpartition("_")[2], " ".join(post["post_tokens"])
            yield Comment(
                "hatexplain",
                platform if platform in HATEXPLAIN_PLATFORMS else "unknown",
                post_id,
                text,
                (label,),
                "holdout" if part == "test" else "train",
                identities=identities_of(t for a in post["annotators"] for t in a["target"]),
                rationale=agreed(text, post["rationales"]),
            )


def fetch(where: str, sha256: str | None, cache: Path) -> Path:
    """A local file, or a public one that is the pinned one.

    Raises:
        PublicSetError: An address without its digest.
        LandingError: The address cannot be fetched, or is not the pinned file.
    """
    from stores.download import fetch_public

    if not where.startswith(("http://", "https://")):
        return Path(where)
    if sha256 is None:
        raise PublicSetError(f"{where}: give its --sha256 too, so that a changed file is noticed")
    base, _, name = where.rpartition("/")
    return fetch_public(base, name, sha256, cache)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read one set and write it as Parquet; 0 when it was written."""
    import pyarrow.parquet as pq

    from stores.landing import LandingError

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("set", choices=SETS)
    parser.add_argument("files", nargs="+", help="local paths, or addresses with --sha256 each")
    parser.add_argument("--sha256", action="append", default=[], help="of each address, in order")
    parser.add_argument(
        "--out", type=Path, required=True, help="<home>/inbox/comments/<name>.parquet"
    )
    parser.add_argument("--cache", type=Path, default=Path("var/downloads"))
    given = parser.parse_args(arguments)
    digests = iter(given.sha256)
    try:
        remote = [where.startswith("http") for where in given.files]
        pinned = [next(digests, None) if away else None for away in remote]
        files = [fetch(w, s, given.cache) for w, s in zip(given.files, pinned, strict=True)]
        table = read(given.set, files)
    except (PublicSetError, LandingError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    given.out.parent.mkdir(parents=True, exist_ok=True)
    aside = given.out.with_name(f".{given.out.name}")  # the inbox passes over dotted names
    pq.write_table(table, aside, compression="zstd")
    aside.rename(given.out)
    sys.stdout.write(f"{given.out}: {table.num_rows} texts\n")
    return 0


def _csv(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _by_id(labels: Path | None) -> dict[str, dict[str, str]] | None:
    return None if labels is None else {row["id"]: row for row in _csv(labels)}


if __name__ == "__main__":
    sys.exit(main())
