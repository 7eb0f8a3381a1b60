"""The kind of text products: checks of a snapshot, and what it makes of a model's answers."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.contracts.learner import FitContext
from models.contracts.product import Trial
from models.core import splits
from models.core.checks import texts as checks
from models.core.text import validated
from models.core.text.describe import COLUMNS, describe
from models.kinds import Draft, Model, Tables
from models.kinds.text_labels import KIND
from models.moderation.text_toxicity.product import PRODUCT

LABELS = ("toxicity", "insult", "irony")
SMALL = PRODUCT.model_copy(
    update={"data": PRODUCT.data.model_copy(update={"labels": LABELS}), "trials": ()}
)
FEATURES = Path(__file__).parents[2] / "dbt_project/models/features/moderation"
FEATURES /= "features_moderation_comments.sql"
FIRST = ("red", "green", "blue", "black", "white", "grey", "pink", "brown")
NOUNS = ("garden", "window", "station", "teacher", "kitchen", "library", "mountain", "weather")


def sentence(number, rude):
    """Distinct in its letters, so that it is no near copy of another."""
    a, b, c = number % 8, number // 8 % 8, number // 64 % 8
    tail = "you zarking snoll" if rude else "a fine morning"
    return f"The {FIRST[a]} {NOUNS[b]} and the {FIRST[c]} {NOUNS[a]} {'!' * (3 * rude)} {tail}"


def sample(n=400, seed=0):
    """Texts, one an hour; a third rude. Irony is known of no text, insult of two in three."""
    rng = np.random.default_rng(seed)
    rude = rng.random(n) < 1 / 3
    flipped = rude ^ (rng.random(n) < 0.1)
    times = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(n), unit="h")
    written = [sentence(i, r) for i, r in enumerate(rude)]
    frame = pd.DataFrame(
        {
            "event_id": [f"t@{i}" for i in range(n)],
            "tenant": np.where(rng.random(n) < 0.5, "a", "b"),
            "event_time": times, "known_time": times + pd.Timedelta(hours=1),
            "label": flipped.astype(int), "judged": rng.random(n) < 0.9,
            "text": written, "slice_identity_women": rng.random(n) < 0.3,
            "label_toxicity": flipped.astype(float),
            "label_insult": np.where(rng.random(n) < 2 / 3, flipped, np.nan),
            "label_irony": np.full(n, np.nan),
        }
    )  # fmt: skip
    numbers = pd.DataFrame(describe(written), columns=[c.name for c in COLUMNS])
    whole = {c.name: "int64" for c in COLUMNS if c.kind == "int"}
    return pd.concat([frame, numbers.astype(whole)], axis=1)


def outcome(frame, previous=None):
    parts = splits.split(frame, SMALL.data.split)
    found = KIND.check(SMALL.data, Draft(frame, parts, previous, {}, same_definition=True))
    assert tuple(result.name for result in found) == tuple(KIND.checks)
    return {result.name: result.message for result in found if not result.passed}


def changed(column, places, value):
    frame = sample()
    frame.loc[places, column] = value
    return frame


def redescribed(frame):
    frame[[c.name for c in COLUMNS]] = describe(frame["text"].tolist())
    return frame.astype({c.name: "int64" for c in COLUMNS if c.kind == "int"})


def test_a_clean_snapshot_passes_every_check():
    assert outcome(sample()) == {}


def test_a_blank_text_and_other_numbers_than_the_service_would_log():
    failed = outcome(redescribed(changed("text", [7, 8], " ")))
    assert set(failed) == {"texts"}
    assert "2 texts are blank (e.g. t@7)" in failed["texts"]
    failed = outcome(changed("exclamations", [9], 40))
    assert set(failed) == {"texts"}
    assert "1 texts are described by other numbers" in failed["texts"]
    assert "exclamations; e.g. t@9" in failed["texts"]


def test_holdout_texts_that_read_like_training_texts():
    frame = sample()
    for holdout, train in zip(range(330, 342), range(12), strict=True):
        frame.loc[holdout, "text"] = frame.loc[train, "text"].upper().replace(" ", "  ") + " 2!"
    failed = outcome(redescribed(frame))
    assert set(failed) == {"text_overlap"}
    assert "12 of 80 holdout texts (15.0%)" in failed["text_overlap"]
    frame = sample()
    frame.loc[330:341, "text"] = "OK, thanks!"  # a greeting is no copy
    frame.loc[0, "text"] = "Ok thanks"
    assert outcome(redescribed(frame)) == {}


def test_labels_that_are_none_or_no_longer_there():
    frame = sample()
    parts = splits.split(frame, SMALL.data.split)

    def counted(current, previous=None):
        return checks.label_counts(current=current, previous=previous, data=SMALL.data, split=parts)

    fine = counted(frame)
    assert fine.passed
    assert fine.message == "2 of 3 labels are taught; too few texts for irony"
    train = frame.iloc[parts.train]["label_toxicity"]
    assert fine.numbers["toxicity"] == {"yes": int(train.sum()), "no": int((1 - train).sum())}
    half = counted(changed("label_insult", [3], 0.5))
    assert "1 rows have a label that is neither 0, 1 nor null (e.g. t@3)" in half.message
    untaught = frame.assign(label_toxicity=0.0)
    assert "toxicity, whose probability is logged, has 0 yes" in counted(untaught).message
    lost = frame.assign(label_insult=np.nan)
    assert "insult had labels enough in the last snapshot" in counted(lost, frame).message
    assert counted(lost, lost).passed
    assert "label_insult are missing" in counted(frame.drop(columns="label_insult")).message


class Exclaiming:
    """Answers the first two labels from exclamation marks; never learned the third."""

    labels = LABELS

    def predict(self, texts):
        shouting = np.array([min(text.count("!"), 3) / 4 + 0.1 for text in texts])
        return np.column_stack([shouting, shouting / 2, np.full(len(texts), np.nan)])


class Remembering:
    """A learner that keeps the rows it was given."""

    def fit(self, trial, rows, context):
        self.rows = rows
        return Exclaiming()


@pytest.fixture
def tables():
    frame = sample()
    parts = splits.split(frame, SMALL.data.split)
    train, holdout = (frame.iloc[p].reset_index(drop=True) for p in (parts.train, parts.holdout))
    return Tables(train, holdout, {})


@pytest.fixture
def fitted(tables):
    learner = Remembering()
    return learner, KIND.fit(SMALL, learner, Trial(name="any"), tables, FitContext())


@pytest.fixture
def model(fitted):
    class Candidate:
        thresholds = fitted[1].thresholds
        tenants = ("a",)
        seed = 0

    return Model(Candidate(), Exclaiming())


def test_the_newest_tenth_validates_and_is_not_fitted_on(tables, fitted):
    learner, fit = fitted
    n = len(tables.train)
    assert learner.rows.texts == tuple(tables.train["text"][: n - n // 10])
    assert np.isnan(learner.rows.labels[:, 2]).all()
    assert fit.threshold == fit.thresholds["toxicity"]
    assert fit.thresholds["irony"] == 0.5
    judged = tables.train[n - n // 10 :].query("judged")
    shouts = judged["exclamations"] > 0
    toxic = judged["label_toxicity"] == 1
    # one cut: ROC-AUC is the mean of recall and specificity (Hanley and McNeil 1982)
    area = (shouts[toxic].mean() + (~shouts[~toxic]).mean()) / 2
    known = judged["label_insult"].notna()
    insult = toxic & known
    other = (shouts[insult].mean() + (~shouts[~toxic & known]).mean()) / 2
    assert fit.cv["roc_auc"] == (pytest.approx((area + other) / 2),)


def test_labels_of_too_few_texts_are_not_taught(tables):
    few = tables.train.copy()
    few["label_irony"] = np.where(np.arange(len(few)) < 15, 1.0, 0.0)  # 15 yes, the others no
    learner = Remembering()
    fit = KIND.fit(SMALL, learner, Trial(name="x"), tables._replace(train=few), FitContext())
    assert np.isnan(learner.rows.labels[:, 2]).all()
    assert fit.thresholds["irony"] == 0.5


def test_thresholds_are_those_of_best_f1_on_the_known_cells():
    labels = np.array([[1, 1], [1, np.nan], [0, 1], [0, np.nan]])
    scores = np.array([[0.9, 0.2], [0.7, 0.9], [0.3, 0.4], [0.2, 0.8]])
    assert validated.thresholds(labels, scores, ("a", "b")) == {"a": 0.7, "b": 0.5}


def test_judged_texts_are_answered_per_label_and_paired(tables, model):
    units = KIND.units(SMALL, tables)
    assert len(units) == tables.holdout["judged"].sum()
    answers = KIND.answer(SMALL, model, units, tables)
    assert tuple(answers) == LABELS
    assert np.isnan(answers["irony"]).all()
    alone = KIND.paired(SMALL, units, (model.candidate, answers), None)
    assert not alone.paired
    alone.check()
    assert alone.value("roc_auc") > 0.8
    worse = {**answers, "toxicity": 1 - answers["toxicity"]}
    both = KIND.paired(SMALL, units, (model.candidate, answers), (model.candidate, worse))
    assert both.paired
    assert both.value("roc_auc") > both.value("roc_auc", champion=True)


def test_texts_asked_one_by_one_for_the_latency_are_answered_as_together(tables, model):
    units = KIND.units(SMALL, tables)
    together = KIND.answer(SMALL, model, units, tables)["toxicity"]
    alone = [call()[1][0, 0] for call in KIND.singles(model, units.iloc[:5])]
    assert alone == list(together[:5])


def test_a_model_of_other_labels_is_refused(tables, model):
    units = KIND.units(SMALL, tables)
    other = SMALL.model_copy(update={"data": SMALL.data.model_copy(update={"labels": LABELS[:2]})})
    with pytest.raises(ValueError, match="the product asks"):
        KIND.answer(other, model, units, tables)


def test_golden_requests_are_of_known_tenants_and_say_null_for_what_was_never_learned(
    tables, model
):
    units = KIND.units(SMALL, tables)
    golden = KIND.golden(SMALL, model, units, 8)
    assert len(golden.rows) == 8
    for row, expected in zip(golden.rows, golden.expected, strict=True):
        assert set(row) == {"tenant", "text"}
        assert row["tenant"] == "a"
        assert expected["irony"] is None
        assert expected["toxicity"] == Exclaiming().predict([row["text"]])[0, 0]


def test_traffic_is_watched_by_the_first_label_where_it_is_known(tables, model):
    units = KIND.units(SMALL, tables)
    units.loc[:4, "label_toxicity"] = np.nan
    answers = KIND.answer(SMALL, model, units, tables)
    watched = KIND.watched(SMALL, units, answers, tables)
    assert watched.inputs.shape == (len(units) - 5, len(COLUMNS))
    assert (watched.inputs == describe(units["text"][5:].tolist())).all()
    assert (watched.labels == units["label_toxicity"][5:]).all()
    assert (watched.scores == answers["toxicity"][5:]).all()
    assert KIND.watched_metric(SMALL) == "roc_auc"
    strict = SMALL.gate.model_copy(update={"metric": "macro_f1"})
    assert KIND.watched_metric(SMALL.model_copy(update={"gate": strict})) == "macro_f1"


def test_every_guardrail_s_slice_can_be_there():
    groups = {g.slice for g in PRODUCT.gate.guardrails} - {"overall"}
    sql = FEATURES.read_text()
    for name in groups:
        column = name.replace("bpsn_", "slice_").replace("bnsp_", "slice_")
        assert f" as {column}," in sql, name


def test_every_guarded_measure_is_examined_though_a_label_was_never_learned(tables, model):
    units = KIND.units(SMALL, tables).assign(rationale="[[4, 9]]")
    found = KIND.examine(SMALL, model, units, tables)
    assert "12 texts" in found["explain.rationale_auprc"].title
    guarded = {g.metric for g in PRODUCT.gate.guardrails if "." in g.metric}
    assert guarded <= set(found)
    assert "fairness.bpsn_auc.women" in found
    # exclamation marks are no letters: no typing error can hide them
    assert found["attack.typo"].value == found["attack.none"].value > 0.7
