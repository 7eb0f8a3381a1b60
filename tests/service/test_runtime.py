"""Loading and answering without a server."""

from __future__ import annotations

import os
import shutil
import sys
import types
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest

from bentos import engine, limits, runtime
from bentos.row_scores import answers
from gateway import shedding
from gateway.errors import StartError
from models.contracts.api import request_model, to_matrix
from models.contracts.api.common import risk_level
from models.risk.sync_conflict.product import PRODUCT
from stores import bento_store
from tests.service.site import Built, Site


@pytest.fixture
def key(site: Site, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(runtime.PUBLIC_KEY, str(site.keys[1]))
    return site.keys[1]


def test_risk_levels_follow_the_decision_threshold():
    levels = [risk_level(p, 0.4) for p in (0.0, 0.199, 0.2, 0.399, 0.4, 1.0)]
    assert levels == ["low", "low", "medium", "medium", "high", "high"]


def test_a_loaded_model_answers_as_its_predictor(first: Built, key: Path):
    loaded = runtime.load(PRODUCT, first.folder, "v1")
    rows = request_model(PRODUCT).model_validate({"rows": list(first.golden.rows)}).rows
    told = answers.answer(loaded, to_matrix(PRODUCT, rows)).predictions
    assert [a.probability for a in told] == list(first.golden.expected)
    assert [a.confidence for a in told] == [max(p, 1 - p) for p in first.golden.expected]
    assert {a.model_version for a in told} == {"v1"}
    assert len({UUID(a.prediction_id) for a in told}) == len(rows)
    assert {a.risk_level for a in told} == {"low", "medium", "high"}


def test_a_model_that_gives_no_probability_is_our_fault_not_the_request_s(first: Built, key: Path):
    loaded = runtime.load(PRODUCT, first.folder, "v1")
    rows = request_model(PRODUCT).model_validate({"rows": list(first.golden.rows[:2])}).rows
    for bad in (np.nan, 1.5, -0.1, np.inf):
        broken = types.SimpleNamespace(predict=lambda _, bad=bad: np.array([0.5, bad]))
        with pytest.raises(ArithmeticError, match="not probabilities"):
            answers.answer(replace(loaded, predictor=broken), to_matrix(PRODUCT, rows))


def test_unknown_tenants_are_named_by_position(first: Built, key: Path):
    loaded = runtime.load(PRODUCT, first.folder, "v1")
    rows = [dict(row) for row in first.golden.rows[:4]]
    rows[1]["tenant"] = rows[3]["tenant"] = "initech"
    parsed = request_model(PRODUCT).model_validate({"rows": rows}).rows
    assert loaded.unknown_tenants(parsed) == [1, 3]


@pytest.mark.parametrize("value", ["", "/nowhere/key.pem"])
def test_no_key_no_service(first: Built, monkeypatch: pytest.MonkeyPatch, value: str):
    monkeypatch.setenv(runtime.PUBLIC_KEY, value)
    for attempt in (runtime.verify, lambda p, f: runtime.load(p, f, "v1")):
        with pytest.raises(StartError, match=r"ASSAY_PUBLIC_KEY is .* set it to"):
            attempt(PRODUCT, first.folder)


def test_a_changed_byte_is_refused(first: Built, key: Path, tmp_path: Path):
    copied = shutil.copytree(first.folder, tmp_path / "copy")
    tampered = copied / "model.json"
    tampered.write_bytes(tampered.read_bytes().replace(b"0", b"1", 1))
    for attempt in (runtime.verify, lambda p, f: runtime.load(p, f, "v1")):
        with pytest.raises(StartError, match="signature refused"):
            attempt(PRODUCT, copied)


def test_a_model_of_another_product_or_of_other_columns_is_refused(first: Built, key: Path):
    other = PRODUCT.model_copy(update={"key": "risk/other"})
    with pytest.raises(StartError, match="model of risk/sync_conflict, not of risk/other"):
        runtime.verify(other, first.folder)
    data = PRODUCT.data.model_copy(update={"columns": tuple(reversed(PRODUCT.data.columns))})
    with pytest.raises(StartError, match="other columns"):
        runtime.verify(PRODUCT.model_copy(update={"data": data}), first.folder)


def test_gpus_are_asked_for_only_where_they_are(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(runtime, "gpu_count", lambda: 1)
    assert runtime.resources(2) == {"gpu": 1}
    assert runtime.resources(0) == {}
    assert [runtime.workers(gpus) for gpus in (0, 1, 2)] == [1, 1, 1]
    monkeypatch.setattr(runtime, "gpu_count", lambda: 2)
    assert [runtime.workers(gpus) for gpus in (0, 1, 2, 3)] == [1, 1, 2, 2]
    monkeypatch.setattr(runtime, "gpu_count", lambda: 0)
    assert runtime.resources(2) == {}
    assert runtime.workers(2) == 1


def test_gpus_are_counted_by_the_driver_and_without_one_there_are_none(
    monkeypatch: pytest.MonkeyPatch,
):
    class Driver(types.ModuleType):
        NVMLError = ValueError
        present = True

        def nvmlInit(self) -> None:  # noqa: N802 - NVIDIA's name
            if not self.present:
                raise self.NVMLError

        def nvmlDeviceGetCount(self) -> int:  # noqa: N802
            return 4

        def nvmlShutdown(self) -> None:  # noqa: N802
            pass

    driver = Driver("pynvml")
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    assert runtime.gpu_count() == 4
    driver.present = False
    assert runtime.gpu_count() == 0


def test_a_call_computes_on_one_thread_whatever_was_set(monkeypatch: pytest.MonkeyPatch):
    limits: list[int] = []
    monkeypatch.setattr("threadpoolctl.threadpool_limits", limits.append)
    for name in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS"):
        monkeypatch.setenv(name, "64")
    runtime.bound_threads()
    assert os.environ["OMP_NUM_THREADS"] == os.environ["RAYON_NUM_THREADS"] == "1"
    assert limits == [1]


def test_a_service_asks_on_as_many_lanes_as_it_may():
    assert engine.lanes({}) == limits.cores()
    assert engine.lanes({runtime.THREADS: "3"}) == 3
    assert shedding.longest_wait({shedding.QUEUE: "1500"}) == 1.5


def test_models_may_have_most_of_the_memory_or_what_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(engine, "memory_bytes", lambda: 1_000_000_000)
    assert engine.model_bytes({}) == 600_000_000
    assert engine.model_bytes({engine.MODELS: "250"}) == 250_000_000


@pytest.mark.parametrize("told", ["0", "many", "-1", "1.5"])
def test_numbers_that_are_none_are_named(told: str):
    with pytest.raises(StartError, match=f"ASSAY_THREADS is '{told}'; give"):
        engine.lanes({runtime.THREADS: told})
    with pytest.raises(StartError, match=f"ASSAY_QUEUE_MS is '{told}'; give"):
        shedding.longest_wait({shedding.QUEUE: told})


def test_a_service_of_several_workers_is_ready_with_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(runtime.READY, str(tmp_path / "ready"))
    runtime.announce_ready(1, 2)
    assert not (tmp_path / "ready").exists()
    runtime.announce_ready(0, 2)
    assert (tmp_path / "ready").exists()


def test_build_and_service_agree_where_the_artifact_lies():
    assert runtime.ARTIFACT == bento_store.ARTIFACT


def test_readiness_is_told_only_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(runtime.READY, raising=False)
    runtime.announce_ready()
    monkeypatch.setenv(runtime.READY, str(tmp_path / "ready"))
    runtime.announce_ready()
    assert (tmp_path / "ready").exists()


def test_golden_rows_exercise_nulls(first: Built):
    matrix = np.array([[row[n] for n in PRODUCT.data.names] for row in first.golden.rows], float)
    assert np.isnan(matrix).any(axis=0).sum() == sum(c.nullable for c in PRODUCT.data.columns)
