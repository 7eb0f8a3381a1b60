"""The two pages of a product's monitoring: ours over all windows, Evidently's on the newest.

Fetches what they need; how they look is ``stores.reports``'s affair.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from assets.stages.kept import read_watched
from assets.stages.monitoring_window import Judge
from models.contracts.monitoring import MonitoringResult, VersionWindow, WindowReport
from models.contracts.results import Release
from stores.files import write_atomic
from stores.home import Home

if TYPE_CHECKING:
    import pandas as pd

PAGE, DRIFT_PAGE = "index.html", "drift.html"
SCORE = "score"


def write_pages(
    judge: Judge,
    home: Home,
    champion: Release | None,
    reports: Sequence[WindowReport],
    result: MonitoringResult,
) -> None:
    """Our page always, it is small; Evidently's when the newest window is another."""
    from stores.reports.monitoring_page import PageData, write_page

    folder = home.monitoring(judge.product)
    shown = write_drift_page(judge, home, champion, reports, folder / DRIFT_PAGE)
    data = PageData(
        product=judge.product,
        reports=reports,
        result=result,
        limits=_limits(judge, champion),
        drift_page=DRIFT_PAGE if shown else None,
    )
    write_page(folder / PAGE, data)


def _limits(judge: Judge, champion: Release | None) -> dict[str, float]:
    """What the champion's metric is held to: its promise and the bar that tolerates some loss."""
    from models.core.windows import bar

    if champion is None:
        return {}
    gate, policy = judge.product.gate, judge.product.monitoring
    profile = judge.profile(champion.version)
    promised = profile.promised[gate.metric].value if profile else float("nan")
    return {"promised": promised, "bar": bar(gate.metric, promised, policy.max_loss, gate.floor)}


def write_drift_page(
    judge: Judge,
    home: Home,
    champion: Release | None,
    reports: Sequence[WindowReport],
    path: Path,
) -> bool:
    """Write Evidently's page on the champion's newest window, once per content of that window.

    Returns:
        Whether there is such a page: the log may hold no inputs.
    """
    found = _newest(champion, reports)
    if champion is None or found is None:
        return False
    report, one = found
    made = path.with_suffix(".made")
    said = f"{report.digest} {one.version}"
    if path.exists() and made.exists() and made.read_text(encoding="utf-8") == said:
        return True
    from stores.reports.evidently_drift import write_drift

    policy = judge.product.monitoring
    write_drift(
        path,
        _window_rows(judge, report, one),
        _holdout_rows(judge, home, champion),
        (*one.drift, one.score_drift),
        threshold=policy.drift_effect,
        drift_share=policy.drift_share,
    )
    write_atomic(made, said)
    return True


def _newest(
    champion: Release | None, reports: Sequence[WindowReport]
) -> tuple[WindowReport, VersionWindow] | None:
    """The newest window in which the drift of the champion's inputs was measured."""
    for report in reversed(reports):
        for one in report.versions:
            if champion and one.version == champion.version and one.drift:
                return report, one
    return None


def _window_rows(judge: Judge, report: WindowReport, one: VersionWindow) -> "pd.DataFrame":
    import pandas as pd

    from stores.reports.evidently_drift import MAX_ROWS

    names = judge.product.data.names
    scores, inputs = judge.traffic.sample(
        one.version, (report.start, report.end), MAX_ROWS, len(names)
    )
    return pd.DataFrame(inputs, columns=list(names)).assign(**{SCORE: scores})


def _holdout_rows(judge: Judge, home: Home, champion: Release) -> "pd.DataFrame":
    import pandas as pd

    folder = home.evaluation(judge.product, champion.evaluation_id)
    watched = read_watched(judge.product, folder, champion.candidate_id)
    frame = pd.DataFrame(watched.inputs, columns=list(judge.product.data.names))
    return frame.assign(**{SCORE: watched.scores})
