"""Words of a text as a person sees them, and which of them nothing may rewrite.

Belongs here: cutting a text so that it can be put together again, and what stands fixed in it.
Does not belong here: a model's own tokens, what is done to the words (``augment``, ``attacks``).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

_PIECE = re.compile(r"\s+|\S+")
_CORE = re.compile(r"^([^\w]*)(.*?)([^\w]*)$", re.DOTALL)
_FIXED = re.compile(r"https?://|www\.|^[^\w@#<]*[@#<]\w|\w@\w|\w\.\w{2,}(/|$)|\d")


class Core(NamedTuple):
    """A word without the punctuation around it: ``before + word + after`` is the piece."""

    before: str
    word: str
    after: str


def pieces(text: str) -> list[str]:
    """Words and the white space between them, in order; joined they are the text again."""
    return _PIECE.findall(text)


def places(parts: Sequence[str]) -> list[int]:
    """Which pieces are words."""
    return [place for place, part in enumerate(parts) if not part.isspace()]


def core(piece: str) -> Core:
    """The word inside a piece."""
    found = _CORE.match(piece)
    return Core(*found.groups()) if found else Core("", piece, "")


def is_fixed(piece: str, protected: Collection[str] = ()) -> bool:
    """Whether a piece must stay as it is.

    Links, mail addresses, mentions, hashtags, placeholders such as ``<user>``, anything with a
    digit, anything without a letter, and the words of ``protected`` (lower case).
    """
    word = core(piece).word
    return (
        not any(letter.isalpha() for letter in piece)
        or _FIXED.search(piece) is not None
        or word.casefold() in protected
    )


def free(parts: Sequence[str], protected: Collection[str] = ()) -> list[int]:
    """Which pieces are words that may be rewritten, see ``is_fixed``."""
    return [place for place in places(parts) if not is_fixed(parts[place], protected)]


def cased(word: str, like: str) -> str:
    """A lower-case word written as another one is: ALL CAPITALS, Capitalised or as it stands."""
    if len(like) > 1 and like.isupper():
        return word.upper()
    return word[:1].upper() + word[1:] if like[:1].isupper() else word
