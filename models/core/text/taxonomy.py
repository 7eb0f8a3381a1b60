"""What may be said of a text, and what other people's labels mean in these words: one table.

Belongs here: the names, the mapping of every source, the groups a text may speak of. Does not
belong here: reading a source (``assets.sources``), deciding on a text (a model).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

#: The first is the one whose probability is logged and whose outcome is reported.
LABELS = (
    "toxicity",
    "severe_toxicity",
    "obscene",
    "threat",
    "insult",
    "identity_hate",
    "hate",
    "offensive",
    "irony",
    "negative_sentiment",
)
#: The labels a moderator acts on, the most telling first: the frame's ``label`` is the first that
#: is known.
DECIDING = ("toxicity", "hate", "offensive")
#: The six of the Jigsaw challenge, by their names there.
JIGSAW = MappingProxyType(
    {
        "toxic": "toxicity",
        "severe_toxic": "severe_toxicity",
        "obscene": "obscene",
        "threat": "threat",
        "insult": "insult",
        "identity_hate": "identity_hate",
    }
)

Said = Mapping[str, int]


def _pair(source: str, theirs: str, ours: str, opposite: str = "") -> dict[tuple[str, str], Said]:
    """A yes and a no of one source."""
    return {(source, theirs): {ours: 1}, (source, opposite or f"not-{theirs}"): {ours: 0}}


#: (source, its label) to what that says of ours; what is not named stays unknown. Why so:
#: hate is offensive in HateXplain's order (normal < offensive < hatespeech), and its offensive
#: posts are not hate. A Jigsaw comment that is not toxic in any way has none of the six labels; one
#: that is toxic may have any. HatEval's and OLID's own labels say nothing of toxicity: their
#: guidelines differ from Jigsaw's, so they are kept apart and taught apart.
MAPPING: Mapping[tuple[str, str], Said] = MappingProxyType(
    {
        **_pair("tweeteval_hate", "hate", "hate"),
        **_pair("tweeteval_offensive", "offensive", "offensive"),
        **_pair("tweeteval_irony", "irony", "irony", "non_irony"),
        ("tweeteval_sentiment", "negative"): {"negative_sentiment": 1},
        ("tweeteval_sentiment", "neutral"): {"negative_sentiment": 0},
        ("tweeteval_sentiment", "positive"): {"negative_sentiment": 0},
        ("hatexplain", "hatespeech"): {"hate": 1, "offensive": 1},
        ("hatexplain", "offensive"): {"hate": 0, "offensive": 1},
        ("hatexplain", "normal"): {"hate": 0, "offensive": 0},
        **_pair("civil_comments", "toxic", "toxicity"),
        **_pair("civil_comments", "insult", "insult"),
        **_pair("civil_comments", "threat", "threat"),
        **_pair("civil_comments", "profane_obscene", "obscene"),
        **_pair("civil_comments", "identity_based_attack", "identity_hate"),
        ("jigsaw_binary", "toxic"): {"toxicity": 1},
        ("jigsaw_binary", "not-toxic"): dict.fromkeys(JIGSAW.values(), 0),
        **{
            key: said
            for theirs, ours in JIGSAW.items()
            for key, said in _pair("jigsaw_six", theirs, ours).items()
        },
        **_pair("jigsaw_multilingual", "toxic", "toxicity"),
    }
)


def said_of(source: str, theirs: Iterable[str]) -> dict[str, int]:
    """What a source's labels of one text say in our words.

    Args:
        source: One of the sources of ``MAPPING``.
        theirs: The labels that this source gave the text.

    Returns:
        Our label to 0 or 1; a label that is not in it is unknown.

    Raises:
        ValueError: A label that the table does not know: add a row to it.
    """
    found: dict[str, int] = {}
    for label in theirs:
        if (source, label) not in MAPPING:
            raise ValueError(f"{source} has a label {label!r} that MAPPING does not know; add it")
        found.update(MAPPING[source, label])
    return found


#: Groups that texts speak of and that a model must not be worse for. Where people marked whom a
#: post is about (HateXplain) their marks count; elsewhere these words, which also find harmless
#: mentions: that is what the slices are for. No slur is in the list.
IDENTITIES: Mapping[str, tuple[frozenset[str], str]] = MappingProxyType(
    {
        "women": (frozenset({"Women"}), r"wom[ae]n|girls?|ladies|females?|feminis[tm]s?"),
        "black": (frozenset({"African"}), r"blacks?|african(?:-| )?americans?|africans?"),
        "white": (frozenset({"Caucasian"}), r"whites?|caucasians?"),
        "muslim": (frozenset({"Islam", "Arab"}), r"muslims?|islam(?:ic)?|arabs?|mosques?"),
        "jewish": (frozenset({"Jewish"}), r"jew(?:s|ish)?|judaism|synagogues?"),
        "lgbt": (
            frozenset({"Homosexual", "Bisexual", "Asexual"}),
            r"gays?|lesbians?|homosexuals?|bisexuals?|transgender|lgbtq?",
        ),
        "migrants": (
            frozenset({"Refugee"}),
            r"(?:im)?migrants?|refugees?|foreigners?|asylum seekers?",
        ),
    }
)
_WORDS = {
    group: re.compile(rf"\b(?:{words})\b", re.IGNORECASE)
    for group, (_, words) in IDENTITIES.items()
}


def identities_in(text: str) -> list[str]:
    """Groups that a text names, by the word list."""
    return [group for group, words in _WORDS.items() if words.search(text)]


def identities_of(targets: Iterable[str]) -> list[str]:
    """Groups that HateXplain's annotators marked."""
    marked = set(targets)
    return [group for group, (names, _) in IDENTITIES.items() if names & marked]
