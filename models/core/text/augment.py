"""Augmentation: a training text said a little differently, with the same labels.

Belongs here: the edits, each a pure function of a text and a generator, and their mixture for the
trainer. Does not belong here: edits that mean to fool a model (``attacks``), words and synonyms
(``words``, ``thesaurus``).

The four edits are those of Wei and Zou 2019 (EDA: Easy Data Augmentation, arXiv 1901.11196).
Here links, mentions, hashtags, numbers and protected words stand fixed as well: what carries the
label must not be lost or moved.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial

import numpy as np

from models.contracts.learner import Matrix, Vector
from models.core.text import words
from models.core.text.thesaurus import NEUTRAL, Thesaurus

Augmentation = Callable[[str, np.random.Generator], str]

#: Share of the words an edit touches (EDA's alpha, and its probability of a deletion).
SHARE = 0.1
#: Negations turn a statement over, so no edit may lose or move one.
NEGATIONS = frozenset(
    {
        *("no", "not", "never", "none", "nor", "neither", "nobody", "nothing", "nowhere"),
        *("cannot", "can't", "don't", "doesn't", "didn't", "won't", "wouldn't", "shouldn't"),
        *("couldn't", "isn't", "aren't", "wasn't", "weren't", "ain't", "without"),
    }
)
#: z-value from which a word carries a label, and by how much it must turn the odds as well: among
#: many texts nearly every word is more frequent in one class.
CARRIES, TURNS = 3.0, 2.0


def synonyms(
    text: str,
    generator: np.random.Generator,
    *,
    share: float = SHARE,
    thesaurus: Thesaurus = NEUTRAL,
    protected: Collection[str] = NEGATIONS,
) -> str:
    """Replace ``share`` of the words (at least one that has a synonym) by a synonym.

    Number and order of the words, their case, punctuation and white space stay.
    """
    parts = words.pieces(text)
    known = [
        place
        for place in words.free(parts, protected)
        if words.core(parts[place]).word.lower() in thesaurus
    ]
    for place in _some(known, len(words.places(parts)), share, generator):
        parts[place] = _replaced(parts[place], thesaurus, generator)
    return "".join(parts)


def insertion(
    text: str,
    generator: np.random.Generator,
    *,
    share: float = SHARE,
    thesaurus: Thesaurus = NEUTRAL,
    protected: Collection[str] = NEGATIONS,
) -> str:
    """Insert synonyms of ``share`` of the words (at least one) at random places.

    Everything that was there stays, in order.
    """
    parts = words.pieces(text)
    found = [words.core(parts[place]).word.lower() for place in words.free(parts, protected)]
    known = [word for word in found if word in thesaurus]
    for index in _some(list(range(len(known))), len(words.places(parts)), share, generator):
        word = str(generator.choice(thesaurus[known[index]]))
        place = int(generator.choice(words.places(parts)))
        parts[place:place] = [word, " "]
    return "".join(parts)


def swap(
    text: str,
    generator: np.random.Generator,
    *,
    share: float = SHARE,
    protected: Collection[str] = NEGATIONS,
) -> str:
    """Let two words change places, for ``share`` of the words (at least one pair).

    The words are the same ones in another order; what is fixed keeps its place.
    """
    parts = words.pieces(text)
    movable = words.free(parts, protected)
    if len(movable) < 2:
        return text
    for _ in range(max(1, round(share * len(words.places(parts))))):
        a, b = generator.choice(movable, 2, replace=False)
        parts[a], parts[b] = parts[b], parts[a]
    return "".join(parts)


def deletion(
    text: str,
    generator: np.random.Generator,
    *,
    share: float = SHARE,
    protected: Collection[str] = NEGATIONS,
) -> str:
    """Delete each word with probability ``share``, with the white space before it; never all."""
    parts = words.pieces(text)
    free = words.free(parts, protected)
    gone = [place for place in free if generator.random() < share]
    if gone and len(gone) == len(words.places(parts)):
        gone.remove(int(generator.choice(gone)))
    lost = set(gone) | {place - 1 for place in gone if place and parts[place - 1].isspace()}
    kept = "".join(part for place, part in enumerate(parts) if place not in lost)
    return kept.lstrip() if gone and not text[:1].isspace() else kept


def back_translation(
    text: str,
    generator: np.random.Generator,
    *,
    there: Callable[[str], str] | None = None,
    back: Callable[[str], str] | None = None,
) -> str:
    """Translate to another language and back.

    Args:
        text: The text.
        generator: Used by the simulation.
        there: Your translator into the other language. Without one no language is involved: a few
            rules of paraphrase (``PARAPHRASES``: contractions, common phrases) stand in, each used
            with probability 1/2. That is far weaker than a translator and says so here.
        back: Your translator back.

    Raises:
        ValueError: Only one of the two translators is given.
    """
    if (there is None) != (back is None):
        raise ValueError("back translation needs both translators, there and back, or neither")
    if there is not None and back is not None:
        return back(there(text))
    for said, instead in PARAPHRASES:
        if generator.random() < 0.5:
            text = said.sub(partial(_cased, instead), text)
    return text


def _phrases(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[re.Pattern[str], str], ...]:
    boundary = r"(?<![\w@#/.'\-]){}(?![\w'@/]|\.\w)"
    return tuple(
        (re.compile(boundary.format(re.escape(said)), re.IGNORECASE), instead)
        for said, instead in pairs
    )


#: What is said, what a translation would give back. None changes a negation or an insult.
PARAPHRASES = _phrases(
    (
        ("don't", "do not"), ("doesn't", "does not"), ("didn't", "did not"), ("can't", "cannot"),
        ("won't", "will not"), ("isn't", "is not"), ("aren't", "are not"), ("wasn't", "was not"),
        ("I'm", "I am"), ("you're", "you are"), ("they're", "they are"), ("we're", "we are"),
        ("it's", "it is"), ("that's", "that is"), ("I've", "I have"), ("you've", "you have"),
        ("I'll", "I will"), ("you'll", "you will"), ("gonna", "going to"), ("wanna", "want to"),
        ("a lot of", "many"), ("in order to", "to"), ("as well", "too"), ("at the moment", "now"),
        ("right now", "now"), ("for example", "for instance"), ("each other", "one another"),
        ("has to", "must"), ("have to", "must"), ("such as", "like"), ("kind of", "somewhat"),
    )
)  # fmt: skip

EDITS = ("synonyms", "insertion", "swap", "deletion", "back_translation")


def augmentations(
    names: Sequence[str] = EDITS,
    *,
    thesaurus: Thesaurus = NEUTRAL,
    protected: Collection[str] = (),
    there: Callable[[str], str] | None = None,
    back: Callable[[str], str] | None = None,
) -> Augmentation:
    """The mixture a trainer asks for: each text gets one of the named edits, drawn evenly.

    Args:
        names: Of ``EDITS``.
        thesaurus: For ``synonyms`` and ``insertion``.
        protected: Lower-case words that carry a label (see ``label_words``); negations are added.
        there: For ``back_translation``.
        back: For ``back_translation``.

    Raises:
        ValueError: A name that is not there, or none.
    """
    fixed = NEGATIONS | frozenset(protected)
    made: dict[str, Augmentation] = {
        "synonyms": partial(synonyms, thesaurus=thesaurus, protected=fixed),
        "insertion": partial(insertion, thesaurus=thesaurus, protected=fixed),
        "swap": partial(swap, protected=fixed),
        "deletion": partial(deletion, protected=fixed),
        "back_translation": partial(back_translation, there=there, back=back),
    }
    if not names or (unknown := set(names) - set(made)):
        raise ValueError(
            f"augmentations {sorted(unknown) if names else '()'} are not among {EDITS}"
        )
    chosen = [made[name] for name in names]

    def one_of(text: str, generator: np.random.Generator) -> str:
        return chosen[int(generator.integers(len(chosen)))](text, generator)

    return one_of


def label_words(texts: Sequence[str], labels: Vector, *, least: float = CARRIES) -> frozenset[str]:
    """Words that carry a label: to be protected from every edit. Training texts only.

    The z-value of a word's log odds ratio between the two classes, counted once per text, with half
    a text added to each of the four counts (Woolf 1955; Haldane 1956); and a ratio of at least
    ``TURNS`` either way.

    Args:
        texts: Training texts.
        labels: Shape (n,) of 0, 1 or NaN (left out).
        least: Smallest |z|.
    """
    totals = [0, 0]
    counts: dict[str, list[int]] = {}
    for text, label in zip(texts, labels, strict=True):
        if np.isnan(label):
            continue
        totals[int(label)] += 1
        for word in {words.core(part).word.casefold() for part in words.pieces(text)} - {""}:
            counts.setdefault(word, [0, 0])[int(label)] += 1
    found = set()
    for word, with_it in counts.items():
        cells = np.array([[n, total - n] for n, total in zip(with_it, totals, strict=True)]) + 0.5
        odds = float(np.log(cells[1, 0] * cells[0, 1] / cells[1, 1] / cells[0, 0]))
        if abs(odds) >= max(least * math.sqrt((1 / cells).sum()), math.log(TURNS)):
            found.add(word)
    return frozenset(found)


def any_label(labels: Matrix) -> Vector:
    """Whether any label is yes, for ``label_words``.

    Args:
        labels: Shape (n, L) of 0, 1 or NaN.

    Returns:
        Shape (n,); NaN where nobody said anything.
    """
    found: Vector = np.where(np.isnan(labels).all(axis=1), np.nan, (labels == 1).any(axis=1))
    return found


def _some(
    places: Sequence[int], count: int, share: float, generator: np.random.Generator
) -> list[int]:
    """``share * count`` of the places, at least one of them where there are any."""
    size = min(len(places), max(1, round(share * count)))
    return [int(place) for place in generator.choice(places, size, replace=False)] if size else []


def _replaced(piece: str, thesaurus: Thesaurus, generator: np.random.Generator) -> str:
    before, word, after = words.core(piece)
    return before + words.cased(str(generator.choice(thesaurus[word.lower()])), word) + after


def _cased(instead: str, found: re.Match[str]) -> str:
    return words.cased(instead, found[0])
