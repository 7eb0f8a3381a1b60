"""Many models side by side: any two, average ranks, label by label. Types and rows of tables.

What is measured is measured by ``assets.stages.comparisons``; the diagram is in ``ranks_plot``.
"""

from __future__ import annotations

from collections.abc import Sequence

from models.contracts.base import Frozen
from models.contracts.results import Estimate
from stores.reports import words
from stores.reports.tables import Row


class Pair(Frozen):
    """Two models on the same units.

    Attributes:
        better: Name of the model with the smaller error.
        other: Name of the other.
        effect: Relative reduction of the other's error.
        p: Test to its two-sided p-value after Holm's correction over all pairs.
    """

    better: str
    other: str
    effect: Estimate
    p: dict[str, float]


class Ranks(Frozen):
    """Friedman's test over data sets with Nemenyi's critical difference (Demsar 2006).

    Attributes:
        over: What the data sets are: ``tenants``, ``folds`` or ``slices``.
        sets: How many.
        models: Names.
        ranks: Average rank of each; 1 is best.
        critical_difference: Ranks further apart than this differ.
        p: Of Friedman's test, in Iman and Davenport's form.
        cliques: Groups of models, by number, that do not differ.
    """

    over: str
    sets: int
    models: tuple[str, ...]
    ranks: tuple[float, ...]
    critical_difference: float
    p: float
    cliques: tuple[tuple[int, ...], ...]


class LabelRow(Frozen):
    """One model on one label; a metric that is not defined is NaN.

    Attributes:
        known: Units of which the label is known.
        threshold: Where F1 is taken.
    """

    label: str
    model: str
    known: int
    positives: int
    roc_auc: float
    average_precision: float
    f1: float
    threshold: float


def pairs_table(pairs: Sequence[Pair]) -> list[Row]:
    """One row per two models, the better one first."""
    tests = dict.fromkeys(name for pair in pairs for name in pair.p)
    return [
        {
            "Better": pair.better,
            "Than": pair.other,
            "Error removed": words.percent_interval(pair.effect),
            **{f"p, {words.test(name)} (Holm)": words.p_value(pair.p.get(name)) for name in tests},
        }
        for pair in pairs
    ]


def ranks_table(found: Ranks | None) -> list[Row]:
    """One row per model, the best average rank first."""
    if found is None:
        return []
    return [
        {
            "Model": name,
            "Average rank": words.number(rank, 2),
            f"{found.over.capitalize()}": found.sets,
            "Critical difference": words.number(found.critical_difference, 2),
            "p (Friedman)": words.p_value(found.p),
        }
        for rank, name in sorted(zip(found.ranks, found.models, strict=True))
    ]


def labels_table(rows: Sequence[LabelRow]) -> list[Row]:
    """One row per label and model."""
    return [
        {
            "Label": row.label,
            "Model": row.model,
            "Known": row.known,
            "Positives": row.positives,
            "ROC-AUC": words.number(row.roc_auc),
            "Average precision": words.number(row.average_precision),
            "F1": words.number(row.f1),
            "Threshold": words.number(row.threshold),
        }
        for row in rows
    ]
