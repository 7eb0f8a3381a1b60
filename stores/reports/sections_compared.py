"""Sections that set many models side by side: the models, any two, labels, examinations. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from stores.reports import ReportData, compared, ranks_plot, tables, words
from stores.reports.examinations import examinations, measures_table
from stores.reports.parts import Plot, Section, Table, narrow, transpose
from stores.reports.tables import Row

#: Models beside each other before a table goes on below.
ACROSS = 6
ANY_TWO = (
    "Any two models on the same holdout, the better one first; two-sided tests, Holm's correction "
    "over all pairs of a column. This informs: the gate alone decides"
)
LABELS = "Label by label, where both classes are known; F1 at the label's threshold"
SHARED = {
    "folds": " Folds share training rows, so differences look surer than they are.",
    "slices": " Slices share rows, so differences look surer than they are.",
}


def models(it: ReportData, dpi: int) -> Section:
    """Every model, its ranks over data sets, any two of them, and label by label."""
    rows = tables.candidates_table(
        it.scorecards, it.candidates, it.challenger, it.champion, it.metric
    )
    caption = (
        f"Every model on the same holdout; {it.level:.0%} intervals in brackets. CV: validation "
        "inside the training rows, mean ± standard deviation where there are several folds"
    )
    shown = []
    if it.ranks:
        best = it.ranks.models[it.ranks.ranks.index(min(it.ranks.ranks))]
        reading = (
            "Critical-difference diagram: 1 is best; models joined by a bar are not shown to "
            f"differ (Nemenyi's test; Friedman's p {words.p_value(it.ranks.p)})."
        )
        alt = f"Average ranks of {len(it.ranks.models)} models; {best} is best."
        png = ranks_plot.critical_difference(it.ranks, dpi)
        shown.append(Plot(png, alt, reading + SHARED.get(it.ranks.over, "")))
    parts = [
        *_across(caption, rows),
        Table("Average ranks", compared.ranks_table(it.ranks)),
        Table(ANY_TWO, compared.pairs_table(it.pairs)),
        Table(LABELS, compared.labels_table(it.labels)),
    ]
    return Section("models", "Models compared", shown, parts)


def examined(it: ReportData) -> Section:
    """Every measure of every judged model, an examination at a time."""
    parts: list[Table] = []
    for name in examinations(it.scorecards):
        rows = measures_table(it.scorecards, name)
        title = f"{name.replace('_', ' ').capitalize()}"
        wide = narrow(rows, kept=3, most=ACROSS)
        parts += [Table(_numbered(title, i, len(wide)), part) for i, part in enumerate(wide, 1)]
    return Section("examinations", "Examinations", (), parts)


def _across(caption: str, rows: Sequence[Row]) -> list[Table]:
    """Models as columns, a few at a time."""
    parts = [rows[i : i + ACROSS] for i in range(0, len(rows), ACROSS)]
    return [
        Table(_numbered(caption, i, len(parts)), transpose(part, "Model"))
        for i, part in enumerate(parts, 1)
    ]


def _numbered(caption: str, number: int, of: int) -> str:
    return caption if of == 1 else f"{caption}, {number} of {of}"
