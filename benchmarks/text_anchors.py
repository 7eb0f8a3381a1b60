"""Text models on public sets, beside what others published for the same data and parts.

Wants the data mirror (ASSAY_MIRROR). Every trial of ``moderation/text_toxicity`` is fitted on one
set alone, with that set's official parts; a decision is a probability of at least 0.5, so no test
row chooses anything. What a trial is told stands in the product; ``--epochs`` changes the passes.

    offensive   TweetEval offensive (OLID): macro-F1 on the official test part
    hate        TweetEval hate (HatEval): macro-F1 on the official test part
    hatexplain  three classes: accuracy, macro-F1, ROC-AUC one against one (macro), and toxic
                against normal. The mirror's training part is the harder half of the official one
    jigsaw      10,000 comments teach, the next 10,000 judge: ROC-AUC of toxic in any way
    civil       toxicity types of Civil Comments, SemEval-2021's test posts judge: mean ROC-AUC

    ASSAY_MIRROR=... .venv/bin/python benchmarks/text_anchors.py --trials tfidf_linear
    ASSAY_MIRROR=... .venv/bin/python benchmarks/text_anchors.py --data offensive hate
        --trials minilm student ensemble --seeds 0 1 2 --epochs 3
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from assets.sources import comments_mirror as mirror
from assets.sources.comments import Comment
from models.contracts.learner import FitContext, Matrix, TextPredictor, TextRows
from models.contracts.product import Trial
from models.core.text.taxonomy import LABELS, said_of
from models.moderation.text_toxicity.product import PRODUCT
from models.registry import load_learner

#: Where read: TweetEval's README; the paper and paperswithcode page of HateXplain; Detoxify's
#: README (all six labels, the whole training set, another test part).
PUBLISHED: Mapping[str, Mapping[str, str]] = {
    "offensive": {
        "SVM": "macro-F1 0.523", "FastText": "macro-F1 0.734", "LSTM": "macro-F1 0.717",
        "RoBERTa-Base": "macro-F1 0.795", "BERTweet": "macro-F1 0.795",
        "TimeLMs-2021": "macro-F1 0.822",
    },
    "hate": {
        "SVM": "macro-F1 0.367", "FastText": "macro-F1 0.506", "LSTM": "macro-F1 0.526",
        "RoBERTa-Base": "macro-F1 0.466", "BERTweet": "macro-F1 0.564",
        "TimeLMs-2021": "macro-F1 0.551",
    },
    "hatexplain": {
        "CNN-GRU, all of train": "accuracy 0.627, macro-F1 0.606, AUROC 0.793",
        "BERT, all of train": "accuracy 0.690, macro-F1 0.674, AUROC 0.843",
        "BERT-HateXplain, all of train": "accuracy 0.698, macro-F1 0.687, AUROC 0.851",
    },
    "jigsaw": {"Detoxify original, six labels, all of train": "mean ROC-AUC 0.9864"},
    "civil": {},
}  # fmt: skip


class Task(NamedTuple):
    """Texts to fit on, texts to judge on, and what is measured."""

    train: TextRows
    texts: tuple[str, ...]
    labels: Matrix
    measure: Callable[[Matrix, Matrix], dict[str, float]]


def main() -> None:
    arguments = _arguments()
    folder = os.environ.get("ASSAY_MIRROR")
    if not folder:
        raise SystemExit("set ASSAY_MIRROR to the folder of the data mirror")
    paths = [Path(folder) / name for name, _ in mirror.MIRROR_FILES]
    for name in arguments.data:
        task = TASKS[name](paths)
        task = _few(task, arguments.limit) if arguments.limit else task
        print(f"\n{name}: {len(task.train.texts)} texts teach, {len(task.texts)} judge")
        for published, values in PUBLISHED[name].items():
            print(f"  published  {published:44} {values}")
        for seed in arguments.seeds:
            _run(task, arguments, seed)


def _run(task: Task, arguments: argparse.Namespace, seed: int) -> None:
    """Fit the trials of one seed, those that others are made of first."""
    learner = load_learner(PRODUCT)
    fitted: dict[str, TextPredictor] = {}
    for given in _with_bases(arguments.trials):
        trial = _told(given, seed, arguments.epochs, arguments.precision)
        begun = time.perf_counter()
        context = FitContext(bases={name: fitted[name] for name in trial.after})
        fitted[trial.name] = learner.fit(trial, task.train, context)
        seconds = time.perf_counter() - begun
        begun = time.perf_counter()
        scores = fitted[trial.name].predict(task.texts)
        took = time.perf_counter() - begun
        values = ", ".join(f"{k} {v:.4f}" for k, v in task.measure(task.labels, scores).items())
        print(f"  seed {seed}     {trial.name:44} {values}  ({seconds:.0f} s to fit, "
              f"{len(task.texts) / took:.0f} texts/s)", flush=True)  # fmt: skip


def _with_bases(names: Sequence[str]) -> list[Trial]:
    """The named trials and those they are made from, in the product's order."""
    wanted = set(names)
    for trial in reversed(PRODUCT.trials):
        if trial.name in wanted:
            wanted |= set(trial.after)
    return [trial for trial in PRODUCT.trials if trial.name in wanted]


def _told(trial: Trial, seed: int, epochs: int | None, precision: str) -> Trial:
    params: dict[str, Any] = dict(trial.params)
    if "max_epochs" in params:
        params |= {"precision": precision}
        params |= {"max_epochs": epochs, "patience": epochs} if epochs is not None else {}
    return trial.model_copy(update={"params": params, "seed": seed})


def _task(
    comments: Sequence[Comment],
    judges: Callable[[int, Comment], bool],
    measure: Callable[[Matrix, Matrix], dict[str, float]],
) -> Task:
    """Comments in our labels, divided."""
    chosen = np.array([judges(number, one) for number, one in enumerate(comments)])
    labels = np.full((len(comments), len(LABELS)), np.nan)
    for row, one in enumerate(comments):
        for label, value in said_of(one.source, one.said).items():
            labels[row, LABELS.index(label)] = value
    parts = [
        tuple(one.text for one, judge in zip(comments, chosen, strict=True) if judge == wanted)
        for wanted in (False, True)
    ]
    rows = TextRows(parts[0], labels[~chosen], LABELS)
    return Task(rows, parts[1], labels[chosen], measure)


def _official(_: int, one: Comment) -> bool:
    return one.part == "holdout"


def _tweets(task: str, label: str) -> Callable[[Sequence[Path]], Task]:
    def make(paths: Sequence[Path]) -> Task:
        comments = [c for c in mirror.tweeteval(paths[0]) if c.source == f"tweeteval_{task}"]
        return _task(comments, _official, _binary(label))

    return make


def _hatexplain(paths: Sequence[Path]) -> Task:
    return _task(list(mirror.hatexplain(paths[1])), _official, _three)


def _civil(paths: Sequence[Path]) -> Task:
    return _task(list(mirror.civil_comments(*paths[2:4])), _official, _mean_auc)


def _jigsaw(paths: Sequence[Path]) -> Task:
    comments = list(mirror.jigsaw_binary(paths[4]))
    return _task(comments, lambda number, _: number >= len(comments) // 2, _binary("toxicity"))


TASKS: Mapping[str, Callable[[Sequence[Path]], Task]] = {
    "offensive": _tweets("offensive", "offensive"),
    "hate": _tweets("hate", "hate"),
    "hatexplain": _hatexplain,
    "jigsaw": _jigsaw,
    "civil": _civil,
}


def _binary(label: str) -> Callable[[Matrix, Matrix], dict[str, float]]:
    place = LABELS.index(label)

    def measure(labels: Matrix, scores: Matrix) -> dict[str, float]:
        truth, said = labels[:, place], scores[:, place]
        return {
            "macro-F1": float(f1_score(truth, said >= 0.5, average="macro")),
            "ROC-AUC": float(roc_auc_score(truth, said)),
        }

    return measure


def _three(labels: Matrix, scores: Matrix) -> dict[str, float]:
    """Hate is offensive too, so two labels give three classes in order (Frank and Hall 2001).

    Normal, offensive, hatespeech; their shares add up to 1.
    """
    hate, offensive = LABELS.index("hate"), LABELS.index("offensive")
    truth = (labels[:, offensive] + labels[:, hate]).astype(int)
    worst, bad = scores[:, hate], scores[:, offensive]
    shares = np.column_stack([1 - bad, np.maximum(bad - worst, 0.0), np.minimum(worst, bad)])
    called = shares.argmax(axis=1)
    return {
        "accuracy": float(accuracy_score(truth, called)),
        "macro-F1": float(f1_score(truth, called, average="macro")),
        "AUROC": float(roc_auc_score(truth, shares, multi_class="ovo", average="macro")),
        "AUROC toxic": float(roc_auc_score(truth > 0, 1 - shares[:, 0])),
    }


def _mean_auc(labels: Matrix, scores: Matrix) -> dict[str, float]:
    """Over the labels of which the test part has both classes."""
    areas = {}
    for place, name in enumerate(LABELS):
        known = ~np.isnan(labels[:, place])
        if len(np.unique(labels[known, place])) == 2:
            areas[name] = float(roc_auc_score(labels[known, place], scores[known, place]))
    return {"mean ROC-AUC": float(np.mean(list(areas.values()))), **areas}


def _few(task: Task, limit: int) -> Task:
    """Some rows, to see that it runs."""
    rng = np.random.default_rng(0)
    fit, judge = (
        np.sort(rng.permutation(len(texts))[:limit]) for texts in (task.train.texts, task.texts)
    )
    train = TextRows(tuple(task.train.texts[i] for i in fit), task.train.labels[fit], LABELS)
    return Task(train, tuple(task.texts[i] for i in judge), task.labels[judge], task.measure)


def _arguments() -> argparse.Namespace:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    names = [trial.name for trial in PRODUCT.trials]
    parser.add_argument("--data", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--trials", nargs="+", choices=names, default=["tfidf_linear"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--epochs", type=int, help="passes of the networks instead of their own")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    parser.add_argument(
        "--limit", type=int, help="at most so many texts on both sides: a trial run"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
