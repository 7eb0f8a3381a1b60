"""Acknowledged is logged: kill -9 under load, a full log, an orderly stop. Services of its own."""

from __future__ import annotations

import http.client
import json
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from models.risk.sync_conflict.product import PRODUCT
from stores.deployer import Deployer, RolloutError, ServiceRecord
from stores.service_process import marked
from tests.service.site import Built, Site
from tests.service.spooled import bodies, held, lines, segments, until, writer

ROWS, REQUESTS, CLIENTS = 10, 1_050, 4


@pytest.fixture
def home(site: Site, tmp_path: Path) -> Iterator[Site]:
    """The same keys and bentos, services and spools of its own."""
    made = Site(tmp_path, PRODUCT)
    shutil.copytree(site.root / "keys", made.root / "keys")
    made.bentos.symlink_to(site.bentos)
    yield made
    made.end()


@pytest.fixture
def spool(home: Site) -> Path:
    return home.root / "spool" / PRODUCT.slug


class Load:
    """Clients that ask until they are stopped and keep every prediction id they were given."""

    def __init__(self, url: str, body: bytes) -> None:
        self._address, self._body = urlsplit(url).netloc, body
        self.acknowledged: list[str] = []
        self.statuses: Counter[int] = Counter()
        self._ended = threading.Event()
        self._clients = [threading.Thread(target=self._run) for _ in range(CLIENTS)]
        for client in self._clients:
            client.start()

    def _run(self) -> None:
        while not self._ended.is_set():
            connection = http.client.HTTPConnection(self._address, timeout=20)
            try:
                while not self._ended.is_set():
                    self._ask(connection)
            except (OSError, http.client.HTTPException, json.JSONDecodeError):
                self._ended.wait(0.02)  # killed meanwhile: what was not answered is not counted
            finally:
                connection.close()

    def _ask(self, connection: http.client.HTTPConnection) -> None:
        headers = {"content-type": "application/json"}
        connection.request("POST", "/predict", self._body, headers)
        answer = connection.getresponse()
        content = json.loads(answer.read())
        self.statuses[answer.status] += 1
        self.acknowledged += [one["prediction_id"] for one in content.get("predictions", [])]

    def reach(self, count: int) -> None:
        """Wait for that many acknowledged predictions."""
        until(lambda: len(self.acknowledged) >= count, seconds=120)

    def end(self) -> None:
        self._ended.set()
        for client in self._clients:
            client.join()


def serving(deployer: Deployer) -> ServiceRecord:
    record = deployer.current(PRODUCT)
    assert record is not None
    return record


def processes(home: Site) -> list[psutil.Process]:
    return [process for group in marked(home.services).values() for process in group]


def kill(victims: list[psutil.Process]) -> None:
    assert victims
    for process in victims:
        process.kill()
    psutil.wait_procs(victims, timeout=5)


def test_ten_thousand_acknowledged_predictions_survive_kill_9_of_worker_and_service(
    home: Site, spool: Path, first: Built
):
    deployer = home.deployer()
    url = deployer.roll_out(PRODUCT, first.ref.tag, first.golden).url
    master, body = serving(deployer).pid, {"rows": first.golden.rows[:ROWS]}
    load = Load(url, json.dumps(body).encode())
    try:
        load.reach(ROWS * REQUESTS // 3)
        kill([process for process in processes(home) if process.pid != master])
        load.reach(ROWS * REQUESTS * 2 // 3)  # the master has started another worker
        kill(processes(home))
        assert deployer.current(PRODUCT) is None
        assert all(not held(segment) for segment in segments(spool))
        assert deployer.roll_out(PRODUCT, first.ref.tag, first.golden).url == url
        load.reach(ROWS * REQUESTS)
    finally:
        load.end()
    taken = [body["prediction_id"] for body in bodies(spool, "prediction")]
    assert len(load.acknowledged) >= 10_000
    assert set(load.acknowledged) <= set(taken)
    assert len(taken) == len(set(taken))
    assert set(load.statuses) == {200}
    check_writers(spool)


def check_writers(spool: Path) -> None:
    """Three of them: two were killed over their last segment; each counts from 1 without gaps."""
    by_writer: dict[str, list[Path]] = {}
    for segment in segments(spool):
        by_writer.setdefault(writer(segment), []).append(segment)
    assert len(by_writer) == 3
    for name, mine in by_writer.items():
        numbers = [line.number for line in lines(spool, of=name)]
        assert numbers == list(range(1, len(numbers) + 1))
        assert all(segment.suffix == ".log" for segment in mine[:-1])
    *dead, live = by_writer.values()
    assert [one[-1].suffix for one in dead] == [".open"] * 2
    assert [held(one[-1]) for one in dead] == [False] * 2
    assert live[0].suffix in (".open", ".log")


def test_a_full_log_is_503_until_it_was_emptied_and_a_stop_finishes_the_segment(
    home: Site, spool: Path, first: Built
):
    deployer = Deployer(home.root, home.bentos, home.keys[1], spool_mb=1)
    url = deployer.roll_out(PRODUCT, first.ref.tag, first.golden).url
    row = first.golden.rows[0]
    big, small = {"rows": [row] * 1_000}, {"rows": [row]}
    with httpx.Client(base_url=url, timeout=20) as client:
        statuses = [client.post("/predict", json=big).status_code for _ in range(4)]
        assert statuses[0] == 200
        assert statuses[-1] == 503
        refused = client.post("/predict", json=big)
        assert refused.headers["retry-after"] == "5"
        assert "could not be logged: the prediction log is full" in refused.json()["error"]
        assert "raise ASSAY_SPOOL_MB" in refused.json()["error"]
        again = deployer.roll_out(PRODUCT, first.ref.tag, first.golden)  # a rollback would pass
        assert again.golden_rows == len(first.golden.rows)
        assert client.post("/predict", json=big).status_code == 503
        logged = len(bodies(spool, "prediction", purpose="traffic"))
        assert logged == 1_000 * statuses.count(200)
        until(lambda: all(not held(segment) for segment in segments(spool)), seconds=10)
        for segment in segments(spool):
            segment.unlink()  # as the ingestion does
        until(lambda: client.post("/predict", json=small).status_code == 200)
        assert "assay_spool_refused_total{" in client.get("/metrics").text
    deployer.stop(PRODUCT)
    assert {segment.suffix for segment in segments(spool)} == {".log"}
    assert bodies(spool, "prediction")[-1]["rows"] == 1
    log = next(home.services.glob("*/service.log")).read_text()
    said = [json.loads(line)["message"] for line in log.splitlines() if line.startswith("{")]
    assert [line[:30] for line in said[1:]] == [
        "requests are answered 503: the", "the prediction log takes recor",
    ]  # fmt: skip


def test_a_folder_that_cannot_be_written_ends_the_roll_out_at_once_and_says_so(
    home: Site, spool: Path, first: Built
):
    spool.parent.mkdir()
    spool.touch()
    words = (
        r"ended while starting[\s\S]*cannot serve .*no prediction can be logged in .*File exists"
    )
    with pytest.raises(RolloutError, match=words):
        home.deployer().roll_out(PRODUCT, first.ref.tag, first.golden)
