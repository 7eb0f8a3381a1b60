"""The generator: one seed one table, and a law that is true of its labels."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from assets.sources import comments_generator as generator
from assets.sources.comments import schema
from assets.sources.comments_world import ACTS, WORDS, disguise, harmful_in
from models.core.text.taxonomy import DECIDING, LABELS


@pytest.fixture(scope="module")
def simulation():
    return generator.simulate(seed=0, rows=4000)


@pytest.fixture(scope="module")
def newest(simulation):
    """One row per text with its newest labels."""
    frame = simulation.table.to_pandas().drop_duplicates("event_id", keep="last")
    return frame.set_index("event_id").loc[simulation.event_ids]


def test_one_seed_gives_one_table_of_the_raw_schema(simulation):
    one, same, other = (generator.generate(seed, rows=150) for seed in (1, 1, 2))
    assert one.equals(same)
    assert not set(one["event_id"].to_pylist()) & set(other["event_id"].to_pylist())
    assert simulation.table.schema.equals(schema())
    for field in schema():
        assert field.nullable or simulation.table[field.name].null_count == 0, field.name
    with pytest.raises(ValueError, match="rows must be at least 1"):
        generator.generate(rows=0)


@pytest.mark.parametrize("label", LABELS)
def test_the_law_is_true_of_the_labels(simulation, newest, label):
    law = simulation.probability[:, LABELS.index(label)]
    known = newest[label].notna().to_numpy()
    said = newest[label][known].astype(float).to_numpy()
    for low, high in ((0.0, 0.1), (0.1, 0.6), (0.6, 1.0)):
        rows = (law[known] >= low) & (law[known] < high)
        if rows.sum() > 50:
            p = law[known][rows]
            spread = np.sqrt((p * (1 - p)).sum()) / rows.sum()
            assert abs(said[rows].mean() - p.mean()) < 4 * spread


def test_nothing_can_be_perfect_and_most_can_be_known(simulation, newest):
    toxic = newest["toxicity"].notna().to_numpy()
    best = roc_auc_score(newest["toxicity"][toxic].astype(int), simulation.probability[toxic, 0])
    assert 0.85 < best < 0.95
    assert 0.2 < newest["toxicity"][toxic].mean() < 0.4


def test_hard_cases_speak_of_harm_and_do_none(simulation, newest):
    acts = pd.Series(simulation.acts, index=newest.index)
    for act in ("negation", "quotation", "counter-speech", "excuse"):
        texts = newest["text"][acts == act].str.lower()
        words = [word.lower() for word in (*WORDS["insult"], *WORDS["rude"])]
        named = texts.map(lambda text, words=words: any(w in text for w in words))
        assert named.mean() > 0.6, act
        assert ACTS[act].law.get("toxicity", 0) < 0.1
    assert (newest["counter_speech"] == (acts == "counter-speech")).all()


def test_who_finds_a_text_harmful_marks_its_harmful_words(newest):
    assert harmful_in("You Sn0ll, so D*MB and snollish") == [(4, 9), (14, 18), (23, 31)]
    said = newest[list(DECIDING)].eq(True).any(axis=1)
    assert not newest["rationale"][~said].notna().any()
    assert newest["rationale"][said].notna().mean() > 0.75  # others were misread, or are irony


def test_texts_without_a_deciding_label_are_few_and_the_rest_is_mostly_answered(newest):
    undecided = newest[list(DECIDING)].isna().all(axis=1).mean()
    assert 0.03 < undecided < 0.07
    assert newest["threat"].notna().all()
    assert 0.7 < newest["irony"].notna().mean() < 0.9


def test_labels_come_late_and_corrections_later_and_texts_never_change(simulation):
    versions = simulation.table.to_pandas()
    assert versions["known_at"].is_monotonic_increasing
    delay = versions.drop_duplicates("event_id")
    delay = delay["known_at"] - delay["event_time"]
    assert delay.min() >= pd.Timedelta(minutes=1)
    assert delay.max() <= pd.Timedelta(hours=48)
    twice = versions[versions["event_id"].duplicated(keep=False)]
    assert 0.01 < twice["event_id"].nunique() / versions["event_id"].nunique() < 0.03
    assert (twice.groupby("event_id")["text"].nunique() == 1).all()
    assert (twice.groupby("event_id")["context"].nunique() <= 1).all()


def test_a_disguised_word_keeps_its_ends_and_other_words_are_left_alone():
    assert disguise("You stupid moron, what a nice stop") == "You st*pid m0ron, what a nice stop"
