"""What every saved text model shares: its ``model.json`` and the probe that catches a change.

Belongs here: writing and reading them, and the texts a model must score at load as it did when it
was saved. Does not belong here: weights and vocabularies (each model's own module).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from models.contracts.learner import Matrix, TextPredictor
from models.core.artifact import ArtifactError
from models.core.tabular import MODEL_FILE, PROBE_TOLERANCE

#: Written for the purpose: an artifact must not carry what a user wrote. They reach every part of a
#: tokenizer: nothing, case, repetition, links, other scripts, digits, more than fits.
PROBE = (
    "",
    "Thank you, that was really helpful.",
    "YOU ARE SUCH AN IDIOT!!!",
    "nobody wants you here, go away",
    "see https://example.org/a?b=1 @user #tag 1234567",
    "na\u00efve caf\u00e9 \u2014 \u4f60\u597d \u043f\u0440\u0438\u0432\u0435\u0442 \U0001f600",
    "st0p b3ing st\u00fcpid",
    "the same words again and again " * 60,
)

#: How far a probability of a form with constant scales may move with its neighbours or the machine:
#: where a sum is rounded otherwise in its last bit, a byte after it may be the next one (1e-4 seen)
ROUNDING = 2e-3


def tolerance(predictor: TextPredictor) -> float | None:
    """How far its probabilities may move where another model's would not; None for most."""
    found: float | None = getattr(predictor, "notes", {}).get("form", {}).get("tolerance")
    return found


def write_model(folder: Path, kind: str, predictor: TextPredictor, **more: Any) -> None:
    """Write ``model.json``: kind, labels, the scores of the probe, and what the kind adds."""
    content = {
        "kind": kind,
        "labels": predictor.labels,
        "scores": _nullable(predictor.predict(PROBE)),
        **more,
    }
    (folder / MODEL_FILE).write_text(json.dumps(content, indent=1, allow_nan=False))


def check_probe(content: Mapping[str, Any], predictor: TextPredictor) -> None:
    """Refuse a model that does not score the probe as it did when it was saved.

    Args:
        content: From ``models.core.tabular.read_model``.
        predictor: The model as loaded.

    Raises:
        ArtifactError: The scores differ, or other labels are answered.
    """
    saved = np.array(content["scores"], dtype=np.float64)  # null becomes NaN
    off = np.abs(predictor.predict(PROBE) - saved)
    known = ~np.isnan(saved)
    worst = float(off[known].max(initial=0.0))
    if not worst <= (tolerance(predictor) or PROBE_TOLERANCE) or not np.isnan(off[~known]).all():
        raise ArtifactError(
            f"the model scores its probe texts {worst:.2g} off: a library or this code changed "
            "since it was fitted, or it has INT8 weights of eight bits and this processor no VNNI; "
            "fit it again, or install what it was fitted with"
        )


def _nullable(scores: Matrix) -> list[list[float | None]]:
    return [[None if np.isnan(v) else v for v in row] for row in scores.tolist()]
