"""Are texts there, described as the service describes them, new in the holdout, and labelled?"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from models.contracts.learner import Matrix
from models.contracts.product import EVENT_ID, LABEL_PREFIX, TEXT, Data
from models.contracts.results import CheckResult
from models.core.checks.common import conclude, example
from models.core.text.describe import describe

if TYPE_CHECKING:
    import pandas as pd

    from models.core.splits import Split

#: Texts of the holdout that may read like a training text once case, accents, digits and
#: punctuation are gone. Live communities repeat greetings; exact copies dbt has taken out.
MAX_NEAR = 0.02
#: Near copies shorter than this (letters) are greetings, not copies.
MIN_LETTERS = 20
#: Rows of each class that a label needs among the training rows to be taught.
MIN_CLASS_ROWS = 20


def texts(*, current: pd.DataFrame, data: Data) -> CheckResult:
    """Blank texts, and describing numbers that are not those of the text.

    The numbers were computed when a text landed. Computed again they must be the same, or the
    service would log other numbers than those that drift is measured against.

    Args:
        current: The feature table.
        data: Its columns are the describing numbers.

    Returns:
        Check ``texts``.
    """
    written = current[TEXT].fillna("").astype(str)
    blank = (written.str.strip() == "").to_numpy()
    problems = []
    if blank.any():
        problems.append(
            f"{blank.sum()} texts are blank ({example(current, blank)}): leave them out at the "
            "source; there is nothing to judge"
        )
    stored = current[list(data.names)].to_numpy(np.float64, na_value=np.nan)
    wrong = ~np.isclose(stored, describe(written.tolist()), rtol=1e-12, atol=1e-12)
    rows = wrong.any(axis=1)
    if rows.any():
        names = [n for n, bad in zip(data.names, wrong.any(axis=0), strict=True) if bad]
        problems.append(
            f"{rows.sum()} texts are described by other numbers than describe() gives now "
            f"({', '.join(names)}; {example(current, rows)}): after a change of "
            "models/core/text/describe.py land the source anew (docs/operations.md)"
        )
    fine = f"{len(current)} texts, none blank, described as the service describes them"
    numbers = {"blank": int(blank.sum()), "described_otherwise": int(rows.sum())}
    return conclude("texts", problems, fine, numbers)


def text_overlap(*, current: pd.DataFrame, split: Split) -> CheckResult:
    """Holdout texts that the model has read: the same event, or nearly the same words.

    Args:
        current: The feature table.
        split: Division of ``current``.

    Returns:
        Check ``text_overlap``; ``numbers`` holds both counts.
    """
    ids = current[EVENT_ID].to_numpy()
    same = np.zeros(len(current), bool)
    same[split.holdout] = np.isin(ids[split.holdout], ids[split.train])
    prints = _prints(current[TEXT].astype(str).tolist())
    near = np.zeros(len(current), bool)
    near[split.holdout] = np.isin(prints[split.holdout], prints[split.train])
    near &= (prints != 0) & ~same
    share = float(near.sum() / max(len(split.holdout), 1))
    problems = []
    if same.any():
        problems.append(
            f"{same.sum()} events are in the training rows and in the holdout "
            f"({example(current, same)}): keep one row per event in the feature's SQL model"
        )
    if share > MAX_NEAR:
        problems.append(
            f"{near.sum()} of {len(split.holdout)} holdout texts ({share:.1%}) differ from a "
            f"training text only in case, accents, digits or punctuation ({example(current, near)}"
            f"), {MAX_NEAR:.0%} may: keep one of them in the feature's SQL model"
        )
    fine = f"{near.sum()} of {len(split.holdout)} holdout texts nearly repeat a training text"
    return conclude(
        "text_overlap", problems, fine, {"same_event": int(same.sum()), "near": int(near.sum())}
    )


def label_counts(
    *, current: pd.DataFrame, previous: pd.DataFrame | None, data: Data, split: Split
) -> CheckResult:
    """Labels that are no labels, the first label untaught, or a label that is no longer taught.

    Args:
        current: The feature table, with ``label_<name>`` for each of ``data.labels``.
        previous: All rows of the last snapshot; None for the first.
        data: Names the labels.
        split: Division of ``current``.

    Returns:
        Check ``label_counts``; ``numbers`` holds yes and no per label among the training rows.
    """
    columns = [f"{LABEL_PREFIX}{name}" for name in data.labels]
    if missing := [name for name in columns if name not in current.columns]:
        said = f"{', '.join(missing)} are missing: add them to the feature's SQL model"
        return conclude("label_counts", [said], "")
    values = current[columns].to_numpy(np.float64, na_value=np.nan)
    wrong = ~(np.isin(values, (0.0, 1.0)) | np.isnan(values)).all(axis=1)
    problems = []
    if wrong.any():
        problems.append(
            f"{wrong.sum()} rows have a label that is neither 0, 1 nor null "
            f"({example(current, wrong)}): mend the feature's SQL model"
        )
    counts = _counts(values[split.train])
    few = {name for name, pair in zip(data.labels, counts, strict=True) if not taught(pair)}
    if data.labels[0] in few:
        yes, no = counts[0]
        problems.append(
            f"{data.labels[0]}, whose probability is logged, has {yes} yes and {no} no among the "
            f"training rows, {MIN_CLASS_ROWS} of each are needed: load more labelled texts"
        )
    if previous is not None and set(columns) <= set(previous.columns):
        before = _counts(previous[columns].to_numpy(np.float64, na_value=np.nan))
        lost = [n for n, pair in zip(data.labels, before, strict=True) if taught(pair) and n in few]
        if lost:
            problems.append(
                f"{', '.join(lost)} had labels enough in the last snapshot and has too few now: "
                "look for a source that no longer arrives"
            )
    fine = f"{len(data.labels) - len(few)} of {len(data.labels)} labels are taught" + (
        f"; too few texts for {', '.join(n for n in data.labels if n in few)}" if few else ""
    )
    numbers: dict[str, JsonValue] = {
        name: {"yes": int(yes), "no": int(no)}
        for name, (yes, no) in zip(data.labels, counts, strict=True)
    }
    return conclude("label_counts", problems, fine, numbers)


def taught(counts: Sequence[int] | NDArray[np.int64]) -> bool:
    """Whether yes and no are both frequent enough to teach a label."""
    return min(int(count) for count in counts) >= MIN_CLASS_ROWS


def _counts(labels: Matrix) -> NDArray[np.int64]:
    """Yes and no per label, shape (L, 2)."""
    return np.stack([(labels == 1).sum(axis=0), (labels == 0).sum(axis=0)], axis=1)


def _prints(written: Sequence[str]) -> NDArray[np.uint64]:
    """What texts are compared by; 0 for one that is too short to be compared."""
    return np.array([_print(text) for text in written], np.uint64)


def _print(text: str) -> int:
    plain = unicodedata.normalize("NFKD", text).casefold()
    letters = "".join(filter(str.isalpha, plain))
    if len(letters) < MIN_LETTERS:
        return 0
    return int.from_bytes(hashlib.blake2b(letters.encode(), digest_size=8).digest(), "big")
