"""A whole classifier that somebody else trained, answering our labels without a fit.

Belongs here: matching its labels to ours. Does not belong here: loading (``backbone``), what is
computed (``network.Pretrained``). Suits the checkpoints of detoxify (``unitary/toxic-bert``,
sigmoid), ``Hate-speech-CNERG/...`` and the RoBERTa heads of TweetEval (softmax).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from models.contracts.base import Frozen
from models.contracts.learner import TextRows
from models.contracts.product import Trial
from models.core.text import backbone
from models.core.text.network import Pretrained, TorchNetwork
from models.core.text.predictor import TRANSFORMER, NetworkText

KIND = "pretrained"


class PretrainedParams(Frozen):
    """Parameters of a trial that fits nothing.

    Attributes:
        backbone: The classifier's folder or hub id (see ``backbone.locate``).
        hub: Whether it may be downloaded.
        mapping: Our label to the names of its labels that mean it.
        activation: ``sigmoid`` when each of its labels is a yes or no of its own, ``softmax`` when
            they exclude each other.
        max_length: Tokens kept of a text.
    """

    model: str = KIND
    backbone: str
    hub: bool = False
    mapping: dict[str, tuple[str, ...]]
    activation: Literal["sigmoid", "softmax"] = "sigmoid"
    max_length: int = 128


def fit(trial: Trial, rows: TextRows) -> NetworkText:
    """Load a classifier and match its labels; the rows only say which labels are ours.

    Raises:
        BackboneError: The classifier cannot be had, or has no label of a mapped name.
        pydantic.ValidationError: A parameter that this model does not have.
    """
    params = PretrainedParams.model_validate(trial.params)
    answered = tuple(i for i, name in enumerate(rows.names) if name in params.mapping)
    if not answered:
        raise ValueError(
            f"trial {trial.name!r}: mapping names none of {', '.join(rows.names)}; map one of them "
            "to the classifier's labels"
        )
    classifier, encoding = backbone.load_classifier(params.backbone, params.max_length, params.hub)
    theirs = {str(name): int(i) for i, name in classifier.config.id2label.items()}
    groups = groups_of([rows.names[i] for i in answered], params.mapping, theirs)
    network = TorchNetwork(Pretrained(classifier, groups, params.activation).eval(), len(answered))
    notes = {"backbone": params.backbone, "theirs": list(theirs)}
    return NetworkText(TRANSFORMER, rows.names, answered, encoding, network, 1.0, notes)


def groups_of(
    ours: Sequence[str], mapping: Mapping[str, Sequence[str]], theirs: Mapping[str, int]
) -> list[list[int]]:
    """Numbers of the classifier's labels for each of our labels.

    Raises:
        BackboneError: It has no label of that name.
    """
    wanted = [name for label in ours for name in mapping[label]]
    if unknown := sorted(set(wanted) - set(theirs)):
        raise backbone.BackboneError(
            f"the classifier has no labels {unknown}; it has {', '.join(theirs)}: correct mapping"
        )
    return [[theirs[name] for name in mapping[label]] for label in ours]
