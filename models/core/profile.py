"""The reference profile: what a released model's holdout looked like.

Belongs here: putting a profile together from the judged holdout rows. Does not belong here: the
arithmetic of drift (``drift_effect``) and of label-free estimates (``label_free``), reading or
writing files, comparing windows with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from models.contracts.learner import Matrix, Vector
from models.contracts.monitoring import ReferenceProfile
from models.contracts.results import Estimate
from models.core import drift_effect, label_free

#: The holdout is cut into this many periods at most, none with fewer rows.
MAX_PERIODS, PERIOD_ROWS = 24, 100
Times = NDArray[np.datetime64]


def build_profile(  # noqa: PLR0917  whose, of which rows, promising what: the profile's own order
    product_key: str,
    evaluation_id: str,
    candidate_id: str,
    inputs: Matrix,
    names: Sequence[str],
    scores: Vector,
    labels: Vector,
    event_times: Times,
    promised: Mapping[str, Estimate],
    threshold: float,
) -> ReferenceProfile:
    """The profile of one model on the judged rows of its holdout.

    Args:
        product_key: ``<domain>/<product>``.
        evaluation_id: The evaluation it is kept with.
        candidate_id: The model.
        inputs: Shape (n, d), NaN for null; rows in any order.
        names: The d input names.
        scores: The model's probabilities on rows it did not learn from, shape (n,).
        labels: Shape (n,) of 0 or 1.
        event_times: Shape (n,); divides the rows into the periods of the recalibration.
        promised: Metric to its estimate on these rows.
        threshold: The model's decision threshold.

    Raises:
        ValueError: Shapes that do not fit, or rows that no recalibration can be learned from.
    """
    if inputs.shape != (len(scores), len(names)):
        raise ValueError(f"inputs {inputs.shape} are not {len(scores)} rows x {len(names)} names")
    return ReferenceProfile(
        product=product_key,
        evaluation_id=evaluation_id,
        candidate_id=candidate_id,
        rows=len(scores),
        inputs=tuple(drift_effect.histogram(name, inputs[:, i]) for i, name in enumerate(names)),
        score=drift_effect.histogram("score", scores),
        recalibration=label_free.recalibrate(labels, scores, periods(event_times)),
        promised=dict(promised),
        threshold=threshold,
    )


def periods(event_times: Times) -> NDArray[np.intp]:
    """Number each row's period: equal numbers of rows, in time order.

    Args:
        event_times: Shape (n,).

    Returns:
        Shape (n,), 0 to k - 1.
    """
    n = len(event_times)
    count = int(np.clip(n // PERIOD_ROWS, 1, MAX_PERIODS))
    numbers = np.empty(n, np.intp)
    numbers[np.argsort(event_times, kind="stable")] = np.arange(n) * count // max(n, 1)
    return numbers
