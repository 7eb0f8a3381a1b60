"""Does a model doubt where it is wrong? Its closeness to the threshold, and dropout left on.

Belongs here: which answers are asked about, the two measures. Does not belong here: dropout at
prediction time (``models.core.uncertainty``), doubt about strange texts (``robustness.ood``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from models.contracts.learner import Vector
from models.contracts.results import Estimate, Measure
from models.core import uncertainty
from models.core.robustness import measures, ood

if TYPE_CHECKING:
    from models.core.text.differentiable import Differentiable

#: Texts asked about, and passes over each: 1,000 answers, a fifth of what the attacks ask.
TEXTS, PASSES = 200, 5
#: With fewer wrong (or right) answers the measures are NaN: too few to rank.
FEWEST = 5
_BY = {"confidence": "how close they are", "dropout": "their spread with dropout left on"}
_NOTHING = Estimate(value=np.nan, low=np.nan, high=np.nan)


def examine(
    predictor: Any,
    opened: Differentiable | None,
    texts: Sequence[str],
    labels: Vector,
    scores: Vector,
    *,
    label: str,
    threshold: float,
    seed: int = 0,
) -> dict[str, Measure]:
    """How well doubt tells wrong answers to one label from right ones, with 90 % intervals.

    Args:
        predictor: The model.
        opened: Its network of torch, where it has one.
        texts: n texts.
        labels: Shape (n,) of 0 or 1; NaN where nobody said, left out.
        scores: Shape (n,), its probabilities.
        label: Name of the label.
        threshold: From which on the answer is yes.
        seed: Of the texts drawn and of the dropout.

    Returns:
        ``uncertainty.confidence_auroc``: by closeness of the probability to the threshold, as the
        service asks for a review; ``uncertainty.dropout_auroc``: by the deviation of the
        probability over passes with dropout on (networks of torch that have dropout).
    """
    known = np.flatnonzero(~np.isnan(labels))
    drawn = np.sort(np.random.default_rng(seed).permutation(known)[:TEXTS])
    wrong = (scores[drawn] >= threshold) != (labels[drawn] == 1)
    doubts = {"confidence": -np.abs(scores[drawn] - threshold)}
    if opened is not None and _drops(predictor.network.module):
        asked = [texts[i] for i in drawn]
        doubts["dropout"] = _deviations(predictor, asked, seed)[:, opened.column(label)]
    enough = min(wrong.sum(), (~wrong).sum()) >= FEWEST
    title = "ROC-AUC of telling wrong answers from right ones by {}".format
    return {
        f"uncertainty.{name}_auroc": measures.area(
            title(_BY[name]), ood.auroc(doubt[~wrong], doubt[wrong]) if enough else _NOTHING
        )
        for name, doubt in doubts.items()
    }


def _drops(module: Any) -> bool:
    from torch.nn import Dropout

    return any(isinstance(one, Dropout) and one.p > 0 for one in module.modules())


def _deviations(predictor: Any, texts: Sequence[str], seed: int) -> Any:
    """Deviation of every answered probability over the passes, shape (n, answered)."""
    import torch

    return uncertainty.mc_dropout(
        predictor.network.module,
        lambda: torch.from_numpy(predictor.logits(texts)),
        passes=PASSES,
        seed=seed,
    ).deviation
