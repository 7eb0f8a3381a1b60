"""The blend: what its members weigh, and which of them it takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.contracts.learner import FitContext, Query
from models.contracts.product import Trial
from models.core.ranking import blend, frames
from models.core.ranking.recommender import CatalogueRecommender
from models.kinds import Tables
from models.recommendation.films.learner import FilmsLearner
from tests.unit.ranked_tables import ITEMS, divided, fitted


@pytest.fixture(scope="module")
def tables() -> Tables:
    return divided()


def test_a_blend_keeps_its_members_and_is_the_same_when_loaded(tables: Tables, tmp_path: Path):
    names = ("popularity", "itemknn")
    bases = {
        name: fitted(Trial(name=name, params={"model": name}), tables, FitContext()).predictor
        for name in names
    }
    trial = Trial(name="blend", params={"model": "blend"}, after=names)
    found = fitted(trial, tables, FitContext(bases=bases)).predictor
    weights = found.members["blend"].weights
    assert sum(weights.values()) == pytest.approx(1.0)
    assert weights["itemknn"] > weights["popularity"], "only one of them knows the circles"
    assert found.algorithms == ("blend", "popularity", "itemknn")
    found.save(tmp_path)
    again = FilmsLearner().load(tmp_path)
    queries = [Query(f"u{n:02d}", algorithm=name) for n in range(9) for name in found.algorithms]
    assert again.recommend(queries) == found.recommend(queries)
    alone = bases["itemknn"].recommend([Query("u03")])
    assert found.recommend([Query("u03", algorithm="itemknn")])[0].items == alone[0].items


def test_members_count_alike_whatever_their_scale(tables: Tables):
    rows = frames.interactions(tables.train, frames.catalogue(tables.more[ITEMS]))
    found = FilmsLearner().fit(Trial(name="a", params={"model": "itemknn"}), rows, FitContext())
    member = found.members["a"]
    scores = blend.standardised(
        member, np.array([0, -1]), [np.array([1, 2]), np.empty(0, np.int64)]
    )
    assert (scores[0].mean(), scores[0].std()) == (pytest.approx(0, abs=1e-6), pytest.approx(1))
    assert not scores[1].any(), "it has nothing to answer from"


def test_a_blend_without_members_or_with_picky_ones_is_refused(tables: Tables):
    rows = frames.interactions(tables.train, frames.catalogue(tables.more[ITEMS]))
    with pytest.raises(ValueError, match="blends 0 members"):
        FilmsLearner().fit(Trial(name="b", params={"model": "blend"}), rows, FitContext())
    picky = CatalogueRecommender.of(
        rows,
        FilmsLearner()
        .fit(Trial(name="a", params={"model": "itemknn", "liked_only": True}), rows, FitContext())
        .members,
    )
    with pytest.raises(ValueError, match=r"\['a'\] read liked items only"):
        blend.Blend(picky.members, {"a": 1.0})
