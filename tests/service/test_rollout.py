"""Real bentos rolled out for real, in a home beside the shared one."""

from __future__ import annotations

import http.client
import json
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import psutil
import pytest

from models.contracts.api import GoldenSet
from models.risk.sync_conflict.product import PRODUCT
from stores.deployer import Deployer, RolloutError, ServiceRecord
from stores.home import Home
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


def load(url: str, row: object, kept: int, pause: float, ended: threading.Event,
         seen: Counter[str]) -> None:  # fmt: skip
    """One client; counts the version that answered, or how it failed. It never retries."""
    limits = httpx.Limits(max_keepalive_connections=kept)
    with httpx.Client(base_url=url, limits=limits, timeout=20) as client:
        while not ended.is_set():
            try:
                answer = client.post("/predict", json={"rows": [row]})
                seen[answer.json()["predictions"][0]["model_version"]] += 1
            except (httpx.HTTPError, KeyError) as error:
                seen[repr(error)] += 1
            ended.wait(pause)


def test_a_roll_out_under_load_fails_no_request_and_keeps_the_url(
    deployer: Deployer, other: Site, first: Built, second: Built
):
    before, new = serving(deployer), idle(deployer, first, second)
    ended, seen = threading.Event(), Counter[str]()
    clients = [
        threading.Thread(target=load, args=(before.url, first.golden.rows[0], *how, ended, seen))
        for how in [(0, 0.0), (0, 0.02), (1, 0.0), (1, 0.02), (1, 0.7)]
    ]
    for one in clients:
        one.start()
    try:
        done = deployer.roll_out(PRODUCT, new.ref.tag, new.golden)
        pointed = (other.services.parent / f"{PRODUCT.slug}.json").stat().st_mtime
        switch = time.time() - pointed
    finally:
        ended.set()
        for one in clients:
            one.join()
    assert set(seen) == {"v20260101_000000", "v20260108_000000"}, seen
    assert switch < 15
    after = serving(deployer)
    assert done.url == after.url == before.url
    assert (done.previous, after.bento) == (before.bento, new.ref.tag)
    assert not alive(before.pid, Path(before.folder))
    assert version(after.url) == after.version == done.version


def test_what_is_in_flight_when_a_service_is_ended_is_answered(
    deployer: Deployer, other: Site, first: Built, second: Built
):
    before = serving(deployer)
    one = first if before.bento == first.ref.tag else second
    leaving = worker(other, before)
    body = json.dumps({"rows": [first.golden.rows[0]]}).encode()
    parts = [None, 0, 1, 50]  # nothing at all, only headers, some of the body
    with ExitStack() as stack:
        clients = [stack.enter_context(closing(begin(before.port, body, part))) for part in parts]
        assert version(before.url) == before.version  # accepted after them
        psutil.Process(before.pid).terminate()
        until(lambda: not any(c.status == "LISTEN" for c in leaving.net_connections()))
        for client, part in zip(clients, parts, strict=True):
            if part is None:
                start(client, body)
            client.send(body[part or 0 :])
            answer = client.getresponse()
            assert (answer.status, answer.getheader("connection")) == (200, "close"), part
            assert json.loads(answer.read())["predictions"][0]["model_version"] == before.version
    until(lambda: not marked(other.services))
    log = Home(other.root).spool(PRODUCT)  # the worker's shutdown hook ran, after the last answer
    assert not list(log.glob("*.open"))
    assert any(before.version in one.read_text() for one in log.glob("*.log"))
    done = deployer.roll_out(PRODUCT, one.ref.tag, one.golden)
    assert (done.url, done.previous) == (before.url, None)


def begin(port: int, body: bytes, part: int | None) -> http.client.HTTPConnection:
    """A connection with the first bytes of a request's body, or with nothing at all."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    client.connect()
    if part is not None:
        start(client, body)
        client.send(body[:part])
    return client


def start(client: http.client.HTTPConnection, body: bytes) -> None:
    client.putrequest("POST", "/predict")
    client.putheader("content-type", "application/json")
    client.putheader("content-length", str(len(body)))
    client.endheaders()


def worker(site: Site, master: ServiceRecord) -> psutil.Process:
    (one,) = (p for p in marked(site.services)[master.folder] if p.pid != master.pid)
    return one


def until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_killed_worker_is_started_again_by_its_master(deployer: Deployer, other: Site):
    before = serving(deployer)
    killed = worker(other, before)
    killed.kill()
    told = httpx.get(f"{before.url}/health", timeout=60).json()  # waits in the master's queue
    assert told["model_version"] == before.version
    assert serving(deployer) == before
    assert worker(other, before).pid != killed.pid


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
