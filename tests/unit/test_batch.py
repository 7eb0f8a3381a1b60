"""Files of rows are answered once and whole, also when a run is killed in the middle."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from assets import batch as asset
from models.contracts.learner import FitContext
from models.contracts.product import Trial
from models.moderation.text_toxicity.product import PRODUCT as TEXTS
from models.registry import load_learner
from models.risk.sync_conflict.product import PRODUCT as ROWS
from stores import batch
from stores.batch import BatchError, Row, Said
from stores.home import Home
from tests.service import small
from tests.service.site import SMALL, Site, draw, training_rows

VERSION, OTHER = "v20260101_000000", "v20260108_000000"


def put(place: Path, name: str, rows: list[Row]) -> Path:
    file = place / "in" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows)
    write = pa.csv.write_csv if file.suffix == ".csv" else pq.write_table
    write(table, file)
    return file


def lines(folder: Path, name: str) -> list[Row]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


class Model:
    """Answers even numbers; dies at a row, once."""

    def __init__(self, dies_at: int | None = None) -> None:
        self.asked: list[int] = []
        self.dies_at = dies_at

    def __call__(self, rows: Sequence[Row]) -> list[Said]:
        numbers = [row["n"] for row in rows]
        if self.dies_at in numbers:
            self.dies_at = None
            raise KeyboardInterrupt
        self.asked += numbers
        return [Said({"twice": 2 * n}) if n % 2 == 0 else Said(error="odd") for n in numbers]


def go(file: Path, model: Model, version: str = VERSION, said: list[str] | None = None):
    say = (said if said is not None else []).append
    return batch.process(file, version, frozenset(), model, say)


@pytest.fixture
def pieces(monkeypatch):
    monkeypatch.setattr(batch, "PIECE", 10)


@pytest.mark.parametrize("name", ["a.parquet", "a.csv"])
def test_a_killed_run_goes_on_and_no_row_is_asked_twice(tmp_path, pieces, name):
    file = put(tmp_path, name, [{"n": n} for n in range(35)])
    model, said = Model(dies_at=25), []
    with pytest.raises(KeyboardInterrupt):
        go(file, model)
    assert batch.waiting(tmp_path) == [file]
    assert not batch.finished(file).exists()
    report = go(file, model, said=said)
    assert model.asked == list(range(35))
    assert (report.rows, report.bad, report.version) == (35, 17, VERSION)
    assert said[-1] == f"{name}: 35 rows, 17 without an answer"
    done = batch.finished(file)
    assert lines(done, batch.ANSWERS) == [{"row": n, "twice": 2 * n} for n in range(0, 35, 2)]
    assert lines(done, batch.BAD)[:1] == [{"row": 1, "error": "odd", "asked": {"n": 1}}]
    assert batch.waiting(tmp_path) == []
    assert {one.name for one in done.parent.iterdir()} == {done.name, ".lock"}


def test_one_file_has_the_answers_of_one_release(tmp_path, pieces):
    file = put(tmp_path, "a.parquet", [{"n": n} for n in range(20)])
    model = Model(dies_at=15)
    with pytest.raises(KeyboardInterrupt):
        go(file, model)
    assert go(file, model, OTHER).version == OTHER
    assert model.asked == [*range(10), *range(20)]


def test_a_changed_file_is_another_file_and_hidden_ones_are_not_there_yet(tmp_path, pieces):
    file = put(tmp_path, "a.parquet", [{"n": 2}])
    go(file, Model())
    put(tmp_path, ".b.parquet", [{"n": 2}])
    (tmp_path / "in" / "notes.txt").write_text("x")
    assert batch.waiting(tmp_path) == []
    put(tmp_path, "a.parquet", [{"n": 4}])
    assert batch.waiting(tmp_path) == [file]


def test_what_cannot_be_read_is_said(tmp_path):
    broken = put(tmp_path, "a.parquet", [{"n": 2}])
    broken.write_bytes(broken.read_bytes()[:40])
    with pytest.raises(BatchError, match=r"a\.parquet cannot be read"):
        go(broken, Model())
    with pytest.raises(BatchError, match="ends with"):
        batch.take_in(tmp_path, tmp_path / "rows.xlsx")


def released(monkeypatch, site: Site, fitted, trial: Trial) -> Home:
    folder, _ = site.seal(VERSION, fitted, trial)
    release = SimpleNamespace(artifact=str(folder.relative_to(site.root)), version=VERSION)
    monkeypatch.setattr(asset, "current_release", lambda *_: release)
    return Home(site.root)


def test_rows_are_answered_as_the_model_does_and_wrong_ones_are_kept(monkeypatch, tmp_path):
    site = Site(tmp_path, ROWS)
    fitted = load_learner(ROWS).fit(SMALL, training_rows(ROWS, 1), FitContext())
    home = released(monkeypatch, site, fitted, SMALL)
    inputs = draw(ROWS, 6, 3)
    names = ROWS.data.names
    kinds = {column.name: column.kind for column in ROWS.data.columns}
    rows = [
        {"tenant": "acme", "event_id": f"00{n}"}
        | {
            name: None if np.isnan(v) else int(v) if kinds[name] == "int" else float(v)
            for name, v in zip(names, line, strict=True)
        }
        for n, line in enumerate(inputs)
    ]
    rows[2]["tenant"] = "stranger"
    rows[4][names[0]] = None if not ROWS.data.columns[0].nullable else -1
    put(batch.folder(home, ROWS), "rows.csv", rows)
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([asset.build(ROWS)], resources={"home": home}, instance=instance)
    assert result.success
    (check,) = result.get_asset_check_evaluations()
    assert check.passed
    (done,) = (batch.folder(home, ROWS) / "out").glob("rows-*")
    told = lines(done, batch.ANSWERS)
    assert [one["row"] for one in told] == [0, 1, 3, 5]
    offline = fitted.predict(inputs)
    for one in told:
        assert one["probability"] == pytest.approx(offline[one["row"]], abs=1e-6)
        assert one["model_version"] == VERSION
    bad = lines(done, batch.BAD)
    assert [one["row"] for one in bad] == [2, 4]
    assert bad[0]["error"].startswith("tenant: unknown tenant")
    assert bad[1]["error"].startswith(names[0])
    assert bad[0]["asked"]["event_id"] == "002"


def test_texts_are_answered_by_command(monkeypatch, tmp_path):
    from orchestration.cli import app

    site, trial = Site(tmp_path, TEXTS), Trial(name="s", params={"model": "tfidf_linear",
                                                                "min_texts": 1})  # fmt: skip
    fitted = load_learner(TEXTS).fit(trial, small.texts(TEXTS, seed=1), FitContext())
    home = released(monkeypatch, site, fitted, trial)
    monkeypatch.setenv("ASSAY_HOME", str(home.root))
    file = tmp_path / "mine.parquet"
    pq.write_table(pa.Table.from_pylist([
        {"tenant": "acme", "text": "you idiot"}, {"tenant": "acme", "text": ""},
        {"tenant": "acme", "text": "lovely day"},
    ]), file)  # fmt: skip
    run = CliRunner().invoke(app, ["batch", TEXTS.key, str(file)])
    assert run.exit_code == 0, run.output
    assert "2 answered" in run.output
    assert "1 bad rows" in run.output
    (done,) = (batch.folder(home, TEXTS) / "out").glob("mine-*")
    told = [one["probability"] for one in lines(done, batch.ANSWERS)]
    assert told == pytest.approx(fitted.predict(["you idiot", "lovely day"])[:, 0].tolist())
    again = CliRunner().invoke(app, ["batch", TEXTS.key])
    assert again.exit_code == 0
    assert "answered by" not in again.output
