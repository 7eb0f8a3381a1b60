"""Several heads, one answer: weights stacked on texts no head was fitted on, and a consensus.

Belongs here: what an ensemble answers, saving and loading it. Does not belong here: its fit
(``ensemble_fit``), what a head is (``heads``), weights and consensus as formulas (``stacking``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit

from models.contracts.learner import Matrix, TextPredictor, Vector
from models.core import tabular
from models.core.calibration import Recalibration
from models.core.text import predictor, saved, stacking
from models.core.text.encoding import Encoding
from models.core.text.heads import Dense, Embeddings, Head, head_logits
from models.core.text.stacking import Confidence

KIND = "ensemble"
_ARRAYS, _MEMBERS, _EMBEDDINGS = "weights.safetensors", "members", "embeddings"
_HOW = "embeddings.json"


class Weighing(NamedTuple):
    """How the heads' opinions become one.

    Attributes:
        weights: Shape (A, H), a row per answered label, not negative.
        intercepts: Shape (A,).
        votes: A recalibration per head: its log-odds to those of the first answered label.
    """

    weights: Matrix
    intercepts: Vector
    votes: tuple[Recalibration, ...]


@dataclass(frozen=True)
class EnsembleText:
    """Fitted heads and their weights.

    Attributes:
        labels: The L labels answered.
        answered: Numbers of the A labels that some head answers; the others are NaN.
        members: Name to the models that heads are.
        embeddings: Backbone to what embeds texts for the small heads.
        held: Share of the texts that no head was fitted on (see ``rows.held_out``).
        notes: How it was made.
    """

    labels: tuple[str, ...]
    answered: tuple[int, ...]
    heads: tuple[Head, ...]
    members: Mapping[str, TextPredictor]
    embeddings: Mapping[str, Embeddings]
    weighing: Weighing
    held: float
    notes: Mapping[str, Any]

    def predict(self, texts: Sequence[str]) -> Matrix:
        """Probability of every label, shape (n, L); NaN for labels no head answers."""
        return self._scores(self._opinions(texts))

    def predict_with_confidence(self, texts: Sequence[str]) -> tuple[Matrix, Confidence]:
        """The answers to n texts and how sure they are; heads vote on the first answered label."""
        opinions = self._opinions(texts)
        scores = self._scores(opinions)
        votes = [
            expit(vote.intercept + vote.slope * opinions[:, 0, number])
            for number, vote in enumerate(self.weighing.votes)
        ]
        return scores, stacking.confidence(scores, np.stack(votes, axis=1), self.answered[0])

    def _scores(self, opinions: Matrix) -> Matrix:
        scores = np.full((len(opinions), len(self.labels)), np.nan)
        margins = (opinions * self.weighing.weights).sum(axis=2) + self.weighing.intercepts
        scores[:, self.answered] = expit(margins)
        return scores

    def _opinions(self, texts: Sequence[str]) -> Matrix:
        """Log-odds of shape (n, A, H)."""
        members = {name: logits_of(member, texts) for name, member in self.members.items()}
        embedded = {name: found.of(texts) for name, found in self.embeddings.items()}
        return opinions(self.heads, head_logits(self.heads, members, embedded), self.answered)

    def in_form(self, convert: Callable[[Any, Encoding], Any]) -> EnsembleText:
        """The same ensemble with every network of torch in it converted.

        Args:
            convert: Takes a network and its encoding, returns the other form of the network.
        """
        members = {name: predictor.in_form(m, convert) for name, m in self.members.items()}
        embeddings = {name: found.in_form(convert) for name, found in self.embeddings.items()}
        notes = {**self.notes, "networks": predictor.ONNX}
        return replace(self, members=members, embeddings=embeddings, notes=notes)

    def importance(self) -> Mapping[str, float]:
        """Share of each head in the weights of the first answered label."""
        weights = self.weighing.weights[0]
        total = float(weights.sum())
        return {
            head.name: float(w) / total if total else 1 / len(weights)
            for head, w in zip(self.heads, weights, strict=True)
        }

    def save(self, folder: Path) -> None:
        """Write ``model.json``, the arrays, and every model it is made of in a folder below."""
        from safetensors.numpy import save_file

        for name, member in self.members.items():
            member.save(_made(folder / _MEMBERS / name))
        for number, found in enumerate(self.embeddings.values()):
            below = _made(folder / _EMBEDDINGS / str(number))
            found.network.save(below)
            found.encoding.save(below)
            how = {"pad": found.encoding.pad, "max_length": found.encoding.max_length}
            (below / _HOW).write_text(json.dumps(how))
        save_file(_arrays(self), folder / _ARRAYS)
        saved.write_model(
            folder,
            KIND,
            self,
            answered=self.answered,
            heads=[(h.name, h.labels, h.member, h.backbone) for h in self.heads],
            members=list(self.members),
            embeddings=list(self.embeddings),
            votes=self.weighing.votes,
            held=self.held,
            notes=self.notes,
        )


def opinions(heads: Sequence[Head], said: Sequence[Matrix], answered: Sequence[int]) -> Matrix:
    """Each head's log-odds for each answered label; its main label's where it does not answer it.

    Args:
        heads: H heads.
        said: What each says of its own labels.
        answered: Numbers of A labels.

    Returns:
        Shape (n, A, H), within ``stacking.LIMIT``.
    """
    columns = []
    for head, logits in zip(heads, said, strict=True):
        places = [head.labels.index(a) if a in head.labels else 0 for a in answered]
        columns.append(stacking.clipped(logits[:, places]))
    return np.stack(columns, axis=2)


def logits_of(member: TextPredictor, texts: Sequence[str]) -> Matrix:
    """Log-odds of every label, shape (n, L); NaN for labels it does not answer."""
    scores = member.predict(texts)
    tiny = expit(-stacking.LIMIT)
    inside = np.clip(scores, tiny, 1.0 - tiny)
    odds: Matrix = np.log(inside) - np.log1p(-inside)
    return odds


def load(folder: Path, load_member: Callable[[Path], TextPredictor]) -> EnsembleText:
    """Load what ``EnsembleText.save`` wrote.

    Args:
        folder: The artifact.
        load_member: Loads any text model.

    Raises:
        ArtifactError: The probe is scored differently than when it was saved.
    """
    from safetensors.numpy import load_file

    content = tabular.read_model(folder)
    arrays = load_file(folder / _ARRAYS)
    votes = tuple(Recalibration(*vote) for vote in content["votes"])
    weighing = Weighing(arrays["weights"], arrays["intercepts"], votes)
    found = EnsembleText(
        tuple(content["labels"]),
        tuple(content["answered"]),
        tuple(_head(number, h, arrays) for number, h in enumerate(content["heads"])),
        {name: load_member(folder / _MEMBERS / name) for name in content["members"]},
        {
            name: _load_embeddings(folder / _EMBEDDINGS / str(number), content["notes"])
            for number, name in enumerate(content["embeddings"])
        },
        weighing,
        content["held"],
        content["notes"],
    )
    saved.check_probe(content, found)
    return found


def _arrays(ensemble: EnsembleText) -> dict[str, Any]:
    weighing = ensemble.weighing
    arrays = {"weights": weighing.weights, "intercepts": weighing.intercepts}
    for number, head in enumerate(ensemble.heads):
        if head.dense is not None:
            arrays |= {f"head{number}.{n}": v for n, v in head.dense._asdict().items()}
    return arrays


def _head(number: int, kept: Sequence[Any], arrays: Mapping[str, Any]) -> Head:
    name, labels, member, backbone = kept
    dense = None
    if backbone is not None:
        dense = Dense(*(arrays[f"head{number}.{field}"] for field in Dense._fields))
    return Head(name, tuple(labels), member, backbone, dense)


def _load_embeddings(folder: Path, notes: Mapping[str, Any]) -> Embeddings:
    how = json.loads((folder / _HOW).read_text())
    network = predictor.load_network(folder, notes.get("networks", predictor.TRANSFORMER))
    return Embeddings(Encoding.load(folder, how["pad"], how["max_length"]), network)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
