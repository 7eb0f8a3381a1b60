"""Made-up texts whose label follows from a word, for tests of text models."""

import numpy as np

from models.contracts.learner import TextRows
from tests.unit.tiny_checkpoint import WORDS

LABELS = ("toxicity", "insult", "threat", "hate")
BAD = ("idiot", "stupid", "awful", "hate")
GOOD = tuple(word for word in WORDS if word not in BAD)


def texts(n=240, seed=0):
    """n texts of 3 to 12 words and a number; about 40 % hold a bad word."""
    rng = np.random.default_rng(seed)
    bad = rng.random(n) < 0.4
    made = []
    for number in range(n):
        words = list(rng.choice(GOOD, rng.integers(3, 12)))
        if bad[number]:
            words.insert(int(rng.integers(len(words))), str(rng.choice(BAD)))
        made.append(" ".join([*words, str(number)]))
    return tuple(made), bad.astype(float)


def rows(n=240, seed=0):
    """Toxicity known everywhere, insult on half, of threats only that there are none, no hate."""
    made, toxic = texts(n, seed)
    rng = np.random.default_rng(seed + 1)
    insult = np.where(rng.random(n) < 0.5, toxic, np.nan)
    unknown = np.full(n, np.nan)
    return TextRows(made, np.column_stack([toxic, insult, np.zeros(n), unknown]), LABELS)
