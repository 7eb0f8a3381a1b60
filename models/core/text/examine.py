"""What attacks, strange texts and shift do to a text predictor, as measures.

Belongs here: which texts are attacked how often, and the names of the measures. Does not belong
here: the attacks (``attacks``, ``models.core.robustness``), intervals (``robustness.measures``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from models.contracts.learner import Matrix, TextPredictor, Vector
from models.contracts.results import Measure
from models.core.robustness import measures, ood, shift
from models.core.text import attacks, doubt
from models.core.text.differentiable import Differentiable, differentiable
from models.core.text.strange import strange

#: Texts a search attacks, and how often it may ask the model about one.
SEARCHED, BUDGET = 30, 40
#: Training texts that strange ones are measured against.
REFERENCE = 500
#: Radius of the attacks on token embeddings, in standard deviations of their values.
EPSILON = 0.05
#: Probabilities of exactly 0 or 1 keep finite log-odds.
_TINY = 1e-9


class _Chosen(NamedTuple):
    """The texts examined, with what the model says of them unattacked."""

    texts: list[str]
    labels: Matrix
    clean: Matrix
    threshold: float

    @property
    def positives(self) -> NDArray[np.intp]:
        """Texts that truly have the first label, at most ``SEARCHED``."""
        return np.flatnonzero(self.labels[:, 0] == 1)[:SEARCHED]


def examine(
    predictor: TextPredictor,
    texts: Sequence[str],
    labels: Matrix,
    names: Sequence[str],
    thresholds: Sequence[float],
    *,
    seed: int = 0,
    rows: int = 300,
    train: Sequence[str] = (),
    columns: tuple[Matrix, Matrix] | None = None,
) -> dict[str, Measure]:
    """Measures of one predictor on judged texts, with 90 % intervals.

    Args:
        predictor: The model, answering ``names`` in this order.
        texts: n judged texts.
        labels: Shape (n, L) of 0 or 1; NaN where nobody said.
        names: The L labels; the first is the one attackers want to escape.
        thresholds: L decision thresholds.
        seed: Of everything drawn.
        rows: Texts examined; half of them have the first label where there are enough.
        train: Training texts, the reference of distances; else half of the examined texts are.
        columns: What describes the training texts and the judged ones, (m, d) and (n, d), for the
            shift; None leaves it out.

    Returns:
        ``attack.<name>``: mean ROC-AUC over the labels, every text attacked (``none``, ``typo``,
        ``homoglyph``, ``leet``, ``spacing``), or recall of the first label where the model itself
        is asked (``word_swap``, ``char_search``) or differentiated (``embedding_fgsm``,
        ``embedding_pgd``: torch networks only). ``attack.<name>_flips``: share of the flagged texts
        that are no longer flagged. ``ood.auroc`` and one ``ood.<score>`` per score.
        ``shift.domain_auc``. ``uncertainty.confidence_auroc`` and ``.dropout_auroc`` (``doubt``).

    Raises:
        ValueError: No texts, or a predictor that does not answer the first label.
    """
    chosen = _choose(predictor, texts, labels, thresholds[0], rows=rows, seed=seed)
    if not chosen.texts or np.isnan(chosen.clean[:, 0]).any():
        raise ValueError(f"nothing to examine: no texts, or no answers for {names[0]!r}")
    found = _blind(predictor, chosen, seed)
    for name, candidates in (("word_swap", attacks.synonyms_of), ("char_search", attacks.bugs_of)):
        found |= _searched(predictor, chosen, name, candidates)
    opened = differentiable(predictor)
    found |= {} if opened is None else _embedded(opened, chosen, names[0], seed)
    found |= _strangers(predictor, opened, chosen, train, seed)
    found |= _doubted(predictor, opened, chosen, names[0], seed)
    if columns is not None:
        found |= shift.measured(*columns, "judged texts from training texts", seed=seed)
    return found


def _doubted(
    predictor: TextPredictor, opened: Differentiable | None, chosen: _Chosen, label: str, seed: int
) -> dict[str, Measure]:
    texts, labels, clean, threshold = chosen
    return doubt.examine(
        predictor, opened, texts, labels[:, 0], clean[:, 0], label=label, threshold=threshold,
        seed=seed,
    )  # fmt: skip


def _choose(
    predictor: TextPredictor,
    texts: Sequence[str],
    labels: Matrix,
    threshold: float,
    *,
    rows: int,
    seed: int,
) -> _Chosen:
    order = np.random.default_rng(seed).permutation(len(texts))
    first = labels[order, 0]
    positives, rest = order[first == 1], order[first != 1]
    half = max(rows - len(rest), rows // 2)
    drawn = np.concatenate([positives[:half], rest[: rows - len(positives[:half])]])
    kept = [texts[i] for i in drawn]
    clean = predictor.predict(kept) if kept else np.empty((0, labels.shape[1]))
    return _Chosen(kept, labels[drawn], clean, threshold)


def _blind(predictor: TextPredictor, chosen: _Chosen, seed: int) -> dict[str, Measure]:
    auc = partial(measures.mean_metric, metric="roc_auc", labels=chosen.labels, seed=seed)
    found = {"attack.none": auc("mean ROC-AUC, nothing attacked", scores=chosen.clean)}
    for name, attack in attacks.BLIND.items():
        generator = np.random.default_rng(seed)
        scores = predictor.predict([attack(text, generator) for text in chosen.texts])
        found[f"attack.{name}"] = auc(f"mean ROC-AUC under {name}", scores=scores)
        found |= _flips(name, chosen.clean[:, 0], scores[:, 0], chosen.threshold)
    return found


def _searched(
    predictor: TextPredictor,
    chosen: _Chosen,
    name: str,
    candidates: Callable[[str], Sequence[str]],
) -> dict[str, Measure]:
    def score(texts: Sequence[str]) -> Vector:
        answers: Vector = predictor.predict(texts)[:, 0]
        return answers

    after = np.array(
        [
            attacks.search(
                score, chosen.texts[i], candidates, threshold=chosen.threshold, budget=BUDGET
            ).score
            for i in chosen.positives
        ]
    )
    return _escaped(name, chosen, after)


def _embedded(opened: Differentiable, chosen: _Chosen, label: str, seed: int) -> dict[str, Measure]:
    """One text at a time, so that no answer depends on padding."""
    import torch

    from models.core.robustness.gradient import Ball, fgsm, pgd

    column = opened.column(label)
    after: dict[str, list[float]] = {"embedding_fgsm": [], "embedding_pgd": []}
    for i in chosen.positives:
        texts = opened.embed([chosen.texts[i]])

        def escape(vectors: torch.Tensor, texts: object = texts) -> torch.Tensor:
            return -opened.logits(vectors, texts)[:, column].sum()  # type: ignore[arg-type]

        ball = Ball(EPSILON * float(texts.vectors.std()))
        made = {
            "embedding_fgsm": fgsm(escape, texts.vectors, ball),
            "embedding_pgd": pgd(
                escape, texts.vectors, ball, size=ball.epsilon / 4, steps=10, seed=seed
            ),
        }
        for name, vectors in made.items():
            with torch.no_grad():
                after[name].append(float(torch.sigmoid(opened.logits(vectors, texts)[0, column])))
    found: dict[str, Measure] = {}
    for name, scores in after.items():
        found |= _escaped(name, chosen, np.array(scores))
    return found


def _escaped(name: str, chosen: _Chosen, after: Vector) -> dict[str, Measure]:
    """Recall of the first label among its attacked texts, and how many were lost."""
    title = f"recall of the first label under {name}"
    hits = int((after >= chosen.threshold).sum())
    found = {f"attack.{name}": measures.share(title, hits, len(after))}
    return found | _flips(name, chosen.clean[chosen.positives, 0], after, chosen.threshold)


def _flips(name: str, before: Vector, after: Vector, threshold: float) -> dict[str, Measure]:
    flagged = before >= threshold
    title = f"share of flagged texts no longer flagged under {name}"
    lost = int((after[flagged] < threshold).sum())
    made = measures.share(title, lost, int(flagged.sum()), higher_is_better=False)
    return {f"attack.{name}_flips": made}


def _strangers(
    predictor: TextPredictor,
    opened: Differentiable | None,
    chosen: _Chosen,
    train: Sequence[str],
    seed: int,
) -> dict[str, Measure]:
    """``ood.auroc`` is by the distance to the nearest training texts, else by the model's doubt."""
    generator = np.random.default_rng(seed)
    texts = [chosen.texts[i] for i in generator.permutation(len(chosen.texts))]
    half = 0 if train else len(texts) // 2
    order = generator.permutation(len(train))[:REFERENCE]
    known, inside = [train[i] for i in order] or texts[:half], texts[half:]
    if min(len(known), len(inside)) < 2:
        return {}
    outside = strange(inside, generator)
    answers = [np.clip(predictor.predict(part), _TINY, 1 - _TINY) for part in (inside, outside)]
    pairs = {
        "doubt": [ood.label_doubt(part) for part in answers],
        "energy": [ood.joint_energy(logit(part)) for part in answers],
    }
    features = None if opened is None else opened.features([*known, *inside, *outside])
    if features is not None:
        cuts = (len(known), len(known) + len(inside))
        reference, *parts = np.split(features, cuts)
        fitted = ood.gaussians(reference, np.zeros(len(reference)), shrunk=True)
        pairs["nearest"] = [ood.nearest(reference, part) for part in parts]
        pairs["mahalanobis"] = [ood.mahalanobis(fitted, part) for part in parts]
    title = "ROC-AUC of telling scrambled, foreign and code texts by {}"
    found = {
        f"ood.{name}": measures.area(title.format(name), ood.auroc(*scores))
        for name, scores in pairs.items()
    }
    return found | {"ood.auroc": found.get("ood.nearest", found["ood.doubt"])}
