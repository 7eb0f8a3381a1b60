"""Evidently's page on one window of traffic: the distributions behind our drift verdict.

Evidently draws; it measures nothing here. Our effect is registered as its statistical test, so its
verdict per column and ours cannot differ: the effects come from all rows of the window, the
pictures from a sample. Evidently takes seconds to import, so it is imported inside only.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from models.contracts.monitoring import DriftEffect
from stores.files import write_atomic
from stores.reports import ReportError
from stores.reports.evidently_report import comparable, quiet_evidently, sample_rows

if TYPE_CHECKING:
    import pandas as pd

MAX_ROWS = 5_000
#: Under this name Evidently finds our test.
TEST = "assay_effect"


def write_drift(
    path: Path,
    current: pd.DataFrame,
    reference: pd.DataFrame,
    effects: Sequence[DriftEffect],
    *,
    threshold: float,
    drift_share: float,
    max_rows: int = MAX_ROWS,
    seed: int = 0,
) -> int:
    """Write one HTML (about 4 MB: it carries its own script), in one step.

    Args:
        path: HTML file to write.
        current: Rows of the window, one numeric column per effect.
        reference: Judged holdout rows of the release, likewise.
        effects: What was measured on all rows of the window.
        threshold: From this effect on a column counts as drifted.
        drift_share: From this share of drifted columns on the page says that the data drifted.
        max_rows: Larger frames are sampled down to this.
        seed: Of that sample.

    Returns:
        How many columns drifted by Evidently's count, of those with a value on both sides.

    Raises:
        ReportError: A column is missing, or none has values on both sides.
    """
    names = [each.name for each in effects]
    sides = {"window": current, "holdout": reference}
    for side, frame in sides.items():
        if missing := [name for name in names if name not in frame]:
            raise ReportError(f"rows of the {side} lack the columns {missing}")
    usable = comparable(names, sides)
    with quiet_evidently():
        found, page = _run(
            sample_rows(current[usable], max_rows, seed),
            sample_rows(reference[usable], max_rows, seed),
            [each for each in effects if each.name in usable],
            threshold,
            drift_share,
        )
    write_atomic(path, page)
    return found


def _run(
    current: pd.DataFrame,
    reference: pd.DataFrame,
    effects: Sequence[DriftEffect],
    threshold: float,
    drift_share: float,
) -> tuple[int, str]:
    from evidently import DataDefinition, Dataset, Report
    from evidently.core.container import MetricOrContainer
    from evidently.core.report import Context
    from evidently.presets import DataDriftPreset

    _register(effects)
    names = [each.name for each in effects]
    numeric = DataDefinition(numerical_columns=names)

    class DrawnOnce(DataDriftPreset):  # type: ignore[misc]  # Evidently has no types
        """Its table draws every column; the metric per column draws it again, for no page."""

        def generate_metrics(self, context: Context) -> Sequence[MetricOrContainer]:
            return list(super().generate_metrics(context)[:1])

    preset = DrawnOnce(columns=names, method=TEST, threshold=threshold, drift_share=drift_share)
    run = Report([preset]).run(
        Dataset.from_pandas(current, data_definition=numeric),
        Dataset.from_pandas(reference, data_definition=numeric),
    )
    (drifted,) = run.dict()["metrics"]
    return int(drifted["value"]["count"]), str(run.get_html_str(as_iframe=False))


def _register(effects: Sequence[DriftEffect]) -> None:
    """Make ``TEST`` answer with the measured effects; a later window registers its own."""
    from evidently.legacy.calculations.stattests import StatTest, register_stattest
    from evidently.legacy.core import ColumnType

    measured = {each.name: (each.effect, each.drifted) for each in effects}

    def effect(
        _reference: pd.Series, current: pd.Series, _kind: object, _threshold: float
    ) -> tuple[float, bool]:
        return measured[str(current.name)]

    test = StatTest(
        name=TEST,
        display_name="Jensen-Shannon distance, all rows, freed of sampling",
        allowed_feature_types=[ColumnType.Numerical],
    )
    register_stattest(test, default_impl=effect)
