"""One small evaluation with an unfriendly tenant name: the input of the tests of the reports."""

from __future__ import annotations

import math
from datetime import datetime

import numpy as np

from models.contracts.results import (
    Candidate,
    Estimate,
    FormResult,
    GateDecision,
    GuardrailResult,
    Measure,
    Scorecard,
    Snapshot,
    TestResult,
)
from models.core import metrics
from models.core.significance import cliques, friedman_nemenyi
from stores.reports import (
    Curves,
    LabelRow,
    LearningCurve,
    Pair,
    Ranks,
    ReportData,
    TrainingCurve,
)

NASTY = '$a_{$ 漢😀</td><script>alert("x")</script> | `b`'
METRICS = ("roc_auc", "average_precision", "f1", "brier")
CHALLENGER, CHAMPION, OTHER = "c" * 16, "a" * 16, "b" * 16


def holdout(rows: int = 600, seed: int = 3) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Labels and the scores of three models, the challenger the best."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=rows)
    labels = (rng.random(rows) < 1 / (1 + np.exp(1 - 2 * truth))).astype(float)
    noise = {CHALLENGER: 0.5, CHAMPION: 1.5, OTHER: 3.0}
    logit = {name: truth * 2 - 1 + sd * rng.normal(size=rows) for name, sd in noise.items()}
    return labels, {name: 1 / (1 + np.exp(-value)) for name, value in logit.items()}


LABELS, SCORES = holdout()
TENANTS = np.array(["apache/spark", NASTY, "git/git"])[np.arange(600) % 3]
MASKS = {"overall": np.ones(600, bool), "slice_hard": np.arange(600) % 2 == 0}
MASKS |= {f"tenant={name}": name == TENANTS for name in np.unique(TENANTS)}


MEASURES = {
    "attack.typo": Measure(title="ROC-AUC with typing errors", value=0.8, low=0.75, high=0.85),
    "cost.bytes": Measure(title="nDCG per byte", value=1234.56, low=1234.56, high=1234.56),
    "attack.flips": Measure(
        title="decisions that a typing error turns", value=0.1, low=0.1, high=0.1,
        higher_is_better=False,
    ),
}  # fmt: skip


def scorecard(candidate_id: str, trial: str) -> Scorecard:
    def estimates(mask: np.ndarray) -> dict[str, Estimate]:
        found = {}
        for name in METRICS:
            value = metrics.compute(name, LABELS[mask], SCORES[candidate_id][mask])
            found[name] = Estimate(value=value, low=value - 0.0213, high=value + 0.0187)
        return found

    return Scorecard(
        candidate_id=candidate_id,
        trial=trial,
        metrics={name: estimates(mask) for name, mask in MASKS.items()},
        rows={name: int(mask.sum()) for name, mask in MASKS.items()},
        positives={name: int(LABELS[mask].sum()) for name, mask in MASKS.items()},
        latency_p50_ms=0.1234,
        latency_p95_ms=0.4567,
        size_bytes=812_345,
        importance={f"input_{i}": (i + 1) / 210 for i in range(20)},
        measures={CHAMPION: {}, OTHER: {"cost.bytes": MEASURES["cost.bytes"]}}.get(
            candidate_id, MEASURES
        ),
    )


def candidate(candidate_id: str, trial: str) -> Candidate:
    return Candidate(
        product="risk/sync_conflict",
        trial=trial,
        candidate_id=candidate_id,
        snapshot_id="5" * 16,
        learner="models.risk.sync_conflict.learner:Learner",
        code_version="abc1234",
        params={"depth": 5},
        columns=("a", "b"),
        tenants=("git/git",),
        seed=11,
        cv={"roc_auc": (0.80, 0.82, 0.87)},
        threshold=0.37,
        fit_seconds=2.5,
        files={},
    )


CARDS = [
    scorecard(CHAMPION, "xgboost"),
    scorecard(OTHER, "logistic"),
    scorecard(CHALLENGER, "xgboost"),
]
CANDIDATES = [candidate(card.candidate_id, card.trial) for card in CARDS]
CURVES = [
    Curves("old", LABELS, SCORES[CHAMPION], 0.4, "champion"),
    Curves(NASTY, LABELS, SCORES[OTHER], 0.5),
    Curves("new", LABELS, SCORES[CHALLENGER], 0.37, "challenger"),
]
SNAPSHOT = Snapshot(
    product="risk/sync_conflict",
    snapshot_id="5" * 16,
    content_hash="5" * 64,
    definition="d" * 16,
    as_of=datetime(2025, 11, 3, 14, 2),
    split_at=datetime(2024, 12, 19, 8),
    gap_hours=24,
    rows=42120,
    train_rows=33000,
    gap_rows=120,
    holdout_rows=9000,
    judged_rows=600,
    positives=int(LABELS.sum()),
    tenants=("apache/spark", NASTY, "git/git"),
    columns=("a", "b"),
    source="generator, seed 7",
    files={},
)
DECISION = GateDecision(
    product="risk/sync_conflict",
    challenger=CHALLENGER,
    champion=CHAMPION,
    outcome="keep",
    reason=f"ROC-AUC of tenant {NASTY} fell",
    metric="roc_auc",
    challenger_value=CARDS[2].metrics["overall"]["roc_auc"],
    champion_value=CARDS[0].metrics["overall"]["roc_auc"],
    effect=Estimate(value=0.1423, low=0.0811, high=0.2044),
    tests=(
        TestResult(
            name="delong", statistic=3.61, p_value=0.00031, effect=0.0191, low=0.0088, high=0.0294,
            detail={"effect_is": "difference of ROC-AUC", "se": 0.0053},
        ),
    ),
    guardrails=(
        GuardrailResult(
            metric="brier", slice=f"tenant={NASTY}", challenger=0.2, champion=0.15,
            relative_loss=0.3333, p_value=0.0004, adjusted_p=0.0008, status="violated",
            reason=f"{NASTY} is served worse",
        ),
        GuardrailResult(
            metric="roc_auc", slice="slice_hard", challenger=math.nan, champion=None,
            relative_loss=None, p_value=None, adjusted_p=None, status="too_few_rows",
            reason="too few rows",
        ),
    ),
    rows=600,
    required_rows=2210,
    policy={"floor": 0.75, "min_effect": 0.05},
    forms=(
        FormResult(
            candidate="f" * 16, trial="fast", passed=True, reason="not inferior",
            tests=(
                TestResult(
                    name="non_inferiority", statistic=-3.0, p_value=0.0026, effect=0.0041,
                    low=-0.0062, high=0.0143,
                    detail={"metric": "roc_auc", "slice": f"tenant={NASTY}", "rows": 200},
                ),
            ),
            speedup=2.5, size_ratio=0.26,
        ),
        FormResult(
            candidate="d" * 16, trial="small", passed=False, reason=f"{NASTY} loses", tests=(),
            speedup=0.9, size_ratio=0.1,
        ),
    ),
    serves="f" * 16,
)  # fmt: skip
LEARNING = LearningCurve(
    "xgboost", "roc_auc", (100, 200), (0.99, 0.97), (0.0, 0.0), (0.8, 0.85), (0.02, 0.01)
)
#: Demsar 2006, table 2: AUC of C4.5 with and without tuning of m and cf on 14 data sets.
DEMSAR = np.array([
    [0.763, 0.768, 0.771, 0.798], [0.599, 0.591, 0.590, 0.569], [0.954, 0.971, 0.968, 0.967],
    [0.628, 0.661, 0.654, 0.657], [0.882, 0.888, 0.886, 0.898], [0.936, 0.931, 0.916, 0.931],
    [0.661, 0.668, 0.609, 0.685], [0.583, 0.583, 0.563, 0.625], [0.775, 0.838, 0.866, 0.875],
    [1.000, 1.000, 1.000, 1.000], [0.940, 0.962, 0.965, 0.962], [0.619, 0.666, 0.614, 0.669],
    [0.972, 0.981, 0.9751, 0.975], [0.957, 0.978, 0.946, 0.970],
])  # fmt: skip
FRIEDMAN = friedman_nemenyi(DEMSAR)
RANKS = Ranks(
    over="tenants",
    sets=14,
    models=("C4.5", "C4.5+m", "C4.5+cf", NASTY),
    ranks=tuple(FRIEDMAN.ranks.tolist()),
    critical_difference=FRIEDMAN.critical_difference,
    p=FRIEDMAN.p_f,
    cliques=cliques(FRIEDMAN.ranks, FRIEDMAN.critical_difference),
)
DATA = ReportData(
    title="Will edits conflict & why?",
    evaluation_id="e" * 16,
    metric="roc_auc",
    positive="conflict",
    level=0.9,
    snapshot=SNAPSHOT,
    challenger=CHALLENGER,
    champion=CHAMPION,
    scorecards=CARDS,
    candidates=CANDIDATES,
    curves=CURVES,
    confusion=metrics.confusion(LABELS, SCORES[CHALLENGER], 0.37),
    classes=[
        metrics.ClassRow("negative", 0.911, 0.822, 0.733, 411),
        metrics.ClassRow("positive", math.nan, 0.644, 0.555, 189),
    ],
    learning=[LEARNING],
    probabilities=CURVES,
    training=[
        TrainingCurve("minilm", (0.6, 0.4, 0.3), (0.62, 0.71, 0.7)),
        TrainingCurve("minilm", (0.7, 0.4), (0.6, 0.72)),
        TrainingCurve(NASTY, (0.6,), (0.62,)),
    ],
    labels=[
        LabelRow(
            label="toxicity", model=NASTY, known=400, positives=41, roc_auc=0.9312,
            average_precision=0.5, f1=math.nan, threshold=0.285,
        ),
    ],
    pairs=[
        Pair(
            better=NASTY, other="logistic", effect=Estimate(value=0.123, low=0.051, high=0.191),
            p={"paired_bootstrap": 0.00012, "delong": 0.0436},
        ),
    ],
    ranks=RANKS,
    decision=DECISION,
)  # fmt: skip
