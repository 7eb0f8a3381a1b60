"""What an evaluation keeps in its folder: which file holds what, written and read in one place.

``scores.parquet`` (units with every model's answers), and for each model its watched view; golden
requests and a reference profile for each that may be released. Decides nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from models.contracts.product import LABEL, ModelProduct

if TYPE_CHECKING:
    from models.kinds import Watched

SCORES = "scores.parquet"
TIME, SCORE, INPUT = "time", "score", "input:"


def candidate_file(folder: Path, what: str, candidate_id: str) -> Path:
    """File of an evaluation's folder about one candidate: ``golden`` or ``profile``."""
    return folder / f"{what}-{candidate_id}.json"


def find_candidate_file(folder: Path, what: str, candidate_id: str) -> Path:
    """The same for reading; an evaluation from before there were forms kept the challenger's."""
    path = candidate_file(folder, what, candidate_id)
    return path if path.exists() else folder / f"{what}.json"


def write_watched(product: ModelProduct, folder: Path, candidate_id: str, watched: Watched) -> None:
    """Keep one model's watched view: label, time, score and inputs of every unit."""
    import pandas as pd

    inputs = {f"{INPUT}{n}": v for n, v in zip(product.data.names, watched.inputs.T, strict=True)}
    columns = {LABEL: watched.labels, TIME: watched.times, SCORE: watched.scores, **inputs}
    pd.DataFrame(columns).to_parquet(_watched_file(folder, candidate_id))


def read_watched(product: ModelProduct, folder: Path, candidate_id: str) -> Watched:
    """One model's watched view, as an evaluation kept it."""
    import pandas as pd

    from models.core.frames import matrix
    from models.kinds import Watched

    frame = pd.read_parquet(_watched_file(folder, candidate_id))
    return Watched(
        matrix(frame, [f"{INPUT}{name}" for name in product.data.names]),
        frame[SCORE].to_numpy(float),
        frame[LABEL].to_numpy(float),
        frame[TIME].to_numpy("datetime64[us]"),
    )


def _watched_file(folder: Path, candidate_id: str) -> Path:
    return folder / f"watched-{candidate_id}.parquet"
