"""Explaining one answer to one text by any of the four methods.

Belongs here: the words that are left out, and the methods side by side. Does not belong here: the
methods, choosing which texts to explain.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.contracts.api.texts import Method
from models.contracts.learner import TextPredictor, Vector
from models.core.explain import attention, gradients, lime, shapley
from models.core.explain.explanation import Explanation, Game, Masks
from models.core.text import words
from models.core.text.differentiable import Differentiable, differentiable

#: Parts of a text; a longer one is explained by phrases, so that the samples suffice.
MOST_PARTS = 40
#: Answers asked of the model: 300 ms for 30 words at 3 ms an answer.
SAMPLES = 96


def explain_text(
    predictor: TextPredictor,
    text: str,
    label: str,
    method: Method = "lime",
    *,
    seed: int = 0,
    samples: int = SAMPLES,
) -> Explanation:
    """Why a predictor gave one label its probability.

    Args:
        predictor: The model.
        text: The text.
        label: One of ``predictor.labels``.
        method: ``lime`` and ``shap`` ask any model about the text with words left out (``lime`` is
            what a service answers with). ``gradients`` (integrated, on token embeddings, of the
            log-odds) and ``attention`` (rollout, mean over the tokens) need a torch network.
        seed: Of the variants.
        samples: Answers that ``lime`` and ``shap`` may ask for.

    Raises:
        ValueError: Unknown label or method, a label the model never learned, or a method this
            predictor cannot be explained with.
    """
    if label not in predictor.labels:
        raise ValueError(f"{label!r} is no label of this model; it answers {predictor.labels}")
    if method in ("gradients", "attention"):
        opened = differentiable(predictor)
        if opened is None:
            raise ValueError(f"{method!r} needs a torch network, this model has none: take 'lime'")
        explain = _by_gradients if method == "gradients" else _by_attention
        return explain(opened, text, label)
    if method not in ("lime", "shap"):
        raise ValueError(f"{method!r} is no method; take lime, shap, gradients or attention")
    return _by_words(predictor, text, label, method, seed=seed, samples=samples)


def phrases(text: str, most: int = MOST_PARTS) -> tuple[str, ...]:
    """The text cut into at most so many parts of whole words, as evenly as can be.

    A part keeps the white space after it: joined, the parts are the text without its outer space.
    """
    parts = words.pieces(text.strip())
    starts = words.places(parts)
    if not starts:
        return ()
    cuts = [starts[i * len(starts) // most] for i in range(most)] if len(starts) > most else starts
    return tuple("".join(parts[a:b]) for a, b in zip(cuts, [*cuts[1:], None], strict=True))


def leave_out(predictor: TextPredictor, parts: Sequence[str], label: str) -> Game:
    """The game of a text: parts that are not kept are deleted."""
    column = predictor.labels.index(label)

    def game(masks: Masks) -> Vector:
        variants = [
            "".join(part for part, kept in zip(parts, mask, strict=True) if kept).strip()
            for mask in masks
        ]
        asked = sorted(set(variants))  # short texts leave few variants; no answer is asked twice
        answers = dict(zip(asked, predictor.predict(asked)[:, column], strict=True))
        return np.array([answers[variant] for variant in variants])

    return game


def _by_words(
    predictor: TextPredictor, text: str, label: str, method: str, *, seed: int, samples: int
) -> Explanation:
    parts = phrases(text)
    game = leave_out(predictor, parts, label)
    value = float(game(np.ones((1, len(parts)), bool))[0])
    if np.isnan(value):
        raise ValueError(f"the model never learned {label!r}, so there is nothing to explain")
    about = {"method": method, "label": label, "parts": tuple(part.strip() for part in parts)}
    if not parts:
        return Explanation(**about, weights=(), base=value, value=value, note="an empty text")
    long = len(words.places(words.pieces(text))) > len(parts)
    note = f"a long text: explained by {len(parts)} phrases" if long else ""
    if method == "shap":
        found = shapley.sampled(game, len(parts), seed=seed, samples=samples)
        return Explanation(
            **about, weights=_floats(found.weights), base=found.base, value=value, note=note
        )
    near = lime.surrogate(game, len(parts), seed=seed, samples=samples)
    return Explanation(
        **about,
        weights=_floats(near.weights),
        base=near.base,
        value=value,
        fidelity=near.fidelity,
        note=note,
    )


def _by_gradients(opened: Differentiable, text: str, label: str) -> Explanation:
    texts, column = opened.embed([text]), opened.column(label)
    found = gradients.integrated(
        lambda vectors: opened.logits(vectors, texts)[:, column], texts.vectors, texts.neutral
    )
    return Explanation(
        method="gradients",
        label=label,
        parts=texts.tokens[0],
        weights=_floats(found.weights.sum(dim=-1).double().numpy()),
        base=found.base,
        value=found.value,
        note=f"log-odds; {found.steps} steps leave {abs(found.gap):.2g} of them unexplained",
    )


def _by_attention(opened: Differentiable, text: str, label: str) -> Explanation:
    texts, column = opened.embed([text]), opened.column(label)
    flow = attention.rollout(opened.attentions(texts).double().numpy())
    answers = [
        float(opened.logits(vectors, texts)[0, column].detach())
        for vectors in (texts.neutral, texts.vectors)
    ]
    return Explanation(
        method="attention",
        label=label,
        parts=texts.tokens[0],
        weights=_floats(flow.mean(axis=0)),
        base=answers[0],
        value=answers[1],
        note=attention.NOTE,
    )


def _floats(weights: Vector) -> tuple[float, ...]:
    return tuple(float(weight) for weight in weights)
