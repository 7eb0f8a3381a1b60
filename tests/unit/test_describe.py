"""What describes a text, counted by hand, and what other people's labels mean."""

import pytest

from models.core.text import taxonomy
from models.core.text.describe import COLUMNS, describe

NAMES = [column.name for column in COLUMNS]


def described(text):
    (row,) = describe([text]).tolist()
    return dict(zip(NAMES, row, strict=True))


def test_every_number_of_a_text_counted_by_hand():
    found = described("@Ann Look LOOK at www.x.org!! #so st*pid, 4 ü")
    assert found == {
        "characters": 45, "words": 9, "mean_word_length": 37 / 9,
        "distinct_word_share": 8 / 9,  # Look and LOOK are one
        "capital_share": 6 / 28,  # A L L O O K of 45 - 8 spaces - 8 symbols - 1 digit
        "non_ascii_share": 1 / 45, "digit_share": 1 / 45,
        "symbol_share": 8 / 45,  # @ . . ! ! # * ,
        "links": 1, "mentions": 1, "hashtags": 1, "exclamations": 2, "questions": 0,
        "longest_run": 3, "mixed_words": 1,
    }  # fmt: skip


def test_an_empty_text_has_numbers_too():
    assert describe([""]).tolist() == [[0.0] * len(COLUMNS)]
    assert describe([]).shape == (0, len(COLUMNS))


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("AAAa bb", "longest_run", 3),
        ("a", "longest_run", 1),
        ("ask mail@example.org", "mentions", 0),
        ("<user> and @user", "mentions", 2),
        ("see https://x.org/#part", "hashtags", 0),
        ("don't well-known e.g. and/or", "mixed_words", 0),
        ("1d10t sn0ll f*ck", "mixed_words", 3),
        ("\u041f\u0440\u0438\u0432\u0435\u0442 \u0434\u0430", "non_ascii_share", 8 / 9),
        ("\u0645\u0631\u062d\u0628\u0627", "capital_share", 0),
    ],
)
def test_cases_that_are_easily_miscounted(text, name, value):
    assert described(text)[name] == value


def test_no_number_depends_on_another_text():
    texts = ["You idiot!!!", "", "a  b\n c", "ÄÖ #x"]
    assert describe(texts).tolist() == [describe([text]).tolist()[0] for text in texts]


def test_a_text_has_numbers_within_the_bounds_that_the_service_and_the_checks_use():
    odd = ["\x00\u200b\ud83d\ude00"[:2], "½²", "\n\n", "!" * 5000, "İıß", "٣"]
    for row in describe(odd):
        for column, value in zip(COLUMNS, row, strict=True):
            assert value >= (column.minimum or 0), column.name
            assert column.maximum is None or value <= column.maximum, column.name


def test_labels_of_other_people_in_our_words():
    assert taxonomy.said_of("hatexplain", ["hatespeech"]) == {"hate": 1, "offensive": 1}
    assert taxonomy.said_of("hatexplain", ["offensive"]) == {"hate": 0, "offensive": 1}
    assert taxonomy.said_of("civil_comments", ["toxic", "not-threat"]) == {
        "toxicity": 1, "threat": 0,
    }  # fmt: skip
    assert set(taxonomy.said_of("jigsaw_binary", ["not-toxic"])) == set(taxonomy.JIGSAW.values())
    assert taxonomy.said_of("jigsaw_binary", ["toxic"]) == {"toxicity": 1}
    with pytest.raises(ValueError, match="hatexplain has a label 'rude'"):
        taxonomy.said_of("hatexplain", ["rude"])


def test_the_table_speaks_only_of_labels_that_exist_and_every_source_says_yes_and_no():
    for (source, theirs), said in taxonomy.MAPPING.items():
        assert set(said) <= set(taxonomy.LABELS), (source, theirs)
        assert set(said.values()) <= {0, 1}
    for source in {source for source, _ in taxonomy.MAPPING}:
        values = {
            v for (s, _), said in taxonomy.MAPPING.items() if s == source for v in said.values()
        }
        assert values == {0, 1}, source


def test_groups_are_found_by_words_and_by_annotators():
    assert taxonomy.identities_in("Two WOMEN, an immigrant and gay people") == [
        "women", "lgbt", "migrants",
    ]  # fmt: skip
    assert taxonomy.identities_in("blackboard, whiteout, womanly jewel") == []
    assert taxonomy.identities_of(["Arab", "None", "Jewish"]) == ["muslim", "jewish"]
