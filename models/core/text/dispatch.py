"""Any text model, by name: which module fits a trial, which loads a folder.

Belongs here: the table of models. Does not belong here: the models. Imports them when asked for, so
that an exported model is served without torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from models.contracts.learner import FitContext, TextPredictor, TextRows
from models.contracts.product import Trial
from models.core import tabular
from models.core.artifact import ArtifactError
from models.core.text.heads import HeadSpec

MODELS = ("tfidf_linear", "transformer", "student", "pretrained", "ensemble", "folds", "onnx")


def fit(
    trial: Trial, rows: TextRows, context: FitContext, heads: Sequence[HeadSpec]
) -> TextPredictor:
    """Fit the model that ``params["model"]`` names; deterministic given the trial's seed.

    Args:
        trial: The trial.
        rows: Training texts.
        context: What else a fit may use.
        heads: The heads of an ensemble that names none.

    Raises:
        ValueError: It names no model.
    """
    match trial.params.get("model"):
        case "tfidf_linear":
            from models.core.text import linear

            return linear.fit(trial, rows)
        case "transformer":
            from models.core.text import transformer

            return transformer.fit(trial, rows, context)
        case "student":
            from models.core.text import student

            return student.fit(trial, rows, context)
        case "pretrained":
            from models.core.text import pretrained

            return pretrained.fit(trial, rows)
        case "ensemble" | "folds" | "onnx":
            return _of_models(trial, rows, context, heads)
        case other:
            raise ValueError(
                f"trial {trial.name!r}: params['model'] is {other!r}, give one of "
                f"{', '.join(MODELS)}"
            )


def _of_models(
    trial: Trial, rows: TextRows, context: FitContext, heads: Sequence[HeadSpec]
) -> TextPredictor:
    """What is made of other models."""
    match trial.params["model"]:
        case "ensemble":
            from models.core.text import ensemble_fit

            return ensemble_fit.fit(trial, rows, context, heads)
        case "folds":
            from models.core.text import folded

            return folded.fit(trial, rows, context, lambda t, r, c: fit(t, r, c, heads))
        case _:
            from models.core.text import onnx_form

            return onnx_form.fit(trial, rows, context)


def load(folder: Path) -> TextPredictor:
    """Load any saved text model, by the kind its ``model.json`` names.

    Raises:
        ArtifactError: The kind is unknown; or the model does not score its probe as when saved.
    """
    match tabular.read_model(folder)["kind"]:
        case "tfidf_linear":
            from models.core.text import linear

            return linear.load(folder)
        case "transformer" | "onnx":
            from models.core.text import predictor

            return predictor.load(folder)
        case "ensemble":
            from models.core.text import ensemble

            return ensemble.load(folder, load)
        case "folds":
            from models.core.text import folded

            return folded.load(folder, load)
        case other:
            raise ArtifactError(
                f"{folder} holds a {other!r}, which this code cannot load: use the version that "
                "saved it, or fit the candidate again"
            )
