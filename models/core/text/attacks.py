"""Attacks: a text rewritten so that a person reads the same and a model may not.

Belongs here: blind edits (typo, homoglyph, leet, spacing) and a search that asks the model
(``search``) with synonyms or character edits. Does not belong here: how much of a model's quality
survives them (``examine``), edits that mean to teach (``augment``).

Links, mentions, hashtags, numbers and protected words stand fixed in all of them. Every edit of a
word is bounded, so that a person still reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from models.contracts.learner import Vector
from models.core.text import words
from models.core.text.augment import NEGATIONS
from models.core.text.thesaurus import NEUTRAL, Thesaurus

Attack = Callable[[str, np.random.Generator], str]

#: Shorter words give no room: their first and last letter stay.
_LEAST = 4
#: Look-alikes of Latin letters in other scripts, as Unicode's security data has them (UTS 39,
#: confusables.txt). NFKC leaves all of them as they are, so normalising does not undo them.
LOOK_ALIKES: Mapping[str, str] = MappingProxyType(
    {
        **{"a": "\u0430", "c": "\u0441", "d": "\u0501", "e": "\u0435", "g": "\u0261"},
        **{"h": "\u04bb", "i": "\u0456", "j": "\u0458", "o": "\u043e", "p": "\u0440"},
        **{"q": "\u051b", "s": "\u0455", "u": "\u03c5", "v": "\u03bd", "w": "\u051d"},
        **{"x": "\u0445", "y": "\u0443", "A": "\u0410", "B": "\u0412", "C": "\u0421"},
        **{"E": "\u0415", "H": "\u041d", "J": "\u0408", "K": "\u041a", "M": "\u041c"},
        **{"N": "\u039d", "O": "\u041e", "P": "\u0420", "S": "\u0405", "T": "\u0422"},
        **{"X": "\u0425", "Y": "\u04ae", "Z": "\u0396"},
    }
)
_SKELETON = str.maketrans({look: letter for letter, look in LOOK_ALIKES.items()})
LEET: Mapping[str, str] = MappingProxyType(
    {"a": "4", "e": "3", "i": "1", "o": "0", "s": "5", "t": "7"}
)
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
#: Keys beside each other on a QWERTY keyboard.
_NEIGHBOURS = MappingProxyType(
    {
        key: tuple(row[max(0, place - 1) : place] + row[place + 1 : place + 2])
        for row in _ROWS
        for place, key in enumerate(row)
    }
)


def typo(
    text: str,
    generator: np.random.Generator,
    *,
    share: float = 0.5,
    per_word: int = 1,
    protected: Collection[str] = (),
) -> str:
    """Misspell ``share`` of the words: swap, drop, double or mistype inner letters.

    First and last letter stay (Pruthi, Dhingra and Lipton 2019, Combating adversarial misspellings
    with robust word recognition), words of fewer than 4 letters too; at most ``per_word`` edits.
    """

    def misspelt(word: str) -> str:
        for _ in range(per_word):
            word = _mistyped(word, generator)
        return word

    return _rewrite(text, misspelt, share, generator, protected, least=_LEAST)


def homoglyph(
    text: str,
    generator: np.random.Generator,
    *,
    share: float = 0.5,
    protected: Collection[str] = (),
) -> str:
    """Replace one letter of ``share`` of the words by its look-alike in another script.

    The ``skeleton`` of the text stays the same.
    """

    def disguised(word: str) -> str:
        places = [place for place, letter in enumerate(word) if letter in LOOK_ALIKES]
        if not places:
            return word
        place = int(generator.choice(places))
        return word[:place] + LOOK_ALIKES[word[place]] + word[place + 1 :]

    return _rewrite(text, disguised, share, generator, protected)


def skeleton(text: str) -> str:
    """The text with every look-alike of ``LOOK_ALIKES`` back in Latin.

    UTS 39's skeleton goes further (it also takes l, I, 1 and m, rn for the same); this is the part
    that undoes ``homoglyph``.
    """
    return text.translate(_SKELETON)


def leet(
    text: str,
    generator: np.random.Generator,
    *,
    share: float = 0.5,
    protected: Collection[str] = (),
) -> str:
    """Write the vowels, s and t of ``share`` of the words as digits (``h3110``)."""

    def digits(word: str) -> str:
        return "".join(LEET.get(letter.lower(), letter) for letter in word)

    return _rewrite(text, digits, share, generator, protected)


def spacing(
    text: str,
    generator: np.random.Generator,
    *,
    share: float = 0.5,
    protected: Collection[str] = (),
) -> str:
    """Cut ``share`` of the words in two by a space. Without white space it is the same text."""

    def cut(word: str) -> str:
        place = int(generator.integers(1, len(word)))
        return word[:place] + " " + word[place:]

    return _rewrite(text, cut, share, generator, protected, least=_LEAST)


BLIND: Mapping[str, Attack] = MappingProxyType(
    {"typo": typo, "homoglyph": homoglyph, "leet": leet, "spacing": spacing}
)


class Attacked(NamedTuple):
    """What a search came to.

    Attributes:
        score: The model's, of ``text``.
        queries: Texts the model was asked about.
        changed: Words that differ from the original.
    """

    text: str
    score: float
    queries: int
    changed: int


def search(
    score: Callable[[Sequence[str]], Vector],
    text: str,
    candidates: Callable[[str], Sequence[str]],
    *,
    threshold: float,
    budget: int = 100,
    most: float = 0.3,
    protected: Collection[str] = NEGATIONS,
) -> Attacked:
    """Lower a model's score below its threshold by replacing few words, greedily.

    TextFooler's search (Jin et al. 2020, Is BERT really robust?, arXiv 1907.11932): words by how
    much the score falls without them, then for each the candidate that lowers the score most.
    Without its sentence encoder: meaning rests on the candidates alone.

    Args:
        score: Texts to the score of the label that is to be escaped.
        text: The original.
        candidates: A word to what may stand for it, in the same case.
        threshold: The search stops below this score.
        budget: Most texts the model may be asked about, at least 1.
        most: Largest share of the words that may be changed (at least one).
        protected: Lower-case words that stay.
    """
    parts = words.pieces(text)
    best, asked = float(score([text])[0]), 1
    free = words.free(parts, protected)[: max(0, budget - asked)]
    if best < threshold or not free:
        return Attacked(text, best, asked, 0)
    falls = best - score([_with(parts, place, "") for place in free])
    asked += len(free)
    allowed, changed = max(1, int(most * len(words.places(parts)))), 0
    for index in np.argsort(-falls, kind="stable"):
        place = free[index]
        tries = [_dressed(parts[place], other) for other in _others(parts[place], candidates)]
        tries = tries[: budget - asked]
        if not tries:
            continue
        scores = score([_with(parts, place, other) for other in tries])
        asked += len(tries)
        if scores.min() < best:
            parts[place], best = tries[int(scores.argmin())], float(scores.min())
            changed += 1
        if best < threshold or changed == allowed or asked >= budget:
            break
    return Attacked("".join(parts), best, asked, changed)


def synonyms_of(word: str, thesaurus: Thesaurus = NEUTRAL) -> tuple[str, ...]:
    """Candidates for ``search``: the synonyms of a word, in its case."""
    return tuple(words.cased(other, word) for other in thesaurus.get(word.lower(), ()))


def bugs_of(word: str, seed: int = 0) -> tuple[str, ...]:
    """Candidates for ``search``: one word misspelt, disguised, cut (TextBugger, Li et al. 2019).

    Draws from the seed and the word alone, so that the same word gives the same candidates.
    """
    generator = np.random.default_rng([seed, *word.encode()])
    made = [edit(word, generator, share=1.0) for edit in (typo, homoglyph, leet, spacing)]
    return tuple(other for other in dict.fromkeys(made) if other != word)


def _others(piece: str, candidates: Callable[[str], Sequence[str]]) -> Sequence[str]:
    return candidates(words.core(piece).word)


def _dressed(piece: str, other: str) -> str:
    before, _, after = words.core(piece)
    return before + other + after


def _with(parts: Sequence[str], place: int, other: str) -> str:
    return "".join([*parts[:place], other, *parts[place + 1 :]])


def _rewrite(
    text: str,
    edit: Callable[[str], str],
    share: float,
    generator: np.random.Generator,
    protected: Collection[str],
    *,
    least: int = 1,
) -> str:
    """``edit`` applied to ``share`` of the words that may be rewritten, at least to one."""
    parts = words.pieces(text)
    free = [
        place
        for place in words.free(parts, protected)
        if len(words.core(parts[place]).word) >= least
    ]
    if not free:
        return text
    for place in generator.choice(free, max(1, round(share * len(free))), replace=False):
        parts[place] = _dressed(parts[place], edit(words.core(parts[place]).word))
    return "".join(parts)


def _mistyped(word: str, generator: np.random.Generator) -> str:
    """One edit of an inner letter that shows; words without two inner letters come back."""
    inner = len(word) - 2
    if inner < 2:
        return word
    place = int(generator.integers(1, inner))
    start, here, after, end = word[:place], word[place], word[place + 1], word[place + 2 :]
    near = str(generator.choice(_NEIGHBOURS.get(here.lower(), (here,))))
    edits = (
        start + after + here + end,
        start + after + end,
        start + here + here + after + end,
        start + words.cased(near, here) + after + end,
    )
    return str(generator.choice([edit for edit in edits if edit != word]))
