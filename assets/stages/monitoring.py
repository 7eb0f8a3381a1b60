"""Judges the traffic of every window and says what should follow: retrain, go back, or nothing.

One verdict per release and window (``models.core.windows``) serves reports, checks and sensors.
Nothing is done here: retraining and rollback are asked for in the ledger and ``latest.json``.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import dagster as dg
from filelock import FileLock
from pydantic import JsonValue

from assets.code_version import code_version
from assets.stages.common import kind_module, learner_module, stage_asset, stage_key
from assets.stages.monitoring_checks import traffic_checks, traffic_metadata
from assets.stages.monitoring_decisions import load_profile, retrain, rollback, standing_windows
from assets.stages.monitoring_pages import write_pages
from assets.stages.monitoring_traffic import Traffic
from assets.stages.monitoring_window import Judge, report
from models.contracts.monitoring import (
    OVERALL,
    MonitoringResult,
    ReferenceProfile,
    VersionWindow,
    WindowReport,
)
from models.contracts.product import ModelProduct
from models.contracts.results import Release
from models.kinds import as_watched
from stores.files import write_atomic
from stores.home import Home
from stores.ledger import Ledger

LATEST = "latest.json"
#: Windows that decisions and the page look back on.
HISTORY = 60

Say = Callable[[str], object]


def monitor(
    product: ModelProduct, home: Home, *, now: datetime, cost_per_hour: float, say: Say
) -> MonitoringResult:
    """Report on every closed window that is new or changed, then conclude.

    Safe to run again at any point: an unchanged window is left alone, a request to retrain is
    written once per window, a regression once per version. The pages come last: a picture that
    cannot be drawn keeps no decision back.

    Args:
        product: The product.
        home: Where traffic lies and results are kept.
        now: The clock; a window is closed when it or the newest event passed its end.
        cost_per_hour: Price of a busy machine hour.
        say: Receives progress.

    Raises:
        MissingError: There is no traffic table yet.
    """
    product = as_watched(product)
    folder = home.monitoring(product)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):  # of two runs at a time one asks for the retraining
        traffic, ledger = Traffic(product, home), Ledger(home.ledger(product))
        as_of = _as_of(product, home, traffic, now)
        releases = {release.version: release for release in ledger.releases()}
        judge = Judge(product, traffic, _profiles(product, home, releases), cost_per_hour)
        _report_windows(judge, folder, (as_of, _salt(judge, releases)), say)
        reports = read_reports(product, home)
        result = _conclude(judge, home, ledger, reports, (as_of, now))
        write_atomic(folder / LATEST, result.model_dump_json(indent=1))
        write_pages(judge, home, ledger.current(), reports, result)
    say(f"{len(result.windows)} windows; retrain: {result.retrain.reason}")
    return result


def read_reports(product: ModelProduct, home: Home) -> list[WindowReport]:
    """The newest reports of windows as long as the product's are now, oldest first."""
    paths = sorted(home.monitoring(product).glob("????????T????.json"), reverse=True)
    length = timedelta(hours=product.monitoring.window_hours)
    found = (WindowReport.model_validate_json(path.read_bytes()) for path in paths)
    fitting = (report for report in found if report.end - report.start == length)
    return list(islice(fitting, HISTORY))[::-1]


def read_latest(product: ModelProduct, home: Home) -> MonitoringResult | None:
    """What the last run concluded; None before the first."""
    path = home.monitoring(product) / LATEST
    return MonitoringResult.model_validate_json(path.read_bytes()) if path.exists() else None


def _as_of(product: ModelProduct, home: Home, traffic: Traffic, now: datetime) -> datetime:
    """What is known by now: never earlier than the data, nor than the last run said."""
    former = read_latest(product, home)
    return max(filter(None, (now, traffic.newest(), former.as_of if former else None)))


def _profiles(
    product: ModelProduct, home: Home, releases: Mapping[str, Release]
) -> Callable[[str], ReferenceProfile | None]:
    """Version to its profile, each read once and only when asked for."""

    @cache
    def profile(version: str) -> ReferenceProfile | None:
        release = releases.get(version)
        return load_profile(product, home, release) if release else None

    return profile


def _report_windows(judge: Judge, folder: Path, known: tuple[datetime, str], say: Say) -> None:
    """Write the report of every closed window whose content is not that of its report."""
    product, (as_of, salt) = judge.product, known
    for start, end in judge.traffic.windows(product.monitoring.window_hours):
        if end > as_of:
            continue
        window = judge.traffic.window(start, end)
        digest = window.digest(salt)
        path = folder / f"{start:%Y%m%dT%H%M}.json"
        if path.exists():
            former = WindowReport.model_validate_json(path.read_bytes())
            # fewer rows than once: retention took some; the report over all of them is the better
            fewer = former.end == end and former.rows > len(window.predictions)
            if former.digest == digest or fewer:
                continue
        found = report(judge, window, digest, as_of)
        write_atomic(path, found.model_dump_json(indent=1))
        for one in found.versions:
            say(f"{start:%Y-%m-%d %H:%M} {one.version}: {one.verdict.reason}")


def _salt(judge: Judge, releases: Mapping[str, Release]) -> str:
    """Everything besides the traffic that a report depends on."""
    spec = judge.product.model_dump_json(include={"monitoring", "gate", "data"})
    evaluations = {version: release.evaluation_id for version, release in releases.items()}
    code = code_version("assets.stages.monitoring_window")
    return json.dumps([code, spec, judge.cost_per_hour, evaluations])


def _conclude(
    judge: Judge,
    home: Home,
    ledger: Ledger,
    reports: Sequence[WindowReport],
    times: tuple[datetime, datetime],
) -> MonitoringResult:
    """Decide and write what was decided into the ledger, each fact once."""
    champion, (as_of, now) = ledger.current(), times
    entries = ledger.entries()
    clock = max(now, entries[-1].at) if entries else now
    judged = standing_windows(reports, champion)
    asked = retrain(judge.product, home, ledger, judged, clock)
    regressed = _regression(judge, judged)
    if asked.retrain and champion:
        ledger.append("retrain", {
            "window": asked.window.isoformat() if asked.window else None,
            "champion": champion.version,
            **asked.model_dump(mode="json", include={"reason", "violations", "windows",
                                                     "new_rows"}),
        })  # fmt: skip
    if regressed and champion and not _told(ledger, champion):
        start, reason = regressed
        body: dict[str, JsonValue] = {
            "version": champion.version, "window": start.isoformat(), "reason": reason
        }  # fmt: skip
        ledger.append("regression", body)
    return MonitoringResult(
        product=judge.product.key,
        as_of=as_of,
        champion=champion.version if champion else None,
        windows=tuple(one.start for one in reports),
        retrain=asked,
        rollback=rollback(judge, home, ledger, clock) if champion else None,
        regression=regressed[1] if regressed else None,
    )


def _regression(
    judge: Judge, judged: Sequence[tuple[datetime, VersionWindow]]
) -> tuple[datetime, str] | None:
    """Window and reason, when the newest window with enough outcomes breaks the promise."""
    from models.core.windows import regression

    gate, policy = judge.product.gate, judge.product.monitoring
    for start, one in reversed(judged):
        realised = one.realised.get(OVERALL, {}).get(gate.metric)
        profile = judge.profile(one.version)
        if realised and profile and one.outcomes >= policy.min_rows:
            promised = profile.promised[gate.metric].value
            reason = regression(gate, policy, one.version, promised, realised)
            return (start, reason) if reason else None
    return None


def _told(ledger: Ledger, champion: Release) -> bool:
    """Whether the ledger knows of this version's regression."""
    return any(
        entry.kind == "regression" and entry.body["version"] == champion.version
        for entry in ledger.entries()
    )


def build(product: ModelProduct) -> dg.AssetsDefinition:
    """The monitoring asset with its checks ``drift`` and ``quality``."""
    key = stage_key(product, "monitoring")

    @stage_asset(
        product,
        "monitoring",
        after=[dg.AssetKey(["traffic", name]) for name in ("predictions", "refusals", "orphans")],
        modules=(__name__, learner_module(product), kind_module(product)),
        salt=product.model_dump_json(include={"monitoring", "gate", "data"}),
        kinds={"evidently", "python"},
        checks={
            "drift": "Do inputs and scores of the newest window look like the release's holdout?",
            "quality": "Does the champion keep its promise on traffic?",
        },
        blocking=False,
    )
    def monitoring(
        context: dg.AssetExecutionContext,
        home: dg.ResourceParam[Home],
        cost_per_hour: dg.ResourceParam[float],
    ) -> Iterator[Any]:
        """Windows of traffic, judged: drift, estimated and realised quality, latency, cost."""
        from stores.ledger import now_utc

        result = monitor(
            product, home, now=now_utc(), cost_per_hour=cost_per_hour, say=context.log.info
        )
        reports = read_reports(product, home)
        yield from traffic_checks(key, result, reports)
        yield dg.MaterializeResult(
            asset_key=key,
            data_version=dg.DataVersion(_content(result, reports)),
            metadata=traffic_metadata(as_watched(product), home, result, reports),
        )

    return monitoring


def _content(result: MonitoringResult, reports: Sequence[WindowReport]) -> str:
    """Data version: the reports and what follows from them, whenever they were made."""
    import hashlib

    said = result.model_dump_json(exclude={"as_of"}) + "".join(one.digest for one in reports)
    return hashlib.sha256(said.encode()).hexdigest()[:16]
