"""Fine-tuning a pretrained network on texts with several labels, some unknown.

Belongs here: its parameters and the fit. Does not belong here: the loop (``models.core.trainer``),
batches and losses (``task``), checkpoints of others (``backbone``), a smaller copy (``student``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from models.contracts.learner import FitContext, Matrix, TextRows
from models.contracts.product import Trial
from models.core.text import backbone
from models.core.text.augment import augmentations
from models.core.text.encoding import Encoding
from models.core.text.network import Classifier, Pooling, TorchNetwork
from models.core.text.predictor import TRANSFORMER, NetworkText
from models.core.text.rows import at_most, divide, learnable_or_raise
from models.core.text.task import Labelled, LossParams, Soft, TextTask
from models.core.trainer.config import TrainerConfig, config_from
from models.core.trainer.history import History
from models.core.trainer.loop import train

Params = TypeVar("Params", bound=LossParams)


class TuningParams(LossParams):
    """Parameters of any fit of a network; the trainer's (``TrainerConfig``) stand beside them.

    Attributes:
        max_length: Tokens kept of a text.
        dropout: Before the head.
        held: Share of the texts held out of the fit to stop it (see ``rows.held_out``).
        max_rows: Fit on at most so many texts, drawn by the trial's seed.
        augment: Names in ``models.core.text.augment.EDITS``; none changes no text.
    """

    model: str
    max_length: int = 128
    dropout: float = 0.1
    held: float = 0.1
    max_rows: int | None = None
    augment: tuple[str, ...] = ()


class TransformerParams(TuningParams):
    """Parameters of a transformer trial.

    Attributes:
        backbone: A packaged name, a folder, or a hub id (see ``backbone.locate``).
        hub: Whether the backbone may be downloaded.
        pooling: ``mean`` of the tokens' states, or the first token's (``cls``).
        frozen: Keep the embeddings and so many of the first layers as they are; None trains all.
    """

    model: str = TRANSFORMER
    backbone: str = backbone.DEFAULT
    hub: bool = False
    pooling: Pooling = "mean"
    frozen: int | None = None


class Start(NamedTuple):
    """What training starts from.

    Attributes:
        answered: Numbers of the labels to answer.
    """

    encoder: Any
    encoding: Encoding
    pooling: Pooling
    answered: NDArray[np.int64]


def fit(trial: Trial, rows: TextRows, context: FitContext) -> NetworkText:
    """Fine-tune a backbone with a new head.

    Args:
        trial: With ``TransformerParams`` and the trainer's settings as its params.
        rows: Training texts.
        context: Checkpoints, progress and curves, as the trainer takes them.

    Returns:
        The predictor; deterministic given the trial's seed and the number of threads.

    Raises:
        BackboneError: The backbone cannot be had.
        pydantic.ValidationError: A parameter that neither this model nor the trainer has.
        ValueError: No label has both values, or too few texts.
    """
    params, config = settings(TransformerParams, trial)
    rows = at_most(rows, params.max_rows, trial.seed)
    answered = learnable_or_raise(rows)
    encoder, encoding = backbone.load(params.backbone, params.max_length, params.hub)
    backbone.freeze(encoder, params.frozen)
    return tune(Start(encoder, encoding, params.pooling, answered), rows, params, config, context)


def tune(  # noqa: PLR0917  from what, on what, how, telling whom
    start: Start,
    rows: TextRows,
    params: TuningParams,
    config: TrainerConfig,
    context: FitContext,
    imitate: Callable[[tuple[str, ...]], Soft] | None = None,
) -> NetworkText:
    """Put a new head on an encoder and train both.

    Args:
        start: The encoder.
        rows: Texts; a share of them is held out to stop the training.
        params: Loss, dropout, augmentation.
        config: The trainer's.
        context: The trainer's.
        imitate: A teacher's answers to texts, for a student.

    Raises:
        ValueError: Too few texts.
    """
    part, held = divide(rows, params.held)
    known = part.labels[:, start.answered]
    module = headed(start, known, params, config.seed)
    task = TextTask(
        module,
        start.encoding,
        Labelled(part.texts, known),
        Labelled(held.texts, held.labels[:, start.answered]),
        params,
        batch_size=config.batch_size,
        soft=None if imitate is None else imitate(part.texts),
        augment=augmentations(params.augment) if params.augment else None,
    )
    history = train(task, config, context)
    answered = tuple(start.answered.tolist())
    network = TorchNetwork(module.cpu().eval(), len(answered))
    notes = {"training": told(history), "rows": len(part.texts), "held_rows": len(held.texts)}
    return NetworkText(
        TRANSFORMER, rows.names, answered, start.encoding, network, params.held, notes
    )


def headed(start: Start, labels: Matrix, params: TuningParams, seed: int) -> Classifier:
    """The encoder with a new head, which answers each label's frequency at first.

    Without that the first steps only learn how rare a label is (Lin et al. 2017, section 3.3).
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = Classifier(start.encoder, start.pooling, params.dropout, labels.shape[1])
    nn.init.normal_(module.head.weight, std=0.02, generator=torch.Generator().manual_seed(seed))
    positives, known = (labels == 1).sum(axis=0), (~np.isnan(labels)).sum(axis=0)
    odds = np.zeros(len(known)) if params.balanced else np.log(
        (positives + 1.0) / (known - positives + 1.0)
    )  # fmt: skip
    with torch.no_grad():
        module.head.bias.copy_(torch.from_numpy(odds.astype(np.float32)))
    return module


def settings(kind: type[Params], trial: Trial, **defaults: Any) -> tuple[Params, TrainerConfig]:
    """A trial's params, divided into a model's own and the trainer's.

    Args:
        kind: Type of the model's own.
        trial: The trial; its seed is the trainer's.
        **defaults: Trainer settings that hold where the trial says nothing.

    Raises:
        pydantic.ValidationError: A parameter that neither has.
    """
    own = {n: v for n, v in trial.params.items() if n not in TrainerConfig.model_fields}
    config = config_from(trial.params, seed=trial.seed, **defaults)
    return kind.model_validate(own), config


def told(history: History) -> dict[str, Any]:
    """What of a training is kept with the model; nothing that differs from run to run."""
    return {
        "epochs": history.epochs,
        "best_epoch": history.best_epoch,
        "validation": list(history.validation),
        "train_loss": list(history.train_loss),
        "stopped_early": history.stopped_early,
    }
