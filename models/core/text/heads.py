"""The heads of an ensemble: small networks over a frozen encoder's embeddings, or whole models.

Belongs here: what a head is, embedding texts. Does not belong here: fitting a small one
(``dense_fit``), weighing them (``stacking``), which heads a product has (its ``learner.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.contracts.base import Frozen
from models.contracts.learner import Matrix
from models.core.text.encoding import Encoding, Floats
from models.core.text.predictor import Network


class HeadSpec(Frozen):
    """A head as a product or a trial names it.

    Without ``trial`` and ``pretrained`` it is a small network on the embeddings of ``backbone``.

    Attributes:
        labels: Our labels it speaks of, the main one first; those nobody labelled are left out. A
            whole model speaks of all that it learned.
        trial: The trial of ``after`` that it is, when that trial is there.
        pretrained: Params of ``models.core.text.pretrained``: a classifier by somebody else.
        backbone: What embeds its texts (see ``backbone.locate``).
        hub: Whether the backbone may be downloaded.
    """

    name: str
    labels: tuple[str, ...]
    trial: str | None = None
    pretrained: dict[str, Any] | None = None
    backbone: str = "minilm"
    hub: bool = False


class Dense(NamedTuple):
    """A network of one hidden layer: ``relu(x A + a) B + b``."""

    A: Floats
    a: Floats
    B: Floats
    b: Floats

    def __call__(self, x: Floats) -> Floats:
        """Outputs of shape (n, t) for inputs of shape (n, d)."""
        outputs: Floats = np.maximum(x @ self.A + self.a, 0.0) @ self.B + self.b
        return outputs


class Head(NamedTuple):
    """A fitted head.

    Attributes:
        labels: Numbers of the labels it answers, its main one first.
        member: Name of the model it is; None for a small network.
        backbone: What embeds its texts; None for a model.
        dense: The small network.
    """

    name: str
    labels: tuple[int, ...]
    member: str | None = None
    backbone: str | None = None
    dense: Dense | None = None


@dataclass(frozen=True)
class Embeddings:
    """A frozen encoder: texts to vectors of unit length."""

    encoding: Encoding
    network: Network

    def of(self, texts: Sequence[str]) -> Floats:
        """Shape (n, d)."""
        network = self.network
        found = self.encoding.outputs(network.run, texts, network.batch, network.width)
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        unit: Floats = found / np.maximum(lengths, 1e-12)
        return unit

    def in_form(self, convert: Callable[[Any, Encoding], Any]) -> Embeddings:
        """With the network converted."""
        return replace(self, network=convert(self.network, self.encoding))


def embeddings_of(name: str, hub: bool, max_length: int) -> Embeddings:
    """The frozen encoder of a backbone, mean-pooled.

    Raises:
        BackboneError: It cannot be had.
    """
    from models.core.text import backbone
    from models.core.text.network import Embedder, TorchNetwork

    encoder, encoding = backbone.load(name, max_length, hub)
    network = TorchNetwork(Embedder(encoder, "mean").eval(), encoder.config.hidden_size)
    return Embeddings(encoding, network)


def numbers_of(
    wanted: Sequence[str], names: Sequence[str], possible: NDArray[np.bool_]
) -> tuple[int, ...]:
    """Numbers of the wanted labels that are possible, in the order wanted."""
    places = {name: number for number, name in enumerate(names)}
    return tuple(places[w] for w in wanted if w in places and possible[places[w]])


def head_logits(
    heads: Sequence[Head], members: Mapping[str, Matrix], embedded: Mapping[str, Floats]
) -> list[Matrix]:
    """What each head says.

    Args:
        heads: The heads.
        members: Log-odds (n, L) of each model.
        embedded: Vectors (n, d) by each backbone.

    Returns:
        Per head, shape (n, labels of the head).
    """
    said = []
    for head in heads:
        if head.dense is not None and head.backbone is not None:
            said.append(head.dense(embedded[head.backbone]).astype(np.float64))
        elif head.member is not None:
            said.append(members[head.member][:, head.labels].astype(np.float64))
    return said
