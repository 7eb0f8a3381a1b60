"""The rungs below a champion, for real: a router, the release's own bento, a model that fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from models.contracts.api import GoldenSet, to_rows
from models.contracts.learner import FitContext
from models.contracts.product import Trial
from models.contracts.routing import Rule
from models.registry import load_learner
from models.risk.sync_conflict.product import PRODUCT
from stores import gateway_store
from stores.bento_store import Spares, build
from stores.home import Home
from stores.router_process import RouterProcess
from stores.service_process import stop
from tests.service.site import TENANTS, Site, draw, training_rows
from tests.service.spooled import bodies

VERSION = "v20260101_000000"
SIMPLE = Trial(name="simple", params={"model": "logistic"})
RULE = Rule(product=PRODUCT.key, probability=0.25, threshold=0.5)
#: Columns whose weights the broken model has too large: inputs beyond reason give no number.
LARGE = ("hours_since_last_sync", "entity_edit_frequency")


class Served(NamedTuple):
    """A router before a bento, and the model packed in it for need."""

    url: str
    service: Path
    baseline: Any
    spool: Path


def _fitted(trial: Trial, seed: int) -> Any:
    rows = training_rows(PRODUCT, seed)
    return load_learner(PRODUCT).fit(trial, rows, FitContext())


def _broken(seed: int) -> Any:
    """A model that answers all that it was tried with, and overflows on two huge numbers."""
    model = _fitted(SIMPLE, seed)
    places = [PRODUCT.data.names.index(name) for name in LARGE]
    model.pipeline[-1].coef_[0][places] = (1e306, -1e306)
    return model


def _pack(site: Site) -> tuple[str, GoldenSet, Any]:
    """The bento with champion, baseline and rule; its tag, golden requests, the baseline."""
    artifact, champion = site.seal(VERSION, _broken(1), SIMPLE)
    simple, baseline = site.seal(f"{VERSION}-simple", _fitted(SIMPLE, 2), SIMPLE)
    spares = Spares(simple, RULE)
    ref = build(PRODUCT, artifact, VERSION, site.bentos, site.keys[1], spares=lambda: spares)
    asked = draw(PRODUCT, 4, 3)
    golden = GoldenSet(
        rows=to_rows(PRODUCT, asked, [TENANTS[0]] * 4), expected=tuple(champion.predict(asked))
    )
    return ref.tag, golden, baseline


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    site = Site(tmp_path_factory.mktemp("rungs"), PRODUCT)
    home, router = Home(site.root), RouterProcess(Home(site.root))
    tag, golden, baseline = _pack(site)
    try:
        site.deployer().roll_out(PRODUCT, tag, golden)
        gateway_store.follow_services(home, PRODUCT)
        url = router.start().url
        record = site.deployer().current(PRODUCT)
        assert record is not None
        yield Served(url, Path(record.folder), baseline, home.spool(PRODUCT))
    finally:
        router.stop()
        site.end()


def ask(served: Served, inputs: Any) -> httpx.Response:
    rows = [dict(row) for row in to_rows(PRODUCT, inputs, [TENANTS[0]])]
    return httpx.post(f"{served.url}/v1/{PRODUCT.key}/predict", json={"rows": rows}, timeout=20)


def said(answer: httpx.Response) -> tuple[int, str | None, str | None, str]:
    """Status, both marks of a fallback, version."""
    told = answer.json()
    mark = answer.headers.get("x-assay-fallback")
    return answer.status_code, mark, told["fallback"], told["predictions"][0]["model_version"]


def test_a_model_that_fails_is_answered_for_by_the_baseline_then_by_the_rule(served: Served):
    usual = draw(PRODUCT, 1, 4)
    huge = usual.copy()
    huge[0, [PRODUCT.data.names.index(name) for name in LARGE]] = 1e300
    assert said(ask(served, usual)) == (200, None, None, VERSION)
    answer = ask(served, huge)
    assert said(answer) == (200, "baseline", "baseline", f"{VERSION}-baseline")
    probability = answer.json()["predictions"][0]["probability"]
    assert probability == pytest.approx(float(served.baseline.predict(huge)[0]), abs=1e-9)
    stop(served.service, 0.0)  # killed: the baseline with it
    for inputs in (usual, huge):
        answer = ask(served, inputs)
        assert said(answer) == (200, "rule", "rule", "rule")
        assert answer.json()["predictions"][0]["probability"] == RULE.probability
    logged = [one for one in bodies(served.spool, "prediction") if one["purpose"] == "traffic"]
    told = Counter(one["model_version"] for one in logged)
    assert told == {VERSION: 1, f"{VERSION}-baseline": 1, "rule": 2}
    failed = [(one["model_version"], one["status"]) for one in bodies(served.spool, "refusal")]
    assert failed == [(VERSION, 500)]
