"""Fitting an ensemble: its heads, then their weights on texts that none of them was fitted on.

Belongs here: parameters and the fit. Does not belong here: what it answers (``ensemble``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import expit

from models.contracts.base import Frozen
from models.contracts.learner import FitContext, TextPredictor, TextRows, Vector
from models.contracts.product import Trial
from models.core import calibration
from models.core.calibration import Recalibration
from models.core.text import pretrained, stacking
from models.core.text.dense_fit import fit_dense
from models.core.text.encoding import Floats
from models.core.text.ensemble import KIND, EnsembleText, Weighing, logits_of, opinions
from models.core.text.heads import (
    Embeddings,
    Head,
    HeadSpec,
    embeddings_of,
    head_logits,
    numbers_of,
)
from models.core.text.rows import at_most, divide, learnable
from models.core.trainer.config import TrainerConfig, config_from


class EnsembleParams(Frozen):
    """Parameters of an ensemble; the trainer's, for the small heads, stand beside them.

    Attributes:
        heads: Instead of the product's own heads.
        max_length: Tokens kept of a text where it is embedded.
        hidden: Width of a small head.
        held: Share of the texts that weigh the heads (see ``rows.held_out``). No member may have
            been fitted on them: each must hold out at least this share.
        penalty: Texts that equal weights are worth against what is learned.
        max_rows: Fit the small heads on at most so many texts, drawn by the trial's seed.
    """

    model: str = KIND
    heads: tuple[HeadSpec, ...] | None = None
    max_length: int = 128
    hidden: int = 64
    held: float = 0.1
    penalty: float = 10.0
    max_rows: int | None = None


class _Parts(NamedTuple):
    """Rows to fit on, rows held out, and the settings of both steps."""

    fit: TextRows
    held: TextRows
    params: EnsembleParams
    config: TrainerConfig


def fit(
    trial: Trial, rows: TextRows, context: FitContext, heads: Sequence[HeadSpec]
) -> EnsembleText:
    """Fit the heads of an ensemble and weigh them.

    A head whose trial is in ``trial.after`` is that model; every other trial of ``after`` is one
    more head. A small head is left out, which is told, when none of its labels is known both
    ways in the texts to fit on, and at all in those held out.

    The held-out texts also decided when members stopped training, so weights lean a little towards
    members that stopped on a lucky epoch; none of them saw the texts otherwise.

    Args:
        trial: With ``EnsembleParams`` and the trainer's settings as its params.
        rows: Training texts.
        context: Holds the trials of ``after``.
        heads: The product's heads.

    Returns:
        The predictor.

    Raises:
        ValueError: A trial of ``after`` is not fitted, or was fitted on held-out texts; too few
            texts; no head is left.
        pydantic.ValidationError: A parameter that neither an ensemble nor the trainer has.
    """
    parts = _parts(trial, rows)
    specs = parts.params.heads if parts.params.heads is not None else tuple(heads)
    specs += _further(trial, specs)
    members = _members(specs, trial, parts, context)
    embeddings = {
        s.backbone: embeddings_of(s.backbone, s.hub, parts.params.max_length)
        for s in specs
        if s.name not in members
    }
    fitted = _heads(specs, members, embeddings, parts, context)
    answered = tuple(sorted({label for head in fitted for label in head.labels}))
    used = {head.backbone for head in fitted}
    embeddings = {name: found for name, found in embeddings.items() if name in used}
    weighing = _weigh(fitted, members, embeddings, answered, parts)
    counts = {"rows": len(parts.fit.texts), "held_rows": len(parts.held.texts)}
    held = parts.params.held
    return EnsembleText(rows.names, answered, fitted, members, embeddings, weighing, held, counts)


def _parts(trial: Trial, rows: TextRows) -> _Parts:
    own = {n: v for n, v in trial.params.items() if n not in TrainerConfig.model_fields}
    params = EnsembleParams.model_validate(own)
    defaults = {"max_epochs": 30, "patience": 5, "batch_size": 64, "learning_rate": 1e-3}
    config = config_from(trial.params, seed=trial.seed, **defaults)
    part, held = divide(rows, params.held)
    return _Parts(at_most(part, params.max_rows, trial.seed), held, params, config)


def _further(trial: Trial, specs: Sequence[HeadSpec]) -> tuple[HeadSpec, ...]:
    """A head for every trial of ``after`` that no head names; it speaks of all its labels."""
    claimed = {spec.trial for spec in specs}
    return tuple(
        HeadSpec(name=name, labels=(), trial=name) for name in trial.after if name not in claimed
    )


def _members(
    specs: Sequence[HeadSpec], trial: Trial, parts: _Parts, context: FitContext
) -> dict[str, TextPredictor]:
    """Head name to the model it is, for the heads that are one.

    Raises:
        ValueError: A trial of ``after`` is not fitted, or was fitted on the held-out texts.
    """
    if missing := sorted(set(trial.after) - set(context.bases)):
        raise ValueError(f"trial {trial.name!r} is made from {missing}, which are not fitted")
    found: dict[str, TextPredictor] = {}
    for spec in specs:
        if spec.trial in trial.after and spec.trial is not None:
            found[spec.name] = context.bases[spec.trial]
        elif spec.pretrained is not None:
            asked = Trial(name=spec.name, params={"model": pretrained.KIND, **spec.pretrained})
            found[spec.name] = pretrained.fit(asked, parts.held)
    for name, member in found.items():
        share = getattr(member, "held", 0.0)
        if share < parts.params.held:
            raise ValueError(
                f"head {name!r} was fitted on all but {share:g} of the texts, the ensemble weighs "
                f"its heads on {parts.params.held:g} of them: give that trial params held="
                f"{parts.params.held:g}, or weights would be learned on texts it knows"
            )
    return found


def _heads(
    specs: Sequence[HeadSpec],
    members: Mapping[str, TextPredictor],
    embeddings: Mapping[str, Embeddings],
    parts: _Parts,
    context: FitContext,
) -> tuple[Head, ...]:
    stops = ~np.isnan(parts.held.labels).all(axis=0)  # without these nothing tells when to stop
    can = learnable(parts.fit.labels) & stops
    heads: list[Head] = []
    embedded: dict[str, tuple[Floats, Floats]] = {}
    for spec in specs:
        if spec.name in members:
            known = ~np.isnan(members[spec.name].predict([""])[0])
            wanted = tuple(dict.fromkeys((*spec.labels, *parts.fit.names)))
            numbers = numbers_of(wanted, parts.fit.names, known)
        else:
            numbers = numbers_of(spec.labels, parts.fit.names, can)
        if not numbers:
            context.say(f"head {spec.name} is left out: too few labels of {', '.join(spec.labels)}")
            continue
        if spec.name in members:
            heads.append(Head(spec.name, numbers, member=spec.name))
            continue
        if spec.backbone not in embedded:
            context.say(f"embedding {len(parts.fit.texts) + len(parts.held.texts)} texts")
            of = embeddings[spec.backbone].of
            embedded[spec.backbone] = of(parts.fit.texts), of(parts.held.texts)
        heads.append(_small(spec, numbers, embedded[spec.backbone], parts, context))
    if not heads:
        raise ValueError("no head is left: none of their labels is known both ways in the rows")
    return tuple(heads)


def _small(
    spec: HeadSpec,
    numbers: tuple[int, ...],
    embedded: tuple[Floats, Floats],
    parts: _Parts,
    context: FitContext,
) -> Head:
    columns = list(numbers)
    known, held_known = (~np.isnan(r.labels[:, columns]).all(axis=1) for r in parts[:2])
    below = None if context.folder is None else context.folder / spec.name
    if below is not None:
        below.mkdir(parents=True, exist_ok=True)
    dense = fit_dense(
        (embedded[0][known], parts.fit.labels[known][:, columns]),
        (embedded[1][held_known], parts.held.labels[held_known][:, columns]),
        parts.params.hidden,
        parts.config,
        context._replace(
            folder=below, curve=lambda n, s, v: context.curve(f"{spec.name}.{n}", s, v)
        ),
    )
    return Head(spec.name, numbers, backbone=spec.backbone, dense=dense)


def _weigh(
    heads: tuple[Head, ...],
    members: Mapping[str, TextPredictor],
    embeddings: Mapping[str, Embeddings],
    answered: tuple[int, ...],
    parts: _Parts,
) -> Weighing:
    """Weights and votes, both on the held-out texts."""
    texts, labels = parts.held.texts, parts.held.labels
    said = head_logits(
        heads,
        {name: logits_of(member, texts) for name, member in members.items()},
        {name: found.of(texts) for name, found in embeddings.items()},
    )
    z = opinions(heads, said, answered)
    rows = [
        stacking.stack(z[:, i], labels[:, label], _prior(heads, label), parts.params.penalty)
        for i, label in enumerate(answered)
    ]
    weights, intercepts = np.stack([w for w, _ in rows]), np.array([b for _, b in rows])
    first = labels[:, answered[0]]
    votes = tuple(_vote(first, z[:, 0, h]) for h in range(len(heads)))
    return Weighing(weights, intercepts, votes)


def _prior(heads: tuple[Head, ...], label: int) -> Vector:
    """Equal weights of the heads that answer a label."""
    speaks = np.array([float(label in head.labels) for head in heads])
    equal: Vector = speaks / speaks.sum()
    return equal


def _vote(labels: Vector, logits: Vector) -> Recalibration:
    known = ~np.isnan(labels)
    found = calibration.fit(labels[known], expit(logits[known])) if known.any() else None
    if found is None or not np.isfinite(found).all():
        return Recalibration(0.0, 1.0)
    return Recalibration(float(found.intercept), float(found.slope))
