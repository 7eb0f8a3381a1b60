"""Slices: which rows they are, and whether a challenger does harm in one of them.

Belongs here: row masks by name, the guardrail tests and their Holm family.
Does not belong here: the decision on the primary metric (``gates``).
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from models.contracts.learner import Vector
from models.contracts.product import Guardrail
from models.contracts.results import GuardrailResult
from models.core import bootstrap, metrics, significance

Mask = NDArray[np.bool_]
Names = NDArray[np.str_]

OVERALL, TENANT = "overall", "tenant"
#: A slice with fewer rows of either class is reported, not tested: its metrics are mostly noise.
MIN_CLASS_ROWS = 30


class Scores(NamedTuple):
    """Rows of one slice, scored by one or two models; thresholds of challenger and champion."""

    labels: Vector
    challenger: Vector
    champion: Vector | None
    thresholds: tuple[float, float]

    def take(self, mask: Mask) -> Scores:
        """The rows under a mask."""
        champion = None if self.champion is None else self.champion[mask]
        return Scores(self.labels[mask], self.challenger[mask], champion, self.thresholds)


class Replicates(NamedTuple):
    """Metric values of both models on the same resamples of one slice: name -> shape (B,)."""

    challenger: dict[str, Vector]
    champion: dict[str, Vector]

    def errors(self, name: str) -> bootstrap.PairedErrors:
        """Errors of both models in one metric."""
        return bootstrap.PairedErrors(
            metrics.error(name, self.challenger[name]), metrics.error(name, self.champion[name])
        )


class Harm(NamedTuple):
    """One guardrail in one slice, before Holm's correction."""

    guardrail: Guardrail
    slice: str
    challenger: float
    champion: float | None
    relative_loss: float | None
    p_value: float | None
    enough: bool


def masks(tenants: Names, slices: Mapping[str, Mask]) -> dict[str, Mask]:
    """Row masks of every slice: ``overall``, the named ones, then ``tenant=<name>`` by name.

    Args:
        tenants: Shape (n,), owner of each row.
        slices: Name to shape (n,) booleans, e.g. ``slice_hard``.

    Raises:
        ValueError: A mask of another length or type.
    """
    found: dict[str, Mask] = {OVERALL: np.ones(len(tenants), bool)}
    for name, mask in slices.items():
        if np.shape(mask) != np.shape(tenants) or np.asarray(mask).dtype != bool:
            raise ValueError(f"slice {name!r} must be {len(tenants)} booleans, one per row")
        found[name] = np.asarray(mask)
    return found | {f"{TENANT}={name}": tenants == name for name in np.unique(tenants)}


def rarer_class(labels: Vector) -> int:
    """Rows of the rarer class."""
    positives = int(labels.sum())
    return min(positives, len(labels) - positives)


def enough_rows(labels: Vector) -> bool:
    """Whether both classes have at least ``MIN_CLASS_ROWS`` rows."""
    return rarer_class(labels) >= MIN_CLASS_ROWS


def replicate(
    names: Sequence[str], rows: Scores, slice_name: str, size: int, seed: int
) -> Replicates:
    """Both models on the same resamples of one slice.

    The seed is mixed with the slice's name, so one more slice leaves the others as they were.
    """
    resamples = bootstrap.counts(len(rows.labels), size, [seed, zlib.crc32(slice_name.encode())])
    old = {}
    if rows.champion is not None:
        old = bootstrap.replicate_all(
            names, rows.labels, rows.champion, resamples, rows.thresholds[1]
        )
    new = bootstrap.replicate_all(
        names, rows.labels, rows.challenger, resamples, rows.thresholds[0]
    )
    return Replicates(new, old)


def expand(
    guardrails: Sequence[Guardrail], available: Mapping[str, Mask]
) -> dict[str, list[Guardrail]]:
    """Slice -> its guardrails; ``tenant`` stands for every tenant.

    Raises:
        ValueError: A guardrail names a slice that the rows do not have.
    """
    cases: dict[str, list[Guardrail]] = {}
    for guardrail in guardrails:
        names = [guardrail.slice]
        if guardrail.slice == TENANT:
            names = [name for name in available if name.startswith(f"{TENANT}=")]
        for name in names:
            if name not in available:
                raise ValueError(
                    f"guardrail on {guardrail.metric} names slice {name!r}, but the holdout has "
                    f"{sorted(available)}; correct the product's gate or add the column"
                )
            cases.setdefault(name, []).append(guardrail)
    return cases


def harms(
    guardrails: Sequence[Guardrail], slice_name: str, rows: Scores, size: int, seed: int
) -> list[Harm]:
    """All guardrails of one slice, tested on the same ``size`` resamples."""
    drawn = None
    if rows.champion is not None and enough_rows(rows.labels):
        names = sorted({guardrail.metric for guardrail in guardrails})
        drawn = replicate(names, rows, slice_name, size, seed)
    return [harm(guardrail, slice_name, rows, drawn) for guardrail in guardrails]


def harm(guardrail: Guardrail, slice_name: str, rows: Scores, drawn: Replicates | None) -> Harm:
    """Test H0: the challenger's error is at most (1 + max_loss) times the champion's.

    The excess over the tolerance is held against its paired-bootstrap standard error. A share of
    resamples, as in the primary test, cannot tell 1e-4 from 1e-9, which Holm's correction over many
    tenants needs, and was liberal in small slices (docs/decisions/0003-the-gate.md).

    Args:
        guardrail: Metric and tolerance.
        slice_name: For the record.
        rows: The slice's rows.
        drawn: Both models' metrics on its resamples; None leaves the floor only.
    """
    name, enough = guardrail.metric, enough_rows(rows.labels)
    challenger = _value(name, rows.labels, rows.challenger, rows.thresholds[0])
    if rows.champion is None:
        return Harm(guardrail, slice_name, challenger, None, None, None, enough)
    champion = _value(name, rows.labels, rows.champion, rows.thresholds[1])
    new, old = metrics.error(name, challenger), metrics.error(name, champion)
    loss = -float(bootstrap.relative_reduction(np.array(new), np.array(old)))
    relative = None if np.isnan(loss) else loss
    p_value = None
    if drawn is not None and enough:
        p_value = _harm_p(new, old, drawn.errors(name), 1 + guardrail.max_loss)
    return Harm(guardrail, slice_name, challenger, champion, relative, p_value, enough)


def _harm_p(new: float, old: float, pairs: bootstrap.PairedErrors, tolerated: float) -> float:
    excess = pairs.challenger - tolerated * pairs.champion
    excess = excess[~np.isnan(excess)]
    if len(excess) < 2:
        return 1.0
    z = bootstrap.standardised(new - tolerated * old, float(excess.std(ddof=1)))
    return float(stats.norm.sf(z))


def _value(name: str, labels: Vector, scores: Vector, threshold: float) -> float:
    return metrics.compute(name, labels, scores, threshold) if len(labels) else np.nan


def judge_harms(harms: Sequence[Harm], alpha: float) -> tuple[GuardrailResult, ...]:
    """Correct the family of harm tests with Holm and say of each whether it is violated."""
    tested = [i for i, case in enumerate(harms) if case.enough and case.p_value is not None]
    p_values = np.array([harms[i].p_value for i in tested], float)
    adjusted = dict(zip(tested, significance.holm(p_values).tolist(), strict=True))
    return tuple(_result(case, adjusted.get(i), alpha) for i, case in enumerate(harms))


def _result(case: Harm, adjusted: float | None, alpha: float) -> GuardrailResult:
    status: Any = "passed"
    where = f"{metrics.METRICS[case.guardrail.metric].title} on {case.slice}"
    reason = f"{where} is {case.challenger:.4f}, within what is allowed"
    floor = case.guardrail.floor
    if not case.enough:
        status = "too_few_rows"
        reason = f"{where} is not tested: fewer than {MIN_CLASS_ROWS} rows of a class"
    elif floor is not None and misses(case.guardrail.metric, case.challenger, floor):
        status = "violated"
        reason = f"{where} is {case.challenger:.4f} and misses its floor {floor:g}"
    elif adjusted is not None and adjusted < alpha:
        status = "violated"
        lost = "from zero" if case.relative_loss is None else f"by {case.relative_loss:.1%}"
        reason = (
            f"{where} goes from {case.champion:.4f} to {case.challenger:.4f}: its error rises "
            f"{lost}, {case.guardrail.max_loss:.1%} is tolerated (Holm p = {adjusted:.2g})"
        )
    return GuardrailResult(
        metric=case.guardrail.metric,
        slice=case.slice,
        challenger=case.challenger,
        champion=case.champion,
        relative_loss=case.relative_loss,
        p_value=case.p_value if case.enough else None,
        adjusted_p=adjusted,
        status=status,
        reason=reason,
    )


def misses(name: str, value: float, floor: float) -> bool:
    """Whether a value is on the wrong side of its floor (a ceiling when lower is better)."""
    return not (value >= floor if metrics.METRICS[name].higher_is_better else value <= floor)
