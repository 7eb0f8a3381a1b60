"""What the deployer decides, with a stand-in for BentoML's processes; see ``stand_in``."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from _bentoml_impl.worker.service import main as worker_main

from gateway import drain
from models.contracts.api import GoldenSet
from models.risk.sync_conflict.product import PRODUCT
from stores import deployer as deployer_module
from stores import listener, service_process, service_slot
from stores.deployer import Deployer, RolloutError, ServiceRecord
from stores.golden import MismatchError, replay
from stores.listener import open_port, take_over
from stores.service_process import StartError, alive, marked, stop

GOLDEN = GoldenSet(rows=({"value": 0.25}, {"value": 0.5}), expected=(0.25, 0.5))
FAST = PRODUCT.model_copy(update={"serving": PRODUCT.serving.model_copy(update={"timeout_s": 0.5})})


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for folder in marked(tmp_path / "services" / FAST.slug):
        stop(Path(folder), 0.0)


@pytest.fixture
def deployer(home: Path, monkeypatch: pytest.MonkeyPatch) -> Deployer:
    monkeypatch.setattr(service_process, "MASTER", "tests.service.stand_in")
    monkeypatch.setattr(deployer_module, "_GRACE_SECONDS", 0.5)
    for name in ("_DOOR_SECONDS", "_PORT_SECONDS"):
        monkeypatch.setattr(listener, name, 0.3)
    return Deployer(home, home / "bentos", home / "key.pem")


def running(home: Path) -> int:
    return len(marked(home / "services" / FAST.slug))


def version(url: str) -> str:
    told: dict[str, str] = httpx.get(url).json()
    return told["model_version"]


def serving(deployer: Deployer) -> ServiceRecord:
    record = deployer.current(FAST)
    assert record is not None
    return record


def test_first_second_and_back_keep_one_url_and_one_process(deployer: Deployer, home: Path):
    done = [deployer.roll_out(FAST, tag, GOLDEN) for tag in ("x:v1", "x:v2", "x:v1")]
    assert [one.previous for one in done] == [None, "x:v1", "x:v2"]
    assert [one.version for one in done] == ["v1", "v2", "v1"]
    assert len({one.url for one in done}) == 1
    assert (version(done[0].url), running(home)) == ("v1", 1)
    record = serving(Deployer(home, home / "bentos", home / "key.pem"))
    assert (record.bento, record.url) == ("x:v1", done[0].url)


def test_the_service_gets_its_homes_and_key_by_environment(deployer: Deployer, home: Path):
    deployer.roll_out(FAST, "x:v1", GOLDEN)
    environment = psutil.Process(serving(deployer).pid).environ()
    assert environment["BENTOML_HOME"] == str(home / "bentos")
    assert environment["ASSAY_PUBLIC_KEY"] == str(home / "key.pem")
    assert environment["BENTOML_DO_NOT_TRACK"] == "True"
    assert environment["ASSAY_SPOOL"] == str(home / "spool" / FAST.slug)
    assert environment["ASSAY_SPOOL_MB"] == "512"


@pytest.mark.parametrize(
    ("tag", "words"),
    [("x:wrong", "golden request 0 of 2: the service answered 0.35"),
     ("x:dies", "ended while starting[\\s\\S]*cannot serve: planted")],
)  # fmt: skip
def test_a_bad_bento_leaves_the_old_one_alone(deployer: Deployer, home: Path, tag: str, words: str):
    deployer.roll_out(FAST, "x:v1", GOLDEN)
    before = serving(deployer)
    with pytest.raises(RolloutError, match=rf"{tag} was not[\s\S]*{words}[\s\S]*x:v1 serves at"):
        deployer.roll_out(FAST, tag, GOLDEN)
    assert serving(deployer) == before
    assert running(home) == 1


@pytest.mark.parametrize("tag", ["x:wrong", "x:dies"])
def test_a_bad_first_bento_leaves_nothing(deployer: Deployer, home: Path, tag: str):
    with pytest.raises(RolloutError, match="nothing serves it"):
        deployer.roll_out(FAST, tag, GOLDEN)
    assert deployer.current(FAST) is None
    assert running(home) == 0


def test_a_mismatch_after_the_switch_brings_the_old_bento_back(
    deployer: Deployer, home: Path, monkeypatch: pytest.MonkeyPatch
):
    deployer.roll_out(FAST, "x:v1", GOLDEN)
    before, asked = serving(deployer), []

    def wrong_the_second_time(url: str, golden: GoldenSet, token: str) -> float:
        asked.append((url, version(url)))
        if len(asked) == 2:
            raise MismatchError("planted after the switch")
        return replay(url, golden, token)

    monkeypatch.setattr(deployer_module, "replay", wrong_the_second_time)
    with pytest.raises(RolloutError, match=r"planted after the switch[\s\S]*x:v1 serves at"):
        deployer.roll_out(FAST, "x:v2", GOLDEN)
    assert asked[0][0] != before.url  # rehearsed elsewhere first
    assert asked[1] == (before.url, "v2")
    after = serving(deployer)
    assert (after.bento, after.url, running(home)) == ("x:v1", before.url, 1)
    assert version(after.url) == "v1"


def test_a_service_that_does_not_hand_on_its_port_is_replaced_on_it(deployer: Deployer, home: Path):
    deployer.roll_out(FAST, "x:v1", GOLDEN)
    before = serving(deployer)
    Path(before.door).unlink()
    done = deployer.roll_out(FAST, "x:v2", GOLDEN)
    assert (done.url, done.previous, running(home)) == (before.url, "x:v1", 1)
    assert version(done.url) == "v2"


def test_the_same_bento_is_started_anew_only_when_it_no_longer_answers(
    deployer: Deployer, home: Path, monkeypatch: pytest.MonkeyPatch
):
    deployer.roll_out(FAST, "x:v1", GOLDEN)
    before = serving(deployer)
    deployer.roll_out(FAST, "x:v1", GOLDEN)
    assert serving(deployer) == before
    monkeypatch.setattr("stores.golden._SECONDS", 0.3)
    psutil.Process(before.pid).suspend()  # it lives and holds the port, but hangs
    done = deployer.roll_out(FAST, "x:v1", GOLDEN)
    assert done.url == before.url
    assert serving(deployer).pid != before.pid
    assert running(home) == 1


def test_what_a_crashed_roll_out_left_is_ended_by_the_next(deployer: Deployer, home: Path):
    deployer.roll_out(FAST, "x:v1", GOLDEN)
    pointer = home / "services" / f"{FAST.slug}.json"
    kept = pointer.read_bytes()
    with open_port("127.0.0.1", 0) as scratch:  # started, and then the deployer was killed
        deployer._start(FAST, "x:v2", scratch)
    assert running(home) == 2
    done = deployer.roll_out(FAST, "x:v1", GOLDEN)
    assert (running(home), pointer.read_bytes()) == (1, kept)
    assert version(done.url) == "v1"


def test_stop_frees_the_port_and_the_next_start_has_it_again(deployer: Deployer, home: Path):
    url = deployer.roll_out(FAST, "x:v1", GOLDEN).url
    door = Path(serving(deployer).door)
    assert deployer.stop(FAST)
    assert (running(home), door.exists(), deployer.current(FAST)) == (0, False, None)
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
    assert not deployer.stop(FAST)
    assert deployer.roll_out(FAST, "x:v2", GOLDEN).url == url


def test_a_crash_while_it_is_made_current_leaves_no_mark_of_a_stop(
    deployer: Deployer, home: Path, monkeypatch: pytest.MonkeyPatch
):
    deployer.stop(FAST)
    with monkeypatch.context() as patch, pytest.raises(TypeError):
        patch.setattr(service_slot, "write_atomic", None)
        deployer.roll_out(FAST, "x:v1", GOLDEN)
    assert not (home / "services" / f"{FAST.slug}.stopped").exists()


def test_a_port_that_someone_else_took_meanwhile_gives_another_url(deployer: Deployer):
    url = deployer.roll_out(FAST, "x:v1", GOLDEN).url
    deployer.stop(FAST)
    with open_port("127.0.0.1", int(url.rpartition(":")[2])):
        assert deployer.roll_out(FAST, "x:v1", GOLDEN).url != url


def test_a_port_that_the_product_asks_for_is_used_or_named_as_taken(deployer: Deployer):
    with open_port("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        serving = FAST.serving.model_copy(update={"port": port})
        fixed = FAST.model_copy(update={"serving": serving})
        with pytest.raises(RolloutError, match=f"port {port} is taken.*serving.port"):
            deployer.roll_out(fixed, "x:v1", GOLDEN)
    assert deployer.roll_out(fixed, "x:v1", GOLDEN).url == f"http://127.0.0.1:{port}"


def test_roll_outs_of_one_product_wait_for_each_other(
    deployer: Deployer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(deployer_module, "_LOCK_SECONDS", 0.1)
    with deployer._alone(FAST), pytest.raises(RolloutError, match="another roll-out of risk/sync"):
        deployer.roll_out(FAST, "x:v1", GOLDEN)


def test_old_logs_go_and_the_newest_stay(deployer: Deployer, home: Path):
    runs = home / "services" / FAST.slug
    for number in range(9):
        (runs / f"2025010{number}_000000_old").mkdir(parents=True)
    deployer.roll_out(FAST, "x:v1", GOLDEN)
    left = sorted(folder.name for folder in runs.iterdir())
    assert left[:5] == [f"2025010{number}_000000_old" for number in range(4, 9)]
    assert len(left) == 6


# ---- the parts


def test_waiting_for_a_service_that_never_gets_ready_ends(tmp_path: Path):
    own = psutil.Process()
    (tmp_path / "service.log").write_text("first\n" * 50 + "still loading\n")
    slow = service_process.Running(tmp_path, own.pid, tmp_path / "door")
    with pytest.raises(StartError, match=r"not ready after 0 s[\s\S]*still loading") as caught:
        service_process.wait_ready(slow, seconds=0.1)
    assert str(caught.value).count("first") < 20


def test_a_reused_process_number_is_not_the_service(deployer: Deployer):
    deployer.roll_out(FAST, "x:v1", GOLDEN)
    record = serving(deployer)
    assert alive(record.pid, Path(record.folder))
    assert not alive(record.pid, Path(record.folder).with_name("another"))
    assert not alive(psutil.Process().pid, Path(record.folder))


def test_setting_the_clock_does_not_make_a_service_look_dead(
    deployer: Deployer, monkeypatch: pytest.MonkeyPatch
):
    deployer.roll_out(FAST, "x:v1", GOLDEN)
    monkeypatch.setattr(psutil.Process, "create_time", lambda _: 0.0)
    assert deployer.current(FAST) is not None


def test_a_service_that_ignores_the_signal_is_killed_in_time(deployer: Deployer, home: Path):
    deployer.roll_out(FAST, "x:v1", GOLDEN)
    record = serving(deployer)
    psutil.Process(record.pid).send_signal(signal.SIGSTOP)
    begun = time.monotonic()
    assert stop(Path(record.folder), 0.2) == 1
    assert time.monotonic() - begun < 3
    assert not alive(record.pid, Path(record.folder))
    assert not Path(record.door).exists()


def test_a_stop_waits_longer_than_a_worker_drains_idle_connections():
    (keep_alive,) = (p.default for p in worker_main.params if p.name == "timeout_keep_alive")
    hooks = 5.0
    assert keep_alive + drain.MARGIN_SECONDS + hooks < deployer_module._GRACE_SECONDS


def test_a_door_nobody_answers_is_an_error(tmp_path: Path):
    with pytest.raises(OSError, match="No such file"):
        take_over(tmp_path / "none.sock")


def test_only_this_user_may_take_the_port_over(deployer: Deployer):
    deployer.roll_out(FAST, "x:v1", GOLDEN)
    record = serving(deployer)
    assert Path(record.door).stat().st_mode & 0o777 == 0o600
    with take_over(Path(record.door)) as shared:
        assert shared.getsockname()[1] == record.port
        assert not shared.get_inheritable()


def test_a_pointer_of_another_shape_is_an_error_not_a_service(deployer: Deployer, home: Path):
    shutil.rmtree(home / "services", ignore_errors=True)
    (home / "services").mkdir()
    (home / "services" / f"{FAST.slug}.json").write_text('{"url": 1}')
    with pytest.raises(ValueError, match="ServiceRecord"):
        deployer.current(FAST)
