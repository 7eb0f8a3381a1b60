"""TF-IDF and logistic regression: as scikit-learn computes it, only sooner, and kept safely."""

import json
import time

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.special import expit
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import roc_auc_score

from models.contracts.learner import TextRows
from models.contracts.product import Trial
from models.core.artifact import ArtifactError
from models.core.contents import refusal
from models.core.text import linear
from tests.unit.sample_texts import LABELS, rows, texts

ROWS = rows()


def fitted(rows=ROWS, **params):
    return linear.fit(Trial(name="t", params={"model": "tfidf_linear", **params}), rows)


def features(texts, block):
    """Rows of one block as a dense matrix."""
    dense = np.zeros((len(texts), len(block.idf)))
    for number, text in enumerate(texts):
        columns, values = block.row(text)
        dense[number, columns] = values
    return dense


@pytest.mark.parametrize("number", [0, 1])
def test_a_row_is_what_scikit_learn_makes_of_it(number):
    asked = [*texts(20, seed=9)[0], "", "unknown zzz", "YOU you You"]
    theirs = TfidfVectorizer(
        **linear.ANALYZERS[number], min_df=2, max_features=60_000, sublinear_tf=True
    ).fit(ROWS.texts)
    ours = features(asked, fitted().blocks[number])
    np.testing.assert_allclose(ours, theirs.transform(asked).toarray(), atol=1e-12)


@pytest.mark.parametrize("balanced", [False, True])
def test_weights_are_the_optimum_on_the_rows_where_the_label_is_known(balanced):
    model = fitted(penalty=2.0, balanced=balanced)
    x = np.hstack([features(ROWS.texts, block) for block in model.blocks])
    x = np.hstack([x, np.ones((len(x), 1))])  # liblinear also penalises the intercept
    for column, label in enumerate(model.answered):
        known = ~np.isnan(ROWS.labels[:, label])
        y = ROWS.labels[known, label]
        w = np.append(model.weights[:, column], model.intercepts[column])
        share = np.where(y == 1, y.mean(), 1 - y.mean())
        weights = 1 / (2 * share) if balanced else np.ones(len(y))
        gradient = w + 2.0 * x[known].T @ (weights * (expit(x[known] @ w) - y))
        assert np.abs(gradient).max() < 0.05 * np.abs(x[known].T @ (0.5 - y)).max()


def test_it_finds_the_words_and_says_nothing_of_labels_it_never_saw():
    asked, toxic = texts(100, seed=5)
    scores = fitted().predict(asked)
    assert roc_auc_score(toxic, scores[:, 0]) > 0.99
    assert np.isfinite(scores[:, :2]).all()
    assert np.isnan(scores[:, 2:]).all()  # only noes, and nothing


def test_nothing_to_learn_is_refused():
    nothing = TextRows(ROWS.texts, np.full((len(ROWS.texts), 4), np.nan), LABELS)
    with pytest.raises(ValueError, match=r"none of the labels toxicity.* both a yes and a no"):
        fitted(nothing)
    with pytest.raises(ValidationError, match="learning_rate"):
        fitted(learning_rate=0.1)


def test_saved_and_loaded_it_scores_the_same_and_a_changed_weight_is_noticed(tmp_path):
    model = fitted()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        fitted().save(tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        assert refusal(path.name, path.read_bytes()) is None
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    asked = [*texts(10, seed=3)[0], "", "\ud800"]
    np.testing.assert_array_equal(linear.load(tmp_path / "a").predict(asked), model.predict(asked))
    content = json.loads((tmp_path / "a" / "model.json").read_text())
    content["scores"][3][0] += 1e-3
    (tmp_path / "a" / "model.json").write_text(json.dumps(content))
    with pytest.raises(ArtifactError, match=r"probe texts 0\.001 off"):
        linear.load(tmp_path / "a")


def test_held_out_texts_are_not_fitted_on():
    from models.core.text.rows import held_out, take

    kept = ~held_out(ROWS.texts, 0.3)
    whole, part = fitted(held=0.3), fitted(take(ROWS, kept))
    np.testing.assert_array_equal(whole.predict(ROWS.texts), part.predict(ROWS.texts))


def test_one_text_takes_less_than_two_milliseconds():
    model, asked = fitted(), [" ".join(texts(6, seed=4)[0])]
    spent = []
    for _ in range(20):
        began = time.process_time()
        model.predict(asked)
        spent.append(time.process_time() - began)
    assert len(asked[0]) > 150
    assert min(spent) < 0.002


def test_importance_is_by_kind_of_term():
    shares = fitted().importance()
    assert set(shares) == {"words", "letters"}
    assert sum(shares.values()) == pytest.approx(1.0)
