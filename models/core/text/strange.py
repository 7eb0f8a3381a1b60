"""Texts no training set holds, made from those it does: scrambled, foreign-looking, code.

Belongs here: making them. Does not belong here: telling them from others
(``models.core.robustness.ood``).

They are as long as their originals, so that length does not give them away. They are made up: a
model that tells them may still miss a real language it never saw.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.core.text import words

_VOWELS, _CONSONANTS = "aeiou", "bcdfghjklmnpqrstvwxyz"
#: Each vowel becomes another vowel, each consonant another consonant: words of a language nobody
#: speaks, with its own regularities.
_FOREIGN = str.maketrans(
    _VOWELS + _VOWELS.upper() + _CONSONANTS + _CONSONANTS.upper(),
    "iuaeoIUAEO" + "vkzsrtwlpngfxdmbhqcjy" + "vkzsrtwlpngfxdmbhqcjy".upper(),
)
_CODE = (
    "def {0}({1}): return {1}[{2}]",
    "for ({0} = 0; {0} < {1}.{2}; {0}++) {{",
    'if {0} != "{1}": raise {2}Error()',
    "SELECT {0}, {1} FROM {2} WHERE {0} > 0;",
    "{0}->{1}(&{2}, NULL);",
)


def strange(texts: Sequence[str], generator: np.random.Generator) -> list[str]:
    """One strange text per text: the three kinds in turn."""
    kinds = (scrambled, foreign, code)
    return [kinds[number % 3](text, generator) for number, text in enumerate(texts)]


def scrambled(text: str, generator: np.random.Generator) -> str:
    """The letters of every word in another order."""
    parts = words.pieces(text)
    for place in words.places(parts):
        letters = list(parts[place])
        generator.shuffle(letters)
        parts[place] = "".join(letters)
    return "".join(parts)


def foreign(text: str, generator: np.random.Generator) -> str:
    """Every Latin letter replaced by another, vowels by vowels; the same for every text."""
    del generator
    return text.translate(_FOREIGN)


def code(text: str, generator: np.random.Generator) -> str:
    """Lines of program code with words of the text as names."""
    found = [words.core(part).word.lower() for part in words.pieces(text)]
    names = [word for word in found if word.isidentifier()] or ["x"]
    lines: list[str] = []
    while not lines or len("\n".join(lines)) < len(text):
        drawn = [str(name) for name in generator.choice(names, 3)]
        lines.append(str(generator.choice(_CODE)).format(*drawn))
    return "\n".join(lines)
