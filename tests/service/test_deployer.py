"""Roll-outs on this machine, each on a home of its own: what goes wrong leaves the old serving."""

from __future__ import annotations

import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from models.contracts.api import GoldenSet
from models.risk.sync_conflict.product import PRODUCT
from stores import deployer as deployer_module
from stores import service_process
from stores.deployer import Deployer, RolloutError
from stores.golden import MismatchError, replay
from stores.listener import open_port, take_over
from stores.service_process import StartError, marked
from tests.service.site import Built, Site


@pytest.fixture(scope="module")
def other(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A home beside the shared one, with the same keys and bentos but services of its own."""
    made = Site(tmp_path_factory.mktemp("other"), PRODUCT)
    shutil.copytree(site.root / "keys", made.root / "keys")
    made.bentos.symlink_to(site.bentos)
    try:
        yield made
    finally:
        made.end()


@pytest.fixture(scope="module")
def deployer(other: Site, first: Built) -> Deployer:
    """The first model serves in the other home."""
    found = other.deployer()
    done = found.roll_out(PRODUCT, first.ref.tag, first.golden)
    assert (done.previous, done.golden_rows, done.version) == (None, 40, "v20260101_000000")
    assert done.max_difference <= 1e-6
    return found


@pytest.fixture(autouse=True)
def _no_extra_process(request: pytest.FixtureRequest) -> Iterator[None]:
    """After every test: one master and one worker of one service, or nothing at all."""
    yield
    if "other" in request.fixturenames:
        groups = marked(request.getfixturevalue("other").services)
        assert [len(group) for group in groups.values()] in ([], [2])


def version(url: str) -> str:
    told: dict[str, str] = httpx.get(f"{url}/health", timeout=10).json()
    return told["model_version"]


def shifted(golden: GoldenSet) -> GoldenSet:
    """Golden answers of which the last is wrong by ten times the tolerance."""
    *others, last = golden.expected
    return golden.model_copy(update={"expected": (*others, last + 1e-5)})


def test_a_roll_out_under_load_refuses_nobody_and_keeps_the_url(
    deployer: Deployer, other: Site, first: Built, second: Built
):
    before = deployer.current(PRODUCT)
    assert before
    body, ended, seen = {"rows": first.golden.rows[:1]}, threading.Event(), Counter[str]()

    def load() -> None:
        while not ended.is_set():
            try:  # a new connection each time: a kept one would not notice a closed port
                answer = httpx.post(f"{before.url}/predict", json=body, timeout=20)
                seen[answer.json()["predictions"][0]["model_version"]] += 1
            except (httpx.HTTPError, KeyError) as error:
                seen[repr(error)] += 1
            time.sleep(0.005)

    clients = [threading.Thread(target=load) for _ in range(2)]
    for one in clients:
        one.start()
    try:
        done = deployer.roll_out(PRODUCT, second.ref.tag, second.golden)
        time.sleep(0.2)
    finally:
        ended.set()
        for one in clients:
            one.join()
    assert set(seen) == {"v20260101_000000", "v20260108_000000"}, seen
    assert done.url == before.url
    assert done.previous == first.ref.tag
    after = deployer.current(PRODUCT)
    assert after
    assert (after.bento, after.url, after.port) == (second.ref.tag, before.url, before.port)
    assert not service_process.alive(before.pid, before.created)
    assert other.deployer().current(PRODUCT) == after  # nothing is remembered in the object


def test_the_same_bento_again_is_only_asked(deployer: Deployer, second: Built):
    before = deployer.current(PRODUCT)
    done = deployer.roll_out(PRODUCT, second.ref.tag, second.golden)
    assert done.golden_rows == 40
    assert deployer.current(PRODUCT) == before


def test_a_planted_mismatch_keeps_the_old_one_and_says_what_differed(
    deployer: Deployer, first: Built
):
    before = deployer.current(PRODUCT)
    assert before
    with pytest.raises(RolloutError) as caught:
        deployer.roll_out(PRODUCT, first.ref.tag, shifted(first.golden))
    for word in ("golden request 39 of 40", "further apart than 1e-06", before.bento, before.url,
                 "assay rollback risk/sync_conflict"):  # fmt: skip
        assert word in str(caught.value)
    assert deployer.current(PRODUCT) == before
    assert version(before.url) == before.version


def test_a_tampered_artifact_does_not_start_and_says_so(
    deployer: Deployer, site: Site, first: Built
):
    before = deployer.current(PRODUCT)
    assert before
    model = site.bentos / "models" / PRODUCT.slug / "v20260101_000000/artifact/model.json"
    kept = model.read_bytes()
    model.write_bytes(kept.replace(b"0", b"1", 1))
    try:
        with pytest.raises(RolloutError, match=r"cannot serve .*signature refused"):
            deployer.roll_out(PRODUCT, first.ref.tag, first.golden)
    finally:
        model.write_bytes(kept)
    assert deployer.current(PRODUCT) == before
    assert version(before.url) == before.version


def test_a_mismatch_after_the_switch_brings_the_old_bento_back(
    deployer: Deployer, first: Built, second: Built, monkeypatch: pytest.MonkeyPatch
):
    before = deployer.current(PRODUCT)
    assert before
    calls = []

    def second_time_wrong(url: str, golden: GoldenSet) -> float:
        calls.append(url)
        if len(calls) == 2:
            raise MismatchError("planted after the switch")
        return replay(url, golden)

    monkeypatch.setattr(deployer_module, "replay", second_time_wrong)
    with pytest.raises(RolloutError, match=rf"planted after the switch[\s\S]*{before.bento}"):
        deployer.roll_out(PRODUCT, first.ref.tag, first.golden)
    after = deployer.current(PRODUCT)
    assert after
    assert calls[0] != before.url
    assert calls[1] == after.url == before.url
    assert after.bento == second.ref.tag
    assert replay(after.url, second.golden) <= 1e-6


def test_a_master_killed_leaves_a_worker_that_the_next_roll_out_replaces_on_the_port(
    deployer: Deployer, other: Site, second: Built
):
    before = deployer.current(PRODUCT)
    assert before
    psutil.Process(before.pid).kill()
    deadline = time.monotonic() + 5
    while deployer.current(PRODUCT) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert deployer.current(PRODUCT) is None
    assert [len(group) for group in marked(other.services).values()] == [1]
    assert version(before.url) == before.version  # the worker lives on, unsupervised
    done = deployer.roll_out(PRODUCT, second.ref.tag, second.golden)
    assert (done.url, done.previous) == (before.url, None)


def test_a_service_that_does_not_hand_on_its_port_is_replaced_all_the_same(
    deployer: Deployer, first: Built
):
    before = deployer.current(PRODUCT)
    assert before
    Path(before.door).unlink()
    done = deployer.roll_out(PRODUCT, first.ref.tag, first.golden)
    assert (done.url, done.previous) == (before.url, before.bento)
    assert version(done.url) == "v20260101_000000"


def test_stop_ends_every_process_frees_the_port_and_keeps_it_for_the_next_time(
    deployer: Deployer, other: Site
):
    before = deployer.current(PRODUCT)
    assert before
    assert deployer.stop(PRODUCT)
    assert marked(other.services) == {}
    assert deployer.current(PRODUCT) is None
    assert not deployer.stop(PRODUCT)
    assert not Path(before.door).exists()
    with pytest.raises(httpx.ConnectError):
        httpx.get(before.url)
    with deployer._own_port(PRODUCT) as again:
        assert again.getsockname()[1] == before.port


def test_a_first_roll_out_that_fails_leaves_nothing(other: Site, first: Built):
    with pytest.raises(RolloutError, match=r"golden request 39[\s\S]*nothing serves it"):
        other.deployer().roll_out(PRODUCT, first.ref.tag, shifted(first.golden))
    assert marked(other.services) == {}
    assert other.deployer().current(PRODUCT) is None


def test_a_taken_port_and_a_missing_bento_are_named(other: Site, first: Built):
    with open_port("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        serving = PRODUCT.serving.model_copy(update={"port": port})
        fixed = PRODUCT.model_copy(update={"serving": serving})
        with pytest.raises(RolloutError, match=f"port {port} is taken.*serving.port"):
            other.deployer().roll_out(fixed, first.ref.tag, first.golden)
    with pytest.raises(RolloutError, match="v19990101_000000"):
        other.deployer().roll_out(PRODUCT, f"{PRODUCT.slug}:v19990101_000000", first.golden)


# ---- the parts, without a service


def test_waiting_for_a_service_that_never_gets_ready_ends(tmp_path: Path):
    own = psutil.Process()
    (tmp_path / "service.log").write_text("first\n" * 50 + "still loading\n")
    slow = service_process.Running(tmp_path, own.pid, own.create_time(), tmp_path / "door")
    with pytest.raises(StartError, match=r"not ready after 0 s[\s\S]*still loading"):
        service_process.wait_ready(slow, seconds=0.1)


def test_a_reused_process_number_is_not_the_service():
    own = psutil.Process()
    assert service_process.alive(own.pid, own.create_time())
    assert not service_process.alive(own.pid, own.create_time() - 10)


def test_a_door_nobody_answers_is_an_error(tmp_path: Path):
    with pytest.raises(OSError, match="No such file"):
        take_over(tmp_path / "none.sock")


@pytest.mark.parametrize("answer", [
    {"predictions": []}, {"predictions": [{"probability": 0.5}]},
])  # fmt: skip
def test_replay_counts_the_answers(monkeypatch: pytest.MonkeyPatch, answer: object):
    monkeypatch.setattr(httpx, "post", lambda *a, **k: httpx.Response(200, json=answer))
    golden = GoldenSet(rows=({"a": 1}, {"a": 2}), expected=(0.5, 0.5))
    with pytest.raises(MismatchError, match="2 golden requests got"):
        replay("http://service", golden)


def test_replay_shows_a_refusal_and_a_dead_service(monkeypatch: pytest.MonkeyPatch):
    golden = GoldenSet(rows=({"a": 1},), expected=(0.5,))
    monkeypatch.setattr(httpx, "post", lambda *a, **k: httpx.Response(400, text="why not"))
    with pytest.raises(MismatchError, match="answered 400: why not"):
        replay("http://service", golden)
    monkeypatch.undo()
    with open_port("127.0.0.1", 0) as closed, pytest.raises(MismatchError, match="ConnectError"):
        replay(f"http://127.0.0.1:{closed.getsockname()[1]}", golden)


def test_replay_refuses_nan(monkeypatch: pytest.MonkeyPatch):
    text = '{"predictions": [{"probability": NaN}]}'
    monkeypatch.setattr(httpx, "post", lambda *a, **k: httpx.Response(200, text=text))
    with pytest.raises(MismatchError, match="nan"):
        replay("http://service", GoldenSet(rows=({"a": 1},), expected=(0.5,)))
