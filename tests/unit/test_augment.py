"""Augmentation: what each edit changes, and what it must leave alone."""

import json
from collections import Counter

import numpy as np
import pytest

from models.core.text import augment, thesaurus, words

TEXT = (
    "Hey @bob, I think the big movie was NOT a quick trip, see https://films.example/a?b=1 or "
    "www.films.example #film 42 times!  The teacher said: don't buy 2 cars, you idiot :)\n"
)
FIXED = ("@bob,", "https://films.example/a?b=1", "www.films.example", "#film", "42", "2", ":)")
PROTECTED = augment.NEGATIONS | {"idiot"}
EDITS = {
    "synonyms": augment.synonyms,
    "insertion": augment.insertion,
    "swap": augment.swap,
    "deletion": augment.deletion,
}


def many(edit, text=TEXT, count=200, **options):
    return [edit(text, np.random.default_rng(seed), **options) for seed in range(count)]


def listed(text):
    return text.split()


@pytest.mark.parametrize(
    ("piece", "fixed"),
    [
        *(("https://x.example", True), ("www.x.example", True), ("x.example/path", True)),
        *(("me@mail.example", True), ("@me", True), ("(@me)", True), ("#tag", True)),
        *(("<user>", True), ("3rd", True), ("h3llo", True), (":-)", True), ("!!!", True)),
        *(("not", True), ("NOT,", True), ("film", False), ("'Film'", False), ("don't!", True)),
        *(("e.g.", False), ("naïve", False), ("", True)),
    ],
)
def test_what_stands_fixed(piece, fixed):
    assert words.is_fixed(piece, augment.NEGATIONS) is fixed


def test_pieces_are_the_text():
    assert "".join(words.pieces(TEXT)) == TEXT
    assert words.pieces("") == []
    assert words.core('"(word)!"') == ('"(', "word", ')!"')


@pytest.mark.parametrize("name", EDITS)
def test_what_no_edit_touches(name):
    for text in many(EDITS[name], protected=PROTECTED):
        found = Counter(listed(text))
        assert all(found[piece] == listed(TEXT).count(piece) for piece in FIXED)
        assert found["NOT"] == 1
        assert found["don't"] == 1
        assert found["idiot"] == 1


@pytest.mark.parametrize("name", EDITS)
@pytest.mark.parametrize("text", ["", "   \n", "42 @me", "https://x.example"])
def test_texts_without_free_words_stay(name, text):
    assert many(EDITS[name], text, 5) == [text] * 5


@pytest.mark.parametrize("name", [*EDITS, "back_translation"])
def test_the_same_generator_gives_the_same_text(name):
    edit = EDITS.get(name, augment.back_translation)
    assert many(edit, count=20) == many(edit, count=20)
    assert len(set(many(edit, count=20))) > 1


def test_synonyms_replace_a_tenth_and_keep_order_case_and_punctuation():
    pairs = {"big": ("large",), "movie": ("film",)}
    for text in many(augment.synonyms, share=1.0, thesaurus=pairs, count=3):
        assert text == TEXT.replace("big", "large").replace("movie", "film")
    assert augment.synonyms("BIG, Big (big)", np.random.default_rng(0), share=1.0,
                            thesaurus=pairs) == "LARGE, Large (large)"  # fmt: skip
    twenty = " ".join(["big"] * 20)
    changed = [Counter(listed(text))["large"] for text in many(augment.synonyms, twenty, 5,
                                                               thesaurus=pairs)]  # fmt: skip
    assert changed == [2] * 5


def test_insertion_adds_synonyms_and_keeps_the_rest_in_order():
    for text in many(augment.insertion):
        rest = iter(listed(text))
        assert all(word in rest for word in listed(TEXT))  # a subsequence
        # 27 words: EDA's alpha of 0.1 adds round(2.7) = 3
        added = Counter(listed(text)) - Counter(listed(TEXT))
        assert added.total() == 3
        assert all(word in thesaurus.NEUTRAL or word.islower() for word in added)


def test_swap_keeps_the_multiset_of_words_and_fixed_words_in_place():
    before = words.pieces(TEXT)
    places = [i for i, part in enumerate(before) if words.is_fixed(part, PROTECTED)]
    for text in many(augment.swap, protected=PROTECTED):
        after = words.pieces(text)
        assert Counter(after) == Counter(before)
        assert [after[i] for i in places] == [before[i] for i in places]
        assert sum(a != b for a, b in zip(after, before, strict=True)) <= 6  # 3 pairs of 27 words


def test_swap_of_two_words():
    assert many(augment.swap, "one two", 5) == ["two one"] * 5
    assert many(augment.swap, "one", 5) == ["one"] * 5


def test_deletion_deletes_a_tenth_on_average_and_never_all():
    text = " ".join(f"w{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(100))
    left = [len(listed(cut)) for cut in many(augment.deletion, text)]
    # 200 texts of 100 words: the standard error of the mean is 3 / sqrt(200) = 0.21 words
    assert np.mean(left) == pytest.approx(90, abs=0.85)
    for cut in many(augment.deletion, text, 20):
        rest = iter(listed(text))
        assert all(word in rest for word in listed(cut))
    assert all(listed(cut) in (["one"], ["two"]) for cut in many(augment.deletion, "one two",
                                                                 20, share=1.0))  # fmt: skip
    assert many(augment.deletion, "one", 5, share=1.0) == ["one"] * 5


def test_back_translation_uses_the_users_translators_or_says_little():
    generator = np.random.default_rng(0)
    assert augment.back_translation("Hi", generator, there=str.upper, back="{}?".format) == "HI?"
    with pytest.raises(ValueError, match="both translators"):
        augment.back_translation("Hi", generator, there=str.upper)
    found = set(many(augment.back_translation, "I'm sure. It's a lot of fun, DON'T go"))
    assert "I am sure. It is many fun, DO NOT go" in found
    assert "I'm sure. It's a lot of fun, DON'T go" in found
    assert len(found) == 16  # four rules, each used or not
    kept = "don't@x.example #don't"
    assert many(augment.back_translation, kept, 10) == [kept] * 10


def test_the_mixture_draws_evenly_from_the_named_edits():
    texts = many(augment.augmentations(["swap", "deletion"]), "one two", 400)
    assert set(texts) == {"two one", "one two", "one", "two"}
    swapped = Counter(texts)["two one"] / 400
    assert swapped == pytest.approx(0.5, abs=0.08)  # 3 standard errors
    guarded = augment.augmentations(protected=["idiot"])
    assert all("idiot" in text and "NOT" in text for text in many(guarded))


@pytest.mark.parametrize("names", [[], ["typo"]])
def test_the_mixture_refuses_what_is_not_there(names):
    with pytest.raises(ValueError, match="are not among"):
        augment.augmentations(names)


def test_label_words_are_those_with_telling_odds():
    texts = ["fool there"] * 20 + ["thanks there"] * 20 + ["fool thanks"] * 9
    labels = np.array([1.0] * 20 + [0.0] * 20 + [np.nan] * 9)
    assert augment.label_words(texts, labels) == {"fool", "thanks"}
    # log odds ratio of "fool": 2 log(20.5 / 0.5) = 7.427, se sqrt(2 / 20.5 + 2 / 0.5) = 2.024
    assert augment.label_words(texts, labels, least=7.427 / 2.024 - 0.01) == {"fool", "thanks"}
    assert augment.label_words(texts, labels, least=7.427 / 2.024 + 0.01) == frozenset()


def test_a_word_of_every_text_carries_nothing_however_uneven_the_classes():
    texts = ["fool there"] * 20 + ["there"] * 2000
    assert augment.label_words(texts, np.arange(2020) < 20) == {"fool"}


def test_a_word_that_hardly_turns_the_odds_carries_nothing_among_many_texts():
    # 60 % against 50 % of 1000 texts each: odds ratio 1.5, z 4.5
    texts = (["day"] * 500 + ["night"] * 500) + (["day"] * 600 + ["night"] * 400)
    assert augment.label_words(texts, np.arange(2000) >= 1000) == frozenset()


def test_any_label_is_unknown_only_where_nobody_said_anything():
    labels = np.array([[0, 1], [0, np.nan], [np.nan, 1], [np.nan, np.nan], [0, 0]])
    np.testing.assert_array_equal(augment.any_label(labels), [1, 0, 1, np.nan, 0])


def test_the_thesaurus_is_neutral_and_consistent():
    found = thesaurus.NEUTRAL
    assert len(found) > 250
    assert not set(found) & augment.NEGATIONS
    for word, others in found.items():
        assert word not in others
        assert all(other.isalpha() and other.islower() for other in others)
    assert "present" not in found  # a gift, or to show
    assert "present" in found["gift"]


def test_a_thesaurus_of_ones_own(tmp_path):
    path = tmp_path / "own.json"
    path.write_text(json.dumps([["film", "movie"], ["big", "large", "huge"]]))
    own = thesaurus.load(path)
    assert own["big"] == ("large", "huge")
    assert own["movie"] == ("film",)
    path.write_text(json.dumps({"film": "movie"}))
    with pytest.raises(ValueError, match="list of lists of words"):
        thesaurus.load(path)
    path.write_text(json.dumps([["Film", "a movie"]]))
    with pytest.raises(ValueError, match="single lower-case words"):
        thesaurus.load(path)
