"""Rows of the tables for Dagster's metadata, rich tables and the page; the decision as Markdown.

A row is a plain dict of strings and numbers, every row of a table with the same keys in the same
order, so it is a Dagster ``TableRecord`` as it stands. A value that is missing is ``n/a``.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import JsonValue

from models.contracts.results import Candidate, Estimate, GateDecision, Scorecard
from stores.reports import Role, markdown, words

if TYPE_CHECKING:
    from models.core.metrics import ClassRow

Row = dict[str, str | float | int]


def model_names(cards: Sequence[Scorecard]) -> dict[str, str]:
    """Candidate id to a name that is unique: the trial, with part of the id when it occurs twice.

    (A challenger and the serving champion are often fits of one trial.)
    """
    often = Counter(card.trial for card in cards)
    return {
        card.candidate_id: card.trial
        if often[card.trial] == 1
        else f"{card.trial} ({card.candidate_id[:6]})"
        for card in cards
    }


def role(candidate_id: str, challenger: str, champion: str | None) -> Role:
    """What a model is in this comparison, in one word."""
    if candidate_id == challenger:
        return "challenger"
    return "champion" if candidate_id == champion else "candidate"


def candidates_table(
    cards: Sequence[Scorecard],
    candidates: Iterable[Candidate],
    challenger: str,
    champion: str | None,
    metric: str,
) -> list[Row]:
    """One row per model: metrics with intervals, latency, size, validation, what it was made from.

    A column that no model has a value in is left out.

    Args:
        cards: Every model judged.
        candidates: Their manifests; where one is missing its columns are ``n/a``.
        challenger: ``candidate_id``.
        champion: ``candidate_id``, or None.
        metric: Primary metric: first column, and the one whose folds are averaged (± 1 SD).
    """
    manifests = {candidate.candidate_id: candidate for candidate in candidates}
    derived = any(manifest.after for manifest in manifests.values())
    names, columns = model_names(cards), _metrics(cards, metric)
    rows = []
    for card in cards:
        manifest = manifests.get(card.candidate_id)
        overall = card.metrics.get("overall", {})
        row: Row = {
            "Model": names[card.candidate_id],
            "Role": role(card.candidate_id, challenger, champion),
        }
        if derived:
            row["Made from"] = _origin(manifest)
        row |= {words.metric(name): words.interval(overall.get(name)) for name in columns}
        row |= {
            f"CV {words.metric(metric)}": _folds(manifest.cv.get(metric) if manifest else None),
            "Threshold": words.number(manifest.threshold if manifest else None),
            "Latency p50 (ms)": round(card.latency_p50_ms, 3),
            "Latency p95 (ms)": round(card.latency_p95_ms, 3),
            "Size": words.size(card.size_bytes),
            "Fit (s)": words.number(manifest.fit_seconds if manifest else None, 1),
            "Candidate": card.candidate_id,
        }
        rows.append(row)
    return _known_columns(rows)


def slices_table(challenger: Scorecard, champion: Scorecard | None, metric: str) -> list[Row]:
    """One row per slice: judged rows, positives, both models' metric and its difference."""
    rows: list[Row] = []
    for name in _slices(challenger):
        ours = challenger.metrics[name].get(metric)
        row: Row = {
            "Slice": words.slice_name(name),
            "Judged": challenger.rows.get(name, 0),
        }
        if any(challenger.positives.values()):  # users have no label
            row["Positives"] = challenger.positives.get(name, 0)
        row["Challenger"] = words.interval(ours)
        if champion is not None:
            theirs = champion.metrics.get(name, {}).get(metric)
            gap = ours.value - theirs.value if ours and theirs else None
            row |= {"Champion": words.interval(theirs), "Difference": words.signed(gap)}
        rows.append(row)
    return rows


def metrics_table(card: Scorecard, metric: str) -> list[Row]:
    """One row per slice of one model, every metric with its interval.

    Without derived slices: their share of positives is made, and most metrics depend on it.
    """
    columns, rows = _metrics([card], metric), []
    for name in _slices(card):
        if words.slice_order(name) == words.LAST:
            continue
        row: Row = {"Slice": words.slice_name(name), "Judged": card.rows.get(name, 0)}
        found = card.metrics[name]
        row |= {words.metric(key): words.interval(found.get(key)) for key in columns}
        rows.append(row)
    return rows


def guardrails_table(decision: GateDecision) -> list[Row]:
    """One row per guardrail with both values, the loss, the p-values and the outcome."""
    return [
        {
            "Metric": words.metric(item.metric),
            "Slice": words.slice_name(item.slice),
            "Challenger": words.number(item.challenger),
            "Champion": words.number(item.champion),
            "Error added": words.percent(item.relative_loss),
            "p of harm": words.p_value(item.p_value),
            "p (Holm)": words.p_value(item.adjusted_p),
            "Status": item.status.replace("_", " "),
            "Reason": item.reason,
        }
        for item in decision.guardrails
    ]


def tests_table(decision: GateDecision) -> list[Row]:
    """One row per statistical test of the decision, the deciding one first."""
    return [
        {
            "Test": words.test(item.name),
            "Effect is": str(item.detail.get("effect_is", words.MISSING)),
            "Effect": words.number(item.effect, 4),
            "Interval": f"[{words.number(item.low, 4)}, {words.number(item.high, 4)}]",
            "p": words.p_value(item.p_value),
            "Statistic": words.number(item.statistic),
            "Detail": _details(item.detail),
        }
        for item in decision.tests
    ]


def classes_table(classes: Iterable[ClassRow]) -> list[Row]:
    """A classification report, one row per class."""
    return [
        {
            "Class": item.name,
            "Precision": words.number(item.precision),
            "Recall": words.number(item.recall),
            "F1": words.number(item.f1),
            "Rows": item.support,
        }
        for item in classes
    ]


def forms_table(decision: GateDecision) -> list[Row]:
    """One row per other form of the challenger: may it serve in its place, and what it gains."""
    return [
        {
            "Form": form.trial,
            "May serve": "yes" if form.passed else "no",
            "Serves": "yes" if form.candidate == decision.serves else "no",
            "Speed-up": f"{form.speedup:.2f} x",
            "Size ratio": words.number(form.size_ratio, 2),
            "Reason": form.reason,
            "Candidate": form.candidate,
        }
        for form in decision.forms
    ]


def forms_tests_table(decision: GateDecision) -> list[Row]:
    """One row per test of a form: how much its error grew, and whether that is within bounds."""
    return [
        {
            "Form": form.trial,
            "Metric": words.metric(str(test.detail.get("metric", decision.metric))),
            "Slice": words.slice_name(str(test.detail.get("slice", words.MISSING))),
            "Error increase": words.percent_interval(
                Estimate(value=test.effect, low=test.low, high=test.high)
            ),
            "p (Holm)": words.p_value(test.p_value),
            "Units": str(test.detail.get("rows", words.MISSING)),
        }
        for form in decision.forms
        for test in form.tests
    ]


def decision_markdown(decision: GateDecision) -> str:
    """The decision for a person: the sentence, the figures behind it, tests and guardrails."""
    name = words.metric(decision.metric)
    needed = decision.required_rows
    facts = [
        (f"{name} of the challenger", words.interval(decision.challenger_value)),
        (f"{name} of the champion", words.interval(decision.champion_value)),
        ("Error removed", words.percent_interval(decision.effect)),
        ("Rows judged", f"{decision.rows:,}"),
        ("Rows needed", words.MISSING if needed is None else f"{needed:,}"),
        ("Challenger", decision.challenger),
        ("Champion", decision.champion or "none yet"),
        ("Serves when released", words.serves(decision)),
    ]
    parts = [
        f"**{markdown.escape(words.outcome(decision))}**: {markdown.escape(decision.reason)}",
        markdown.listing(facts),
        markdown.table(tests_table(decision)),
        markdown.table(guardrails_table(decision)),
        markdown.table(forms_table(decision)),
        markdown.table(forms_tests_table(decision)),
    ]
    return "\n\n".join(part for part in parts if part)


def _origin(manifest: Candidate | None) -> str:
    """The trials a model was made from; one of them in another form is said to be that."""
    if manifest is None:
        return words.MISSING
    names = ", ".join(manifest.after) or "the rows"
    return f"{names}, in another form" if manifest.form else names


def _known_columns(rows: list[Row]) -> list[Row]:
    """Without the columns in which every row lacks a value."""
    kept = [
        name for name in (rows[0] if rows else ()) if any(r[name] != words.MISSING for r in rows)
    ]
    return [{name: row[name] for name in kept} for row in rows]


def _metrics(cards: Sequence[Scorecard], first: str) -> list[str]:
    """Every metric that any model has, the primary one first, the others as they come."""
    found = dict.fromkeys([first])
    for card in cards:
        for metrics in card.metrics.values():
            found |= dict.fromkeys(metrics)
    return list(found)


def _slices(card: Scorecard) -> list[str]:
    """The slices that have rows: overall, named ones, tenants, derived ones, each by rows."""
    filled = [name for name in card.metrics if card.rows.get(name, 0)]
    return sorted(filled, key=lambda name: (words.slice_order(name), -card.rows.get(name, 0), name))


def _folds(values: Sequence[float] | None) -> str:
    """Mean ± sample standard deviation over the folds."""
    if not values:
        return words.MISSING
    mean = words.number(statistics.fmean(values))
    return f"{mean} ± {words.number(statistics.stdev(values))}" if len(values) > 1 else mean


def _details(detail: Mapping[str, JsonValue]) -> str:
    """The other figures of a test, ``name value`` each."""
    return ", ".join(
        f"{name.replace('_', ' ')} {value:.4g}"
        if isinstance(value, float)
        else f"{name.replace('_', ' ')} {value}"
        for name, value in detail.items()
        if name != "effect_is"
    )
