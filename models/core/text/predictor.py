"""A predictor over any network of tokens: a module of torch, or an exported one.

Belongs here: answering, saving, loading. Does not belong here: fitting (``transformer``,
``student``), exporting (``onnx_form``). Imports torch only for a module of torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from scipy.special import expit

from models.contracts.learner import Matrix, TextPredictor
from models.core import tabular
from models.core.text import saved
from models.core.text.encoding import Encoding, Floats, Tokens

TRANSFORMER, ONNX = "transformer", "onnx"


class Network(Protocol):
    """What a predictor asks."""

    @property
    def width(self) -> int:
        """Outputs per text."""
        ...

    @property
    def batch(self) -> int:
        """Most texts it may be asked at once; 1 where an answer depends on the whole batch."""
        ...

    def run(self, ids: Tokens, mask: Tokens) -> Floats:
        """Outputs of shape (b, width)."""
        ...

    def save(self, folder: Path) -> None:
        """Write everything but the tokenizer."""
        ...


@dataclass(frozen=True)
class NetworkText:
    """A network with its encoding.

    Attributes:
        kind: ``transformer`` or ``onnx``: what the network is kept as.
        labels: The L labels answered.
        answered: Numbers of the labels the network's outputs are of; the others are NaN.
        held: Share of the texts it was not fitted on (see ``rows.held_out``); 1.0 when it was
            fitted on none.
        notes: How it was made, for ``model.json``: what training or an export reported.
    """

    kind: str
    labels: tuple[str, ...]
    answered: tuple[int, ...]
    encoding: Encoding
    network: Network
    held: float
    notes: Mapping[str, Any]

    def logits(self, texts: Sequence[str]) -> Floats:
        """Log-odds of the answered labels, shape (n, answered)."""
        network = self.network
        return self.encoding.outputs(network.run, texts, network.batch, network.width)

    def predict(self, texts: Sequence[str]) -> Matrix:
        """Probability of every label, shape (n, L); NaN for labels it never saw."""
        scores = np.full((len(texts), len(self.labels)), np.nan)
        scores[:, self.answered] = expit(self.logits(texts).astype(np.float64))
        return scores

    def save(self, folder: Path) -> None:
        """Write ``model.json``, ``tokenizer.json`` and the network; nothing else is needed."""
        self.network.save(folder)
        self.encoding.save(folder)
        saved.write_model(
            folder,
            self.kind,
            self,
            answered=self.answered,
            pad=self.encoding.pad,
            max_length=self.encoding.max_length,
            held=self.held,
            notes=self.notes,
        )

    def importance(self) -> Mapping[str, float]:
        """Empty: a text has no columns (explanations are per text, ``models.core.explain``)."""
        return {}


def in_form(model: TextPredictor, convert: Callable[[Any, Encoding], Any]) -> TextPredictor:
    """A model with its network of torch converted, or every one in it; others as they are.

    Args:
        model: Any text model.
        convert: Takes a network and its encoding, returns the other form of the network.
    """
    if isinstance(model, NetworkText) and model.kind == TRANSFORMER:
        return replace(model, kind=ONNX, network=convert(model.network, model.encoding))
    converted: TextPredictor = model.in_form(convert) if hasattr(model, "in_form") else model
    return converted


def load(folder: Path) -> NetworkText:
    """Load what ``NetworkText.save`` wrote.

    Raises:
        ArtifactError: The probe is scored differently than when it was saved.
    """
    content = tabular.read_model(folder)
    predictor = NetworkText(
        content["kind"],
        tuple(content["labels"]),
        tuple(content["answered"]),
        Encoding.load(folder, content["pad"], content["max_length"]),
        load_network(folder, content["kind"]),
        content["held"],
        content["notes"],
    )
    saved.check_probe(content, predictor)
    return predictor


def load_network(folder: Path, kind: str) -> Network:
    """The network of a saved model, by its kind."""
    if kind == ONNX:
        from models.core.text.onnx_form import OnnxNetwork

        return OnnxNetwork.load(folder)
    from models.core.text.network import TorchNetwork

    return TorchNetwork.load(folder)
