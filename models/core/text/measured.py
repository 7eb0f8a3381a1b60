"""Measures of the first label on the judged texts: fair to groups, and honest about how sure.

Belongs here: which texts are asked once for them. Does not belong here: the measures (``fairness``,
``probabilities``), attacks and strange texts (``examine``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from models.contracts.learner import Vector
from models.contracts.product import SLICE_PREFIX
from models.contracts.results import Measure
from models.core import fairness, probabilities
from models.core.text import frames

if TYPE_CHECKING:
    import pandas as pd

#: Texts of no group that are asked about: all of them would be asked once more.
OTHERS = 2_000


def of_first_label(
    score: Callable[[Sequence[str]], Vector],
    units: pd.DataFrame,
    label: str,
    threshold: float,
    *,
    seed: int,
) -> dict[str, Measure]:
    """Fairness to the groups that texts speak of, calibration and coverage.

    Fairness is judged on every text that speaks of a group and a sample of the others; calibration
    and coverage on the same share of both, so that groups are as frequent as they are.

    Args:
        score: The model's probability of the label, per text.
        units: Judged texts in time order.
        label: Its name.
        threshold: Of the decision.
        seed: Of everything drawn.
    """
    slices = {str(c): units[c].to_numpy(bool) for c in units if str(c).startswith(SLICE_PREFIX)}
    groups = fairness.groups_of(slices)
    labels = frames.label_matrix(units, (label,))[:, 0]
    named = np.logical_or.reduce([np.zeros(len(units), bool), *groups.values()])
    known, generator = ~np.isnan(labels), np.random.default_rng(seed)
    others = generator.permutation(np.flatnonzero(known & ~named))
    spoken_of = generator.permutation(np.flatnonzero(known & named))
    rows = np.sort(np.concatenate([spoken_of, others[:OTHERS]]))
    share = min(1.0, OTHERS / len(others)) if len(others) else 1.0
    even = np.isin(rows, np.concatenate([others, spoken_of[: round(share * len(spoken_of))]]))
    scores = score(frames.texts(units.iloc[rows]))
    of = {group: mask[rows] for group, mask in groups.items()}
    fair = fairness.examine(labels[rows], scores, threshold, of, seed=seed)
    return fair | probabilities.examine(labels[rows][even], scores[even], seed=seed)
