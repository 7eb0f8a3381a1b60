"""Ranking algorithms on public data, beside what others published for the same data and split.

Wants the data mirror (ASSAY_MIRROR). Models are chosen by name; what is told here of a model was
tuned inside the training rows (``--validate``), never on the test rows.

    ml100k   75/25 per user as recommenders-team splits (all test ratings relevant), several seeds
    ml1m     NCF leave-one-out, the test item among the official 99 others
    gowalla  LightGCN's split, the full catalogue
    lastfm   LightGCN's split, the full catalogue; LightGCN with and without edges between friends
    rmse     ML-100k, the official five folds, predicted ratings
    implicit iALS here and in ``implicit``, equal settings, judged by ``implicit``'s own functions

    ASSAY_MIRROR=... .venv/bin/python -m benchmarks.ranking_anchors --data ml100k
    ASSAY_MIRROR=... .venv/bin/python -m benchmarks.ranking_anchors --data gowalla --models ials \
        --validate --params '{"factors": 128}'
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks.ranking_data import TASKS, Task, interactions, ml100k, ml100k_frame
from models.contracts.learner import FitContext
from models.contracts.product import Trial
from models.core.ranking.asked import Asked
from models.core.ranking.metrics import per_user
from models.core.ranking.recommender import CatalogueRecommender
from models.core.ranking.scorers import Scorer, fit_scorer, positives

#: As tuned by validation on ML-100k. The items judged are drawn at random, so what stops a fit is.
LIGHTGCN: dict[str, Any] = {
    "batch_size": 1024, "learning_rate": 0.005, "max_epochs": 100, "patience": 20, "device": "cpu",
    "held": "random",
}  # fmt: skip
NEUMF: dict[str, Any] = {"held": "random", "max_epochs": 60, "patience": 5, "device": "cpu"}
#: What is run when nobody says, and with what.
PARAMS: dict[str, dict[str, dict[str, Any]]] = {
    "ml100k": {
        "popularity": {},
        "content": {},
        "itemknn": {"neighbours": 200, "shrinkage": 100.0},
        "graph_filter": {"vectors": 16, "weight": 0.3},
        "ease": {"penalty": 600.0},
        "ials": {"factors": 64, "penalty": 0.02, "unobserved_weight": 0.3},
        "svdpp": {"negatives": 4},
        "lightgcn": LIGHTGCN,
        "neumf": NEUMF,
    },
    "ml1m": {
        "popularity": {},
        "itemknn": {"neighbours": 200, "shrinkage": 20.0},
        "ease": {"penalty": 1000.0},
        # Rendle's, of his README
        "ials": {"factors": 192, "penalty": 0.007, "unobserved_weight": 0.3, "epochs": 12},
    },
    "gowalla": {  # EASE would need 41,000 x 41,000 numbers, in float64 twice: 27 GB
        "popularity": {},
        "itemknn": {"neighbours": 500, "shrinkage": 10.0},
        "graph_filter": {"vectors": 256, "weight": 0.3},  # its paper's
        "ials": {"factors": 64, "penalty": 0.01, "unobserved_weight": 0.01, "epochs": 8},
    },
    "lastfm": {
        "popularity": {},
        "itemknn": {"neighbours": 200, "shrinkage": 20.0},
        "social": {},
        "lightgcn": LIGHTGCN,
        "lightgcn, friends": {"model": "lightgcn", "social": 0.5, **LIGHTGCN},
    },
}
#: Read at the source named, see the README of the mirror.
PUBLISHED: dict[str, dict[str, tuple[float, ...]]] = {
    "ml100k": {  # recommenders-team, README: nDCG, precision, recall, MAP (over all relevant)
        "BiVAE": (0.475, 0.412, 0.219, 0.146),
        "BPR": (0.442, 0.388, 0.213, 0.132),
        "LightGCN": (0.420, 0.380, 0.144, 0.089),
        "NCF": (0.396, 0.347, 0.181, 0.108),
        "SAR": (0.382, 0.331, 0.176, 0.111),
    },
    "ml1m": {  # Rendle et al. 2020 and 2022, from memory of the mirror's curator: HR, nDCG
        "NeuMF, pretrained": (0.730, 0.447),
        "MF, tuned": (0.7294, 0.4523),
        "popularity": (0.4535, 0.2543),
    },
    "gowalla": {  # READMEs of LightGCN-PyTorch and RecZoo: recall, nDCG
        "UltraGCN": (0.1862, 0.1580),
        "LightGCN, 3 layers": (0.1824, 0.1547),
        "NGCF": (0.1570, 0.1327),
    },
    "lastfm": {},  # none read for this split
}
COLUMNS = {
    "ml100k": ("ndcg_at_10", "precision_at_10", "recall_at_10", "map_all_at_10"),
    "ml1m": ("hit_rate_at_10", "ndcg_at_10"),
    "gowalla": ("recall_at_20", "ndcg_at_20"),
    "lastfm": ("recall_at_20", "ndcg_at_20"),
}


def judge(data: str, task: Task, scorer: Scorer) -> list[float]:
    """Mean over the users who have something relevant."""
    recommender = CatalogueRecommender.of(task.rows, {"model": scorer})
    users = np.flatnonzero(np.diff(task.relevant.indptr))
    relevant, k = task.relevant[users], int(COLUMNS[data][0].rsplit("_", 1)[1])
    if task.others is None:
        ranked = recommender.rank(users, k)
    else:
        rivals = np.column_stack([relevant.indices, task.others])
        asked = [
            Asked(int(user), k, only=np.unique(some), seen=True, algorithm="model")
            for user, some in zip(users, rivals, strict=True)
        ]
        ranked = np.stack([answer.items for answer in recommender.answer(asked)])
    counts = recommender.popularity.counts.astype(float)
    values = per_user(COLUMNS[data], ranked, relevant, counts)
    return [float(values[name].mean()) for name in COLUMNS[data]]


def compare(data: str, models: list[str], params: dict[str, Any], args: argparse.Namespace) -> None:
    """One row per model: means over the seeds, seconds of one fit and of one judging."""
    print(f"\n{data}{' (validation inside train)' if args.validate else ''}")
    print("model", *COLUMNS[data], "fit s", "judge s", sep="\t")
    for name, row in PUBLISHED[data].items() if not args.validate else ():
        print(f"published: {name}", *(f"{value:.4f}" for value in row), sep="\t")
    seeds = args.seeds if data == "ml100k" else args.seeds[:1]
    tasks = [TASKS[data](seed, args.validate) for seed in seeds]
    for model in models:
        settings = {"model": model, **PARAMS[data].get(model, {}), **params}
        trial = Trial(name=model, params=settings, seed=args.seeds[0])
        rows = []
        for task in tasks:
            begun = time.perf_counter()
            scorer = fit_scorer(trial, task.rows, FitContext())
            fitted = time.perf_counter()
            values = judge(data, task, scorer)
            rows.append([*values, fitted - begun, time.perf_counter() - fitted])
        *means, fit_s, judge_s = np.mean(rows, axis=0)
        print(model, *(f"{value:.4f}" for value in means), f"{fit_s:.1f}", f"{judge_s:.1f}",
              json.dumps(params) if params else "", sep="\t", flush=True)  # fmt: skip


def explicit(params: dict[str, Any]) -> None:
    """RMSE of SVD++ on the official folds of ML-100k, predictions cut to 1 to 5."""
    frame, _ = ml100k_frame()
    print("\nrmse, ml100k, 5 official folds (from memory of the mirror's curator: SVD 0.934, "
          "SVD++ 0.92)\nfold\trmse\tfit s")  # fmt: skip
    found = []
    for fold in sorted(frame["fold"].unique()):
        train, test = frame[frame["fold"] != fold], frame[frame["fold"] == fold]
        rows = interactions(train, 943, 1682, {})
        trial = Trial(name="svdpp", params={"model": "svdpp", **params})
        begun = time.perf_counter()
        scorer = fit_scorer(trial, rows, FitContext())
        seconds = time.perf_counter() - begun
        histories = CatalogueRecommender.of(rows, {"svdpp": scorer}).seen
        users = np.arange(943)
        scores = scorer.score(users, [histories.of(int(u), liked_only=False) for u in users])
        told = scores[test["user"], test["item"]].clip(1, 5)
        found.append(float(np.sqrt(np.square(told - test["strength"].to_numpy()).mean())))
        print(fold, f"{found[-1]:.4f}", f"{seconds:.1f}", sep="\t", flush=True)
    print("mean", f"{np.mean(found):.4f}", sep="\t")


def _narrow(matrix: sp.csr_array) -> sp.csr_matrix:
    """With the 32-bit indices that ``implicit``'s evaluation wants."""
    narrow = sp.csr_matrix(matrix)
    narrow.indptr, narrow.indices = narrow.indptr.astype("i4"), narrow.indices.astype("i4")
    return narrow


class Ours:
    """A recommender as ``implicit``'s evaluation asks it."""

    def __init__(self, recommender: CatalogueRecommender) -> None:
        self.recommender = recommender

    def recommend(self, userid: np.ndarray, _: Any, N: int) -> tuple[np.ndarray, None]:
        """Seen items are left out by the recommender itself."""
        return self.recommender.rank(np.asarray(userid, np.int64), N).astype(np.int32), None


def against_implicit(seed: int) -> None:
    """One iALS at settings both can express, judged by the other side's functions and by ours.

    ``implicit`` gives an observed pair the weight alpha and target 1, any other the weight 1 and
    target 0; divided by alpha - 1 that is our unobserved weight of 1 / (alpha - 1), with targets
    that differ by the factor alpha / (alpha - 1) only, and its penalty over alpha - 1.
    """
    from implicit.cpu.als import AlternatingLeastSquares
    from implicit.evaluation import ranking_metrics_at_k

    made, alpha, penalty, factors, epochs = ml100k(seed, validate=False), 5.0, 2.0, 64, 15
    had, relevant = _narrow(positives(made.rows, liked_only=False)), _narrow(made.relevant)
    theirs = AlternatingLeastSquares(
        factors=factors, regularization=penalty, alpha=alpha, iterations=epochs, use_cg=False,
        random_state=seed, num_threads=1,
    )  # fmt: skip
    begun = time.perf_counter()
    theirs.fit(had, show_progress=False)
    their_s = time.perf_counter() - begun
    trial = Trial(name="ials", seed=seed, params={
        "model": "ials", "factors": factors, "epochs": epochs, "penalty_exponent": 0.0,
        "unobserved_weight": 1 / (alpha - 1), "penalty": penalty / (alpha - 1),
    })  # fmt: skip
    begun = time.perf_counter()
    scorer = fit_scorer(trial, made.rows, FitContext())
    our_s = time.perf_counter() - begun
    ours = CatalogueRecommender.of(made.rows, {"ials": scorer})
    print("\nimplicit, ml100k, seed", seed, "\nmodel\tndcg\tmap\tprecision\tfit s")
    for name, model, seconds in (("implicit", theirs, their_s), ("ours", Ours(ours), our_s)):
        told = ranking_metrics_at_k(model, had, relevant, K=10, show_progress=False, num_threads=1)
        print(name, *(f"{told[m]:.4f}" for m in ("ndcg", "map", "precision")), f"{seconds:.1f}",
              sep="\t")  # fmt: skip
    users = np.flatnonzero(np.diff(made.relevant.indptr))
    names, counts = ("ndcg_at_10", "map_at_10"), ours.popularity.counts.astype(float)
    values = per_user(names, ours.rank(users, 10), made.relevant[users], counts)
    print("ours, judged here", *(f"{values[name].mean():.4f}" for name in names), sep="\t")


def main() -> None:
    """Print one table per data set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", nargs="+", choices=[*TASKS, "rmse", "implicit"], required=True)
    parser.add_argument("--models", nargs="+", help="all that have parameters here when left out")
    parser.add_argument(
        "--params", nargs="*", type=json.loads, default=[{}], help="each is one run"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[42, 43, 44, 45, 46])
    parser.add_argument("--validate", action="store_true", help="split the training rows instead")
    args = parser.parse_args()
    for data in args.data:
        if data == "implicit":
            against_implicit(args.seeds[0])
            continue
        for params in args.params:
            if data == "rmse":
                explicit(params)
            else:
                compare(data, args.models or list(PARAMS[data]), params, args)


if __name__ == "__main__":
    main()
