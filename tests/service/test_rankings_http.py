"""A really served recommender over real HTTP: what it recommends, to whom, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from models.contracts.api.rankings import MAX_ITEMS, PredictResponse
from models.contracts.learner import FitContext, Query
from models.contracts.product import Trial
from models.contracts.traffic import OutcomeRecord, PredictionRecord
from models.core.ranking.recommender import CatalogueRecommender
from models.core.ranking.scorers import fit_scorer
from models.core.ranking.watch import watch
from models.recommendation.films.product import PRODUCT
from stores.golden import replay
from tests.service import small
from tests.service.site import TENANTS, Built, Site
from tests.service.spooled import bodies

Row = dict[str, Any]
ROW: Row = {"tenant": TENANTS[0]}
CURVE = {"hit_intercept": -1.5, "hit_slope": 0.5}
MEMBERS = ("ease", "popularity")
LIKED = ("f000", "f003", "f006")  # all of the first third: a drama lover
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("films"), PRODUCT)
    try:
        yield made
    finally:
        made.end()


@pytest.fixture(scope="module")
def built(site: Site) -> Built:
    rows = small.interactions(1)
    members = {
        name: fit_scorer(Trial(name=name, params={"model": name}), rows, FitContext())
        for name in MEMBERS
    }
    version = "v20260101_000000"
    fitted = CatalogueRecommender.of(rows, members)
    folder, predictor = site.seal(version, fitted, thresholds=CURVE)
    asked = [
        Query(user=None if n % 4 == 3 else f"u{n:03d}", k=1 + n % 12, history=LIKED[: n % 3])
        for n in range(40)
    ]
    return site.pack(version, folder, predictor, small.ranking_golden(predictor, asked))


@pytest.fixture(scope="module")
def client(site: Site, built: Built) -> Iterator[httpx.Client]:
    done = site.deployer().roll_out(PRODUCT, built.ref.tag, built.golden)
    with httpx.Client(base_url=done.url, timeout=30) as opened:
        yield opened


@pytest.fixture
def spool(site: Site) -> Path:
    return site.root / "spool" / PRODUCT.slug


def send(client: httpx.Client, *rows: Row) -> httpx.Response:
    return client.post("/predict", json={"rows": rows})


def ranked(client: httpx.Client, **fields: Any) -> list[str]:
    """Items recommended to one row."""
    answer = send(client, {**ROW, **fields})
    assert answer.status_code == 200, answer.text
    return [one["item"] for one in answer.json()["predictions"][0]["items"]]


def refused(answer: httpx.Response, *words: str) -> None:
    assert answer.status_code == 400, answer.text
    assert set(answer.json()) <= {"error", "detail"}
    for word in words:
        assert word in answer.text


# ---- what works


def test_golden_requests_are_answered_as_offline(client: httpx.Client, built: Built):
    assert replay(str(client.base_url).rstrip("/"), built.golden) <= 1e-5


def test_an_answer_says_who_ranked_what_and_how_likely_a_hit_is(client: httpx.Client, built: Built):
    answer = send(client, {**ROW, "user": "u000", "k": 3}, {**ROW, "user": "nobody"})
    known, stranger = PredictResponse.model_validate_json(answer.content).predictions
    (expected,) = built.predictor.recommend([Query(user="u000", k=3)])
    assert [one.item for one in known.items] == list(expected.items)
    np.testing.assert_allclose([one.score for one in known.items], expected.scores, rtol=1e-5)
    assert (known.algorithm, known.known, stranger.known) == ("ease", True, False)
    assert (stranger.algorithm, len(stranger.items)) == ("popularity", 10)
    assert stranger.probability == pytest.approx(1 / (1 + np.exp(1.5)))  # no history: log1p(0) = 0
    assert known.probability > stranger.probability
    assert known.model_version == "v20260101_000000"


def test_a_history_makes_a_stranger_s_ranking(client: httpx.Client):
    dramas = ranked(client, history=list(LIKED), k=5)
    assert {int(item[1:]) % 3 for item in dramas} == {0}
    assert not set(dramas) & set(LIKED)
    assert set(LIKED) & set(ranked(client, history=list(LIKED), k=50, seen=True))


def test_what_is_excluded_is_not_recommended_and_only_what_is_allowed(client: httpx.Client):
    free = ranked(client, user="u001", k=10)
    rest = ranked(client, user="u001", k=10, exclude=free[:4])
    assert rest[:6] == free[4:]
    assert ranked(client, user="u001", only=[free[7], free[2], "unheard of"]) == [free[2], free[7]]
    assert ranked(client, user="u001", only=["unheard of"]) == []


def test_ids_nobody_knows_are_passed_over(client: httpx.Client):
    assert ranked(client, user="u002", history=["x"], exclude=["y"]) == ranked(client, user="u002")


def test_the_member_that_is_asked_answers(client: httpx.Client, built: Built):
    rows = [{**ROW, "user": "u003", "algorithm": name} for name in (None, *MEMBERS)]
    told = send(client, *rows).json()["predictions"]
    assert [one["algorithm"] for one in told] == ["ease", "ease", "popularity"]
    (expected,) = built.predictor.recommend([Query(user="u003", algorithm="popularity")])
    assert [one["item"] for one in told[2]["items"]] == list(expected.items)


def test_an_answer_can_be_explained_by_the_history(client: httpx.Client, built: Built):
    rows = [{**ROW, "history": list(LIKED), "k": 12}, {**ROW, "user": "nobody"}]
    answer = client.post("/predict", json={"rows": rows, "explain": True})
    drama, stranger = PredictResponse.model_validate_json(answer.content).predictions
    assert drama.explanations is not None
    assert stranger.explanations is not None
    assert [one.item for one in drama.explanations] == [one.item for one in drama.items[:10]]
    model = built.predictor
    weights = model.members["ease"].weights[[model.item_numbers[item] for item in LIKED]]
    for one in drama.explanations:
        says = weights[:, model.item_numbers[one.item]]
        told = {part.item: part.share for part in one.parts}
        assert told == pytest.approx(
            dict(zip(LIKED, says / abs(says).sum(), strict=True)), rel=1e-3
        )
    assert {one.method for one in stranger.explanations} == {"none"}
    plain = send(client, *rows).json()["predictions"]
    assert [one["explanations"] for one in plain] == [None, None]
    assert plain[0]["items"] == [one.model_dump() for one in drama.items]


def test_a_row_alone_gets_the_answer_it_gets_in_a_batch(client: httpx.Client):
    users = [f"u{n:03d}" for n in range(60)]
    batch = send(client, *[{**ROW, "user": user} for user in users]).json()["predictions"]
    for user, one in list(zip(users, batch, strict=True))[::20]:
        assert ranked(client, user=user) == [item["item"] for item in one["items"]]


def test_what_was_answered_is_logged_in_numbers_and_without_the_user(
    client: httpx.Client, built: Built, spool: Path
):
    headers = {"x-request-id": "films-1"}
    rows = [{**ROW, "user": "u004", "event_id": "visit/1"}, {**ROW, "history": list(LIKED)}]
    told = client.post("/predict", json={"rows": rows}, headers=headers).json()["predictions"]
    lines = bodies(spool, "prediction", request_id="films-1")
    records = [PredictionRecord.model_validate_json(json.dumps(line)) for line in lines]
    assert [r.score for r in records] == [one["probability"] for one in told]
    assert [r.prediction_id for r in records] == [one["prediction_id"] for one in told]
    assert [r.event_id for r in records] == ["visit/1", None]
    assert "u004" not in json.dumps(lines)
    queries = [Query(user="u004"), Query(user=None, history=LIKED)]
    for record, query in zip(records, queries, strict=True):
        (ranking,) = built.predictor.recommend([query])
        noted = watch(PRODUCT, CURVE, built.predictor, query, ranking)
        assert (record.inputs, record.score) == (noted.inputs, noted.score)


def test_an_outcome_is_taken(client: httpx.Client, spool: Path):
    report = {"event_id": "visit/2", "label": 1}
    assert client.post("/outcome", json={"outcomes": [report]}).status_code == 202
    (line,) = bodies(spool, "outcome", event_id="visit/2")
    assert OutcomeRecord.model_validate_json(json.dumps(line)).label == 1


def test_the_documentation_shows_the_row_and_the_answer(client: httpx.Client):
    docs = client.get("/docs.json").json()
    (shown,) = [s for name, s in docs["components"]["schemas"].items() if name.endswith("Row")]
    assert shown["properties"]["history"]["maxItems"] == MAX_ITEMS
    assert send(client, shown["example"] | ROW).status_code == 200
    assert client.get("/health").json()["product"] == PRODUCT.key
    metrics = client.get("/metrics").text
    assert f'assay_predictions_total{{product="{PRODUCT.key}",risk_level="none"' in metrics


# ---- what is refused


def test_an_unknown_algorithm_is_400_and_names_those_there_are(client: httpx.Client):
    answer = send(client, ROW, {**ROW, "algorithm": "magic"})
    refused(answer, "unknown algorithm", *MEMBERS)
    assert answer.json()["detail"][0]["loc"] == ["rows", 1, "algorithm"]


def test_what_cannot_be_explained_is_400_and_says_who_can(client: httpx.Client):
    asked = {"rows": [ROW], "explain": True, "method": "attention"}
    refused(client.post("/predict", json=asked), "ease has no attention", "take method history")
    refused(client.post("/predict", json={"rows": [ROW] * 5, "explain": True}), "at most 4 rows")


def test_an_unknown_tenant_is_400(client: httpx.Client):
    refused(send(client, {"tenant": "stranger"}), "unknown tenant")


@pytest.mark.parametrize(
    ("field", "value"),
    [("k", 0), ("k", 101), ("k", "3"), ("k", 2.5), ("user", 7), ("user", ""), ("seen", 1),
     ("history", "f001"), ("history", [1]), ("history", ["f"] * 501), ("exclude", [None]),
     ("only", []), ("categories", []), ("algorithm", 3), ("unheard_of", 1)],
)  # fmt: skip
def test_a_wrong_value_is_400_and_names_the_field(client: httpx.Client, field: str, value: Any):
    answer = send(client, ROW, {**ROW, field: value})
    refused(answer, field)
    assert answer.json()["detail"][0]["loc"][:3] == ["rows", 1, field]


VALUES = [None, True, -1, 0, 2**63, 1e308, float("nan"), "", "f001", "\0", "\ud83d", "😀" * 300, [],
          [[]], {}, ["f001", ""], ["x"] * 600, {"a": {}}]  # fmt: skip


def test_broken_requests_never_break_the_service(client: httpx.Client):
    rng = np.random.default_rng(11)
    names = ["tenant", "user", "k", "history", "exclude", "only", "categories", "seen",
             "algorithm", "event_id", "event_time", "more"]  # fmt: skip
    statuses = []
    for _ in range(60):
        row = {**ROW, "user": "u005"}
        for name in rng.choice(names, size=rng.integers(1, 3), replace=False):
            row[str(name)] = VALUES[rng.integers(len(VALUES))]
        body = json.dumps({"rows": [row] * int(rng.integers(1, 4))}).encode()
        cut = rng.integers(len(body)) if rng.random() < 0.2 else len(body)
        statuses.append(client.post("/predict", content=body[:cut], headers=JSON).status_code)
    assert set(statuses) <= {200, 400}
    assert statuses.count(400) >= 30
    assert ranked(client, user="u005")
