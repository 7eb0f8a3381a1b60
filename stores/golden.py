"""Replays golden requests over HTTP and compares the answers with the offline ones.

What is expected of a row says how it is compared: a probability, probabilities by label, or items
in their order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from pydantic import JsonValue

from gateway.headers import SERVICE_TOKEN
from models.contracts.api import GoldenSet
from models.contracts.traffic import PURPOSE_HEADER

#: JSON carries float64 exactly; the same model on the same machine leaves only summation order.
TOLERANCE = 1e-6
#: The same for networks in float32, where a text is padded to, and a user stacked with, the others
#: of its request: about 1e-6 at the output, by up to twelve layers.
TOLERANCE_FLOAT32 = 1e-5
#: Rows per request: a service may be sized for few, and a network takes 0.02 s for each.
_BATCH = 32
_SECONDS = 30.0


class MismatchError(Exception):
    """A service that does not answer as its model did offline; the message gives the first row."""


def replay(url: str, golden: GoldenSet, token: str | None = None) -> float:
    """Send every golden row and compare.

    Args:
        url: Root of the service.
        golden: Rows with the offline answers.
        token: The service token, where the service asks for it.

    Returns:
        The largest difference, at most ``golden.tolerance``, or where it sets none ``TOLERANCE``
        (probabilities of rows) or ``TOLERANCE_FLOAT32`` (of texts, and scores that decide a
        ranking).

    Raises:
        MismatchError: An answer is missing, refused or differs.
    """
    worst = 0.0
    for start in range(0, len(golden.rows), _BATCH):
        got = _ask(url, golden, start, token)
        expected = golden.expected[start : start + _BATCH]
        for row, (served, offline) in enumerate(zip(got, expected, strict=True), start):
            told, difference, usual = compare(served, offline)
            tolerance = golden.tolerance or usual
            if not difference <= tolerance:
                raise MismatchError(
                    f"golden request {row} of {len(golden.rows)}: the service answered {told!r}, "
                    f"the model offline {offline!r}, which is further apart than {tolerance}. "
                    "Evaluation and service run different code or libraries: compare "
                    "env/python/requirements.txt of the bento with what is installed"
                )
            worst = max(worst, difference)
    return worst


def compare(served: Mapping[str, Any], offline: JsonValue) -> tuple[JsonValue, float, float]:
    """One answer of a service beside what its model said offline.

    Args:
        served: One of the answer's ``predictions``.
        offline: See ``GoldenSet.expected``.

    Returns:
        What the service said, how far that is away (infinite where it is another thing) and how far
        it may be.
    """
    if isinstance(offline, dict):
        told = served.get("labels")
        return told, _apart(told, offline), TOLERANCE_FLOAT32
    if isinstance(offline, list):
        ranked = served.get("items", [])
        items, scores = [one["item"] for one in ranked], [float(one["score"]) for one in ranked]
        return items, _reordered(items, scores, offline), TOLERANCE_FLOAT32
    told = served.get("probability")
    return told, _apart(told, offline), TOLERANCE


def _apart(served: JsonValue, offline: JsonValue) -> float:
    """Largest difference of two numbers, or of two mappings name by name."""
    if isinstance(served, dict) and isinstance(offline, dict):
        if served.keys() != offline.keys():
            return math.inf
        return max((_apart(served[name], offline[name]) for name in offline), default=0.0)
    if _is_number(served) and _is_number(offline):
        difference = abs(served - offline)
        return math.inf if math.isnan(difference) else difference
    return 0.0 if served is None and offline is None else math.inf


def _reordered(
    items: Sequence[str], scores: Sequence[float], offline: Sequence[JsonValue]
) -> float:
    """0 for the same order; else the service's own difference of the scores that changed places.

    Two items whose scores agree to the last bits may come in either order.
    """
    place = {item: number for number, item in enumerate(items)}
    if len(items) != len(offline) or place.keys() != {*offline}:
        return math.inf
    changed = [(number, place[str(item)]) for number, item in enumerate(offline)]
    return max(
        (
            abs(scores[a] - scores[b]) / max(1.0, abs(scores[a]), abs(scores[b]))
            for a, b in changed
            if a != b
        ),
        default=0.0,
    )


def _is_number(value: JsonValue) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _ask(url: str, golden: GoldenSet, start: int, token: str | None) -> list[dict[str, Any]]:
    rows = golden.rows[start : start + _BATCH]
    # replays are logged like every request; the purpose keeps them apart from traffic
    headers = {PURPOSE_HEADER: "golden"} | ({SERVICE_TOKEN.decode(): token} if token else {})
    import httpx  # half of what the code location would pay for the whole deployer

    try:
        answer = httpx.post(
            f"{url}/predict", json={"rows": rows}, headers=headers, timeout=_SECONDS
        )
    except httpx.HTTPError as error:
        raise MismatchError(f"POST {url}/predict failed: {error!r}") from error
    if answer.status_code != httpx.codes.OK:
        raise MismatchError(
            f"golden requests {start} to {start + len(rows) - 1} were answered "
            f"{answer.status_code}: {answer.text[:500]}"
        )
    got: list[dict[str, Any]] = answer.json()["predictions"]
    if len(got) != len(rows):
        raise MismatchError(f"{len(rows)} golden requests got {len(got)} answers")
    return got
