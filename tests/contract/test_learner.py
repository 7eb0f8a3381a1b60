"""What every trial of every product must do: fit, answer, be saved, loaded, and mean something."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np
import pandas as pd
import pytest

from models.contracts.learner import Query
from models.contracts.product import LABEL_PREFIX, Contract, ModelProduct
from models.core import artifact, contents
from models.kinds import kind_of
from models.registry import load_learner, products
from tests.contract.conftest import Bench, Case, Keys, Sealed

#: How far an answer may be from the same one in other company: networks sum float32 padded to,
#: and stacked with, their neighbours.
COMPANY: dict[Contract, float] = {"row_scores": 1e-12, "text_labels": 1e-5, "ranked_items": 1e-5}
#: Metric by which the best trial must beat chance on unseen units, and what is no accident: chance
#: has a ROC-AUC of 0.5 (deviation 0.03 here), and puts a tenth of a user's few items into ten.
MINIMUM: dict[Contract, tuple[str, float]] = {
    "row_scores": ("roc_auc", 0.7),
    "text_labels": ("roc_auc", 0.7),
    "ranked_items": ("ndcg_at_10", 0.2),
}


def same(one: dict[str, Any], other: dict[str, Any], atol: float = 0.0) -> None:
    """Two models, or one asked twice, say the same of the same units."""
    assert one.keys() == other.keys()
    for name, values in one.items():
        np.testing.assert_allclose(other[name], values, rtol=0, atol=atol, err_msg=name)


def of(contract: Contract) -> pytest.MarkDecorator:
    """Only trials of products of this contract."""
    cases = [(p.key, t.name) for p in products() if p.contract == contract for t in p.trials]
    return pytest.mark.parametrize("case", cases, ids="-".join, indirect=True)


def test_answers_are_numbers_and_missing_only_where_nothing_was_learned(case: Case):
    kept = case.units.copy()
    answers = case.bench.answers(case.sealed.model, case.units)
    pd.testing.assert_frame_equal(case.units, kept)  # what it was given is not its to change
    for name, values in answers.items():
        assert values.shape == (len(case.units),), name
        assert values.dtype.kind == "f", name
        untaught = f"{LABEL_PREFIX}{name}"
        if untaught in case.bench.tables.train and case.bench.tables.train[untaught].isna().all():
            assert np.isnan(values).all(), f"nobody ever said what {name} is"
        elif name not in case.bench.product.data.names:
            assert np.isfinite(values).all(), name
    assert max(len(np.unique(values)) for values in answers.values()) > 5, "a constant is no model"


def test_the_watched_score_is_a_probability_of_a_label(case: Case):
    product, kind = case.bench.product, kind_of(case.bench.product.contract)
    answers = case.bench.answers(case.sealed.model, case.units)
    seen = kind.watched(product, case.units, answers, case.bench.tables)
    assert seen.inputs.shape == (len(seen.scores), len(product.data.columns))
    assert seen.scores.min() >= 0
    assert seen.scores.max() <= 1
    assert set(np.unique(seen.labels)) <= {0, 1}


def test_the_same_seed_gives_the_same_model(case: Case, again: Sealed):
    expected = case.bench.answers(case.sealed.model, case.units)
    same(expected, case.bench.answers(again.model, case.units))


def test_saving_and_sealing_again_gives_the_same_id(case: Case, again: Sealed):
    """So a rerun after a crash finds the candidate it already sealed."""
    assert again.candidate.files == case.sealed.candidate.files
    assert again.candidate.candidate_id == case.sealed.candidate.candidate_id


def test_neither_the_order_nor_the_company_of_a_unit_matters(case: Case):
    units, contract = case.units, case.bench.product.contract
    expected = case.bench.answers(case.sealed.model, units)
    order = np.random.default_rng(0).permutation(len(units))
    shuffled = case.bench.answers(case.sealed.model, units.iloc[order].reset_index(drop=True))
    same({name: v[order] for name, v in expected.items()}, shuffled, COMPANY[contract])
    for number in (0, 7, 19):
        alone = units.iloc[number : number + 1].reset_index(drop=True)
        one = case.bench.answers(case.sealed.model, alone)
        same({n: v[number : number + 1] for n, v in expected.items()}, one, COMPANY[contract])


def test_null_is_accepted_where_it_may_be(case: Case):
    nullable = [c.name for c in case.bench.product.data.columns if c.nullable]
    units = case.units.assign(**dict.fromkeys(nullable, np.nan))
    answers = case.bench.answers(case.sealed.model, units)
    expected = case.bench.answers(case.sealed.model, case.units)
    assert [np.isfinite(v).all() for v in answers.values()] == [
        np.isfinite(v).all() for v in expected.values()
    ]


@of("text_labels")
def test_any_text_is_answered(case: Case):
    texts = ["", " ", "\0", "a", "😀" * 50, "x" * 5000, "word " * 500, "ÄÖÜ שלום 你好"]
    scores = case.sealed.loaded.predict(texts)
    assert case.sealed.loaded.labels == case.bench.product.data.labels
    assert scores.shape == (len(texts), len(case.sealed.loaded.labels))
    assert len({tuple(np.isnan(line)) for line in scores}) == 1, "a label is learned or is not"
    known = scores[~np.isnan(scores)]
    assert ((known >= 0) & (known <= 1)).all()


@of("ranked_items")
def test_any_question_is_answered_from_what_may_be_answered(case: Case):
    model = case.sealed.loaded
    some = tuple(model.items[:30])
    asked = [
        Query(None), Query("nobody knows me"), Query(model.users[0]), Query(None, history=some[:3]),
        Query(model.users[0], k=5, only=frozenset(some), exclude=frozenset(some[:10])),
        Query(model.users[0], k=len(model.items), seen=True), Query(None, only=frozenset({"?"})),
        *(Query(model.users[1], algorithm=name) for name in model.algorithms),
    ]  # fmt: skip
    rankings = model.recommend(asked)
    assert [one.known for one in rankings[:3]] == [False, False, True]
    for query, ranking in zip(asked, rankings, strict=True):
        assert len(ranking.items) == len(set(ranking.items)) <= query.k
        assert list(ranking.scores) == sorted(ranking.scores, reverse=True)
        assert not set(ranking.items) & (query.exclude | set(query.history))
        assert query.only is None or set(ranking.items) <= query.only
    assert [len(rankings[number].items) for number in (0, 5, 6)] == [10, len(model.items), 0]
    with pytest.raises(ValueError, match="no such"):
        model.recommend([Query(None, algorithm="no such")])


def test_importance_is_shares_of_inputs(case: Case):
    shares = dict(case.sealed.model.predictor.importance())
    if case.bench.product.contract == "row_scores":  # the others may have none, or of their own
        assert shares
        assert set(shares) <= set(case.trial.columns or case.bench.product.data.names)
    if shares:
        assert min(shares.values()) >= 0
        assert sum(shares.values()) == pytest.approx(1.0)


def test_what_is_loaded_answers_the_very_same(case: Case):
    bench, sealed = case.bench, case.sealed
    kind = kind_of(bench.product.contract)
    same(bench.answers(sealed.model, case.units), bench.answers(sealed.served, case.units))
    assert sealed.loaded.importance() == sealed.model.predictor.importance()
    golden = kind.golden(bench.product, sealed.model, case.units, 12)
    assert kind.golden(bench.product, sealed.served, case.units, 12) == golden


def test_the_artifact_verifies_and_a_changed_one_does_not(case: Case, keys: Keys):
    folder, candidate = case.sealed.folder, case.sealed.candidate
    assert artifact.verify(folder, keys[1]) == candidate
    for name in candidate.files:
        path = folder / name
        kept = path.read_bytes()
        path.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
        try:
            with pytest.raises(artifact.ArtifactError):
                artifact.load(folder, keys[1], load_learner(case.bench.product))
        finally:
            path.write_bytes(kept)


def test_no_file_is_a_pickle_nor_holds_one(case: Case):
    for path in case.sealed.folder.rglob("*"):
        if path.is_dir():
            continue
        members = {path.name: path.read_bytes()}
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(io.BytesIO(members[path.name])) as archive:
                members |= {name: archive.read(name) for name in archive.namelist()}
        for name, data in members.items():
            assert not contents.is_pickle(data), f"{path.name}/{name} is a pickle"
            assert not name.endswith((".pkl", ".pickle", ".joblib", ".pt"))


def test_the_best_trial_learns_what_there_is_to_learn(product: ModelProduct, bench: Bench):
    """Minimum function: what depends on the inputs is told apart on units never seen."""
    kind, units = kind_of(product.contract), bench.units()
    metric, least = MINIMUM[product.contract]
    found = {}
    for trial in product.trials:
        model = bench.sealed(trial.name).served
        asked = (model.candidate, bench.answers(model, units))
        found[trial.name] = kind.paired(bench.product, units, asked, None).value(metric)
    assert max(found.values()) > least, found
