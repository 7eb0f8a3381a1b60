"""How sure is an answer: conformal sets, dropout at prediction time, entropy.

Belongs here: what turns probabilities or a network into a statement of uncertainty. Does not belong
here: making probabilities right on average (``calibration``), strange inputs (``robustness.ood``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.contracts.base import Frozen
from models.contracts.learner import Matrix, Vector

if TYPE_CHECKING:
    from torch import Tensor, nn


class Conformal(Frozen):
    """A calibrated bound per label: which answers cannot be ruled out.

    Attributes:
        coverage: Share of rows whose true answer is in its set, on average over calibration sets.
        bounds: Per label, the largest 1 - P(answer) that stays in the set; infinite where the
            calibration rows are too few to rule anything out.
    """

    coverage: float
    bounds: tuple[float, ...]

    def sets(self, probabilities: Matrix) -> NDArray[np.bool_]:
        """Answers that stay.

        Args:
            probabilities: Of "yes", shape (n, L); NaN where a label was never learned.

        Returns:
            Shape (n, L, 2): whether "no" and "yes" are in the set. Both: the model cannot tell.
            Neither: no answer is plausible. Of a NaN probability both.
        """
        wrong = np.stack([probabilities, 1 - probabilities], axis=2)
        inside: NDArray[np.bool_] = ~(wrong > np.array(self.bounds)[None, :, None])
        return inside


def conformal(labels: Matrix, probabilities: Matrix, *, coverage: float = 0.9) -> Conformal:
    """Split conformal prediction, one label at a time.

    The true answer of a new row is in its set with probability at least ``coverage`` when the row
    is exchangeable with the calibration rows, whatever the model (Vovk, Gammerman and Shafer 2005;
    the score is that of Sadinle, Lei and Wasserman 2019). Marginal: a slice may be covered less.

    Args:
        labels: Calibration rows the model was not fitted on, shape (n, L) of 0, 1 or NaN (left
            out).
        probabilities: Of "yes", shape (n, L).
        coverage: Between 0 and 1.

    Raises:
        ValueError: A coverage outside (0, 1).
    """
    if not 0 < coverage < 1:
        raise ValueError(f"coverage must lie between 0 and 1, got {coverage}")
    bounds = []
    for truth, said in zip(labels.T, probabilities.T, strict=True):
        known = ~np.isnan(truth) & ~np.isnan(said)
        scores = np.sort(np.where(truth == 1, 1 - said, said)[known])
        # rounded, because 0.9 * 10 in floats lies above 9
        rank = math.ceil(round(coverage * (len(scores) + 1), 9))
        bounds.append(float(scores[rank - 1]) if rank <= len(scores) else math.inf)
    return Conformal(coverage=coverage, bounds=tuple(bounds))


def entropy(probabilities: Matrix) -> Matrix:
    """Entropy of yes-or-no answers in bits, elementwise: 0 for a sure one, 1 at one half."""
    p = np.asarray(probabilities, float)
    parts = [np.where(q > 0, q * np.log2(np.where(q > 0, q, 1.0)), 0.0) for q in (p, 1 - p)]
    found: Matrix = np.where(np.isnan(p), np.nan, 0.0 - parts[0] - parts[1])
    return found


class Dropout(NamedTuple):
    """What a network says with its dropout left on.

    Attributes:
        mean: Mean probability, of the shape of the outputs.
        deviation: Standard deviation between passes.
        disagreement: Entropy of the mean minus mean entropy, in bits: what the passes do not agree
            on, and so what more training rows could settle (BALD, Houlsby et al. 2011).
    """

    mean: Matrix
    deviation: Matrix
    disagreement: Matrix


def mc_dropout(
    module: nn.Module, logits: Callable[[], Tensor], *, passes: int = 20, seed: int = 0
) -> Dropout:
    """Monte Carlo dropout (Gal and Ghahramani 2016, Dropout as a Bayesian approximation).

    Args:
        module: The network; only its dropout layers are switched on, and back afterwards.
        logits: One pass of it: log-odds of any shape.
        passes: Number of passes, at least 2.
        seed: Of the dropout; torch's own generator is left as it was.
    """
    import torch

    with _dropping(module), torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        drawn = torch.stack([torch.sigmoid(logits()).double() for _ in range(passes)]).numpy()
    mean: Vector = drawn.mean(axis=0)
    return Dropout(mean, drawn.std(axis=0, ddof=1), entropy(mean) - entropy(drawn).mean(axis=0))


@contextmanager
def _dropping(module: nn.Module) -> Iterator[None]:
    from torch.nn.modules.dropout import _DropoutNd

    layers = [layer for layer in module.modules() if isinstance(layer, _DropoutNd)]
    before = [layer.training for layer in layers]
    try:
        for layer in layers:
            layer.train()
        yield
    finally:
        for layer, training in zip(layers, before, strict=True):
            layer.train(training)
