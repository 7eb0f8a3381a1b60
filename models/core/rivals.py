"""Two trials of a product fitted on five halvings of the same rows, and what the tests say of them.

Belongs here: which rows are fitted on and judged, the ten differences, the verdict in words. Does
not belong here: the tests (``halvings``), what rows and a metric are (``models.kinds``).

The tests are about two ways to learn from such rows, not about two fitted models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from models.contracts.learner import FitContext, Learner, Matrix
from models.contracts.product import Trial
from models.contracts.results import TestResult
from models.core.metrics import error

HALVINGS = 5
Chosen = NDArray[np.int64]


class RivalsError(Exception):
    """Two models that cannot be compared as asked; the message says what can be."""


class Halves(NamedTuple):
    """n training rows that can be halved, as a kind of product knows them.

    Attributes:
        strata: Shape (n,), the class of each row; both halves hold the same share of each.
        groups: Shape (n,); rows of one group stay in one half. None: each row by itself.
        rows: Some of the rows as a learner takes them.
        answers: What a fitted model says of some of the rows, shape (m, L); NaN in a column that
            it does not answer.
        value: A metric of such answers to some of the rows.
    """

    strata: NDArray[Any]
    groups: NDArray[Any] | None
    rows: Callable[[Chosen], Any]
    answers: Callable[[Any, Chosen], Matrix]
    value: Callable[[str, Chosen, Matrix], float]


class Rivals(NamedTuple):
    """The two trials, how they are fitted, and by what metric they are judged."""

    a: str
    b: str
    trials: Mapping[str, Trial]
    learner: Learner[Any, Any]
    metric: str


Halving = tuple[tuple[Chosen, Chosen], ...]


def halve(halves: Halves, seed: int = 0) -> tuple[Halving, ...]:
    """Five times two pairs (rows to fit on, rows to judge).

    Raises:
        ValueError: A class has fewer than two rows or groups, or groups are too uneven.
    """
    from models.core.trainer.folds import divide

    return tuple(
        tuple(divide(halves.strata, 2, seed + number, halves.groups)) for number in range(HALVINGS)
    )


def play(
    rivals: Rivals, halves: Halves, parts: tuple[Halving, ...], say: Callable[[str], object]
) -> Matrix:
    """Fit both trials ten times and judge each fit on the half it did not see.

    What a trial is made of (``Trial.after``) is fitted on the same half first. Both are compared on
    the columns that both answer.

    Args:
        rivals: The two trials.
        halves: The rows.
        parts: From ``halve``.
        say: Told a line after every fit that is judged.

    Returns:
        Error of ``b`` less error of ``a``, shape (5, 2): positive where ``a`` is better.
    """
    names, found = (rivals.a, rivals.b), np.empty((HALVINGS, 2))
    for i, halving in enumerate(parts):
        for j, (fit, judge) in enumerate(halving):
            made: dict[str, Any] = {}
            said = []
            for name in names:
                model = _fitted(rivals, name, halves.rows(fit), made, say)
                said.append(halves.answers(model, judge))
                number = 4 * i + 2 * j + len(said)
                say(f"fit {number}/{4 * HALVINGS}: {name}, half {j + 1} of halving {i + 1}")
            unsaid = np.isnan(said).all(axis=1).any(axis=0)
            values = [
                halves.value(rivals.metric, judge, np.where(unsaid, np.nan, one)) for one in said
            ]
            say("  " + ", ".join(f"{n} {v:.4f}" for n, v in zip(names, values, strict=True)))
            found[i, j] = error(rivals.metric, values[1]) - error(rivals.metric, values[0])
    return found


def _fitted(
    rivals: Rivals, name: str, rows: Any, made: dict[str, Any], say: Callable[[str], object]
) -> Any:
    """The trial fitted on some rows, after those it is made of; ``made`` remembers them."""
    if name not in made:
        trial = rivals.trials[name]
        bases = {base: _fitted(rivals, base, rows, made, say) for base in trial.after}
        context = FitContext(bases=bases, say=lambda line: say(f"  {name}: {line}"))
        made[name] = rivals.learner.fit(trial, rows, context)
    return made[name]


def verdict(rivals: Rivals, t: TestResult, f: TestResult, alpha: float) -> str:
    """What the two tests mean, for a person. F decides: it uses all ten differences.

    Args:
        rivals: The two trials.
        t: From ``five_by_two_t``.
        f: From ``combined_f``.
        alpha: Level.
    """
    a, b = (rivals.a, rivals.b) if f.effect >= 0 else (rivals.b, rivals.a)
    said = f"error ({rivals.metric}) is {abs(f.effect):.4f} lower on average over ten fits"
    if f.p_value >= alpha:
        return (
            f"not shown to differ at {alpha:g}: {a}'s {said}, which chance explains "
            f"(F: p = {f.p_value:.3g}). That is no proof that {a} and {b} learn alike: small "
            "differences need more rows."
        )
    said = f"{a} learns better than {b}: its {said} (F: p = {f.p_value:.3g})"
    alone = cast("float", t.detail["p_two_sided"])
    doubt = f"; t, of the first difference alone, does not see it (p = {alone:.3g})"
    return f"{said}{doubt}." if alone >= alpha else f"{said}."
