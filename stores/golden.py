"""Replays golden requests over HTTP and compares the answers with the offline ones."""

from __future__ import annotations

from models.contracts.api import GoldenSet
from models.contracts.traffic import PURPOSE_HEADER

#: JSON carries float64 exactly; the same model on the same machine leaves only summation order.
TOLERANCE = 1e-6
_BATCH = 256
#: Replays are logged like every request; this keeps them apart from traffic.
_GOLDEN = {PURPOSE_HEADER: "golden"}
_SECONDS = 30.0


class MismatchError(Exception):
    """A service that does not answer as its model did offline; the message gives the first row."""


def replay(url: str, golden: GoldenSet) -> float:
    """Send every golden row and compare.

    Args:
        url: Root of the service.
        golden: Rows with the offline probabilities.

    Returns:
        The largest absolute difference, at most ``TOLERANCE``.

    Raises:
        MismatchError: An answer is missing, refused or differs.
    """
    worst = 0.0
    for start in range(0, len(golden.rows), _BATCH):
        got = _ask(url, golden, start)
        expected = golden.expected[start : start + _BATCH]
        for row, (served, offline) in enumerate(zip(got, expected, strict=True), start):
            if not abs(served - offline) <= TOLERANCE:
                raise MismatchError(
                    f"golden request {row} of {len(golden.rows)}: the service answered {served!r}, "
                    f"the model offline {offline!r}, which is further apart than {TOLERANCE}. "
                    "Evaluation and service run different code or libraries: compare "
                    "env/python/requirements.txt of the bento with what is installed"
                )
            worst = max(worst, abs(served - offline))
    return worst


def _ask(url: str, golden: GoldenSet, start: int) -> list[float]:
    rows = golden.rows[start : start + _BATCH]
    import httpx  # half of what the code location would pay for the whole deployer

    try:
        answer = httpx.post(
            f"{url}/predict", json={"rows": rows}, headers=_GOLDEN, timeout=_SECONDS
        )
    except httpx.HTTPError as error:
        raise MismatchError(f"POST {url}/predict failed: {error!r}") from error
    if answer.status_code != httpx.codes.OK:
        raise MismatchError(
            f"golden requests {start} to {start + len(rows) - 1} were answered "
            f"{answer.status_code}: {answer.text[:500]}"
        )
    got = [float(one["probability"]) for one in answer.json()["predictions"]]
    if len(got) != len(rows):
        raise MismatchError(f"{len(rows)} golden requests got {len(got)} answers")
    return got
