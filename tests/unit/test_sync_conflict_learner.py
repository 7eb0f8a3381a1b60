"""The product's learner: deterministic, safe to save and load, quick, and as good as it must be."""

import json
import time

import numpy as np
import pytest
from pydantic import ValidationError

from models.contracts.learner import TrainingRows
from models.contracts.product import Trial
from models.core import calibration, frames, metrics, splits
from models.core.artifact import ArtifactError
from models.core.contents import refusal
from models.core.tabular import PROBE_ROWS
from models.risk.sync_conflict.learner import DERIVED, SyncConflictLearner
from models.risk.sync_conflict.product import COLUMNS, NAMED, PRODUCT
from tests.unit.sample_frames import mirror

NAMES = PRODUCT.data.names
LEARNER = SyncConflictLearner()


def rows(n=900, seed=0):
    """Random rows whose label follows overlapping lines; nulls where the product allows them."""
    rng = np.random.default_rng(seed)
    inputs = rng.gamma(1.0, 5.0, (n, len(NAMES)))
    for i, column in enumerate(COLUMNS):
        if column.maximum == 1:
            inputs[:, i] = rng.random(n)
        if column.nullable:
            inputs[rng.random(n) < 0.1, i] = np.nan
    lines = np.nan_to_num(inputs[:, NAMES.index("lines_overlap_ours")])
    odds = np.exp(0.4 * lines - 3)
    labels = (rng.random(n) < odds / (1 + odds)).astype(float)
    return TrainingRows(inputs, labels, NAMES, rng.random(n) < 0.7)


def small(trial):
    """The trial with fewer rounds."""
    quick = {"rounds": 30} if trial.params["model"] == "xgboost" else {}
    return trial.model_copy(update={"params": {**trial.params, **quick}})


TRIALS = {trial.name: small(trial) for trial in PRODUCT.trials}


@pytest.fixture(scope="module")
def fitted():
    return {name: LEARNER.fit(trial, rows()) for name, trial in TRIALS.items()}


@pytest.mark.parametrize("name", TRIALS)
def test_every_trial_learns_and_predicts_probabilities(name, fitted):
    later = rows(seed=1)
    scores = fitted[name].predict(later.inputs)
    assert scores.shape == (900,)
    assert scores.dtype == np.float64
    assert ((scores > 0) & (scores < 1)).all()
    if name != "logistic_named":  # its columns know nothing of this law
        assert metrics.compute("roc_auc", later.labels, scores) > 0.75


@pytest.mark.parametrize("name", TRIALS)
def test_a_fit_is_deterministic_to_the_byte(name, fitted, tmp_path):
    for folder, predictor in (("a", fitted[name]), ("b", LEARNER.fit(TRIALS[name], rows()))):
        (tmp_path / folder).mkdir()
        predictor.save(tmp_path / folder)
    files = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert files == sorted(p.name for p in (tmp_path / "b").iterdir())
    for file in files:
        data = (tmp_path / "a" / file).read_bytes()
        assert data == (tmp_path / "b" / file).read_bytes(), file
        assert refusal(file, data) is None


@pytest.mark.parametrize("name", TRIALS)
def test_a_loaded_model_predicts_the_same_alone_and_in_a_batch(name, fitted, tmp_path):
    fitted[name].save(tmp_path)
    loaded, inputs = LEARNER.load(tmp_path), rows(seed=2).inputs[:50]
    expected = fitted[name].predict(inputs)
    np.testing.assert_array_equal(loaded.predict(inputs), expected)
    one_by_one = [loaded.predict(row[None, :])[0] for row in inputs]
    np.testing.assert_allclose(one_by_one, expected, rtol=1e-6)
    assert loaded.importance() == fitted[name].importance()
    (tmp_path / "again").mkdir()
    loaded.save(tmp_path / "again")
    reloaded = LEARNER.load(tmp_path / "again")
    np.testing.assert_array_equal(reloaded.predict(inputs), expected)


@pytest.mark.parametrize("name", TRIALS)
def test_importance_is_a_share_of_the_trials_columns(name, fitted):
    shares = fitted[name].importance()
    assert tuple(shares) == (TRIALS[name].columns or NAMES)
    assert sum(shares.values()) == pytest.approx(1)
    assert min(shares.values()) >= 0
    if name != "logistic_named":
        assert max(shares, key=lambda column: shares[column]) == "lines_overlap_ours"


def test_a_trial_reads_only_its_columns(fitted):
    inputs = rows(seed=3).inputs
    other = inputs.copy()
    other[:, [i for i, name in enumerate(NAMES) if name not in NAMED]] = -99.0
    baseline = fitted["logistic_named"]
    np.testing.assert_array_equal(baseline.predict(inputs), baseline.predict(other))
    with pytest.raises(ValueError, match=r"shape \(3, 5\).*concurrent_editors"):
        baseline.predict(inputs[:3, :5])


def test_the_seed_matters_and_weights_matter():
    table = rows()
    trial = TRIALS["xgboost"]
    first = LEARNER.fit(trial, table).predict(table.inputs)
    other = LEARNER.fit(trial.model_copy(update={"seed": 1}), table).predict(table.inputs)
    even = LEARNER.fit(trial, table._replace(judged=None)).predict(table.inputs)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, even)


def test_derived_columns_by_hand():
    values = {
        "lines_overlap_ours": 3.0, "lines_overlap_theirs": 4.0, "user_past_conflicts": 2.0,
        "user_past_merges": 20.0, "user_conflict_rate": 0.1, "tenant_recent_conflict_rate": 0.19,
        "overlap_past_conflicts_sum": 6.0, "overlap_edits_sum": 0.0, "files_overlap": 3.0,
    }  # fmt: skip
    found = {d.name: d.compute(*(np.array([values[s]]) for s in d.sources))[0] for d in DERIVED}
    assert found == pytest.approx(
        {
            "overlap_lines_product": 12.0,
            "overlap_lines_sum": 7.0,
            "user_conflict_rate_smoothed": 0.1,
            "user_conflict_rate_relative": 0.5,
            "overlap_conflicts_per_edit": 6.0,
            "overlap_conflicts_per_file": 2.0,
            "overlap_edits_per_file": 0.0,
        }
    )
    assert all(np.isnan(d.compute(*(np.array([np.nan]) for _ in d.sources))[0]) for d in DERIVED)


def test_the_average_is_calibrated_on_rows_it_did_not_see():
    table, later = rows(n=2_000), rows(n=2_000, seed=9)
    found = {}
    for folds in (1, 5):
        params = {"model": "xgboost", "rounds": 80, "rate": 0.4, "depth": 6, "folds": folds}
        scores = LEARNER.fit(Trial(name="t", params=params), table).predict(later.inputs)
        found[folds] = calibration.fit(later.labels, scores).slope
    assert found[1] < 0.6  # overconfident
    assert abs(found[5] - 1) < 0.3


@pytest.mark.parametrize("params", [{}, {"model": "random"}])
def test_an_unknown_model_is_refused(params):
    with pytest.raises(ValueError, match="'logistic' or 'xgboost'"):
        LEARNER.fit(Trial(name="t", params=params), rows())


def test_a_misspelt_parameter_is_refused():
    with pytest.raises(ValidationError, match="dept"):
        LEARNER.fit(Trial(name="t", params={"model": "xgboost", "dept": 3}), rows())


def rewrite(folder, **changes):
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("name", ["logistic_all", "xgboost_calibrated"])
def test_a_model_that_scores_otherwise_than_it_did_is_refused(name, fitted, tmp_path):
    fitted[name].save(tmp_path)
    rewrite(tmp_path, scores=[0.5] * PROBE_ROWS)
    with pytest.raises(ArtifactError, match=r"its own probe rows .* off.*fit it again"):
        LEARNER.load(tmp_path)


def test_what_cannot_be_loaded_says_why(fitted, tmp_path):
    with pytest.raises(ArtifactError, match=r"no model.json: fit"):
        LEARNER.load(tmp_path)
    fitted["xgboost"].save(tmp_path)
    rewrite(tmp_path, derived=["moon_phase"])
    with pytest.raises(ArtifactError, match=r"moon_phase.*no longer derives"):
        LEARNER.load(tmp_path)
    (tmp_path / "booster.ubj").write_bytes(b"{L\0\0\0\0\0\0\0\7learner")
    with pytest.raises(ArtifactError, match="no XGBoost model"):
        LEARNER.load(tmp_path)


@pytest.fixture(scope="module")
def real():
    table = mirror()
    parts = splits.split(table, PRODUCT.data.split)
    return (
        frames.training_rows(table.iloc[parts.train], NAMES),
        table.iloc[parts.holdout],
    )


#: Local merges and the hard slice of the mirror's test split: ROC-AUC, average precision. The
#: mirror's own gradient boosting has 0.957 / 0.842 and 0.850 / 0.826; its five features 0.855 /
#: 0.571 and 0.687 / 0.649; its logistic on all 0.931 / 0.751 and 0.781 / 0.748.
AT_LEAST = {
    "logistic_named": ((0.855, 0.571), (0.687, 0.640)),
    "logistic_all": ((0.931, 0.751), (0.781, 0.748)),
    "xgboost": ((0.957, 0.842), (0.850, 0.826)),
    "xgboost_calibrated": ((0.957, 0.842), (0.850, 0.826)),
}


@pytest.mark.mirror
@pytest.mark.parametrize("trial", PRODUCT.trials, ids=lambda trial: trial.name)
def test_figures_on_the_mirror(trial, real, tmp_path):
    table, holdout = real
    predictor = LEARNER.fit(trial, table)
    scores = predictor.predict(frames.matrix(holdout, NAMES))
    labels = frames.labels(holdout)
    for column, (area, precision) in zip(
        ("judged", "slice_hard"), AT_LEAST[trial.name], strict=True
    ):
        chosen = holdout[column].to_numpy()
        assert metrics.compute("roc_auc", labels[chosen], scores[chosen]) >= area
        assert metrics.compute("average_precision", labels[chosen], scores[chosen]) >= precision
    if trial.params.get("folds"):
        judged = holdout["judged"].to_numpy()
        slope = metrics.compute("calibration_slope", labels[judged], scores[judged])
        assert abs(slope - 1) < 0.1
    predictor.save(tmp_path)
    served, one = LEARNER.load(tmp_path), frames.matrix(holdout.iloc[:1], NAMES)
    times = []
    for _ in range(200):
        begun = time.perf_counter()
        served.predict(one)
        times.append(time.perf_counter() - begun)
    assert np.median(times) < 0.005


def test_an_average_of_boosters_is_one_booster():
    """Merging trees must give the mean of the margins, up to float32 rounding, also for NaN."""
    import xgboost

    from models.core.boosting import average

    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(600, 4))
    inputs[rng.random(inputs.shape) < 0.1] = np.nan
    labels = (np.nan_to_num(inputs[:, 0]) + rng.normal(size=600) > 0.5).astype(float)
    boosters = [
        xgboost.train(
            {"objective": "binary:logistic", "seed": seed, "subsample": 0.7, "max_depth": 3},
            xgboost.DMatrix(inputs[seed::3], labels[seed::3]),
            num_boost_round=rounds,
        )
        for seed, rounds in ((0, 20), (1, 5), (2, 12))
    ]
    matrix = xgboost.DMatrix(inputs)
    margins = [booster.predict(matrix, output_margin=True) for booster in boosters]
    merged = average(boosters)
    assert np.ptp(margins, axis=0).max() > 0.5, "the boosters must differ for this to mean anything"
    np.testing.assert_allclose(
        merged.predict(matrix, output_margin=True), np.mean(margins, axis=0), atol=1e-5
    )
    assert merged.num_boosted_rounds() == 37
