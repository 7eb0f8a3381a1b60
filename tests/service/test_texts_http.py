"""A really served text model over real HTTP: answers, reasons, and bad requests a clear 4xx."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import numpy as np
import pytest

from models.contracts.api.common import MAX_EXPLAINED
from models.contracts.api.texts import MAX_TEXT, PredictResponse, join_context
from models.contracts.learner import FitContext
from models.contracts.product import Trial
from models.contracts.traffic import PredictionRecord, RefusalRecord
from models.core.text.describe import describe
from models.moderation.text_toxicity.product import PRODUCT
from models.registry import load_learner
from stores.golden import replay
from tests.service import small
from tests.service.site import TENANTS, Built, Site
from tests.service.spooled import bodies

Row = dict[str, Any]
LABELS = PRODUCT.data.labels
FIRST, SECOND, NEVER = LABELS[0], LABELS[1], LABELS[-1]
LIMITS = {FIRST: 0.5, SECOND: 0.02}
TRIAL = Trial(name="small", params={"model": "tfidf_linear", "min_texts": 1})
RUDE, GOOD = "you stupid idiot", "what a lovely day"
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("texts"), PRODUCT)
    try:
        yield made
    finally:
        made.end()


@pytest.fixture(scope="module")
def built(site: Site) -> Built:
    version, rows = "v20260101_000000", small.texts(PRODUCT, seed=1)
    fitted = load_learner(PRODUCT).fit(TRIAL, rows, FitContext())
    folder, predictor = site.seal(version, fitted, TRIAL, thresholds=LIMITS)
    asked = [*small.texts(PRODUCT, seed=2, count=36).texts, "", *("ÄÖ \0", "a" * 300, "😀")]
    golden = small.text_golden(PRODUCT, predictor, [text or " " for text in asked])
    return site.pack(version, folder, predictor, golden)


@pytest.fixture(scope="module")
def client(site: Site, built: Built) -> Iterator[httpx.Client]:
    done = site.deployer().roll_out(PRODUCT, built.ref.tag, built.golden)
    with httpx.Client(base_url=done.url, timeout=30) as opened:
        yield opened


@pytest.fixture
def spool(site: Site) -> Path:
    return site.root / "spool" / PRODUCT.slug


def row(text: str = RUDE, **fields: Any) -> Row:
    return {"tenant": TENANTS[0], "text": text, **fields}


def send(client: httpx.Client, *rows: Row, **options: Any) -> httpx.Response:
    return client.post("/predict", json={"rows": rows, **options})


def refused(answer: httpx.Response, *words: str) -> None:
    assert answer.status_code == 400, answer.text
    assert set(answer.json()) <= {"error", "detail"}
    for word in words:
        assert word in answer.text


# ---- what works


def test_golden_requests_are_answered_as_offline(client: httpx.Client, built: Built):
    assert replay(str(client.base_url).rstrip("/"), built.golden) <= 1e-5


def test_an_answer_says_every_label_and_what_follows(client: httpx.Client, built: Built):
    answer = send(client, row(RUDE), row(GOOD))
    rude, good = PredictResponse.model_validate_json(answer.content).predictions
    for told, scores in zip((rude, good), built.predictor.predict([RUDE, GOOD]), strict=True):
        expected = dict(zip(LABELS, scores, strict=True))
        assert told.labels[NEVER] is None
        assert np.isnan(expected.pop(NEVER))
        assert {n: p for n, p in told.labels.items() if n != NEVER} == pytest.approx(expected)
        assert told.probability == told.labels[FIRST]
        assert told.confidence.prediction == max(told.probability, 1 - told.probability)
        assert (told.confidence.model, told.confidence.ensemble) == (None, None)
        assert told.review == (abs(told.probability - 0.5) < 0.1)
        assert told.explanations is None
        assert UUID(told.prediction_id)
        for name, limit in LIMITS.items():
            assert (name in told.flagged) == (told.labels[name] >= limit)
    assert (rude.risk_level, good.risk_level) == ("high", "low")
    assert FIRST in rude.flagged
    assert FIRST not in good.flagged


def test_a_row_alone_gets_the_answer_it_gets_in_a_batch(client: httpx.Client, built: Built):
    batch = send(client, *built.golden.rows).json()["predictions"]
    for place in (0, 17, 39):
        (alone,) = send(client, built.golden.rows[place]).json()["predictions"]
        assert alone["labels"] == batch[place]["labels"]


def test_what_is_asked_again_is_not_computed_again_and_is_a_prediction_of_its_own(
    client: httpx.Client, spool: Path
):
    text, states, ids = "asked more than once", [], []
    for number in range(3):
        rows = [row(text), row(f"new {number}")][: 2 if number == 2 else 1]
        answer = client.post(
            "/predict", json={"rows": rows}, headers={"x-request-id": f"again-{number}"}
        )
        states.append(answer.headers["x-assay-cache"])
        told = answer.json()["predictions"][0]
        ids.append(told.pop("prediction_id"))
        (line, *_) = bodies(spool, "prediction", request_id=f"again-{number}")
        assert (line["prediction_id"], line["score"]) == (ids[-1], told["probability"])
    assert states == ["miss", "hit", "part"]
    assert len(set(ids)) == 3


def test_the_context_is_read_with_the_text(client: httpx.Client, built: Built):
    told = send(client, row(GOOD, context=RUDE), row(GOOD, context=None)).json()["predictions"]
    scores = built.predictor.predict([join_context(GOOD, RUDE), GOOD])[:, 0]
    assert [one["probability"] for one in told] == pytest.approx(scores.tolist())


@pytest.mark.parametrize(
    "text", ["\0", " ", "\x1b[2J", "\u202e", "😀" * 500, "x " * (MAX_TEXT // 2)]
)
def test_any_text_is_answered(client: httpx.Client, text: str):
    assert send(client, row(text, context=text)).status_code == 200


def test_the_largest_request_is_answered(client: httpx.Client):
    answer = send(client, *[row(f"{GOOD} {n}") for n in range(PRODUCT.serving.max_rows)])
    assert len(answer.json()["predictions"]) == PRODUCT.serving.max_rows


@pytest.mark.parametrize("method", ["lime", "shap"])
def test_reasons_name_the_words_that_decided(client: httpx.Client, method: str):
    answer = send(client, row(f"{GOOD} {RUDE}"), row(GOOD), explain=True, method=method)
    told = PredictResponse.model_validate_json(answer.content).predictions
    (why,) = told[0].explanations or ()
    weights = {piece.text: piece.weight for piece in why.pieces}
    assert list(weights) == [*GOOD.split(), *RUDE.split()]
    assert max(weights, key=lambda word: weights[word]) in RUDE.split()
    assert min(weights, key=lambda word: weights[word]) in GOOD.split()
    assert (why.label, why.method, why.value) == (FIRST, method, pytest.approx(told[0].probability))
    if method == "shap":
        assert sum(weights.values()) == pytest.approx(why.value - why.base)
    else:
        assert why.fidelity is not None
        assert why.fidelity > 0.5
    assert len(told[1].explanations or ()) == 1


def test_the_log_gets_numbers_and_a_digest_and_never_the_text(client: httpx.Client, spool: Path):
    headers = {"x-request-id": "texts-1"}
    rows = [row("Such an UNUSUAL word!", context="and a parent", event_id="post/1"), row(GOOD)]
    told = client.post("/predict", json={"rows": rows}, headers=headers).json()["predictions"]
    lines = bodies(spool, "prediction", request_id="texts-1")
    records = [PredictionRecord.model_validate_json(json.dumps(line)) for line in lines]
    written = b"".join(file.read_bytes() for file in spool.iterdir())
    assert b"UNUSUAL" not in written
    assert b"parent" not in written
    texts = [one["text"] for one in rows]
    assert [r.inputs for r in records] == [tuple(line) for line in describe(texts).tolist()]
    assert [r.inputs_hash for r in records] == [
        sha256(text.encode()).hexdigest()[:16] for text in texts
    ]
    assert [r.score for r in records] == [one["probability"] for one in told]
    assert [r.event_id for r in records] == ["post/1", None]


def test_an_outcome_is_taken_and_health_names_the_model(client: httpx.Client, built: Built):
    (told,) = send(client, row()).json()["predictions"]
    report = {"prediction_id": told["prediction_id"], "label": 1}
    assert client.post("/outcome", json={"outcomes": [report]}).status_code == 202
    health = client.get("/health").json()
    assert (health["product"], health["trial"]) == (PRODUCT.key, "small")
    assert health["model_version"] == told["model_version"] == "v20260101_000000"


def test_the_documentation_shows_the_row_and_its_bounds(client: httpx.Client):
    docs = client.get("/docs.json").json()
    (shown,) = [s for name, s in docs["components"]["schemas"].items() if name.endswith("Row")]
    assert shown["properties"]["text"]["maxLength"] == MAX_TEXT
    assert send(client, shown["example"] | {"tenant": TENANTS[0]}).status_code == 200
    schema = docs["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
    assert set(schema["schema"]["properties"]) == {"rows", "explain", "method"}


# ---- what is refused


def test_a_text_that_is_too_long_is_told_the_bound(client: httpx.Client):
    refused(send(client, row("x" * (MAX_TEXT + 1))), "text", f"at most {MAX_TEXT} characters")


def test_few_rows_can_be_explained_at_once(client: httpx.Client):
    rows = [row()] * (MAX_EXPLAINED + 1)
    refused(send(client, *rows, explain=True), f"at most {MAX_EXPLAINED} rows, not 5")
    assert send(client, *rows).status_code == 200


@pytest.mark.parametrize("method", ["gradients", "attention"])
def test_a_method_the_model_has_nothing_for_is_400(client: httpx.Client, method: str):
    refused(send(client, row(), explain=True, method=method), method, "take lime, shap")


def test_an_unknown_tenant_is_400_and_the_text_is_not_quoted(client: httpx.Client, spool: Path):
    headers = {"x-request-id": "texts-2"}
    body = {"rows": [row("a-secret", tenant="stranger")]}
    answer = client.post("/predict", json=body, headers=headers)
    refused(answer, "unknown tenant")
    assert "secret" not in answer.text
    (line,) = bodies(spool, "refusal", request_id="texts-2")
    assert RefusalRecord.model_validate_json(json.dumps(line)).status == 400


@pytest.mark.parametrize(
    ("field", "value"),
    [("text", ""), ("text", None), ("text", 7), ("text", ["a"]), ("context", ""), ("context", 1),
     ("tenant", ""), ("event_time", "soon"), ("label", 1)],
)  # fmt: skip
def test_a_wrong_value_is_400_and_names_the_field(client: httpx.Client, field: str, value: Any):
    answer = send(client, row(), row(**{field: value}) if field != "text" else row(value))
    refused(answer, field)
    assert answer.json()["detail"][0]["loc"] == ["rows", 1, field]


@pytest.mark.parametrize(("option", "value"), [
    ("explain", 1), ("explain", "yes"), ("method", "magic"), ("method", 3), ("samples", 10),
])  # fmt: skip
def test_a_wrong_option_is_400_and_named(client: httpx.Client, option: str, value: Any):
    refused(send(client, row(), **{option: value}), option)


VALUES = [None, True, -1, 2**63, 1e308, float("nan"), "", "\0", "\ud83d", "\u202e" * 40, "😀" * 300,
          "x" * 20_001, [], {}, ["a"], {"text": "a"}]  # fmt: skip


def test_broken_requests_never_break_the_service(client: httpx.Client):
    rng = np.random.default_rng(12)
    names = ["tenant", "text", "context", "event_id", "event_time", "more"]
    statuses = []
    for _ in range(60):
        broken = row()
        for name in rng.choice(names, size=rng.integers(1, 3), replace=False):
            broken[str(name)] = VALUES[rng.integers(len(VALUES))]
        body: Row = {"rows": [broken] * int(rng.integers(1, 4))}
        if rng.random() < 0.2:
            body[str(rng.choice(["explain", "method"]))] = VALUES[rng.integers(len(VALUES))]
        sent = json.dumps(body).encode()
        cut = rng.integers(len(sent)) if rng.random() < 0.2 else len(sent)
        statuses.append(client.post("/predict", content=sent[:cut], headers=JSON).status_code)
    assert set(statuses) <= {200, 400}
    assert statuses.count(400) >= 30
    assert send(client, row()).status_code == 200
