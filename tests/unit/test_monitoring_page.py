"""The monitoring page says what the reports say, and Evidently's verdict is ours."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.contracts.monitoring import (
    DataQuality,
    DriftEffect,
    Latency,
    MonitoringResult,
    RetrainDecision,
    RollbackDecision,
    VersionWindow,
    WindowReport,
    WindowVerdict,
)
from models.contracts.results import Estimate
from models.risk.sync_conflict.product import PRODUCT
from stores.reports import ReportError
from stores.reports.evidently_drift import write_drift
from stores.reports.monitoring_page import PageData, render, windows_table, write_page

START = datetime(2030, 3, 1, tzinfo=UTC)
NAN = Latency(mean=np.nan, median=np.nan, p95=np.nan, p99=np.nan)


def estimate(value: float) -> Estimate:
    return Estimate(value=value, low=value - 0.02, high=value + 0.01)


def version(name: str, rows: int, **changed: object) -> VersionWindow:
    effects = (
        DriftEffect(name="files_ours", effect=0.31, drifted=True),
        DriftEffect(name="files_theirs", effect=0.02, drifted=False),
    )
    return VersionWindow(
        version=name, rows=rows, requests=10, share=0.5, errors=1, error_rate=0.1, latency=NAN,
        cost_per_1000=0.0001, drift=effects,
        score_drift=DriftEffect(name="score", effect=0.05, drifted=False),
        quality=DataQuality(outside={"files_ours": 0.25}, nulls={}, contradictions=3, orphans=4),
        estimated={"overall": {"roc_auc": estimate(0.9)},
                   "tenant=<b>acme</b>": {"roc_auc": estimate(0.8)}},
        realised={}, outcomes=0,
        verdict=WindowVerdict(judged=True, drifted=True, hurt=False, basis="estimated",
                              reason="1 of 2 inputs moved"),
    ).model_copy(update=changed)  # fmt: skip


def report(day: int, *versions: VersionWindow) -> WindowReport:
    start = START + timedelta(days=day)
    return WindowReport(
        product=PRODUCT.key, start=start, end=start + timedelta(days=1), as_of=start, digest="d",
        rows=sum(v.rows for v in versions), versions=versions,
    )  # fmt: skip


def data(*reports: WindowReport, **result: object) -> PageData:
    asked = RetrainDecision(
        retrain=False, reason="drift that hurts nothing is shown", window=None, violations=0,
        windows=1, new_rows=0,
    )  # fmt: skip
    said = MonitoringResult(
        product=PRODUCT.key, as_of=START, champion="v2",
        windows=tuple(r.start for r in reports), retrain=asked, rollback=None, regression=None,
    )  # fmt: skip
    limits = {"promised": 0.95, "bar": 0.93}
    return PageData(PRODUCT, reports, said.model_copy(update=result), limits, "drift.html")


REPORTS = (
    report(0, version("v1", 900)),
    report(1, version("v2", 300), version("v1", 700, realised={"overall": {
        "roc_auc": estimate(0.85)}})),
)  # fmt: skip


def test_the_page_shows_every_window_and_what_follows() -> None:
    page = render(data(*REPORTS), dpi=40)
    text = unescape(re.sub(r"<[^>]+>", " ", page))
    assert "Nothing to do: drift that hurts nothing is shown." in text
    titles = ("Decisions", "Quality", "Windows", "Drift", "Slices", "Service", "Data quality")
    figures = ("2030-03-02 00:00", "0.900 [0.880,", "drifted, does not hurt", "25.0\u00a0%")
    for wanted in titles + figures:
        assert wanted in text
    assert page.count("data:image/png") == 2
    assert 'href="drift.html"' in page
    assert "<b>acme" not in page, "tenants' names are data"
    assert "&lt;b&gt;acme" in page
    assert "http" not in page.replace("http-equiv", ""), "self-contained"


def test_the_verdict_names_the_gravest_thing_first() -> None:
    back = RollbackDecision(
        roll_back=True, reason="it is worse", champion="v2", previous="v1", basis="realised"
    )
    assert "Go back to v1: it is worse." in render(data(*REPORTS, rollback=back), dpi=40)
    broken = render(data(*REPORTS, regression="v2 promised more"), dpi=40)
    assert "The promise is broken: v2 promised more." in broken


def test_the_table_is_newest_first_with_a_row_per_release() -> None:
    rows = windows_table(REPORTS, "roc_auc")
    assert [(row["Window"], row["Release"]) for row in rows] == [
        ("2030-03-02 00:00", "v2"), ("2030-03-02 00:00", "v1"), ("2030-03-01 00:00", "v1"),
    ]  # fmt: skip
    assert rows[1]["ROC-AUC, realised"] == "0.850 [0.830, 0.860]"
    assert rows[0]["ROC-AUC, realised"] == "n/a"
    assert rows[0]["Inputs moved"] == "1 of 2"


def test_before_any_traffic_there_is_a_page_too(tmp_path: Path) -> None:
    write_page(tmp_path / "index.html", data())
    text = (tmp_path / "index.html").read_text()
    assert "Nothing to do" in text
    assert "too few outcomes of the champion are known" in text
    assert "data:image/png" not in text


def test_a_window_of_failures_only_is_shown() -> None:
    unknown = DriftEffect(name="score", effect=np.nan, drifted=False)
    nothing = version("v2", 0, drift=(), estimated={}, error_rate=1.0, score_drift=unknown)
    page = render(data(report(0, nothing)), dpi=40)
    assert "100.00\u00a0%" in page
    assert "n/a" in page


def test_evidently_repeats_our_verdict_column_by_column(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    reference = pd.DataFrame(generator.standard_normal((300, 3)), columns=["a", "b", "c"])
    current = reference + 5.0
    current["c"] = np.nan
    effects = [
        DriftEffect(name=name, effect=effect, drifted=effect >= 0.1)
        for name, effect in (("a", 0.25), ("b", 0.03), ("c", 0.5))
    ]
    path = tmp_path / "drift.html"
    drifted = write_drift(path, current, reference, effects, threshold=0.1, drift_share=0.3)
    assert drifted == 1, "a, though b moved as far: the effects are ours"
    page = path.read_text()
    assert "Jensen-Shannon distance, all rows, freed of sampling" in page
    assert len(page) > 1e6, "it carries its own script"
    assert all(f'"{name}"' in page for name in ("a", "b")), "every column is drawn"
    again = [each.model_copy(update={"effect": 0.01, "drifted": False}) for each in effects]
    drifted = write_drift(path, current, reference, again, threshold=0.1, drift_share=0.3)
    assert drifted == 0, "the newest effects count"
    with pytest.raises(ReportError, match=r"lack the columns \['a', 'c'\]"):
        write_drift(path, current[["b"]], reference, effects, threshold=0.1, drift_share=0.3)
