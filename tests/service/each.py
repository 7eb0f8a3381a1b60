"""A small sealed model and its bento for a product of any contract. Asserts nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from models.contracts.api import GoldenSet, to_rows
from models.contracts.learner import FitContext, Query
from models.contracts.product import Contract, Trial
from models.registry import load_learner
from tests.service import small
from tests.service.site import SMALL, TENANTS, Built, Site, draw, training_rows

TEXT_TRIAL = Trial(name="small", params={"model": "tfidf_linear", "min_texts": 1})
MEMBERS = ("ease", "popularity")
CURVE = {"hit_intercept": -1.5, "hit_slope": 0.5}


def make(site: Site, version: str, seed: int = 1) -> Built:
    """Fit, seal and build a model that the contract of the site's product can serve."""
    folder, predictor = seal(site, version, seed)
    return site.pack(version, folder, predictor, _GOLDEN[site.product.contract](site, predictor))


def seal(site: Site, version: str, seed: int = 1) -> tuple[Path, Any]:
    """The same without a bento: the sealed artifact, and the model as loaded from there."""
    return _SEAL[site.product.contract](site, version, seed)


def _rows(site: Site, version: str, seed: int) -> tuple[Path, Any]:
    product = site.product
    fitted = load_learner(product).fit(SMALL, training_rows(product, seed), FitContext())
    return site.seal(version, fitted, SMALL, seed)


def _texts(site: Site, version: str, seed: int) -> tuple[Path, Any]:
    product = site.product
    fitted = load_learner(product).fit(TEXT_TRIAL, small.texts(product, seed), FitContext())
    return site.seal(version, fitted, TEXT_TRIAL, seed, thresholds={product.data.labels[0]: 0.5})


def _rankings(site: Site, version: str, seed: int) -> tuple[Path, Any]:
    from models.core.ranking.recommender import CatalogueRecommender
    from models.core.ranking.scorers import fit_scorer

    rows = small.interactions(seed)
    members = {
        name: fit_scorer(Trial(name=name, params={"model": name}), rows, FitContext())
        for name in MEMBERS
    }
    fitted = CatalogueRecommender.of(rows, members)
    return site.seal(version, fitted, seed=seed, thresholds=CURVE)


def _golden_rows(site: Site, predictor: Any) -> GoldenSet:
    asked = draw(site.product, 40, 101)
    tenants = [TENANTS[number % 2] for number in range(len(asked))]
    rows = to_rows(site.product, asked, tenants)
    return GoldenSet(rows=rows, expected=tuple(predictor.predict(asked)))


def _golden_texts(site: Site, predictor: Any) -> GoldenSet:
    asked = small.texts(site.product, 2, count=40).texts
    return small.text_golden(site.product, predictor, asked)


def _golden_rankings(_: Site, predictor: Any) -> GoldenSet:
    asked = [Query(user=f"u{n:03d}", k=1 + n % 12, history=predictor.items[: n % 3])
             for n in range(40)]  # fmt: skip
    return small.ranking_golden(predictor, asked)


_SEAL: Mapping[Contract, Callable[[Site, str, int], tuple[Path, Any]]] = MappingProxyType(
    {"row_scores": _rows, "text_labels": _texts, "ranked_items": _rankings}
)
_GOLDEN: Mapping[Contract, Callable[[Site, Any], GoldenSet]] = MappingProxyType(
    {"row_scores": _golden_rows, "text_labels": _golden_texts, "ranked_items": _golden_rankings}
)
