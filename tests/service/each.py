"""A small sealed model and its bento for a product of any contract. Asserts nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from models.contracts.learner import FitContext, Query
from models.contracts.product import Contract, Trial
from models.registry import load_learner
from tests.service import small
from tests.service.site import Built, Site

TEXT_TRIAL = Trial(name="small", params={"model": "tfidf_linear", "min_texts": 1})
MEMBERS = ("ease", "popularity")
CURVE = {"hit_intercept": -1.5, "hit_slope": 0.5}


def make(site: Site, version: str, seed: int = 1) -> Built:
    """Fit, seal and build a model that the contract of the site's product can serve."""
    return _MAKERS[site.product.contract](site, version, seed)


def _rows(site: Site, version: str, seed: int) -> Built:
    return site.make(version, seed=seed)


def _texts(site: Site, version: str, seed: int) -> Built:
    product = site.product
    rows = small.texts(product, seed)
    fitted = load_learner(product).fit(TEXT_TRIAL, rows, FitContext())
    limits = {product.data.labels[0]: 0.5}
    folder, predictor = site.seal(version, fitted, TEXT_TRIAL, seed, thresholds=limits)
    asked = small.texts(product, seed + 1, count=40).texts
    return site.pack(version, folder, predictor, small.text_golden(product, predictor, asked))


def _rankings(site: Site, version: str, seed: int) -> Built:
    from models.core.ranking.recommender import CatalogueRecommender
    from models.core.ranking.scorers import fit_scorer

    rows = small.interactions(seed)
    members = {
        name: fit_scorer(Trial(name=name, params={"model": name}), rows, FitContext())
        for name in MEMBERS
    }
    fitted = CatalogueRecommender.of(rows, members)
    folder, predictor = site.seal(version, fitted, seed=seed, thresholds=CURVE)
    asked = [Query(user=f"u{n:03d}", k=1 + n % 12, history=rows.catalogue.items[: n % 3])
             for n in range(40)]  # fmt: skip
    return site.pack(version, folder, predictor, small.ranking_golden(predictor, asked))


_MAKERS: Mapping[Contract, Callable[[Site, str, int], Built]] = MappingProxyType(
    {"row_scores": _rows, "text_labels": _texts, "ranked_items": _rankings}
)
