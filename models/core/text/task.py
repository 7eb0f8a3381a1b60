"""What the trainer is given of a text model: batches of like length, a masked loss, a validation.

Belongs here: the order of batches, soft targets, augmentation as it happens. Does not belong here:
the loop (``models.core.trainer``), which rows and which network (``transformer``, ``student``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from models.contracts.base import Frozen
from models.contracts.learner import Matrix
from models.core.text.encoding import Encoding, Floats
from models.core.text.network import BATCH, forward
from models.core.trainer import losses

#: Batches that are sorted by length together: more pad less, and shuffle less.
_SORTED_TOGETHER = 50

Augmentation = Callable[[str, np.random.Generator], str]


class LossParams(Frozen):
    """What is minimised.

    Attributes:
        loss: Cross-entropy, or focal loss (Lin et al. 2017), which counts easy texts less.
        gamma: Of the focal loss; 0 is the cross-entropy.
        balanced: Positives count as much as negatives. The probabilities are then of a world in
            which both are equally frequent.
    """

    loss: str = "bce"
    gamma: float = 2.0
    balanced: bool = False


class Soft(NamedTuple):
    """What a student imitates.

    Attributes:
        logits: The teacher's, shape (n, L).
        share: Of the loss; the rest is that of the labels.
        temperature: Of ``kl``: both sides' log-odds are divided by it.
        match: ``kl`` (Hinton et al. 2015) or ``mse`` of the log-odds (Ba and Caruana 2014).
    """

    logits: Floats
    share: float
    temperature: float
    match: str


class Batch(NamedTuple):
    """Tokens, mask of shape (b, s); labels, teacher's logits of shape (b, L)."""

    ids: Tensor
    mask: Tensor
    labels: Tensor
    soft: Tensor | None


class Labelled(NamedTuple):
    """n texts and their labels of shape (n, L), NaN where nobody said."""

    texts: Sequence[str]
    labels: Matrix


class TextTask:
    """A `models.core.trainer.loop.Task` over texts.

    Args:
        module: Tokens and mask to log-odds (b, L).
        encoding: How it wants its texts.
        part: What is fitted on.
        held: What decides when to stop.
        params: The loss.
        batch_size: Texts per batch.
        soft: A teacher's answers to the n texts.
        augment: Says a text a little differently, anew in every epoch; the labels stay.
    """

    def __init__(
        self,
        module: nn.Module,
        encoding: Encoding,
        part: Labelled,
        held: Labelled,
        params: LossParams,
        *,
        batch_size: int,
        soft: Soft | None = None,
        augment: Augmentation | None = None,
    ) -> None:
        self.module, self._encoding, self._texts = module, encoding, part.texts
        self._labels = torch.from_numpy(part.labels.astype(np.float32))
        self._held, self._params, self._size = held, params, batch_size
        self._soft, self._augment = soft, augment
        self._soft_logits = None if soft is None else torch.from_numpy(soft.logits)
        self._weights = (
            torch.from_numpy(losses.positive_weights(part.labels)) if params.balanced else None
        )
        self._tokens = encoding.encode(part.texts)

    def batch_count(self) -> int:
        """Batches of an epoch; the last may be smaller."""
        return -(-len(self._texts) // self._size)

    def batches(self, generator: torch.Generator) -> Iterator[Batch]:
        """One epoch: shuffled, then sorted by length within some batches, in random order."""
        tokens = self._tokens
        if self._augment is not None:
            tokens = self._encoding.encode(self.said_differently(generator))
        lengths = np.array([len(row) for row in tokens])
        for chosen in buckets(lengths, self._size, generator):
            ids, mask = self._encoding.pad_together([tokens[i] for i in chosen])
            rows = torch.from_numpy(chosen)
            soft = None if self._soft_logits is None else self._soft_logits[rows]
            yield Batch(torch.from_numpy(ids), torch.from_numpy(mask), self._labels[rows], soft)

    def said_differently(self, generator: torch.Generator) -> list[str]:
        """The n texts of one epoch, augmented."""
        say = self._augment
        if say is None:
            return list(self._texts)
        drawn = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
        return [say(text, drawn) for text in self._texts]

    def loss(self, batch: Batch) -> Tensor:
        """Mean loss of the known labels, mixed with that of the teacher's answers."""
        logits = self.module(batch.ids, batch.mask)
        hard = label_loss(logits, batch.labels, self._params, self._weights)
        if self._soft is None or batch.soft is None:
            return hard
        share = self._soft.share
        return share * soft_loss(logits, batch.soft, self._soft) + (1.0 - share) * hard

    def validate(self) -> float:
        """Minus the cross-entropy of the held-out texts.

        A proper score: it rewards calibrated probabilities as well as a right order, and unlike a
        ranking metric it is there for a label that has one class among few texts.
        """
        run = lambda ids, mask: forward(self.module, ids, mask)  # noqa: E731  one line, used once
        width = self._labels.shape[1]
        logits = self._encoding.outputs(run, self._held.texts, BATCH, width)
        labels = torch.from_numpy(self._held.labels)
        return -float(losses.masked_bce(torch.from_numpy(logits).double(), labels))


def buckets(
    lengths: NDArray[np.int64], size: int, generator: torch.Generator
) -> list[NDArray[np.int64]]:
    """Rows divided into batches of like length.

    Args:
        lengths: Shape (n,).
        size: Rows per batch.
        generator: Shuffles rows and batches.

    Returns:
        ceil(n / size) batches of row numbers; every row is in one.
    """
    order = torch.randperm(len(lengths), generator=generator).numpy()
    together = size * _SORTED_TOGETHER
    batches: list[NDArray[np.int64]] = []
    for start in range(0, len(order), together):
        part = order[start : start + together]
        part = part[np.argsort(lengths[part], kind="stable")]
        batches += [part[i : i + size] for i in range(0, len(part), size)]
    return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]


def label_loss(
    logits: Tensor, labels: Tensor, params: LossParams, weights: Tensor | None
) -> Tensor:
    """Mean loss over the known cells of (b, L).

    Raises:
        ValueError: No such loss.
    """
    if params.loss == "focal":
        return losses.focal(logits, labels, params.gamma)
    if params.loss != "bce":
        raise ValueError(f"loss is {params.loss!r}, give 'bce' or 'focal'")
    return losses.masked_bce(logits, labels, None if weights is None else weights.to(logits.device))


def soft_loss(logits: Tensor, teacher: Tensor, soft: Soft) -> Tensor:
    """How far log-odds are from a teacher's, mean over all cells.

    ``kl``: Kullback-Leibler divergence of the yes-or-no distributions at temperature T, times T
    squared, so that its gradient does not shrink with T (Hinton et al. 2015, section 2).

    Raises:
        ValueError: No such way of matching.
    """
    if soft.match == "mse":
        return functional.mse_loss(logits, teacher)
    if soft.match != "kl":
        raise ValueError(f"match is {soft.match!r}, give 'kl' or 'mse'")
    t = soft.temperature
    target = torch.sigmoid(teacher / t)
    cross = functional.binary_cross_entropy_with_logits(logits / t, target)
    entropy = functional.binary_cross_entropy_with_logits(teacher / t, target)
    return (cross - entropy) * t**2
