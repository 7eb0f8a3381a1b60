"""Real bentos rolled out for real, in a home beside the shared one."""

from __future__ import annotations

import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator

import httpx
import psutil
import pytest

from models.contracts.api import GoldenSet
from models.risk.sync_conflict.product import PRODUCT
from stores.deployer import Deployer, RolloutError, ServiceRecord
from stores.service_process import alive, marked
from tests.service.site import Built, Site


@pytest.fixture(scope="module")
def other(site: Site, first: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The same keys and bentos, services of its own; the first model serves."""
    made = Site(tmp_path_factory.mktemp("other"), PRODUCT)
    shutil.copytree(site.root / "keys", made.root / "keys")
    made.bentos.symlink_to(site.bentos)
    try:
        done = made.deployer().roll_out(PRODUCT, first.ref.tag, first.golden)
        assert (done.previous, done.golden_rows, done.version) == (None, 40, "v20260101_000000")
        assert done.max_difference <= 1e-6
        yield made
        made.deployer().stop(PRODUCT)
        assert marked(made.services) == {}
    finally:
        made.end()


@pytest.fixture
def deployer(other: Site) -> Iterator[Deployer]:
    """After every test one master and its one worker run, and nothing else."""
    yield other.deployer()
    assert [len(group) for group in marked(other.services).values()] == [2]


def serving(deployer: Deployer) -> ServiceRecord:
    record = deployer.current(PRODUCT)
    assert record is not None
    return record


def idle(deployer: Deployer, first: Built, second: Built) -> Built:
    """The model that does not serve now."""
    return second if serving(deployer).bento == first.ref.tag else first


def version(url: str) -> str:
    told: dict[str, str] = httpx.get(f"{url}/health", timeout=20).json()
    return told["model_version"]


def test_a_roll_out_under_load_refuses_nobody_and_keeps_the_url(
    deployer: Deployer, first: Built, second: Built
):
    before, new = serving(deployer), idle(deployer, first, second)
    body, ended, seen = {"rows": first.golden.rows[:1]}, threading.Event(), Counter[str]()

    def load() -> None:
        while not ended.is_set():
            try:  # a new connection each time: a kept one would not notice a closed port
                answer = httpx.post(f"{before.url}/predict", json=body, timeout=20)
                seen[answer.json()["predictions"][0]["model_version"]] += 1
            except (httpx.ReadError, httpx.RemoteProtocolError):
                seen["reset"] += 1  # accepted by the one that leaves, before a byte arrived
            except (httpx.HTTPError, KeyError) as error:
                seen[repr(error)] += 1
            time.sleep(0.04)

    clients = [threading.Thread(target=load) for _ in range(2)]
    for one in clients:
        one.start()
    try:
        done = deployer.roll_out(PRODUCT, new.ref.tag, new.golden)
        time.sleep(0.2)
    finally:
        ended.set()
        for one in clients:
            one.join()
    assert seen.pop("reset", 0) <= 2, seen
    assert set(seen) == {"v20260101_000000", "v20260108_000000"}, seen
    after = serving(deployer)
    assert done.url == after.url == before.url
    assert (done.previous, after.bento) == (before.bento, new.ref.tag)
    assert not alive(before.pid, before.created)
    assert version(after.url) == after.version == done.version


def test_a_planted_mismatch_keeps_the_old_one_serving(
    deployer: Deployer, first: Built, second: Built
):
    before, new = serving(deployer), idle(deployer, first, second)
    *others, last = new.golden.expected
    wrong = GoldenSet(rows=new.golden.rows, expected=(*others, last + 1e-5))
    with pytest.raises(RolloutError) as caught:
        deployer.roll_out(PRODUCT, new.ref.tag, wrong)
    for word in ("golden request 39 of 40", "further apart than 1e-06", before.bento, before.url,
                 "assay rollback risk/sync_conflict"):  # fmt: skip
        assert word in str(caught.value)
    assert serving(deployer) == before
    assert version(before.url) == before.version


def test_a_tampered_artifact_does_not_start_and_says_so(
    deployer: Deployer, site: Site, first: Built, second: Built
):
    before, new = serving(deployer), idle(deployer, first, second)
    stored = site.bentos / "models" / new.ref.model_tag.replace(":", "/") / "artifact/model.json"
    kept = stored.read_bytes()
    stored.write_bytes(kept.replace(b"0", b"1", 1))
    try:
        with pytest.raises(
            RolloutError, match=r"ended while starting[\s\S]*cannot serve .*refused"
        ):
            deployer.roll_out(PRODUCT, new.ref.tag, new.golden)
    finally:
        stored.write_bytes(kept)
    assert serving(deployer) == before
    assert version(before.url) == before.version


def test_a_killed_master_leaves_a_worker_that_the_next_roll_out_replaces_on_its_port(
    deployer: Deployer, other: Site, first: Built, second: Built
):
    before = serving(deployer)
    one = first if before.bento == first.ref.tag else second
    psutil.Process(before.pid).kill()
    psutil.wait_procs([psutil.Process(before.pid)], timeout=5)
    assert deployer.current(PRODUCT) is None
    assert [len(group) for group in marked(other.services).values()] == [1]
    assert version(before.url) == before.version  # it lives on, unsupervised
    done = deployer.roll_out(PRODUCT, one.ref.tag, one.golden)
    assert (done.url, done.previous) == (before.url, None)


def test_the_same_bento_again_is_only_asked(deployer: Deployer, first: Built, second: Built):
    before = serving(deployer)
    one = first if before.bento == first.ref.tag else second
    assert deployer.roll_out(PRODUCT, one.ref.tag, one.golden).golden_rows == 40
    assert serving(deployer) == before
