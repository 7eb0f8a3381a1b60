"""What was examined beside the metrics (attacks, fairness, cost, ...) as rows of tables.

A measure's key is ``<examination>.<name>``; any may be a guardrail, so the key is shown.
"""

from __future__ import annotations

from collections.abc import Sequence

from models.contracts.results import Estimate, Measure, Scorecard
from stores.reports import words
from stores.reports.tables import Row, model_names

#: Above this a value has one digit behind the point, not three.
LARGE = 100.0


def measures_table(cards: Sequence[Scorecard], examination: str | None = None) -> list[Row]:
    """One row per measure with its direction, one column per model that has any of them.

    Args:
        cards: The judged models.
        examination: Only this one's measures; None for all.
    """
    names = model_names(cards)
    wanted = {
        key: measure
        for key, measure in _measures(cards).items()
        if examination in (None, examination_of(key))
    }
    examined = [card for card in cards if wanted.keys() & card.measures.keys()]
    return [
        {
            "Measure": words.sentence(measure.title),
            "Best": "high" if measure.higher_is_better else "low",
            "Guardrail metric": key,
            **{names[card.candidate_id]: _value(card.measures.get(key)) for card in examined},
        }
        for key, measure in wanted.items()
    ]


def examinations(cards: Sequence[Scorecard]) -> list[str]:
    """Names of the examinations, in the order they were made."""
    return list(dict.fromkeys(examination_of(key) for key in _measures(cards)))


def examination_of(key: str) -> str:
    """``attack.typo`` -> ``attack``."""
    return key.partition(".")[0]


def _measures(cards: Sequence[Scorecard]) -> dict[str, Measure]:
    return {key: measure for card in cards for key, measure in card.measures.items()}


def _value(measure: Measure | None) -> str:
    """With its interval where it has one."""
    if measure is None:
        return words.MISSING
    digits = 1 if abs(measure.value) >= LARGE else 3
    if measure.low == measure.high == measure.value:
        return words.number(measure.value, digits)
    found = Estimate(value=measure.value, low=measure.low, high=measure.high)
    return words.interval(found, digits)
