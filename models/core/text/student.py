"""A smaller network that imitates a fitted one.

Belongs here: what a student starts from and what it imitates. Does not belong here: the training
(``transformer.tune``), the loss (``task.soft_loss``).
"""

from __future__ import annotations

import copy
from typing import Any, cast

import numpy as np
from scipy.special import logit

from models.contracts.learner import FitContext, TextPredictor, TextRows
from models.contracts.product import Trial
from models.core.text import backbone, transformer
from models.core.text.encoding import Floats
from models.core.text.network import Classifier, Pooling
from models.core.text.predictor import NetworkText
from models.core.text.rows import at_most
from models.core.text.task import Soft
from models.core.text.transformer import Start, TuningParams
from models.core.trainer.config import settings

KIND = "student"
#: A teacher that only gives probabilities is clipped to these before the logit.
_CLIP = 1e-6


class StudentParams(TuningParams):
    """Parameters of a student trial, whose teacher is the first trial of ``after``.

    Attributes:
        layers: Layers kept, spread evenly from the first to the last.
        backbone: What it starts from; None: the teacher's own layers, or the default backbone when
            the teacher has none.
        hub: Whether the backbone may be downloaded.
        share: Of the loss that is imitation; the rest is that of the labels.
        temperature: See `Soft`.
        match: See `Soft`.
    """

    model: str = KIND
    layers: int = 3
    backbone: str | None = None
    hub: bool = False
    share: float = 0.5
    temperature: float = 2.0
    match: str = "kl"


def fit(trial: Trial, rows: TextRows, context: FitContext) -> NetworkText:
    """Distil the trial's teacher into fewer layers.

    The teacher also answers where nobody labelled a text, so a student learns from every cell.

    Args:
        trial: With ``StudentParams`` and the trainer's settings as its params, and its teacher
            first in ``after``.
        rows: Training texts.
        context: Holds the teacher.

    Returns:
        The predictor; it answers the labels that its teacher answers.

    Raises:
        ValueError: No teacher is given, or it answers other labels.
        pydantic.ValidationError: A parameter that neither this model nor the trainer has.
    """
    params, config = settings(StudentParams, trial)
    teacher = teacher_of(trial, rows, context)
    rows = at_most(rows, params.max_rows, trial.seed)
    start = _start(params, teacher)

    def imitate(texts: tuple[str, ...]) -> Soft:
        context.say(f"{trial.name}: asking its teacher about {len(texts)} texts")
        logits = logits_of(teacher, texts)[:, start.answered]
        return Soft(logits, params.share, params.temperature, params.match)

    return transformer.tune(start, rows, params, config, context, imitate)


def teacher_of(trial: Trial, rows: TextRows, context: FitContext) -> TextPredictor:
    """The fitted model of the first trial in ``after``.

    Raises:
        ValueError: There is none, or it answers other labels than the rows have.
    """
    if not trial.after or trial.after[0] not in context.bases:
        raise ValueError(
            f"trial {trial.name!r} needs a fitted teacher: name an earlier trial first in after"
        )
    teacher: TextPredictor = context.bases[trial.after[0]]
    if teacher.labels != rows.names:
        raise ValueError(
            f"trial {trial.after[0]!r} answers {', '.join(teacher.labels)}, the rows are labelled "
            f"{', '.join(rows.names)}: fit it on the same snapshot"
        )
    return teacher


def logits_of(predictor: TextPredictor, texts: tuple[str, ...]) -> Floats:
    """Log-odds of every label, shape (n, L), NaN for labels it does not answer."""
    scores = predictor.predict(texts)
    clipped = np.clip(scores, _CLIP, 1.0 - _CLIP)
    logits: Floats = logit(clipped).astype(np.float32)
    return logits


def _start(params: StudentParams, teacher: TextPredictor) -> Start:
    answered = np.flatnonzero(~np.isnan(teacher.predict([""])[0]))
    module = getattr(getattr(teacher, "network", None), "module", None)
    encoder: Any
    pooling: Pooling = "mean"
    held = 1.0
    if params.backbone is None and isinstance(module, Classifier):
        fitted = cast("NetworkText", teacher)
        encoder, encoding = copy.deepcopy(module.encoder), fitted.encoding
        pooling, held = module.embedder.pooling, fitted.held
    else:
        name = params.backbone or backbone.DEFAULT
        encoder, encoding = backbone.load(name, params.max_length, params.hub)
    backbone.keep_layers(encoder, params.layers)
    encoder.requires_grad_(True)
    return Start(encoder, encoding, pooling, answered, held=held)
