"""Many models side by side as rows of tables: any two, average ranks, label by label.

What is measured is measured by ``assets.stages.comparisons``; the diagram is in ``ranks_plot``.
"""

from __future__ import annotations

from collections.abc import Sequence

from stores.reports import LabelRow, Pair, Ranks, words
from stores.reports.tables import Row


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
