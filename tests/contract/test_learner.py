"""What every trial of every product must do: fit, predict, be saved, loaded, and mean something."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from models.contracts.product import ModelProduct
from models.core import artifact, contents, metrics
from tests.contract.conftest import Fitted, Keys, Sealed, fit
from tests.contract.rows import cheap, draw, training_rows

#: Better than this on unseen rows is no accident: chance has a standard deviation of 0.03 here.
MINIMUM_AUC = 0.7


def test_predictions_are_finite_probabilities_of_the_rows(fitted: Fitted):
    inputs = draw(fitted.product, 50, seed=1)
    kept = inputs.copy()
    scores = fitted.predictor.predict(inputs)
    assert scores.shape == (50,)
    assert scores.dtype == np.float64
    assert np.isfinite(scores).all()
    assert scores.min() >= 0
    assert scores.max() <= 1
    assert len(np.unique(scores)) > 5, "a constant is no model"
    np.testing.assert_array_equal(inputs, kept)  # what it was given is not its to change


def test_the_same_seed_gives_the_same_model(fitted: Fitted):
    again = fit(fitted.product, fitted.trial)
    inputs = draw(fitted.product, 50, seed=2)
    np.testing.assert_array_equal(again.predictor.predict(inputs), fitted.predictor.predict(inputs))


def test_the_order_of_the_rows_does_not_matter(fitted: Fitted):
    inputs = draw(fitted.product, 60, seed=3)
    order = np.random.default_rng(0).permutation(len(inputs))
    expected = fitted.predictor.predict(inputs)[order]
    np.testing.assert_allclose(fitted.predictor.predict(inputs[order]), expected, atol=1e-12)


def test_a_row_alone_scores_as_in_a_batch(fitted: Fitted):
    inputs = draw(fitted.product, 20, seed=4)
    alone = [float(fitted.predictor.predict(row[None, :])[0]) for row in inputs]
    np.testing.assert_allclose(alone, fitted.predictor.predict(inputs), atol=1e-12)


def test_null_is_accepted_where_it_may_be(fitted: Fitted):
    inputs = draw(fitted.product, 20, seed=5)
    nullable = [column.nullable for column in fitted.product.data.columns]
    inputs[:, nullable] = np.nan
    assert np.isfinite(fitted.predictor.predict(inputs)).all()


def test_importance_is_shares_of_inputs(fitted: Fitted):
    shares = dict(fitted.predictor.importance())
    assert set(shares) <= set(fitted.trial.columns or fitted.product.data.names)
    assert min(shares.values()) >= 0
    assert sum(shares.values()) == pytest.approx(1.0)


def test_what_is_loaded_predicts_the_very_same(sealed: Sealed):
    inputs = draw(sealed.fitted.product, 80, seed=6)
    expected = sealed.fitted.predictor.predict(inputs)
    np.testing.assert_array_equal(sealed.loaded.predict(inputs), expected)
    assert sealed.loaded.importance() == sealed.fitted.predictor.importance()


def test_the_artifact_verifies_and_a_changed_one_does_not(sealed: Sealed, keys: Keys):
    assert artifact.verify(sealed.folder, keys[1]) == sealed.candidate
    for name in sealed.candidate.files:
        path = sealed.folder / name
        kept = path.read_bytes()
        path.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
        try:
            with pytest.raises(artifact.ArtifactError):
                artifact.load(sealed.folder, keys[1], sealed.fitted.learner)
        finally:
            path.write_bytes(kept)


def test_saving_and_sealing_again_gives_the_same_id(sealed: Sealed, keys: Keys, tmp_path):
    """So a rerun after a crash finds the candidate it already sealed."""
    again = fit(sealed.fitted.product, sealed.fitted.trial)
    again.predictor.save(tmp_path)
    given = sealed.candidate.model_dump(exclude={"candidate_id", "files"})
    candidate = artifact.seal(tmp_path, private_key=keys[0], **given)
    assert candidate.candidate_id == sealed.candidate.candidate_id


def test_no_file_is_a_pickle_nor_holds_one(sealed: Sealed):
    for path in sealed.folder.rglob("*"):
        members = {path.name: path.read_bytes()}
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(io.BytesIO(members[path.name])) as archive:
                members |= {name: archive.read(name) for name in archive.namelist()}
        for name, data in members.items():
            assert not contents.is_pickle(data), f"{path.name}/{name} is a pickle"
            assert not name.endswith((".pkl", ".pickle", ".joblib", ".pt"))


def test_the_best_trial_learns_what_there_is_to_learn(product: ModelProduct):
    """Minimum function: labels that depend on the inputs are told apart on rows never seen."""
    unseen = training_rows(product, seed=7)
    scores = {
        trial.name: fit(product, cheap(trial)).predictor.predict(unseen.inputs)
        for trial in product.trials
    }
    found = {name: metrics.compute("roc_auc", unseen.labels, s, 0.5) for name, s in scores.items()}
    assert max(found.values()) > MINIMUM_AUC, found
