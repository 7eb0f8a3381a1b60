"""What the generator's people write: templates, words, and what each kind of remark means.

A kind of remark (an ``Act``) has sentences and a law: the probability of every label. The hard
cases are kinds of their own: negation, quotation, counter-speech, excuses for oneself, complaints
about things, and groups of people in harmless use. Insults and curses are mild or made up; no slur
is needed to tell them apart.

Belongs here: words and law. Does not belong here: drawing, times, tables
(``assets.sources.comments_generator``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

Law = Mapping[str, float]


class Act(NamedTuple):
    """One kind of remark.

    Attributes:
        share: How often it is made.
        law: Label to its probability; a label that is not named has ``ELSE``.
        sentences: Templates over the words of ``WORDS``.
        counter: Whether it takes the side of the attacked.
    """

    share: float
    law: Law
    sentences: tuple[str, ...]
    counter: bool = False


#: Probability of a label that an act's law does not name.
ELSE = 0.01

WORDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "name": ("Alex", "Robin", "Sam", "Kim", "Jo", "Chris", "Pat", "Toni", "Charlie", "Max",
                 "Nicky", "Andrea", "Sascha", "Mika", "Jules", "Noa", "Lou", "Remy"),
        "thing": ("update", "editor", "new menu", "timeline", "export", "template", "app",
                  "soundtrack", "forum theme", "camera", "keyboard", "printer", "train schedule",
                  "weather report", "recipe", "final episode", "search box", "map", "newsletter",
                  "parking rule", "library", "bike lane", "festival", "ticket system"),
        "place": ("the bridge", "our street", "the old station", "the park", "the town hall",
                  "the harbour", "the market", "the museum", "the lake", "the stadium"),
        "group": ("women", "muslims", "jewish people", "black people", "white people", "gay people",
                  "immigrants", "refugees", "lesbians", "foreigners"),
        "insult": ("idiot", "moron", "fool", "clown", "dimwit", "blockhead", "muppet", "grumbork",
                   "snoll", "wazzock", "plonker", "nincompoop", "dunderhead", "twerp"),
        "rude": ("stupid", "pathetic", "brainless", "useless", "ridiculous", "dumb", "worthless",
                 "snollish", "clueless"),
        "curse": ("frak", "smeg", "blorting", "zarking", "crudding", "gorram"),
        "harm": ("find you and hurt you", "break your legs", "burn your house down",
                 "make you regret it tonight", "come for you with a bat", "smash your face"),
        "praise": ("lovely", "helpful", "clear", "thoughtful", "brilliant", "charming", "useful",
                   "well made", "kind"),
        "verb": ("explained", "translated", "reviewed", "painted", "repaired", "mapped", "measured",
                 "described", "photographed", "rewrote"),
        "when": ("yesterday", "last week", "this morning", "in spring", "before lunch", "on Monday",
                 "after the match", "all year", "since the storm", "over the weekend"),
        "open": ("", "", "", "Well, ", "Honestly, ", "So ", "Look, ", "Hm, ", "OK, ",
                 "To be fair, ", "Listen, ", "For the record, ", "By the way, "),
        "close": ("", "", "", " Just saying.", " What do you think?", " Thanks for reading.",
                  " Anyway.", " I am serious.", " End of story.", " See you.", " Good night!",
                  " Has anyone else noticed?", " Carry on.", " That is all."),
        "number": tuple(str(n) for n in range(2, 60)),
    }
)  # fmt: skip

_RUDE_LAW = {"toxicity": 0.95, "insult": 0.93, "offensive": 0.9, "negative_sentiment": 0.9}

ACTS: Mapping[str, Act] = MappingProxyType(
    {
        "small talk": Act(0.2, {"negative_sentiment": 0.05}, (
            "{name} {verb} the {thing} {when}, {number} pages in total.",
            "I saw the {thing} near {place} {when}.",
            "Does the {thing} open at {number}? {name} was there {when}.",
            "We met {name} at {place} {when} and talked about the {thing}.",
        )),
        "praise": Act(0.12, {}, (
            "{name}, your note on the {thing} was {praise}.",
            "The {thing} is {praise}, {name} {verb} it {when}.",
            "Such a {praise} {thing}, {number} stars from me.",
        )),
        "mention": Act(0.12, {"identity_hate": 0.02, "hate": 0.02}, (
            "{name} {verb} a book on {group} in the {number}th century.",
            "Many {group} live near {place}, and the {thing} is {praise}.",
            "I am one of the {group} who {verb} the {thing} {when}.",
        )),
        "complaint": Act(0.08, {"negative_sentiment": 0.95, "toxicity": 0.06, "offensive": 0.1}, (
            "The {thing} is {rude}, it failed {number} times {when}.",
            "What a {rude} {thing}! {name} waited at {place} {when}.",
            "That {curse} {thing} stopped again {when}, {number} minutes lost.",
        )),
        "insult": Act(0.13, _RUDE_LAW, (
            "{name}, you are a {rude} {insult}.",
            "You {insult}! You never {verb} the {thing}.",
            "Only a {insult} like {name} would like the {thing}.",
            "{name} is the most {rude} {insult} at {place}.",
        )),
        "curse": Act(0.05, {"obscene": 0.95, "toxicity": 0.7, "offensive": 0.85,
                            "negative_sentiment": 0.8}, (
            "{curse} you and your {curse} {thing}, {name}!",
            "Oh {curse}, {name} {verb} the {curse} {thing} again.",
        )),
        "threat": Act(0.04, {"threat": 0.95, "toxicity": 0.97, "severe_toxicity": 0.6,
                             "offensive": 0.8, "negative_sentiment": 0.95}, (
            "{name}, I will {harm}.",
            "Touch the {thing} again and I {harm}, {name}.",
            "You were at {place} {when}. Next time I {harm}.",
        )),
        "group attack": Act(0.08, {"identity_hate": 0.93, "hate": 0.93, "toxicity": 0.95,
                                   "severe_toxicity": 0.25, "insult": 0.6, "offensive": 0.93,
                                   "negative_sentiment": 0.95}, (
            "All {group} are {rude}, {name} knows it.",
            "{group} ruin {place}, every {insult} can see that.",
            "Send the {group} away, they are {rude} and want our {thing}.",
        )),
        "negation": Act(0.03, {"toxicity": 0.06, "insult": 0.05}, (
            "{name}, you are not a {insult}, the {thing} is hard.",
            "Nobody here thinks {name} is {rude}.",
            "I never said the people at {place} were {rude}.",
        )),
        "quotation": Act(0.04, {"toxicity": 0.08, "insult": 0.06, "negative_sentiment": 0.5}, (
            '{name} called me a "{insult}" {when}; please remove it.',
            'The report quotes "{rude} {insult}" as an example, page {number}.',
            'Somebody wrote "all {group} are {rude}" at {place}. I reported it.',
        )),
        "counter-speech": Act(0.04, {"toxicity": 0.07, "identity_hate": 0.03, "hate": 0.03}, (
            "Do not call {group} {rude}; they {verb} the {thing} with us.",
            "{name}, saying that {group} are {rude} is wrong, please stop.",
            "Leave {name} alone, nobody at {place} deserves to be called a {insult}.",
        ), counter=True),
        "excuse": Act(0.03, {"toxicity": 0.05, "insult": 0.04, "negative_sentiment": 0.4}, (
            "Sorry {name}, I was {rude} {when}.",
            "I feel like a {insult}, I lost the {thing} at {place}.",
            "My mistake, {rude} me {verb} the wrong {thing}.",
        )),
        "irony": Act(0.04, {"irony": 0.92, "toxicity": 0.4, "insult": 0.35, "offensive": 0.5,
                            "negative_sentiment": 0.8}, (
            "Oh great, another genius: {name} {verb} the {thing} {number} times.",
            "Wow, how {praise}, the {thing} broke {when}. Bravo, {name}.",
            "Sure, {name}, because the {thing} at {place} worked so well {when}.",
        )),
    }
)  # fmt: skip

#: Words that people write so that a filter misses them.
DISGUISED = tuple(WORDS["insult"] + WORDS["rude"])
_LOOKALIKES = {"a": "@", "e": "3", "i": "1", "o": "0", "s": "$", "u": "*"}


def disguise(text: str) -> str:
    """The offensive words of a text with one letter inside replaced by a symbol."""
    for word in DISGUISED:
        for place, letter in enumerate(word[1:-1], 1):
            if letter in _LOOKALIKES:
                text = text.replace(word, word[:place] + _LOOKALIKES[letter] + word[place + 1 :])
                break
    return text


_HARMFUL = [word for kind in ("insult", "rude", "curse", "harm") for word in WORDS[kind]]
_FORMS = sorted({*_HARMFUL, *map(disguise, _HARMFUL)}, key=len, reverse=True)
_AS_WRITTEN = re.compile("|".join(map(re.escape, _FORMS)), re.IGNORECASE)


def harmful_in(text: str) -> list[tuple[int, int]]:
    """Where the harmful words of a text are, disguised or not: start and end of each."""
    return [found.span() for found in _AS_WRITTEN.finditer(text)]
