"""Can the probabilities be believed? Measures of one model's answers to one yes or no.

The older half of the judged rows calibrates, the newer half is measured: what a recalibration or a
conformal set would have been worth on the rows that came next. Belongs here: the division and the
names. Does not belong here: the calibrators (``calibrators``), the sets (``uncertainty``).
"""

from __future__ import annotations

import numpy as np

from models.contracts.learner import Vector
from models.contracts.results import Estimate, Measure
from models.core import bootstrap, metrics, uncertainty
from models.core.calibrators import Isotonic, Platt, Temperature
from models.core.robustness import measures
from models.core.robustness.measures import ALPHA, RESAMPLES
from models.core.slices import enough_rows

#: Share of the rows whose true answer a conformal set should hold.
COVERAGE = 0.9
_FITS: dict[str, type[Platt] | type[Isotonic] | type[Temperature]] = {
    "platt": Platt,
    "isotonic": Isotonic,
    "temperature": Temperature,
}


def examine(labels: Vector, scores: Vector, *, seed: int = 0) -> dict[str, Measure]:
    """Every measure of probabilities, with 90 % intervals.

    Args:
        labels: Shape (n,) of 0 or 1, in time order.
        scores: Shape (n,), probabilities.
        seed: Of the bootstrap.

    Returns:
        ``calibration.ece`` and ``calibration.ece_{platt,isotonic,temperature}``: calibration error
        (ECE) of the newer half as it is, and after a recalibration on the older half.
        ``coverage.conformal``: share of the newer rows whose true answer is in its 90 % set;
        ``coverage.set_size``: answers in a set on average (1 decides, 2 rule nothing out);
        ``coverage.undecided``: share of the sets that do not hold exactly one. Nothing when a half
        has too few rows of a class, or the older one a single score.
    """
    half = len(labels) // 2
    (before, now), (known, asked) = (labels[:half], labels[half:]), (scores[:half], scores[half:])
    if not (enough_rows(before) and enough_rows(now)) or known.min() == known.max():
        return {}
    after = {f"_{name}": kind.fit(before, known).apply(asked) for name, kind in _FITS.items()}
    errors = {
        f"calibration.ece{name}": _error(name.replace("_", " after "), now, said, seed)
        for name, said in {"": asked, **after}.items()
    }
    return errors | _coverage((before, known), (now, asked), seed)


def _error(when: str, labels: Vector, scores: Vector, seed: int) -> Measure:
    resamples = bootstrap.counts(len(labels), RESAMPLES, seed)
    value = metrics.compute("ece", labels, scores)
    low, high = bootstrap.debiased_interval(
        value, bootstrap.replicates("ece", labels, scores, resamples), ALPHA
    )
    found = Estimate(value=value, low=low, high=high)
    title = f"calibration error{when or ' as it is'}, newer half of the rows"
    return measures.area(title, found, higher_is_better=False)


def _coverage(
    older: tuple[Vector, Vector], newer: tuple[Vector, Vector], seed: int
) -> dict[str, Measure]:
    """Of the sets of the newer rows; each argument is labels and scores."""
    before, known = (column[:, None] for column in older)
    bound = uncertainty.conformal(before, known, coverage=COVERAGE)
    labels, count = newer[0].astype(int), len(newer[0])
    sets = bound.sets(newer[1][:, None])[:, 0]
    held, sizes = sets[np.arange(count), labels], sets.sum(axis=1)
    resamples = bootstrap.counts(count, RESAMPLES, seed)
    drawn = bootstrap.means({"size": sizes.astype(float)}, resamples)["size"]
    low, high = bootstrap.percentile_interval(drawn, ALPHA)
    size = Estimate(value=float(sizes.mean()), low=low, high=high)
    return {
        "coverage.conformal": measures.share(
            "share of rows whose answer is in its 90 % set", int(held.sum()), count
        ),
        "coverage.set_size": measures.area(
            "answers in a 90 % set, on average", size, higher_is_better=False
        ),
        "coverage.undecided": measures.share(
            "share of rows whose 90 % set decides nothing",
            int((sizes != 1).sum()),
            count,
            higher_is_better=False,
        ),
    }
