"""raw/comments: the schema, the mirror's and the public sets, on tiny files of their layout."""

import csv
import datetime as dt
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from jinja2 import Template

from assets.sources import comments, comments_mirror, comments_public
from models.core.text.describe import COLUMNS, describe
from models.core.text.taxonomy import LABELS
from stores.landing import Landing


def labels_of(row):
    return {label: row[label] for label in LABELS if row[label] is not None}


def by_text(table):
    return {row["text"]: row for row in table.to_pylist()}


def test_importing_the_sources_imports_nothing_heavy():
    heavy = ("pyarrow", "duckdb", "pandas", "sklearn", "torch")
    code = (
        "import sys, assets.sources.comments_mirror, assets.sources.comments_public;"
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_text_becomes_a_row_with_its_numbers_and_its_labels():
    (row,) = comments.table_of(
        [comments.Comment("hatexplain", "gab", "7", "All women, go!", ("offensive",), "train")]
    ).to_pylist()
    assert labels_of(row) == {"hate": False, "offensive": True}
    assert (row["tenant"], row["part"], row["language"]) == ("gab", "train", "en")
    assert (row["identities"], row["context"], row["counter_speech"]) == (["women"], None, None)
    assert [row[c.name] for c in COLUMNS] == describe(["All women, go!"])[0].tolist()
    assert row["event_id"].startswith("hatexplain@")
    assert row["known_at"] == row["event_time"]


def test_blank_texts_and_texts_of_which_nothing_is_known_are_left_out():
    given = [
        comments.Comment("jigsaw_binary", "wikipedia", "1", " \n", ("toxic",)),
        comments.Comment("jigsaw_binary", "wikipedia", "2", "kept", ("toxic",)),
        comments.Comment("jigsaw_binary", "wikipedia", "3", "nothing said", ()),
    ]
    assert comments.table_of(given)["text"].to_pylist() == ["kept"]


def test_pseudo_times_are_fixed_and_no_training_part_lies_after_a_holdout_part():
    def table(part):
        return comments.table_of(
            [
                comments.Comment("jigsaw_binary", "wikipedia", str(n), "x", ("toxic",), part)
                for n in range(200)
            ]
        )

    assert table("train").equals(table("train"))
    train, holdout, free = (table(p)["event_time"].to_pylist() for p in ("train", "holdout", None))
    assert len(set(free)) == 200
    assert min(free) >= dt.datetime(2024, 1, 1)
    assert max(free) < dt.datetime(2025, 1, 1)
    # the newest fifth of the free ones judges: about day 292 of 365
    assert max(train) < dt.datetime(2024, 10, 2) < dt.datetime(2024, 10, 18) < min(holdout)


def mirror_files(folder: Path) -> list[Path]:
    """The six files of the mirror with a few rows each."""
    tables = {
        "tweeteval": {
            "task": ["hate", "offensive", "irony", "sentiment", "sentiment", "emotion"],
            "split": ["train", "test", "val", "val", "test", "train"],
            "text": ["t1", "t2", "t3", "t4", "t5", "t6"],
            "label_name": ["hate", "not-offensive", "non_irony", "negative", "positive", "joy"],
        },
        "hatexplain": {
            "post_id": ["gab_1", "4_2"], "split": ["val", "test"], "text": ["a  h1 b", "h2"],
            "label": ["hatespeech", "normal"], "targets": ["Islam|None", None],
            "rationales": ["[[0, 1, 1], [0, 1, 0]]", ""],
        },
        "civil": {
            "comment_id": [1, 2, 3], "text": ["c1 or not", "c2", "c3"], "n_raters": [3, 4, 3],
            "raters_insult": [2, 2, 0], "raters_threat": [0, 3, 0],
            "raters_profane_obscene": [1, 0, 0], "raters_identity_based_attack": [0, 0, 0],
            "raters_not_toxic": [1, 2, 3],
        },
        "semeval": {"split": ["test", "trial"], "text": ["c1 or not", "c3"],
                    "spans": ["[0, 1, 6, 7, 8]", "[]"]},
        "binary": {"text": ["j1", "j2"], "toxic": [1, 0]},
        "six": {
            "text": ["s1"], "toxic": [1], "severe_toxic": [0], "obscene": [1], "threat": [0],
            "insult": [1], "identity_hate": [0],
        },
    }  # fmt: skip
    for name, columns in tables.items():
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")
    return [folder / f"{name}.parquet" for name in tables]


def test_every_set_of_the_mirror_finds_its_labels_and_its_official_part(tmp_path):
    table = comments_mirror.from_mirror(*mirror_files(tmp_path))
    assert table.schema.equals(comments.schema())
    rows = by_text(table)
    no = dict.fromkeys(("severe_toxicity", "obscene", "threat", "insult", "identity_hate"), False)
    civil = dict.fromkeys(("obscene", "threat", "identity_hate"), False)
    expected = {
        "t1": ("train", {"hate": True}), "t2": ("holdout", {"offensive": False}),
        "t3": ("train", {"irony": False}), "t4": ("train", {"negative_sentiment": True}),
        "t5": ("holdout", {"negative_sentiment": False}),
        "a  h1 b": ("train", {"hate": True, "offensive": True}),
        "h2": ("holdout", {"hate": False, "offensive": False}),
        # two of three raters: an insult, and not harmless
        "c1 or not": ("holdout", {**civil, "insult": True, "toxicity": True}),
        # two of four are not more than half; harmless to exactly half is undecided
        "c2": (None, {**civil, "insult": False, "threat": True}),
        "c3": ("train", {**civil, "insult": False, "toxicity": False}),
        "j1": (None, {"toxicity": True}), "j2": (None, {**no, "toxicity": False}),
        "s1": ("holdout", {**no, "toxicity": True, "obscene": True, "insult": True}),
    }  # fmt: skip
    assert {text: (row["part"], labels_of(row)) for text, row in rows.items()} == expected
    assert rows["a  h1 b"]["identities"] == ["muslim"]
    assert (rows["a  h1 b"]["tenant"], rows["h2"]["tenant"]) == ("gab", "unknown")
    said = {text: row["rationale"] for text, row in rows.items() if row["rationale"]}
    assert said == {"a  h1 b": "[[3, 5]]", "c1 or not": "[[0, 2], [6, 9]]"}


def write_csv(path, header, *rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


SIX = ["toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate"]


def test_jigsaw_s_six_labels_in_kaggle_s_layout(tmp_path):
    train = write_csv(
        tmp_path / "train.csv", ["id", "comment_text", *SIX],
        ["00a", 'two\nlines, "quoted"', 0, 0, 0, 0, 0, 0], ["00b", "bad", 1, 1, 0, 1, 0, 0],
    )  # fmt: skip
    test = write_csv(tmp_path / "test.csv", ["id", "comment_text"], ["1a", "x"], ["1b", "y"])
    scores = write_csv(
        tmp_path / "test_labels.csv", ["id", *SIX], ["1b", 1, 0, 1, 0, 0, 0], ["1a", *[-1] * 6]
    )
    rows = by_text(comments_public.read("jigsaw", [train]))
    assert not any(labels_of(rows['two\nlines, "quoted"']).values())
    said = {name for name, value in labels_of(rows["bad"]).items() if value}
    assert said == {"toxicity", "severe_toxicity", "threat"}
    (only,) = comments_public.read("jigsaw", [test, scores]).to_pylist()  # 1a was never scored
    assert (only["text"], only["part"], only["obscene"]) == ("y", "holdout", True)


def test_jigsaw_multilingual_keeps_the_language(tmp_path):
    validation = write_csv(
        tmp_path / "validation.csv", ["id", "comment_text", "lang", "toxic"],
        ["0", "hola", "es", 0], ["1", "bruto", "it", 1],
    )  # fmt: skip
    test = write_csv(tmp_path / "test.csv", ["id", "content", "lang"], ["0", "olá", "pt"])
    scores = write_csv(tmp_path / "test_labels.csv", ["id", "toxic"], ["0", 1])
    rows = comments_public.read("jigsaw_multilingual", [validation]).to_pylist()
    assert [(r["language"], r["toxicity"], r["part"]) for r in rows] == [
        ("es", False, "train"), ("it", True, "train"),
    ]  # fmt: skip
    (row,) = comments_public.read("jigsaw_multilingual", [test, scores]).to_pylist()
    assert (row["language"], row["toxicity"], row["part"]) == ("pt", True, "holdout")


def hatexplain_files(folder):
    def post(label, *targets, marks=()):
        votes = [{"label": one, "annotator_id": i, "target": list(targets)} for i, one in label]
        return {"annotators": votes, "post_tokens": ["some", "words"], "rationales": list(marks)}

    posts = {
        "1_gab": post(
            enumerate(("hatespeech", "normal", "hatespeech")),
            "Jewish",
            "None",
            marks=([0, 1], [1, 1], [1, 0, 0]),
        ),
        "2_twitter": post(enumerate(("normal", "normal", "offensive")), "None"),
        "3_gab": post(enumerate(("normal", "offensive", "hatespeech"))),
    }
    (folder / "dataset.json").write_text(json.dumps(posts))
    divisions = {"train": ["1_gab"], "val": [], "test": ["2_twitter"]}
    (folder / "divisions.json").write_text(json.dumps(divisions))
    return folder / "dataset.json", folder / "divisions.json"


def test_hatexplain_s_own_files(tmp_path):
    rows = comments_public.read("hatexplain", hatexplain_files(tmp_path)).to_pylist()
    found = [(r["tenant"], r["part"], r["hate"], r["identities"], r["text"]) for r in rows]
    assert found == [
        ("gab", "train", True, ["jewish"], "some words"),
        ("twitter", "holdout", False, [], "some words"),
    ]
    # two of three marked the second word; the third has marks of another text
    assert [r["rationale"] for r in rows] == ["[[5, 10]]", None]


def test_a_file_from_before_rationales_lands_and_is_read_beside_a_newer_one(tmp_path):
    """The staging model's own SQL, on an older part and on both."""
    landing, given = Landing(tmp_path), hatexplain_files(tmp_path)
    table = comments_public.read("hatexplain", given)
    raw = tmp_path / "raw" / "comments"
    raw.mkdir(parents=True)
    pq.write_table(table[1:].drop_columns("rationale"), raw / "0000.parquet")
    assert staged(tmp_path) == [None]
    pq.write_table(table[1:].drop_columns("rationale"), landing.inbox("comments") / "old.parquet")
    (file,) = landing.pending("comments")
    assert landing.take("comments", file, comments.schema()).status == "landed"
    assert landing.land("comments", "new", table[:1], comments.schema()).status == "landed"
    assert staged(tmp_path) == ["[[5, 10]]", None]


def staged(home):
    folder = Path(__file__).parents[2] / "dbt_project/models/staging/comments"
    (source,) = yaml.safe_load((folder / "comments.yml").read_text())["sources"]
    where = Template(source["config"]["external_location"]).render(env_var=lambda _: str(home))
    sql = Template((folder / "staging_comments.sql").read_text())
    query = sql.render(source=lambda _, name: where.format(name=name))
    found = duckdb.sql(f"select rationale from ({query}) order by rationale nulls last")
    return [value for (value,) in found.fetchall()]


def test_a_missing_kaggle_file_says_where_to_log_in(tmp_path, capsys):
    out = tmp_path / "inbox" / "x.parquet"
    assert comments_public.main(["jigsaw", str(tmp_path / "train.csv"), "--out", str(out)]) == 1
    assert "not found; jigsaw needs train.csv" in (said := capsys.readouterr().err)
    assert "kaggle.com/competitions/jigsaw-toxic" in said
    assert "log in" in said
    wrong = write_csv(tmp_path / "train.csv", ["id", "text"], ["1", "x"])
    assert comments_public.main(["jigsaw", str(wrong), "--out", str(out)]) == 1
    assert "KeyError('toxic')" in capsys.readouterr().err
    assert comments_public.main(["hatexplain", "https://x.example/a.json", "--out", str(out)]) == 1
    assert "give its --sha256 too" in capsys.readouterr().err
    assert not out.exists()


def test_a_public_set_is_written_whole_into_the_inbox(tmp_path, capsys):
    out = tmp_path / "inbox" / "hatexplain.parquet"
    files = [str(file) for file in hatexplain_files(tmp_path)]
    assert comments_public.main(["hatexplain", *files, "--out", str(out)]) == 0
    assert "2 texts" in capsys.readouterr().out
    assert pq.read_table(out).schema.equals(comments.schema())
    assert [file.name for file in out.parent.iterdir()] == [out.name]


@pytest.mark.mirror
def test_the_real_mirror_is_the_pinned_files():
    if "ASSAY_MIRROR" not in os.environ:
        pytest.skip("set ASSAY_MIRROR to the folder of the data mirror")
    for name, digest in comments_mirror.MIRROR_FILES:
        file = Path(os.environ["ASSAY_MIRROR"]) / name
        assert hashlib.sha256(file.read_bytes()).hexdigest() == digest, name
    tweets = list(
        comments_mirror.tweeteval(Path(os.environ["ASSAY_MIRROR"]) / "tweeteval/tweeteval.parquet")
    )
    parts = [(one.source, one.part) for one in tweets]
    # the official test parts: 2,970 of HatEval, 860 of OLID (TweetEval's README)
    assert parts.count(("tweeteval_hate", "holdout")) == 2970
    assert parts.count(("tweeteval_offensive", "holdout")) == 860
