"""Numbers that describe a text: what is checked, logged and watched where the text itself is not.

One function computes them, for the feature table and for the service, so both agree to the last
bit. No number depends on another text or on a model. Does not belong here: what a model reads.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from models.contracts.product import Column

if TYPE_CHECKING:
    from models.contracts.learner import Matrix


def _count(name: str, description: str) -> Column:
    return Column(name=name, kind="int", description=description, minimum=0)


def _share(name: str, description: str) -> Column:
    return Column(name=name, description=description, minimum=0, maximum=1)


#: What `describe` answers, in its order; the inputs of every product whose contract is text.
COLUMNS = (
    _count("characters", "Characters of the text, spaces included"),
    _count("words", "Runs of characters between white space"),
    Column(name="mean_word_length", minimum=0, description="Characters per word; 0 without words"),
    _share("distinct_word_share", "Different words (case ignored) as a share of the words"),
    _share("capital_share", "Capitals as a share of the letters; 0 without letters"),
    _share("non_ascii_share", "Characters outside ASCII as a share of the characters"),
    _share("digit_share", "Digits as a share of the characters"),
    _share("symbol_share", "Neither letter, digit nor white space, as a share of the characters"),
    _count("links", "Web addresses"),
    _count("mentions", "Words that name a user: @name, <user>"),
    _count("hashtags", "Words that start with #"),
    _count("exclamations", "Exclamation marks"),
    _count("questions", "Question marks"),
    _count("longest_run", "Longest run of one character"),
    _count("mixed_words", "Words in which a digit or a symbol stands between letters (st*pid)"),
)

_LINK = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)
_MENTION = re.compile(r"(?<!\w)@\w+|<user>", re.IGNORECASE)
_HASHTAG = re.compile(r"(?<!\w)#\w+")
_RUN = re.compile(r"(.)\1+", re.DOTALL)
#: Apostrophe, hyphen, full stop, comma and slash stand between letters in ordinary words as well.
_MIXED = re.compile(r"(?<![@#])(?<![^\W\d_])[^\W\d_]+[\d*$!@%&+#_|]+[^\W\d_]+")
#: Every mixed word has this, and few texts do; to look for it costs a tenth.
_INNER = re.compile(r"[\d*$!@%&+#_|][^\W\d_]")
#: Letters, capitals, digits, white space: the question, and the ASCII characters that say yes.
_KINDS: tuple[tuple[Callable[[str], bool], bytes], ...] = tuple(
    (kind, bytes(code for code in range(128) if kind(chr(code))))
    for kind in (str.isalpha, str.isupper, str.isdigit, str.isspace)
)


def describe(texts: Sequence[str]) -> Matrix:
    """The numbers of every text.

    Args:
        texts: n texts, any may be empty.

    Returns:
        Shape (n, d) in the order of ``COLUMNS``; never NaN.
    """
    import numpy as np

    return np.array([_numbers(text) for text in texts], np.float64).reshape(-1, len(COLUMNS))


def _numbers(text: str) -> tuple[float, ...]:
    words, ascii_only = text.split(), text.encode("ascii", "ignore")
    size, count = len(text), len(words)
    letters, capitals, digits, spaces = _kinds(text, ascii_only)
    plain, links = _LINK.subn(" ", text)
    return (
        size,
        count,
        _ratio(sum(map(len, words)), count),
        _ratio(len(set(map(str.lower, words))), count),
        _ratio(capitals, letters),
        _ratio(size - len(ascii_only), size),
        _ratio(digits, size),
        _ratio(size - letters - digits - spaces, size),
        links,
        len(_MENTION.findall(plain)),
        len(_HASHTAG.findall(plain)),
        text.count("!"),
        text.count("?"),
        max((len(run[0]) for run in _RUN.finditer(text)), default=min(size, 1)),
        len(_MIXED.findall(plain)) if _INNER.search(plain) else 0,
    )


def _kinds(text: str, ascii_only: bytes) -> tuple[int, ...]:
    """How many letters, capitals, digits and spaces; of the rest, each different one is asked."""
    others: Counter[str] = (
        Counter() if len(ascii_only) == len(text) else Counter(filter(_is_other, text))
    )
    size = len(ascii_only)
    found = [size - len(ascii_only.translate(None, own)) for _, own in _KINDS]
    if others:
        found = [
            count + sum(n for char, n in others.items() if kind(char))
            for count, (kind, _) in zip(found, _KINDS, strict=True)
        ]
    return tuple(found)


def _is_other(char: str) -> bool:
    return not char.isascii()


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
