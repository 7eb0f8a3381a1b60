"""The status page and the gauges say what releases, windows and the alert table say."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from types import SimpleNamespace

import pytest

from models.contracts.incidents import Incident
from models.contracts.metrics import exported_by
from models.contracts.monitoring import DriftEffect
from models.contracts.results import Release
from models.risk.sync_conflict.product import PRODUCT
from orchestration.gauges import MOST_MOVED, RolloutGauge, exposition
from stores.reports.status_page import ProductStatus, StatusData, render
from tests.unit.rollout_sample import step
from tests.unit.test_monitoring_page import REPORTS, data, estimate

NOW = datetime(2030, 3, 5, tzinfo=UTC)
RELEASE = Release(
    product=PRODUCT.key, version="v2", candidate_id="c", snapshot_id="s", evaluation_id="e",
    trial="trees", mlflow_version="1", artifact="x",
)  # fmt: skip


def product(**changed: object) -> ProductStatus:
    fields = {
        "product": PRODUCT, "release": RELEASE, "promised": estimate(0.95), "decision": "promote",
        "evaluated_at": NOW, "url": "http://127.0.0.1:4000", "result": data(*REPORTS).result,
        "reports": REPORTS,
    }  # fmt: skip
    return ProductStatus(**{**fields, **changed})  # type: ignore[arg-type]


def incident(subject: str, *, closed: bool) -> Incident:
    return Incident(
        id=f"i-{subject}", kind="check_failed", subject=subject, severity="error", owner="team:x",
        opened_at=NOW, last_seen_at=NOW, count=2, closed_at=NOW + timedelta(hours=1) if closed
        else None, message="<script>alert(1)</script> first line\nsecond", evidence={},
    )  # fmt: skip


def page(*products: ProductStatus, incidents: tuple[Incident, ...] = ()) -> str:
    found = StatusData(NOW, products, incidents, {"refresh": (3, 1)}, {"Monitoring": "http://m"})
    return render(found, dpi=40)


def words(html: str) -> str:
    return unescape(re.sub(r"<[^>]+>", " ", re.sub(r"data:image[^\"]+", "", html)))


def test_the_newest_rollout_stands_beside_its_product():
    assert "Newest rollout" not in page(product())
    aborted = step(phase="aborted", weight=0.0, share=0.048, reason="errors: worse by 0.02")
    text = words(page(product(rollout=aborted)))
    for told in ("canary r1", "aborted", "4.8", "errors: worse by 0.02"):
        assert told in text


def test_a_quiet_home_says_so_and_shows_the_newest_window_of_the_champion():
    html = page(product())
    text = words(html)
    assert "Nothing needs a person." in text
    assert "v2 (trees)" in text
    assert "0.950 [0.930, 0.960]" in text.replace("\u00a0", " ")
    assert "2030-03-02" in text  # v2 answered first in the second window
    assert html.count("<img") == 1
    assert "http://" not in re.sub(r'href="[^"]+"|http://127.0.0.1:4000', "", html)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"url": None}, "risk/sync_conflict is released and does not serve"),
        (
            {"result": data(*REPORTS, regression="broke its promise").result},
            "risk/sync_conflict is below its promise",
        ),
        (
            {"decision": "waits for a named person until 2030-03-09 10:00 UTC"},
            "risk/sync_conflict waits for a named person until 2030-03-09",
        ),
    ],
)
def test_what_needs_a_person_stands_on_top(changed, said):
    verdict = re.search(r'class="verdict keep">([^<]+)', page(product(**changed)))
    assert verdict
    assert said in unescape(verdict[1])


def test_open_incidents_come_first_and_their_text_is_escaped():
    html = page(product(), incidents=(incident("old", closed=True), incident("new", closed=False)))
    text = words(html)
    assert "1 open incident: check failed (new)" in text
    assert "4 (1 failed)" in text
    assert text.index(" new ", text.index("open ones first")) < text.index(" old ")
    assert "<script>" not in html
    assert "second" not in text


def test_open_warnings_count_and_news_does_not():
    full = incident("spool", closed=False).model_copy(update={"severity": "warning"})
    news = incident("news", closed=False).model_copy(update={"severity": "info"})
    assert "1 open incident: check failed (spool)" in words(page(product(), incidents=(news, full)))
    assert "Nothing needs a person." in words(page(product(), incidents=(news,)))


def test_before_the_first_release_nothing_is_claimed():
    empty = product(release=None, promised=None, url=None, result=None, reports=(),
                    decision="never asked", evaluated_at=None)  # fmt: skip
    text = words(page(empty))
    assert "none yet" in text
    assert "no traffic judged" in text
    assert "Nothing needs a person." in text


def test_the_gauges_are_those_of_the_catalogue_with_the_values_of_the_page():
    text = exposition([product()], [incident("new", closed=False)], {"refresh": (3, 1)}).decode()
    exported = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    assert exported == {metric.name for metric in exported_by("platform")}
    for line in (
        'assay_runs{job="refresh",status="failed"} 1.0',
        'assay_incidents_open{kind="check_failed",severity="error"} 1.0',
        'assay_incidents_open{kind="run_failed",severity="error"} 0.0',
        f'assay_service_up{{product="{PRODUCT.key}"}} 1.0',
        f'assay_quality{{basis="promised",product="{PRODUCT.key}"}} 0.95',
        f'assay_inputs_drifted{{product="{PRODUCT.key}"}} 0.5',
    ):
        assert line in text.splitlines()


def test_a_product_that_does_not_answer_is_down():
    text = exposition([product(url=None)], [], {}).decode()
    assert f'assay_service_up{{product="{PRODUCT.key}"}} 0.0' in text.splitlines()


def test_of_many_inputs_those_that_moved_most_are_exported():
    effects = [DriftEffect(name=f"x{n}", effect=n / 100, drifted=False) for n in range(15)]
    window = REPORTS[-1].versions[0].model_copy(update={"drift": tuple(effects)})
    moved = REPORTS[-1].model_copy(update={"versions": (window,)})
    lines = exposition([product(reports=(moved,))], [], {}).decode().splitlines()
    told = [line for line in lines if line.startswith("assay_drift_effect{")]
    assert len(told) == MOST_MOVED
    assert f'assay_drift_effect{{column="x14",product="{PRODUCT.key}"}} 0.14' in told
    assert not any('column="x4"' in line for line in told)


def test_a_rollout_under_way_has_its_share_and_evidence():
    under_way = [RolloutGauge("risk/x", 0.25, 0.24, {"errors": 0.5}),
                 RolloutGauge("risk/y", 0.05, None, {})]  # fmt: skip
    lines = exposition([], [], {}, under_way).decode().splitlines()
    assert 'assay_rollout_weight{product="risk/y"} 0.05' in lines
    assert 'assay_rollout_evidence{product="risk/x",rule="errors"} 0.5' in lines
    shares = [line for line in lines if line.startswith("assay_rollout_share{")]
    assert shares == ['assay_rollout_share{product="risk/x"} 0.24']


def test_gpus_are_told_where_there_are_any(monkeypatch):
    import pynvml

    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: 1)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda index: index)
    rates, memory = SimpleNamespace(gpu=40), SimpleNamespace(used=2_000_000)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetUtilizationRates", lambda _: rates)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetMemoryInfo", lambda _: memory)
    lines = exposition([], [], {}).decode().splitlines()
    assert 'assay_gpu_utilisation{gpu="0"} 0.4' in lines
    assert 'assay_gpu_memory_bytes{gpu="0"} 2e+06' in lines
