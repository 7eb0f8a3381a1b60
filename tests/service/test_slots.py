"""A challenger beside the champion, and what gateways are told, with a stand-in for BentoML."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from models.contracts.routing import ProductRoutes
from stores import deployer as deployer_module
from stores import gateway_store, service_process
from stores.deployer import Deployer, RolloutError
from stores.home import Home
from stores.key_store import KeyStore, keys_path
from stores.service_process import marked, stop
from tests.service.test_deployer import FAST, GOLDEN, serving, version


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for name in (FAST.slug, f"{FAST.slug}--challenger"):
        for folder in marked(tmp_path / "services" / name):
            stop(Path(folder), 0.0)


@pytest.fixture
def deployer(home: Path, monkeypatch: pytest.MonkeyPatch) -> Deployer:
    monkeypatch.setattr(service_process, "MASTER", "tests.service.stand_in")
    monkeypatch.setattr(deployer_module, "_GRACE_SECONDS", 0.5)
    return Deployer(home, home / "bentos", home / "key.pem")


def routes(home: Path) -> ProductRoutes:
    return gateway_store.read_table(Home(home)).products[FAST.key]


def test_a_challenger_runs_beside_on_a_port_of_its_own(deployer: Deployer, home: Path):
    done = deployer.roll_out(FAST, "x:v1", GOLDEN)
    beside = deployer.slot("challenger")
    record = beside.spawn(FAST, "x:v2", GOLDEN)
    assert record.url != done.url
    assert (version(done.url), version(record.url)) == ("v1", "v2")
    metrics = {Path(one.folder) / "metrics" for one in (record, serving(deployer))}
    assert all(folder.is_dir() for folder in metrics)
    assert len(metrics) == 2
    assert beside.stop(FAST)
    assert (beside.current(FAST), version(done.url)) == (None, "v1")
    assert not (home / "services" / f"{FAST.slug}.stopped").exists()


def test_a_bad_challenger_is_refused_and_leaves_nothing(deployer: Deployer):
    beside = deployer.slot("challenger")
    with pytest.raises(RolloutError, match="golden request 0 of 2"):
        beside.spawn(FAST, "x:wrong", GOLDEN)
    assert beside.current(FAST) is None


def test_gateways_are_told_what_runs(deployer: Deployer, home: Path):
    url = deployer.roll_out(FAST, "x:v1", GOLDEN).url
    assert (routes(home).champion, routes(home).members["v1"].url) == ("v1", url)
    beside = deployer.slot("challenger").spawn(FAST, "x:v2", GOLDEN)
    assert set(routes(home).members) == {"v1"}  # who gives it traffic says so
    with pytest.raises(RolloutError):
        deployer.roll_out(FAST, "x:wrong", GOLDEN)
    told = {name: one.url for name, one in routes(home).members.items()}
    assert told == {"v1": url, "v2": beside.url}
    deployer.roll_out(FAST, "x:v2", GOLDEN)
    assert {name: one.url for name, one in routes(home).members.items()} == {"v2": url}
    deployer.stop(FAST)
    assert routes(home).champion is None


def test_with_keys_a_service_asks_for_the_gateways_token(deployer: Deployer, home: Path):
    deployer.roll_out(FAST, "x:v1", GOLDEN)
    assert "ASSAY_SERVICE_TOKEN_FILE" not in psutil.Process(serving(deployer).pid).environ()
    KeyStore(keys_path(Home(home))).add(tenants=["*"], products=["*"], roles=["predict"], by="Ada")
    deployer.roll_out(FAST, "x:v2", GOLDEN)
    environment = psutil.Process(serving(deployer).pid).environ()
    assert environment["ASSAY_SERVICE_TOKEN_FILE"] == str(home / "keys" / "service-token")
