"""Runs the dbt project for real, on a home of its own. No assertion lives here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa

from assets.sources import merges
from stores.landing import Landing

PROJECT = Path(__file__).parents[2] / "dbt_project"
FEATURES, MODEL = "features/risk/merges.parquet", "features_risk_merges"


class DbtFailedError(AssertionError):
    """dbt ended with an error; the message is its output."""


def dbt(home: Path, *arguments: str) -> str:
    """Build or run the way to ``FEATURES`` in the warehouse of ``home``; what dbt printed."""
    (home / FEATURES).parent.mkdir(parents=True, exist_ok=True)
    target = home / "dbt"
    line = [str(Path(sys.executable).with_name("dbt")), *arguments, "--select", f"+{MODEL}",
            "--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT),
            "--target-path", str(target), "--log-path", str(target / "logs"),
            "--no-use-colors"]  # fmt: skip
    environment = {**os.environ, "ASSAY_HOME": str(home), "DO_NOT_TRACK": "1"}
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DbtFailedError(done.stdout + done.stderr)
    return done.stdout


def features_of(home: Path, table: pa.Table, *arguments: str) -> pd.DataFrame:
    """Land ``table``, run ``dbt build`` (or ``arguments``), return the feature table."""
    Landing(home).land("merges", "table", table, merges.schema())
    dbt(home, *(arguments or ("build",)))
    return pd.read_parquet(home / FEATURES)
