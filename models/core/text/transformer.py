"""Fine-tuning a pretrained network on texts with several labels, some unknown.

Belongs here: its parameters and the fit. Does not belong here: the loop (``models.core.trainer``),
batches and losses (``task``), checkpoints of others (``backbone``), a smaller copy (``student``).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from models.contracts.learner import FitContext, Matrix, TextRows
from models.contracts.product import Trial
from models.core.text import backbone, qat
from models.core.text.augment import any_label, augmentations, label_words
from models.core.text.encoding import Encoding
from models.core.text.network import Classifier, Pooling, TorchNetwork
from models.core.text.predictor import TRANSFORMER, NetworkText
from models.core.text.rows import at_most, divide, learnable_or_raise
from models.core.text.task import Labelled, LossParams, Soft, TextTask
from models.core.trainer.config import TrainerConfig, settings
from models.core.trainer.history import History
from models.core.trainer.loop import train


class TuningParams(LossParams):
    """Parameters of any fit of a network; the trainer's (``TrainerConfig``) stand beside them.

    Attributes:
        max_length: Tokens kept of a text.
        dropout: Before the head.
        held: Share of the texts held out of the fit to stop it (see ``rows.held_out``).
        max_rows: Fit on at most so many texts, drawn by the trial's seed.
        augment: Names in ``models.core.text.augment.EDITS``; none changes no text. Negations and
            words that carry a label are never touched.
        frozen: Keep the embeddings and so many of the first layers as they are; None trains all.
        quantisation_aware: Compute as the INT8 form will, while training (see ``qat``). The model
            is still kept in fp32; it is its form that loses less.
    """

    model: str
    max_length: int = 128
    dropout: float = 0.1
    held: float = 0.1
    max_rows: int | None = None
    augment: tuple[str, ...] = ()
    frozen: int | None = None
    quantisation_aware: bool = False


class TransformerParams(TuningParams):
    """Parameters of a transformer trial.

    One that names a trial in ``after`` goes on from that fitted model: it takes everything in
    ``TAKEN_OVER`` from it.

    Attributes:
        backbone: A packaged name, a folder, or a hub id (see ``backbone.locate``).
        hub: Whether the backbone may be downloaded.
        pooling: ``mean`` of the tokens' states, or the first token's (``cls``).
    """

    model: str = TRANSFORMER
    backbone: str = backbone.DEFAULT
    hub: bool = False
    pooling: Pooling = "mean"


#: What a trial that goes on from another may not say again.
TAKEN_OVER = frozenset({"backbone", "hub", "pooling", "max_length"})


class Start(NamedTuple):
    """What training starts from.

    Attributes:
        answered: Numbers of the labels to answer.
        head: Log-odds of these labels; None starts with a new one.
        held: Share of the texts that what it starts from was not fitted on.
    """

    encoder: Any
    encoding: Encoding
    pooling: Pooling
    answered: NDArray[np.int64]
    head: nn.Linear | None = None
    held: float = 1.0


def fit(trial: Trial, rows: TextRows, context: FitContext) -> NetworkText:
    """Fine-tune a backbone with a new head, or go on fine-tuning a fitted transformer.

    Args:
        trial: With ``TransformerParams`` and the trainer's settings as its params; what it goes on
            from, if anything, alone in ``after``.
        rows: Training texts.
        context: Checkpoints, progress and curves, as the trainer takes them; the fitted model.

    Returns:
        The predictor; deterministic given the trial's seed and the number of threads.

    Raises:
        BackboneError: The backbone cannot be had.
        pydantic.ValidationError: A parameter that neither this model nor the trainer has.
        ValueError: No label has both values, too few texts, or nothing to go on from.
    """
    # a weight in bf16 has fewer digits than its place on INT8's grid needs
    exact = {"precision": "fp32"} if trial.params.get("quantisation_aware") else {}
    params, config = settings(TransformerParams, trial, **exact)
    rows = at_most(rows, params.max_rows, trial.seed)
    start = _fitted(trial, rows, context) if trial.after else _pretrained(params, rows)
    return tune(start, rows, params, config, context)


def _pretrained(params: TransformerParams, rows: TextRows) -> Start:
    answered = learnable_or_raise(rows)
    encoder, encoding = backbone.load(params.backbone, params.max_length, params.hub)
    return Start(encoder, encoding, params.pooling, answered)


def _fitted(trial: Trial, rows: TextRows, context: FitContext) -> Start:
    """A copy of the one model of ``trial.after``."""
    if told := sorted(TAKEN_OVER & set(trial.params)):
        raise ValueError(
            f"trial {trial.name!r} goes on from {trial.after[0]!r} and takes {', '.join(told)} "
            "from it: leave them out of params, or leave after empty"
        )
    base = context.bases.get(trial.after[0]) if len(trial.after) == 1 else None
    module = getattr(getattr(base, "network", None), "module", None)
    if not (isinstance(base, NetworkText) and isinstance(module, Classifier)):
        raise ValueError(  # noqa: TRY004  what the trial says is wrong, not a type
            f"trial {trial.name!r} can go on from one fitted transformer or student only: name "
            "one in after, no form, no ensemble"
        )
    if base.labels != rows.names:
        raise ValueError(
            f"trial {trial.after[0]!r} answers {', '.join(base.labels)}, the rows are labelled "
            f"{', '.join(rows.names)}: fit it on the same snapshot"
        )
    whole: Classifier = copy.deepcopy(module).requires_grad_(True)
    answered, pooling = np.array(base.answered), whole.embedder.pooling
    return Start(whole.encoder, base.encoding, pooling, answered, whole.head, base.held)


def tune(  # noqa: PLR0917  from what, on what, how, telling whom
    start: Start,
    rows: TextRows,
    params: TuningParams,
    config: TrainerConfig,
    context: FitContext,
    imitate: Callable[[tuple[str, ...]], Soft] | None = None,
) -> NetworkText:
    """Put a head on an encoder and train both.

    Args:
        start: The encoder, and the head if it has one.
        rows: Texts; a share of them is held out to stop the training.
        params: Loss, dropout, augmentation.
        config: The trainer's.
        context: The trainer's.
        imitate: A teacher's answers to texts, for a student.

    Raises:
        ValueError: Too few texts.
    """
    backbone.freeze(start.encoder, params.frozen)
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
        augment=_edits(params, part.texts, known),
    )
    with qat.felt(module) if params.quantisation_aware else nullcontext():
        history = train(task, config, context)
    answered = tuple(start.answered.tolist())
    network = TorchNetwork(module.cpu().eval(), len(answered))
    counts = {"rows": len(part.texts), "held_rows": len(held.texts)}
    notes = {
        "training": told(history), **counts, "quantisation_aware": params.quantisation_aware,
    }  # fmt: skip
    unseen = min(params.held, start.held)
    return NetworkText(TRANSFORMER, rows.names, answered, start.encoding, network, unseen, notes)


def _edits(
    params: TuningParams, texts: tuple[str, ...], labels: Matrix
) -> Callable[[str, np.random.Generator], str] | None:
    """What says a text differently; words that carry a label stay as and where they are."""
    if not params.augment:
        return None
    return augmentations(params.augment, protected=label_words(texts, any_label(labels)))


def headed(start: Start, labels: Matrix, params: TuningParams, seed: int) -> Classifier:
    """The encoder with its head, or a new one, which answers each label's frequency at first.

    Without that the first steps only learn how rare a label is (Lin et al. 2017, section 3.3).
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = Classifier(start.encoder, start.pooling, params.dropout, labels.shape[1])
    if start.head is not None:
        module.head.load_state_dict(start.head.state_dict())
        return module
    nn.init.normal_(module.head.weight, std=0.02, generator=torch.Generator().manual_seed(seed))
    positives, known = (labels == 1).sum(axis=0), (~np.isnan(labels)).sum(axis=0)
    odds = np.zeros(len(known)) if params.balanced else np.log(
        (positives + 1.0) / (known - positives + 1.0)
    )  # fmt: skip
    with torch.no_grad():
        module.head.bias.copy_(torch.from_numpy(odds.astype(np.float32)))
    return module


def told(history: History) -> dict[str, Any]:
    """What of a training is kept with the model; nothing that differs from run to run."""
    return {
        "epochs": history.epochs,
        "best_epoch": history.best_epoch,
        "validation": list(history.validation),
        "train_loss": list(history.train_loss),
        "stopped_early": history.stopped_early,
    }
