"""Text attacks: what each changes, what it must leave alone, and how the search spends queries."""

import unicodedata
from collections import Counter

import numpy as np
import pytest

from models.core.text import attacks, words

TEXT = (
    "Hey @bob, your terrible movie was NOT worth 42 dollars, see https://films.example/a?b=1 "
    "<url> #film 3rd!  Seriously: don't  bother, you complete idiot :)\n"
)
FIXED = ("@bob,", "42", "https://films.example/a?b=1", "<url>", "#film", "3rd!", ":)")


def many(attack, text=TEXT, count=100, **options):
    return [attack(text, np.random.default_rng(seed), **options) for seed in range(count)]


@pytest.mark.parametrize("name", attacks.BLIND)
def test_what_no_blind_attack_touches(name):
    for text in many(attacks.BLIND[name], share=1.0, protected={"idiot", "not"}):
        found = Counter(text.split())
        assert all(found[piece] == 1 for piece in (*FIXED, "idiot", "NOT"))
        assert text != TEXT


@pytest.mark.parametrize("name", attacks.BLIND)
@pytest.mark.parametrize("text", ["", " \n", "42 @me", "https://x.example :)"])
def test_texts_without_free_words_stay(name, text):
    assert many(attacks.BLIND[name], text, 5) == [text] * 5


@pytest.mark.parametrize("name", attacks.BLIND)
def test_the_same_generator_gives_the_same_text(name):
    assert many(attacks.BLIND[name], count=20) == many(attacks.BLIND[name], count=20)
    assert len(set(many(attacks.BLIND[name], count=20))) > 10


@pytest.mark.parametrize("name", ["typo", "homoglyph", "leet"])
def test_number_of_words_white_space_and_punctuation_stay(name):
    before = words.pieces(TEXT)
    for text in many(attacks.BLIND[name], share=1.0):
        after = words.pieces(text)
        assert len(after) == len(before)
        for old, new in zip(before, after, strict=True):
            assert words.core(old)[::2] == words.core(new)[::2]
            assert old == new or not old.isspace()


def edits(old, new):
    """Damerau's distance for words that differ by at most one edit: 0, 1 or 2 (more)."""
    if old == new:
        return 0
    one = {old[:i] + old[i + 1 :] for i in range(len(old))}
    swapped = {old[:i] + old[i + 1] + old[i] + old[i + 2 :] for i in range(len(old) - 1)}
    back = {new[:i] + new[i + 1 :] for i in range(len(new))}
    replaced = len(old) == len(new) and sum(a != b for a, b in zip(old, new, strict=True)) == 1
    return 1 if new in one | swapped or old in back or replaced else 2


def test_a_typo_is_one_edit_inside_a_word():
    seen = set()
    for text in many(attacks.typo, share=1.0):
        for old, new in zip(words.pieces(TEXT), words.pieces(text), strict=True):
            was, now = words.core(old).word, words.core(new).word
            assert edits(was, now) <= 1
            assert (was[:1], was[-1:]) == (now[:1], now[-1:])
            assert len(was) >= 4 or was == now
            seen.add(len(now) - len(was))
    assert seen == {-1, 0, 1}
    changed = [sum(a != b for a, b in zip(words.pieces(TEXT), words.pieces(text), strict=True))
               for text in many(attacks.typo, share=0.1)]  # fmt: skip
    assert max(changed) == 1  # 10 words of 4 letters and more


def test_homoglyphs_have_the_same_skeleton_and_survive_nfkc():
    for text in many(attacks.homoglyph, share=1.0):
        assert text != TEXT
        assert attacks.skeleton(text) == TEXT
        assert unicodedata.normalize("NFKC", text) == text
        assert len(text) == len(TEXT)
    assert (
        attacks.skeleton("\u0430\u0440\u0440l\u0435") == "apple"
    )  # UTS 39: Cyrillic a, er, er, ie


def test_look_alikes_are_letters_of_other_alphabets():
    for letter, look in attacks.LOOK_ALIKES.items():
        assert letter.isascii()
        assert letter.isupper() == look.isupper()
        assert unicodedata.name(look) == "LATIN SMALL LETTER SCRIPT G" or unicodedata.name(
            look
        ).split()[0] in ("CYRILLIC", "GREEK")
    assert len(set(attacks.LOOK_ALIKES.values())) == len(attacks.LOOK_ALIKES)


def test_leet_and_spacing():
    generator = np.random.default_rng(0)
    assert attacks.leet("Those idiots, CAT", generator, share=1.0) == "7h053 1d1075, C47"
    for text in many(attacks.spacing, share=1.0):
        assert "".join(text.split()) == "".join(TEXT.split())
        # terrible, movie, worth, dollars, Seriously, don't, bother, complete, idiot, your
        assert len(text.split()) == len(TEXT.split()) + 10


def counting(weights, base=0.1):
    """A model whose score is a base plus the weights of the words it sees; keeps its questions."""
    asked = []

    def score(texts):
        asked.extend(texts)
        return np.array([base + sum(weights.get(w.lower(), 0) for w in t.split()) for t in texts])

    return score, asked


def test_the_search_takes_the_most_important_word_first_and_stops():
    score, asked = counting({"awful": 0.5, "movie": 0.2, "bad": 0.3})
    pairs = {"awful": ("bad", "poor"), "movie": ("film",)}
    found = attacks.search(score, "An awful movie", lambda word: pairs.get(word, ()), threshold=0.5)
    assert found == attacks.Attacked("An poor movie", pytest.approx(0.3), 6, 1)
    # itself, without each of 3 words, the two candidates of the word that matters most
    assert asked == [
        "An awful movie", " awful movie", "An  movie", "An awful ", "An bad movie", "An poor movie"
    ]  # fmt: skip


def test_the_search_keeps_what_is_fixed_and_its_bounds():
    weights = {f"{letter}word": 0.1 for letter in "abcdefghij"}
    text = "NOT 42 @me " + " ".join(weights)
    score, asked = counting(weights)
    found = attacks.search(score, text, lambda word: (word[0] + "other",), threshold=0.0)
    assert found.changed == 3  # 30 % of 13 words
    assert found.text.startswith("NOT 42 @me ")
    assert found.score == pytest.approx(0.8)
    assert found.queries == len(asked) == 1 + 10 + 3
    score, asked = counting(weights)
    found = attacks.search(score, text, lambda word: ("x", "y"), threshold=0.0, budget=12)
    assert found.queries == len(asked) == 12
    assert attacks.search(score, text, lambda word: ("x",), threshold=0.0, budget=1).text == text
    assert attacks.search(score, "fine", lambda word: ("x",), threshold=0.5).queries == 1
    assert attacks.search(score, "", lambda word: ("x",), threshold=0.0).text == ""


def test_candidates_of_a_word():
    assert attacks.synonyms_of("Movie") == ("Film", "Picture")
    assert attacks.synonyms_of("xyz") == ()
    found = attacks.bugs_of("idiot")
    assert found == attacks.bugs_of("idiot")
    assert len(found) == 4
    typo, disguised, leet, cut = found
    assert edits("idiot", typo) == 1
    assert attacks.skeleton(disguised) == "idiot"
    assert leet == "1d107"
    assert cut.replace(" ", "") == "idiot"
