"""Networks over tokens, as modules: an encoder with a head, a pretrained classifier, an embedder.

Belongs here: what is computed from a batch of tokens, and keeping a module as safetensors.
Does not belong here: where pretrained weights come from (``backbone``), training (``task``),
exported networks (``onnx_form``).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from models.core.artifact import ArtifactError
from models.core.text import backbone
from models.core.text.encoding import Floats, Tokens

Pooling = Literal["mean", "cls"]
WEIGHTS_FILE, NETWORK_FILE = "weights.safetensors", "network.json"
#: Texts per batch when predicting; more gain nothing on a CPU.
BATCH = 32
#: Log-odds of a probability that a softmax rounds to 0 or 1 stay finite.
_TINY = 1e-7


class Classifier(nn.Module):
    """An encoder, pooled over a text's tokens, and a linear head; answers log-odds."""

    def __init__(self, encoder: Any, pooling: Pooling, dropout: float, outputs: int) -> None:
        super().__init__()
        self.embedder = Embedder(encoder, pooling)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(encoder.config.hidden_size, outputs)

    @property
    def encoder(self) -> Any:
        """The transformers model."""
        return self.embedder.encoder

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Log-odds of shape (b, outputs), of tokens and mask of shape (b, s)."""
        logits: Tensor = self.head(self.dropout(self.embedder(ids, mask)))
        return logits

    def description(self) -> dict[str, Any]:
        """What ``rebuilt`` needs beside the weights."""
        return {
            "network": "classifier",
            "config": _settings(self.encoder.config),
            "pooling": self.embedder.pooling,
            "dropout": self.dropout.p,
            "outputs": self.head.out_features,
        }


class Embedder(nn.Module):
    """An encoder, pooled: the mean over a text's tokens, or the state of its first."""

    def __init__(self, encoder: Any, pooling: Pooling) -> None:
        super().__init__()
        self.encoder, self.pooling = encoder, pooling

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Embeddings of shape (b, hidden), not normalised."""
        states: Tensor = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        if self.pooling == "cls":
            return states[:, 0]
        weights = mask.unsqueeze(-1).to(states.dtype)
        return (states * weights).sum(1) / weights.sum(1).clamp(min=1.0)

    def description(self) -> dict[str, Any]:
        """As of ``Classifier``."""
        config = _settings(self.encoder.config)
        return {"network": "embedder", "config": config, "pooling": self.pooling}


class Pretrained(nn.Module):
    """Somebody else's classifier, whose answers are added up into ours.

    Args:
        classifier: A transformers model for sequence classification.
        groups: For each of our outputs, numbers of its labels that mean ours.
        activation: ``softmax`` when its labels exclude each other: their probabilities are summed.
            ``sigmoid`` when each is a yes or no: the likeliest counts.
    """

    def __init__(self, classifier: Any, groups: Sequence[Sequence[int]], activation: str) -> None:
        super().__init__()
        self.classifier, self.activation = classifier, activation
        self.groups = [list(group) for group in groups]

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Log-odds of shape (b, outputs), of tokens and mask of shape (b, s)."""
        theirs = self.classifier(input_ids=ids, attention_mask=mask).logits
        if self.activation == "sigmoid":
            return torch.stack([theirs[:, g].max(dim=1).values for g in self.groups], dim=1)
        shares = torch.softmax(theirs, dim=1)
        sums = torch.stack([shares[:, g].sum(dim=1) for g in self.groups], dim=1)
        return torch.logit(sums, eps=_TINY)

    def description(self) -> dict[str, Any]:
        """As of ``Classifier``."""
        return {
            "network": "pretrained",
            "config": _settings(self.classifier.config),
            "groups": self.groups,
            "activation": self.activation,
        }


@dataclass(frozen=True)
class TorchNetwork:
    """A module that is asked with arrays.

    Attributes:
        module: A `Classifier`, `Embedder` or `Pretrained` in eval mode, on the CPU.
        width: Outputs per text.
        batch: Texts it is asked at once.
    """

    module: Any
    width: int
    batch: int = BATCH

    def run(self, ids: Tokens, mask: Tokens) -> Floats:
        """Outputs of shape (b, width)."""
        return forward(self.module, ids, mask)

    def save(self, folder: Path) -> None:
        """Write ``weights.safetensors`` and ``network.json``; needs no package to be loaded."""
        from safetensors.torch import save_file

        weights = {name: value.contiguous() for name, value in self.module.state_dict().items()}
        save_file(weights, folder / WEIGHTS_FILE)
        description = {**self.module.description(), "width": self.width}
        (folder / NETWORK_FILE).write_text(json.dumps(description, indent=1, sort_keys=True))

    @classmethod
    def load(cls, folder: Path) -> TorchNetwork:
        """What ``save`` wrote.

        Raises:
            ArtifactError: The weights do not fit the description.
        """
        from safetensors.torch import load_file

        description = json.loads((folder / NETWORK_FILE).read_text())
        module = rebuilt(description)
        try:
            module.load_state_dict(load_file(folder / WEIGHTS_FILE))
        except RuntimeError as error:
            raise ArtifactError(
                f"{folder / WEIGHTS_FILE} does not fit {NETWORK_FILE}: fit the candidate again "
                f"({str(error).splitlines()[0]})"
            ) from error
        return cls(module.eval(), description["width"])


def _settings(config: Any) -> dict[str, Any]:
    """A configuration without where it was loaded from: that is of this machine, not the model."""
    return {name: value for name, value in config.to_dict().items() if name != "_name_or_path"}


def forward(module: nn.Module, ids: Tokens, mask: Tokens) -> Floats:
    """Outputs of a module for arrays, wherever the module is; without gradients."""
    device = next(module.parameters()).device
    with torch.inference_mode():
        out = module(torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device))
    answer: Floats = out.float().cpu().numpy().astype(np.float32)
    return answer


def rebuilt(description: dict[str, Any]) -> Any:
    """A module of the described kind; its weights are not yet those saved."""
    from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

    settings = dict(description["config"])
    config = AutoConfig.for_model(settings.pop("model_type"), **settings)
    if description["network"] == "pretrained":
        classifier = AutoModelForSequenceClassification.from_config(config)  # type: ignore[no-untyped-call]
        return Pretrained(classifier, description["groups"], description["activation"])
    encoder = AutoModel.from_config(config)  # type: ignore[no-untyped-call]
    backbone.drop_pooler(encoder)
    if description["network"] == "embedder":
        return Embedder(encoder, description["pooling"])
    return Classifier(
        encoder, description["pooling"], description["dropout"], description["outputs"]
    )
