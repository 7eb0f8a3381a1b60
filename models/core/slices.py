"""Slices: which units they are, and what one or two models answered on the units of one slice.

Belongs here: masks by name, the interface of the judged units of every contract, rows with one
label, resampling both models alike. Does not belong here: units of the other contracts (``units``),
guardrails (``guardrails``), decisions (``gates``).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.contracts.learner import Vector
from models.contracts.product import IDENTITY_PREFIX
from models.contracts.results import Estimate, TestResult
from models.core import bootstrap, metrics, significance
from models.core.counted import Counts

Mask = NDArray[np.bool_]
Names = NDArray[np.str_]
Answers = TypeVar("Answers")

OVERALL, TENANT = "overall", "tenant"
#: Slices of this prefix name a group of people; ``masks`` derives two more of each.
IDENTITY = IDENTITY_PREFIX
BPSN, BNSP = "bpsn_identity_", "bnsp_identity_"
#: A slice with fewer rows of either class is reported, not tested: its metrics are mostly noise.
MIN_CLASS_ROWS = 30


class Units(Protocol):
    """What is judged one by one (rows, texts, users), answered by one or two models.

    ``champion=True`` asks for the champion's; where there is none that is a ValueError.
    """

    @property
    def counted(self) -> str:
        """What ``scarcest`` counts, in words."""
        ...

    @property
    def paired(self) -> bool:
        """Whether a champion answered too."""
        ...

    @property
    def scarcest(self) -> int:
        """Rows of the rarer class, or users: fewer than ``MIN_CLASS_ROWS`` are not tested."""
        ...

    @property
    def primary(self) -> Vector | None:
        """Labels that divide the units, shape (n,) of 0, 1 or NaN; None where there are none."""
        ...

    def __len__(self) -> int: ...

    def check(self) -> None:
        """Refuse what cannot be judged.

        Raises:
            ValueError: It says what is wrong.
        """
        ...

    def take(self, mask: Mask) -> Units:
        """The units under a mask."""
        ...

    def first(self) -> Units:
        """The same units, judged by their primary label alone."""
        ...

    def value(self, metric: str, *, champion: bool = False) -> float:
        """A metric; NaN where it is undefined."""
        ...

    def replicates(
        self, names: Iterable[str], counts: Counts, *, champion: bool = False
    ) -> dict[str, Vector]:
        """Metrics of B resamples given as counts of shape (B, n): name -> shape (B,)."""
        ...

    def interval(self, metric: str, alpha: float, *, champion: bool = False) -> Estimate | None:
        """A better interval of level 1 - 2 * alpha than the bootstrap's, where there is one."""
        ...

    def tests(self, alpha: float) -> tuple[TestResult, ...]:
        """Tests of "the challenger is better" beside the paired bootstrap; needs a champion."""
        ...


@dataclass(frozen=True, eq=False)
class Scores:
    """Rows with a label of 0 or 1 each, scored by one or two models.

    Attributes:
        labels: Shape (n,) of 0.0 or 1.0.
        challenger: Its scores, shape (n,).
        champion: Its scores, shape (n,); None when there is none.
        thresholds: Decision thresholds of challenger and champion.
    """

    labels: Vector
    challenger: Vector
    champion: Vector | None
    thresholds: tuple[float, float]

    counted: ClassVar[str] = "rows of a class"

    @property
    def paired(self) -> bool:
        """Whether a champion answered too."""
        return self.champion is not None

    @property
    def scarcest(self) -> int:
        """Rows of the rarer class."""
        return rarer_class(self.labels)

    @property
    def primary(self) -> Vector | None:
        """The labels."""
        return self.labels

    def __len__(self) -> int:
        return len(self.labels)

    def check(self) -> None:
        """Refuse rows that ``metrics.check`` refuses."""
        for scores in (self.challenger, self.champion):
            if scores is not None:
                metrics.check(self.labels, scores)

    def take(self, mask: Mask) -> Scores:
        """The rows under a mask."""
        champion = None if self.champion is None else self.champion[mask]
        return Scores(self.labels[mask], self.challenger[mask], champion, self.thresholds)

    def first(self) -> Scores:
        """Themselves: they have one label."""
        return self

    def value(self, metric: str, *, champion: bool = False) -> float:
        """One of ``metrics.BINARY``; NaN without rows."""
        scores, threshold = self._of(champion=champion)
        return metrics.compute(metric, self.labels, scores, threshold) if len(self) else np.nan

    def replicates(
        self, names: Iterable[str], counts: Counts, *, champion: bool = False
    ) -> dict[str, Vector]:
        """Metrics of resampled rows."""
        scores, threshold = self._of(champion=champion)
        return bootstrap.replicate_all(names, self.labels, scores, counts, threshold)

    def interval(self, metric: str, alpha: float, *, champion: bool = False) -> Estimate | None:
        """DeLong's for ROC-AUC."""
        if metric != "roc_auc" or self.scarcest < 2:
            return None
        return significance.delong_interval(
            self.labels, self._of(champion=champion)[0], alpha=alpha
        )

    def tests(self, alpha: float) -> tuple[TestResult, ...]:
        """Exact McNemar, and DeLong where each class has two rows."""
        champion = known(self.champion)
        new = (self.challenger >= self.thresholds[0]) == (self.labels == 1)
        old = (champion >= self.thresholds[1]) == (self.labels == 1)
        b, c = int((new & ~old).sum()), int((old & ~new).sum())
        tests = [significance.mcnemar_exact(b, c, alpha=alpha)]
        if self.scarcest >= 2:
            delong = significance.delong(self.labels, self.challenger, champion, alpha=alpha)
            tests.append(delong)
        return tuple(tests)

    def _of(self, *, champion: bool) -> tuple[Vector, float]:
        if not champion:
            return self.challenger, self.thresholds[0]
        return known(self.champion), self.thresholds[1]


class Replicates(NamedTuple):
    """Metric values of both models on the same resamples of one slice: name -> shape (B,)."""

    challenger: dict[str, Vector]
    champion: dict[str, Vector]

    def errors(self, name: str) -> bootstrap.PairedErrors:
        """Errors of both models in one metric."""
        return bootstrap.PairedErrors(
            metrics.error(name, self.challenger[name]), metrics.error(name, self.champion[name])
        )


def known(champion: Answers | None) -> Answers:
    """The champion's answers.

    Raises:
        ValueError: There is no champion.
    """
    if champion is None:
        raise ValueError("these units were answered by one model only; give the champion's answers")
    return champion


def masks(
    tenants: Names, slices: Mapping[str, Mask], primary: Vector | None = None
) -> dict[str, Mask]:
    """Masks of every slice: ``overall``, the named, the derived, then ``tenant=<name>`` by name.

    A group of people ``slice_identity_<g>`` brings two more (Borkan et al. 2019, Nuanced metrics
    for measuring unintended bias): ``bpsn_identity_<g>``, the others' positives and the group's
    negatives, and ``bnsp_identity_<g>``, the others' negatives and the group's positives. The
    ROC-AUC of the three is the subgroup, BPSN and BNSP AUC.

    Args:
        tenants: Shape (n,), owner of each unit.
        slices: Name to shape (n,) booleans, e.g. ``slice_hard``.
        primary: ``Units.primary``; without it nothing is derived.

    Raises:
        ValueError: A mask of another length or type.
    """
    found: dict[str, Mask] = {OVERALL: np.ones(len(tenants), bool)}
    for name, mask in slices.items():
        if np.shape(mask) != np.shape(tenants) or np.asarray(mask).dtype != bool:
            raise ValueError(f"slice {name!r} must be {len(tenants)} booleans, one per row")
        found[name] = np.asarray(mask)
    if primary is not None:
        for name in [each for each in found if each.startswith(IDENTITY)]:
            group, inside = name.removeprefix(IDENTITY), found[name]
            found[BPSN + group] = (~inside & (primary == 1)) | (inside & (primary == 0))
            found[BNSP + group] = (~inside & (primary == 0)) | (inside & (primary == 1))
    return found | {f"{TENANT}={name}": tenants == name for name in np.unique(tenants)}


def part(units: Units, available: Mapping[str, Mask], name: str) -> Units:
    """The units of one of ``masks``.

    Derived slices divide by the primary label, so they are judged by that label alone.
    """
    units = units.take(available[name])
    return units.first() if name.startswith((BPSN, BNSP)) else units


def rarer_class(labels: Vector) -> int:
    """Rows of the rarer class."""
    positives = int(labels.sum())
    return min(positives, len(labels) - positives)


def enough_rows(labels: Vector) -> bool:
    """Whether both classes have at least ``MIN_CLASS_ROWS`` rows."""
    return rarer_class(labels) >= MIN_CLASS_ROWS


def replicate(
    names: Sequence[str], units: Units, slice_name: str, size: int, seed: int
) -> Replicates:
    """Both models on the same resamples of one slice.

    The seed is mixed with the slice's name, so one more slice leaves the others as they were.
    """
    resamples = bootstrap.counts(len(units), size, [seed, zlib.crc32(slice_name.encode())])
    old = units.replicates(names, resamples, champion=True) if units.paired else {}
    return Replicates(units.replicates(names, resamples), old)


def misses(name: str, value: float, floor: float) -> bool:
    """Whether a value is on the wrong side of its floor (a ceiling when lower is better)."""
    return not (value >= floor if metrics.METRICS[name].higher_is_better else value <= floor)
