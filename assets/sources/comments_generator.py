"""Seeded labelled comments with a known law: the origin when there is no mirror.

A remark of a drawn kind (``assets.sources.comments_world``) gets its labels from the law of its
kind, so the best possible score is known. In ``CONFUSED`` of the texts the annotators misread the
remark and label it as another one: nothing a model does can mend those. Not everybody answers
every question, so labels are missing; some texts have a mood only, and no label that decides.

Labels become known hours to two days later; some first versions are wrong and are corrected days
later by a new version of the row. Nothing here reads a file, and no figure is real.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from assets.sources.comments import START_US, assemble, written
from assets.sources.comments_world import ACTS, ELSE, WORDS, disguise, harmful_in
from models.core.text.taxonomy import DECIDING, LABELS, identities_in

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Rng = np.random.Generator
Columns = dict[str, list[Any]]

ROWS = 1_200
#: One text for so many events asked for: a network takes as long for it as trees for a thousand.
EVENTS_PER_TEXT = 10
HOUR_S = 3600
COMMUNITIES = ("forum.example", "chat.example", "reviews.example")
#: Share of texts whose annotators misread them; of texts that are corrected later; of texts whose
#: offensive words are disguised, that shout, that answer another text, without a deciding label.
CONFUSED, CORRECTED, DISGUISED, SHOUTED, ANSWERING, MOOD_ONLY = 0.12, 0.02, 0.1, 0.04, 0.3, 0.05
#: A label that is not among the first six is known for this share of the texts.
ANSWERED = 0.8


class Simulation(NamedTuple):
    """A generated table and the truth behind it.

    Attributes:
        table: Every version, in the order they became known.
        event_ids: One per text.
        acts: The kind of each.
        probability: Shape (n, L), the law's probability of every label of each.
    """

    table: pa.Table
    event_ids: list[str]
    acts: list[str]
    probability: Floats


class _Versions(NamedTuple):
    """Number of the text, time and labels of every version, in the order they became known."""

    text: Ints
    known_us: Ints
    labels: NDArray[np.bool_]


def generate(seed: int = 0, rows: int = ROWS) -> pa.Table:
    """Raw comments with the schema of ``assets.sources.comments``, in the order they became known.

    Args:
        seed: Same seed, same table.
        rows: Texts, about one per hour; corrections add about 2 % further rows.
    """
    return simulate(seed, rows).table


def sized(seed: int, events: int) -> pa.Table:
    """``generate`` for a world of so many events (``Origin.rows``), of which texts are a part."""
    return generate(seed, max(1, events // EVENTS_PER_TEXT))


def simulate(seed: int = 0, rows: int = ROWS) -> Simulation:
    """``generate`` with the truth beside it.

    Raises:
        ValueError: ``rows`` is not positive.
    """
    if rows < 1:
        raise ValueError(f"rows must be at least 1, got {rows}")
    rng = np.random.default_rng(seed)
    law, kinds = _law(), list(ACTS)
    shares = np.array([act.share for act in ACTS.values()])
    shares /= shares.sum()
    drawn = rng.choice(len(kinds), rows, p=shares)
    misread = rng.random(rows) < CONFUSED
    seen = np.where(misread, rng.choice(len(kinds), rows, p=shares), drawn)
    truth = rng.random((rows, len(LABELS))) < law[seen]
    acts = [kinds[act] for act in drawn]
    ids = [f"generator-{seed}@{number:08d}" for number in range(rows)]
    events = _events(rng, ids, acts)
    times = np.array(events["event_time"], np.int64)
    columns = _told(events, _versions(rng, times, truth), _answered(rng, rows))
    probability = CONFUSED * shares @ law + (1 - CONFUSED) * law[drawn]
    return Simulation(assemble(columns), ids, acts, probability)


def _events(rng: Rng, ids: list[str], acts: list[str]) -> Columns:
    """What is written, where and when: a column per name, a value per text."""
    rows = len(ids)
    texts = [_write(rng, act) for act in acts]
    seconds = np.sort(rng.integers(0, max(rows, 24) * HOUR_S, rows))
    return {
        "event_id": ids,
        "tenant": [COMMUNITIES[i] for i in rng.choice(len(COMMUNITIES), rows, p=(0.5, 0.3, 0.2))],
        "event_time": (START_US + seconds * 1_000_000).tolist(),
        "text": texts,
        "context": _contexts(rng, rows),
        "source": ["generator"] * rows,
        "language": ["en"] * rows,
        "identities": [identities_in(text) for text in texts],
        "counter_speech": [ACTS[act].counter for act in acts],
    }


def _told(events: Columns, versions: _Versions, answered: NDArray[np.bool_]) -> Columns:
    """Columns of every version: the text's, when it became known, the labels answered, and why.

    Who finds a text harmful marks its harmful words.
    """
    at = versions.text.tolist()
    told: Columns = {name: [values[i] for i in at] for name, values in events.items()}
    told["known_at"] = versions.known_us.tolist()
    for j, label in enumerate(LABELS):
        cells = zip(versions.labels[:, j].tolist(), answered[at, j].tolist(), strict=True)
        told[label] = [value if known else None for value, known in cells]
    found = zip(*(told[label] for label in DECIDING), strict=True)
    told["rationale"] = [
        written(harmful_in(text)) if any(said) else None
        for text, said in zip(told["text"], found, strict=True)
    ]
    return told


def _law() -> Floats:
    """Probability of every label given the kind as read, shape (kinds, L)."""
    return np.array([[act.law.get(label, ELSE) for label in LABELS] for act in ACTS.values()])


def _write(rng: Rng, kind: str) -> str:
    sentences = ACTS[kind].sentences
    words = {key: values[rng.integers(len(values))] for key, values in WORDS.items()}
    body = sentences[rng.integers(len(sentences))].format(**words)
    text = f"{words['open']}{body}{words['close']}"
    text = text[0].upper() + text[1:]
    changed, shouted = rng.random(2)
    if changed < DISGUISED:
        text = disguise(text)
    return text.upper() if shouted < SHOUTED else text


def _contexts(rng: Rng, rows: int) -> list[str | None]:
    """What a text answers: small talk, which says nothing of its labels; None for the others."""
    answers = rng.random(rows) < ANSWERING
    return [_write(rng, "small talk") if answer else None for answer in answers]


def _answered(rng: Rng, rows: int) -> NDArray[np.bool_]:
    """Which labels somebody gave, shape (n, L)."""
    known = rng.random((rows, len(LABELS))) < ANSWERED
    known[:, :6] = True
    mood_only = rng.random(rows) < MOOD_ONLY
    deciding = np.array([label in DECIDING for label in LABELS])
    known[np.ix_(mood_only, deciding)] = False
    return known


def _versions(rng: Rng, times: Ints, truth: NDArray[np.bool_]) -> _Versions:
    """Text, time and labels of every version, in the order they became known.

    A first version that is wrong has the labels of another text of the sample.
    """
    rows = len(times)
    delay_s = np.clip(rng.lognormal(np.log(4 * HOUR_S), 1.0, rows), 60, 48 * HOUR_S)
    known = times + delay_s.astype(np.int64) * 1_000_000
    wrong = np.flatnonzero(rng.random(rows) < CORRECTED)
    later_s = np.clip(rng.lognormal(np.log(96 * HOUR_S), 0.8, len(wrong)), HOUR_S, 720 * HOUR_S)
    first = truth.copy()
    first[wrong] = truth[rng.permutation(rows)[: len(wrong)]]
    text = np.r_[np.arange(rows), wrong]
    known_us = np.r_[known, known[wrong] + later_s.astype(np.int64) * 1_000_000]
    labels = np.r_[first, truth[wrong]]
    order = np.argsort(known_us, kind="stable")
    return _Versions(text[order], known_us[order], labels[order])
