"""What the UI shows of the newest windows: two checks, a table, a plot. Decides nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from assets.stages.common import picture, table
from assets.stages.monitoring_pages import PAGE
from models.contracts.monitoring import MonitoringResult, WindowReport
from models.contracts.product import ModelProduct
from stores.home import ADMIN_PORT, Home


def traffic_checks(
    key: dg.AssetKey, result: MonitoringResult, reports: Sequence[WindowReport]
) -> Iterator[dg.AssetCheckResult]:
    """The newest verdict on the champion as two checks that warn."""
    judged = [
        one.verdict
        for each in reports
        for one in each.versions
        if one.version == result.champion and one.verdict.judged
    ]
    newest = judged[-1] if judged else None
    said = newest.reason if newest else "no window of the champion was judged yet"
    worse = result.rollback.reason if result.rollback and result.rollback.roll_back else None
    answers = {
        "drift": (not (newest and newest.drifted), said),
        "quality": (
            not (newest and newest.hurt) and not result.regression and not worse,
            "; ".join(filter(None, (said, result.regression, worse))),
        ),
    }
    for name, (passed, message) in answers.items():
        yield dg.AssetCheckResult(
            asset_key=key,
            check_name=name,
            passed=passed,
            severity=dg.AssetCheckSeverity.WARN,
            description=message,
        )


def traffic_metadata(
    product: ModelProduct, home: Home, result: MonitoringResult, reports: Sequence[WindowReport]
) -> dict[str, Any]:
    """The windows as a table and a plot, what follows from them, and where the page is."""
    from stores.reports.monitoring_page import windows_table
    from stores.reports.monitoring_plots import over_time

    page = f"http://127.0.0.1:{ADMIN_PORT}/monitoring/{product.slug}/{PAGE}"
    found: dict[str, Any] = {
        "windows": table(windows_table(reports, product.gate.metric)),
        "retrain": result.retrain.reason,
        "rollback": result.rollback.reason if result.rollback else "no champion",
        "page": dg.MetadataValue.url(page),
        "path": dg.MetadataValue.path(str(home.monitoring(product))),
    }
    plot = over_time(reports, product.gate.metric, {}, dpi=60)
    return found | ({"estimated and realised": picture(plot, "over windows")} if plot else {})
