"""What every explanation is, and the game it is played in.

Belongs here: types. Does not belong here: any method.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from models.contracts.base import Frozen
from models.contracts.learner import Vector

#: Booleans of shape (s, d): in each of s variants, which of the d parts are kept.
Masks = NDArray[np.bool_]
#: Variants to the model's answers, shape (s,). Keeping all parts gives the answer explained.
Game = Callable[[Masks], Vector]


class Explanation(Frozen):
    """Weights of the parts of one input in one answer.

    Attributes:
        label: The label whose answer is explained.
        parts: Words of a text (phrases of a long one), tokens, or columns, in their order.
        weights: One per part; above 0 speaks for the label.
        base: The answer when no part is kept.
        value: The answer to the input itself: a probability, or log-odds where ``note`` says so.
        fidelity: R squared of the weights as a model of the answers near the input, at most 1;
            None where the method does not fit one.
        note: What a reader must know.
    """

    method: str
    label: str
    parts: tuple[str, ...]
    weights: tuple[float, ...]
    base: float
    value: float
    fidelity: float | None = None
    note: str = ""
