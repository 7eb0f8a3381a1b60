"""What stands on the report page and in which order: sections of tables and plots. Pure.

No HTML here (that is ``page.html``) and no file (that is ``page``). A part that was not measured
gives no section.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from models.contracts.results import Candidate
from stores.reports import (
    Curves,
    ReportData,
    forest,
    plots,
    sections_compared,
    tables,
    training_plot,
    words,
)
from stores.reports.parts import Plot, Section, Table, narrow
from stores.reports.tables import Row

BORKAN = (
    ". BPSN: the others' positives and the group's negatives, low where harmless mentions of the "
    "group are scored high; BNSP: the reverse (Borkan et al. 2019)"
)
RAILS = "Guardrails: what must not get worse; a small p says that it did"
FORMS = "Other forms of the challenger; what serves when it is released"
MARGIN = "What the forms lose; a small p says that the error grew by less than the margin"


def build(it: ReportData, dpi: int) -> list[Section]:
    """Every section there is something to show for, in reading order."""
    parts = [
        _decision(it, dpi),
        sections_compared.models(it, dpi),
        _ranking(it, dpi),
        _calibration(it, dpi),
        _threshold(it, dpi),
        _slices(it, dpi),
        sections_compared.examined(it),
        _learned(it, dpi),
        _data(it),
        _reproduce(it),
    ]
    return [part for part in parts if part.plots or any(table.rows for table in part.tables)]


def _decision(it: ReportData, dpi: int) -> Section:
    if it.decision is None:
        return Section("decision", "Decision")
    found = it.decision.effect
    if found is None:
        value = words.interval(it.decision.challenger_value)
        alt = f"{words.metric(it.decision.metric)} of the first champion: {value}, with the floor."
        reading = "The interval must clear the floor; there is no champion to compare with."
    else:
        alt = f"Error removed against the champion: {words.percent_interval(found)}."
        reading = (
            "The gate wants the whole interval right of the solid line (no difference) and "
            "reaching the dashed one (the smallest gain worth a release)."
        )
    plot = Plot(forest.effect(it.decision, dpi), alt, reading)
    judged = Table("Statistical tests behind the decision", tables.tests_table(it.decision))
    rails = Table(RAILS, tables.guardrails_table(it.decision))
    forms = Table(f"{FORMS}: {words.serves(it.decision)}", tables.forms_table(it.decision))
    within = Table(MARGIN, tables.forms_tests_table(it.decision))
    return Section("decision", "Decision", (plot,), (judged, rails, forms, within))


def _ranking(it: ReportData, dpi: int) -> Section:
    if not it.curves:
        return Section("ranking", "Ranking")
    names = ", ".join(f"{curve.name} ({curve.role})" for curve in it.curves)
    shown = (
        Plot(
            plots.roc(it.curves, dpi),
            f"ROC curves of {names}.",
            f"Of {it.positive}: the nearer a curve runs to the upper left corner, the better the "
            "model ranks; each mark is the model's decision threshold.",
        ),
        Plot(
            plots.precision_recall(it.curves, dpi),
            f"Precision-recall curves of {names}.",
            f"Of {it.positive}: precision is the share of alarms that are right, recall the share "
            "of cases that are found; guessing stays on the base rate.",
        ),
    )
    return Section("ranking", "Ranking", shown)


def _calibration(it: ReportData, dpi: int) -> Section:
    curves = _main_curves(it.probabilities)
    if not curves:
        return Section("calibration", "Calibration")
    names = " and ".join(f"{curve.name} ({curve.role})" for curve in curves)
    reading = (
        f"Probability of {it.positive}. Each mark holds about a tenth of what was judged: on the "
        "diagonal, of those given 30\u00a0% about 30\u00a0% turn out so; below it scores are too "
        "high. Bars: 95\u00a0% Wilson intervals."
    )
    plot = Plot(plots.calibration(curves, dpi=dpi), f"Reliability diagram of {names}.", reading)
    return Section("calibration", "Calibration", (plot,))


def _threshold(it: ReportData, dpi: int) -> Section:
    shown = []
    manifest = _manifest(it, it.challenger)
    if it.confusion is not None and manifest is not None:
        tn, fp, fn, tp = it.confusion
        alt = (
            f"Confusion matrix: {tn:,} true negatives, {fp:,} false positives, {fn:,} false "
            f"negatives, {tp:,} true positives."
        )
        reading = (
            "Each row is one true class; the diagonal is right. The upper right are false alarms, "
            "the lower left are misses."
        )
        png = plots.confusion(it.confusion, manifest.threshold, it.positive, dpi)
        shown.append(Plot(png, alt, reading))
    caption = "Classification report of the challenger at its threshold, per class"
    report = Table(caption, tables.classes_table(it.classes))
    return Section("threshold", "Decisions at the threshold", shown, (report,))


def _slices(it: ReportData, dpi: int) -> Section:
    challenger = it.scorecard(it.challenger)
    champion = it.scorecard(it.champion) if it.champion else None
    name, shown = words.metric(it.metric), []
    if forest.measured(challenger, it.metric):
        alt = f"{name} per slice and tenant with intervals; the table below holds the same values."
        reading = (
            f"{name}: {words.direction(it.metric)}. A slice whose interval lies on the bad side of "
            "the dotted line (the challenger overall) is served worse than the rest."
        )
        png = forest.slices(challenger, champion, it.metric, dpi)
        shown.append(Plot(png, alt, reading))
    rows = tables.slices_table(challenger, champion, it.metric)
    derived = any(words.slice_order(one) == words.LAST for one in challenger.metrics)
    compared = Table(f"{name} per slice{BORKAN if derived else ''}", rows)
    every = narrow(tables.metrics_table(challenger, it.metric), kept=2, most=6)
    caption = "Every metric of the challenger per slice"
    wide = [Table(f"{caption}, {i} of {len(every)}", part) for i, part in enumerate(every, 1)]
    return Section("slices", "Slices and tenants", shown, (compared, *wide))


def _learned(it: ReportData, dpi: int) -> Section:
    shown = []
    weights = it.scorecard(it.challenger).importance
    if weights:
        first = ", ".join(sorted(weights, key=lambda name: -weights[name])[:3])
        reading = "How much each input moves the challenger's score; weight is no proof of cause."
        png = plots.importance(weights, dpi=dpi)
        shown.append(Plot(png, f"Importance of the inputs; the heaviest are {first}.", reading))
    if it.learning:
        reading = (
            "A validation line that still rises says more rows would help; a wide gap to the "
            "training line says the model learns its rows by heart."
        )
        alt = f"Learning curves of {', '.join(curve.name for curve in it.learning)}."
        shown.append(Plot(plots.learning_curves(it.learning, dpi), alt, reading))
    if it.training:
        names = ", ".join(dict.fromkeys(curve.name for curve in it.training))
        reading = (
            "Dashed: training loss, left. Solid: validation, right, and the epoch whose weights "
            "were kept. Validation that falls while the loss still falls is overfitting."
        )
        plot = Plot(
            training_plot.training(it.training, dpi), f"Training curves of {names}.", reading
        )
        shown.append(plot)
    return Section("learned", "What the model learned", shown)


def _data(it: ReportData) -> Section:
    snapshot = it.snapshot
    facts: dict[str, str | int] = {
        "Known as of": f"{snapshot.as_of:%Y-%m-%d %H:%M}",
        "Holdout from": f"{snapshot.split_at:%Y-%m-%d %H:%M}",
        "Gap before the holdout": f"{snapshot.gap_hours:g} hours",
        "Rows": snapshot.rows,
        "Training rows": snapshot.train_rows,
        "Rows left out in the gap": snapshot.gap_rows,
        "Holdout rows": snapshot.holdout_rows,
        "Holdout rows that judge": snapshot.judged_rows,
        "Positives among all rows": snapshot.positives,
        "Inputs": len(snapshot.columns),
        "Tenants": ", ".join(snapshot.tenants),
        "Source": snapshot.source,
    }
    return Section("data", "Data", (), (Table("The frozen snapshot", _facts(facts)),))


def _reproduce(it: ReportData) -> Section:
    ids = {
        "Evaluation": it.evaluation_id,
        "Snapshot": it.snapshot.snapshot_id,
        "Content hash": it.snapshot.content_hash,
        "Learner": ", ".join(sorted({manifest.learner for manifest in it.candidates})),
        "Whole record": f"assay explain {it.snapshot.product}",
    }
    fitted: list[Row] = [
        {
            "Trial": manifest.trial,
            "Candidate": manifest.candidate_id,
            "Seed": str(manifest.seed),
            "Code": manifest.code_version,
            "Parameters": ", ".join(f"{name} {value}" for name, value in manifest.params.items()),
        }
        for manifest in it.candidates
    ]
    caption = "The same snapshot, code, seed and parameters give the same candidate"
    return Section(
        "reproduce", "How to reproduce", (), (Table("Ids", _facts(ids)), Table(caption, fitted))
    )


def _facts(facts: Mapping[str, str | int]) -> list[Row]:
    return [{"Fact": name, "Value": value} for name, value in facts.items()]


def _manifest(it: ReportData, candidate_id: str) -> Candidate | None:
    return next((one for one in it.candidates if one.candidate_id == candidate_id), None)


def _main_curves(curves: Sequence[Curves]) -> list[Curves]:
    """Challenger and champion, or the first two when the roles are not set."""
    return [curve for curve in curves if curve.role != "candidate"] or list(curves[:2])


def headline(it: ReportData) -> Iterator[tuple[str, str]]:
    """The few figures at the top of the page: name and value."""
    name = words.metric(it.metric)
    ours = it.scorecard(it.challenger).metrics["overall"].get(it.metric)
    yield f"{name}, challenger", words.interval(ours)
    if it.champion:
        theirs = it.scorecard(it.champion).metrics["overall"].get(it.metric)
        yield f"{name}, champion", words.interval(theirs)
    if it.decision is not None and it.decision.effect is not None:
        yield "Error removed", words.percent_interval(it.decision.effect)
    yield "Judged", f"{it.scorecard(it.challenger).rows['overall']:,}"
