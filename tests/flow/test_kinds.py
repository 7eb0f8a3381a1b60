"""Texts and rankings on the one chain: raw data to roll-out, a refused gate, a day of traffic."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from assets.sources.comments_generator import EVENTS_PER_TEXT
from models.contracts.product import Gate, Guardrail, ModelProduct, Monitoring, Trial
from models.kinds import as_watched, kind_of
from models.moderation.text_toxicity.product import PRODUCT as TEXTS
from models.recommendation.films.product import PRODUCT as FILMS
from models.registry import load_learner
from orchestration.refresh import upstream
from tests.flow.chain import Place, Ran
from tests.flow.conftest import recorded_fits
from tests.flow.traffic_files import Traffic, look, newest
from tests.unit import tiny_checkpoint

#: A window of the few judged units of these tests.
WINDOW = Monitoring(window_hours=24, min_rows=30)


class Chained(NamedTuple):
    """A product whose first run is done."""

    place: Place
    ran: Ran


def chained(root: Path, product: ModelProduct, rows: int) -> Chained:
    place = Place(root, product.model_copy(update={"monitoring": WINDOW}), rows=rows)
    return Chained(place, place.refresh())


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chained]:
    """A tiny network and its INT8 form beside the linear baseline, which is not let through."""
    checkpoint = tiny_checkpoint.save(tmp_path_factory.mktemp("bert"))
    tuned = {"model": "transformer", "backbone": str(checkpoint), "max_length": 32,
             "max_epochs": 3, "batch_size": 16, "learning_rate": 0.005}  # fmt: skip
    trials = (
        Trial(name="tfidf_linear", params={"model": "tfidf_linear", "max_rows": 60}),
        Trial(name="tiny", params=tuned),
        Trial(name="tiny_int8", params={"model": "onnx", "precision": "int8_fixed", "threads": 1},
              after=("tiny",), form=True),
    )  # fmt: skip
    gate = Gate(metric="roc_auc", floor=0.55, max_latency_ms=200, form_margin=0.2, guardrails=(
        Guardrail(metric="brier", max_loss=0.05), Guardrail(metric="attack.typo", floor=0.4),
    ))  # fmt: skip
    product = TEXTS.model_copy(update={"trials": trials, "gate": gate})
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # two threads of a tiny product only wait for each other
    events = 1_500 * EVENTS_PER_TEXT
    yield chained(tmp_path_factory.mktemp("texts") / "home", product, events)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Chained:
    trials = tuple(t for t in FILMS.trials if t.name in ("popularity", "itemknn", "ease"))
    members = tuple(trial.name for trial in trials if trial.name != "popularity")
    blend = Trial(name="blend", params={"model": "blend"}, after=members)
    gate = FILMS.gate.model_copy(update={
        "floor": 0.02, "guardrails": FILMS.gate.guardrails[:1], "max_latency_ms": 100.0,
    })  # fmt: skip
    product = FILMS.model_copy(update={"trials": (*trials, blend), "gate": gate})
    return chained(tmp_path_factory.mktemp("films") / "home", product, 7_000)


@pytest.fixture(params=["texts", "films"])
def one(request: pytest.FixtureRequest) -> Chained:
    found: Chained = request.getfixturevalue(request.param)
    return found


def test_a_clean_run_makes_every_asset_and_every_check_passes(one: Chained) -> None:
    place, ran = one
    graph = place.definitions.resolve_asset_graph()
    every = upstream(graph, [place.product], "service")
    assert ran.success, ran.error
    assert ran.failed == {}
    assert ran.materialized == {key.to_user_string() for key in every}
    assert set(ran.checks) == {key.name for key in graph.get_check_keys_for_assets(every)}
    assert set(kind_of(place.product.contract).checks) <= set(ran.checks)
    assert place.plan() == {}


def test_what_is_released_is_rolled_out_with_its_own_golden_answers(one: Chained) -> None:
    place = one.place
    release = place.ledger.current()
    assert release is not None
    assert [entry.kind for entry in place.ledger.entries()] == ["decision", "release", "rollout"]
    assert place.deployer.calls == [f"{place.product.slug}:{release.version}"]
    assert place.aliases() == {"champion": release.mlflow_version}
    assert (place.home.bentos / "bentos" / place.product.slug / release.version).is_dir()
    card = place.evaluation().scorecards[release.candidate_id]
    found = card.metrics["overall"][place.product.gate.metric]
    assert found.low > place.product.gate.floor
    assert {name.partition(".")[0] for name in card.measures} >= {"cost"}


def test_a_form_is_released_in_place_of_the_model_it_was_made_from(texts: Chained) -> None:
    place = texts.place
    release, decision = place.ledger.current(), place.decision()
    assert release is not None
    challenger = place.evaluation().challenger
    assert place.evaluation().scorecards[challenger].trial == "tiny", "a form never is"
    assert release.trial == "tiny_int8"
    assert decision.serves == release.candidate_id != challenger
    (form,) = decision.forms
    assert form.passed


def test_nothing_that_is_sealed_is_fitted_again(one: Chained, tmp_path: Path) -> None:
    """As after a kill between the last trial and the pointer to all of them."""
    place = one.place.copy(tmp_path / "home")
    before = place.candidates()
    (place.home.root / "latest" / place.product.slug / "candidates").unlink()
    with recorded_fits(place.product) as fitted:
        ran = place.run(place.stages("candidates", "candidates"))
    assert ran.success, ran.error
    assert fitted == []
    assert place.candidates() == before


def test_a_refused_gate_yields_nothing(one: Chained, tmp_path: Path) -> None:
    gate = one.place.product.gate.model_copy(update={"floor": 0.999})
    changed = one.place.product.model_copy(update={"gate": gate})
    place = one.place.copy(tmp_path / "home", changed)
    place.home.ledger(place.product).unlink()  # nobody was released yet
    ran = place.run(place.stages("promotion"))
    assert ran.success, ran.error
    assert set(ran.failed) == {"gate"}
    assert ran.materialized == set()
    assert [entry.kind for entry in place.ledger.entries()] == ["decision"]
    assert place.deployer.calls == []


def test_a_window_of_its_traffic_is_judged_by_what_a_log_can_say(
    one: Chained, tmp_path: Path
) -> None:
    place = one.place.copy(tmp_path / "home")
    traffic = Traffic(place)
    traffic.day(0)
    traffic.write()
    with place.pages():
        result = look(place)
    (window,) = newest(place).versions
    metric = as_watched(place.product).gate.metric
    assert window.verdict.judged
    assert window.verdict.basis == "realised"
    assert not window.verdict.violated, "these are the reference units themselves"
    assert set(window.realised["overall"]) >= {metric}
    assert result.champion == traffic.version


def test_the_released_model_loads_and_answers(one: Chained) -> None:
    from models.core.artifact import load

    place = one.place
    release = place.ledger.current()
    assert release is not None
    folder = place.home.candidate(place.product, release.candidate_id)
    key = place.home.keys / "signing.pub.pem"
    candidate, _ = load(folder, key, load_learner(place.product))
    assert candidate.candidate_id == release.candidate_id
