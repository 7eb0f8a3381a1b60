"""Judged units beside rows with one label: texts with several labels, users with a ranking.

Belongs here: what a metric of such units is, and its resamples. Does not belong here: the interface
and rows with one label (``slices``), the metrics of one user (``ranking.metrics``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from models.contracts.learner import Matrix, Vector
from models.contracts.results import Estimate, TestResult
from models.core import bootstrap, metrics
from models.core.counted import Counts
from models.core.slices import Mask, Scores, known, rarer_class

#: A label with fewer texts of its rarer class has no say beside labels that have more.
MIN_LABEL_ROWS = 10


@dataclass(frozen=True, eq=False)
class LabelScores:
    """Texts with L labels each, scored by one or two models.

    A metric is its mean over the labels in use: those answered and with ``MIN_LABEL_ROWS`` known
    cells of either class (in a part where no label has as many, those with one of either: a rarer
    label would come and go between resamples). Two models are compared on the labels that the
    champion answers; a challenger that leaves one of them out has no value (NaN), which misses
    every floor. A resample that loses a label's class leaves that label out, for both alike.

    Attributes:
        labels: Shape (n, L) of 0.0 or 1.0; NaN where nobody said.
        challenger: Its scores, shape (n, L); a column of NaN for a label it cannot answer.
        champion: Its scores, shape (n, L); None when there is none.
        thresholds: Decision thresholds of challenger and champion, L each.
        names: The L label names; the first is the primary one.
    """

    labels: Matrix
    challenger: Matrix
    champion: Matrix | None
    thresholds: tuple[Vector, Vector]
    names: tuple[str, ...]

    counted: ClassVar[str] = "texts of a class of any label"

    @property
    def paired(self) -> bool:
        """Whether a champion answered too."""
        return self.champion is not None

    @property
    def scarcest(self) -> int:
        """Texts of the rarer class of the label in use that has most of them."""
        return max((self._binary(j).scarcest for j in self._used), default=0)

    @property
    def primary(self) -> Vector | None:
        """The first label, NaN where nobody said."""
        column: Vector = self.labels[:, 0]
        return column

    def __len__(self) -> int:
        return len(self.labels)

    def check(self) -> None:
        """Refuse cells that cannot be judged.

        Raises:
            ValueError: Shapes differ, labels other than 0, 1 and NaN, a label answered in part.
        """
        shape, width = self.labels.shape, len(self.names)
        answers = [each for each in (self.challenger, self.champion) if each is not None]
        wrong = [each.shape for each in answers if each.shape != shape]
        if len(shape) != 2 or shape[1] != width or wrong or not len(self):
            raise ValueError(
                f"labels {shape}, scores {[each.shape for each in answers]} and {width} label "
                "names must agree and not be empty; score every judged text once"
            )
        if {len(at) for at in self.thresholds} != {width}:
            raise ValueError(f"give both models a threshold for each of {list(self.names)}")
        for j in range(width):
            of_label = self._binary(j)
            for scores in (of_label.challenger, of_label.champion):
                if scores is not None and len(scores) and not np.isnan(scores).all():
                    metrics.check(of_label.labels, scores)

    def take(self, mask: Mask) -> LabelScores:
        """The texts under a mask."""
        champion = None if self.champion is None else self.champion[mask]
        given = self.labels[mask], self.challenger[mask], champion
        return LabelScores(*given, self.thresholds, self.names)

    def first(self) -> LabelScores:
        """The same texts, judged by the first label alone."""
        champion = None if self.champion is None else self.champion[:, :1]
        given = self.labels[:, :1], self.challenger[:, :1], champion
        at = self.thresholds[0][:1], self.thresholds[1][:1]
        return LabelScores(*given, at, self.names[:1])

    def value(self, metric: str, *, champion: bool = False) -> float:
        """One of ``metrics.BINARY``, averaged over the labels in use; NaN without one."""
        values = [
            self._binary(j).value(metric, champion=champion)
            if self._answers(j, champion=champion)
            else np.nan
            for j in self._used
        ]
        return float(np.mean(values)) if values else np.nan

    def replicates(
        self, names: Iterable[str], counts: Counts, *, champion: bool = False
    ) -> dict[str, Vector]:
        """Metrics of resampled texts; a text brings all its labels."""
        names, size = tuple(names), len(counts)
        sums = {name: np.zeros(size) for name in names}
        labels_there = np.zeros(size)
        for j in self._used:
            of_label, drawn = self._binary(j), counts[:, self._cells(j)]
            totals, positives = drawn.sum(axis=1), drawn @ of_label.labels
            there = (positives > 0) & (positives < totals)
            labels_there += there
            found = {name: np.full(size, np.nan) for name in names}
            if self._answers(j, champion=champion):
                found = of_label.replicates(names, drawn, champion=champion)
            for name in names:
                sums[name] += np.where(there, found[name], 0.0)
        with np.errstate(invalid="ignore"):
            return {name: sums[name] / labels_there for name in names}

    def interval(self, metric: str, alpha: float, *, champion: bool = False) -> Estimate | None:
        """None but the bootstrap's: the labels of one text are not independent."""
        del metric, alpha, champion
        return None

    def tests(self, alpha: float) -> tuple[TestResult, ...]:
        """None but the paired bootstrap, for the same reason."""
        del alpha
        return ()

    @cached_property
    def _used(self) -> tuple[int, ...]:
        rarer = [rarer_class(self._binary(j).labels) for j in range(len(self.names))]
        answered = [j for j, _ in enumerate(rarer) if self._answers(j, champion=self.paired)]
        often = tuple(j for j in answered if rarer[j] >= MIN_LABEL_ROWS)
        return often or tuple(j for j in answered if rarer[j] > 0)

    def _cells(self, j: int) -> Mask:
        return ~np.isnan(self.labels[:, j])

    def _answers(self, j: int, *, champion: bool) -> bool:
        scores = known(self.champion) if champion else self.challenger
        return not np.isnan(scores[self._cells(j), j]).all()

    def _binary(self, j: int) -> Scores:
        """One label, on the texts where it is known."""
        cells = self._cells(j)
        champion = None if self.champion is None else self.champion[cells, j]
        at = float(self.thresholds[0][j]), float(self.thresholds[1][j])
        return Scores(self.labels[cells, j], self.challenger[cells, j], champion, at)


@dataclass(frozen=True, eq=False)
class ListScores:
    """Users with a ranking each: a metric is the mean of the users' values.

    Attributes:
        challenger: Metric to shape (n,), one value per user.
        champion: The same of the champion; None when there is none.
    """

    challenger: Mapping[str, Vector]
    champion: Mapping[str, Vector] | None = None

    counted: ClassVar[str] = "users"

    @property
    def paired(self) -> bool:
        """Whether a champion answered too."""
        return self.champion is not None

    @property
    def scarcest(self) -> int:
        """The users."""
        return len(self)

    @property
    def primary(self) -> Vector | None:
        """Users have no label."""
        return None

    def __len__(self) -> int:
        return len(next(iter(self.challenger.values()), ()))

    def check(self) -> None:
        """Refuse values that cannot be judged.

        Raises:
            ValueError: No users, a metric that is not per user, lengths that differ, values that
                are not finite.
        """
        for values in (self.challenger, self.champion):
            if values is None:
                continue
            if unknown := set(values) - set(metrics.PER_USER):
                raise ValueError(
                    f"unknown metrics {sorted(unknown)} per user; there are {metrics.PER_USER}"
                )
            lengths = {name: len(column) for name, column in values.items()}
            if not len(self) or set(lengths.values()) != {len(self)}:
                raise ValueError(
                    f"users per metric {lengths} must be equally many and not none; judge every "
                    "user by both models and every metric"
                )
            if bad := [name for name, column in values.items() if not np.isfinite(column).all()]:
                raise ValueError(f"{bad} are NaN or infinite for some users; mend the ranking")

    def take(self, mask: Mask) -> ListScores:
        """The users under a mask."""
        new = {name: values[mask] for name, values in self.challenger.items()}
        if self.champion is None:
            return ListScores(new)
        return ListScores(new, {name: values[mask] for name, values in self.champion.items()})

    def first(self) -> ListScores:
        """Themselves: they have no labels to choose from."""
        return self

    def value(self, metric: str, *, champion: bool = False) -> float:
        """The mean of one of ``metrics.PER_USER``; NaN without users."""
        values = self._of(metric, champion=champion)
        return float(values.mean()) if len(values) else np.nan

    def replicates(
        self, names: Iterable[str], counts: Counts, *, champion: bool = False
    ) -> dict[str, Vector]:
        """Means over resampled users."""
        columns = {name: self._of(name, champion=champion) for name in names}
        return bootstrap.means(columns, counts)

    def interval(self, metric: str, alpha: float, *, champion: bool = False) -> Estimate | None:
        """None but the bootstrap's."""
        del metric, alpha, champion
        return None

    def tests(self, alpha: float) -> tuple[TestResult, ...]:
        """None but the paired bootstrap."""
        del alpha
        return ()

    def _of(self, metric: str, *, champion: bool) -> Vector:
        values = known(self.champion) if champion else self.challenger
        if metric not in values:
            raise ValueError(f"users were not judged by {metric!r}; there are {sorted(values)}")
        return values[metric]
