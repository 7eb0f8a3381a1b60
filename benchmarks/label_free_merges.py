"""Is the label-free estimate right on real merges, and do its alarms mean anything?

A release learns from real merges before 2010; everything after is traffic, cut into windows of
equally many judged merges. Per window the estimate without outcomes is held against what the
outcomes say, and the verdict (``models.core.windows``, without outcomes) against whether the metric
really fell below what the policy tolerates. First one release for all years; then, as the product
does, a new one every few windows, from what was known by then. Last, only the hard merges come in,
to a release that learned from all: the rows shift in a way that does hurt. Nothing of a window is
used before it is over.

    ASSAY_MIRROR=... python benchmarks/label_free_merges.py      # about 5 minutes of one core
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.contracts.learner import Predictor, Vector
from models.contracts.monitoring import ReferenceProfile, WindowVerdict
from models.contracts.product import EVENT_TIME, JUDGED, KNOWN_TIME, Monitoring, Trial
from models.contracts.results import Estimate
from models.core import (
    bootstrap,
    drift_effect,
    frames,
    label_free,
    metrics,
    splits,
    training,
    windows,
)
from models.core.profile import build_profile
from models.registry import load_learner
from models.risk.sync_conflict.product import PRODUCT

if TYPE_CHECKING:
    import pandas as pd

DBT_PROJECT = Path(__file__).parents[1] / "dbt_project"
METRICS = ("roc_auc", "average_precision", "f1", "accuracy")
ALPHA = 0.05


class Released(NamedTuple):
    """A fitted model with the profile of its holdout."""

    predictor: Predictor
    profile: ReferenceProfile


class Seen(NamedTuple):
    """One window: estimated and realised metrics, the verdict without outcomes, the truth.

    Attributes:
        fell: The outcomes' value is below what the policy tolerates.
        proven: Even the upper bound of the outcomes' interval is.
    """

    first: pd.Timestamp
    rate: float
    moved: int
    estimated: dict[str, Estimate]
    realised: dict[str, float]
    promised: dict[str, Estimate]
    verdict: WindowVerdict
    fell: bool
    proven: bool


def main() -> None:
    """Read the features, run both ways, print the tables."""
    options = _options()
    with tempfile.TemporaryDirectory() as name:
        frame = _features(Path(name), options.mirror)
    frame = frame.sort_values(EVENT_TIME, kind="stable", ignore_index=True)
    trial = next(trial for trial in PRODUCT.trials if trial.name == options.trial)
    traffic = frame[frame[JUDGED] & (frame[EVENT_TIME] >= options.cutoff)]
    hard = traffic[traffic["slice_hard"]]
    often = f"a release every {options.every} windows"
    for title, rows, every in (
        ("one release", traffic, 0),
        (often, traffic, options.every),
        (f"only merges of the same files come in, {often}", hard, options.every),
    ):
        print(f"\n## {title} ({trial.name}, {options.rows} judged merges per window)\n")
        _report(list(_follow(frame, rows, trial, options, every)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    trials = [trial.name for trial in PRODUCT.trials]
    parser.add_argument("--trial", choices=trials, default="xgboost_calibrated")
    parser.add_argument("--cutoff", default="2010-01-01", help="traffic begins here")
    parser.add_argument("--rows", type=int, default=300, help="judged merges per window")
    parser.add_argument("--every", type=int, default=4, help="windows between two releases")
    parser.add_argument("--holdout", type=float, default=0.4,
                        help="share of the first release's rows; there are only 722")  # fmt: skip
    parser.add_argument("--drift-effect", type=float, default=PRODUCT.monitoring.drift_effect)
    options = parser.parse_args()
    if not (mirror := os.environ.get("ASSAY_MIRROR")):
        sys.exit("this benchmark is about real merges: set ASSAY_MIRROR to the data mirror")
    options.mirror = Path(mirror)
    return options


def _features(home: Path, mirror: Path) -> pd.DataFrame:
    """The feature table as the product gets it: landed, then dbt."""
    import pandas as pd

    from assets.sources import merges
    from stores.landing import Landing

    table = merges.from_mirror(mirror / merges.MIRROR_FILE)
    Landing(home).land("merges", "mirror", table, merges.schema())
    features = home / f"{PRODUCT.data.features}.parquet"
    features.parent.mkdir(parents=True)
    model = PRODUCT.data.features.replace("/", "_")
    line = [str(Path(sys.executable).with_name("dbt")), "run", "--quiet", "--select", f"+{model}",
            "--project-dir", str(DBT_PROJECT), "--profiles-dir", str(DBT_PROJECT),
            "--target-path", str(home / "dbt"),
            "--log-path", str(home / "dbt" / "logs")]  # fmt: skip
    subprocess.run(line, env={**os.environ, "ASSAY_HOME": str(home)}, check=True)
    return pd.read_parquet(features)


def _follow(
    frame: pd.DataFrame,
    traffic: pd.DataFrame,
    trial: Trial,
    options: argparse.Namespace,
    every: int,
) -> Iterator[Seen]:
    """Windows of the traffic in time order, each judged with the release of its time."""
    policy = PRODUCT.monitoring.model_copy(update={"drift_effect": options.drift_effect})
    released = None
    for number in range(len(traffic) // options.rows):
        window = traffic.iloc[number * options.rows : (number + 1) * options.rows]
        if released is None or (every and number % every == 0):
            known = frame[frame[KNOWN_TIME] < window[EVENT_TIME].iloc[0]]
            share = PRODUCT.data.split.holdout if number else options.holdout
            released = _release(known, trial, share)
        yield _judge(released, window, policy, number)


def _release(known: pd.DataFrame, trial: Trial, share: float) -> Released:
    """Fit on the older rows, profile on the newer ones: both as the product does."""
    parts = splits.split(known, PRODUCT.data.split.model_copy(update={"holdout": share}))
    rows = frames.training_rows(known.iloc[parts.train], PRODUCT.data.names)
    learner = load_learner(PRODUCT)
    folds = splits.folds(rows.labels, PRODUCT.data.folds, trial.seed)
    threshold = training.cross_validate(learner, trial, rows, folds, (), metrics.compute).threshold
    predictor = learner.fit(trial, rows)
    holdout = known.iloc[parts.holdout]
    holdout = holdout[holdout[JUDGED]]
    labels, inputs = frames.labels(holdout), frames.matrix(holdout, PRODUCT.data.names)
    scores = predictor.predict(inputs)
    promised = {n: bootstrap.estimate(n, labels, scores, threshold, alpha=ALPHA) for n in METRICS}
    times = holdout[EVENT_TIME].to_numpy("datetime64[us]")
    profile = build_profile(PRODUCT.key, "", "", inputs, PRODUCT.data.names, scores, labels, times,
                            promised, threshold)  # fmt: skip
    return Released(predictor, profile)


def _judge(released: Released, window: pd.DataFrame, policy: Monitoring, seed: int) -> Seen:
    profile, gate = released.profile, PRODUCT.gate
    inputs, labels = frames.matrix(window, PRODUCT.data.names), frames.labels(window)
    scores = released.predictor.predict(inputs)
    drift = drift_effect.effects(profile.inputs, profile.rows, inputs, policy.drift_effect)
    estimated = label_free.estimate(scores, profile.recalibration, profile.threshold, METRICS,
                                    alpha=ALPHA, seed=seed)  # fmt: skip
    evidence = windows.Evidence(
        rows=len(scores),
        drift=drift,
        score_drift=drift_effect.effect(profile.score, profile.rows, scores, policy.drift_effect),
        estimated=estimated[gate.metric],
        realised=None,
        outcomes=0,
    )
    promise = profile.promised[gate.metric].value
    bar = windows.bar(gate.metric, promise, policy.max_loss, gate.floor)
    real = bootstrap.estimate(gate.metric, labels, scores, alpha=ALPHA)
    return Seen(
        first=window[EVENT_TIME].iloc[0],
        rate=float(labels.mean()),
        moved=sum(one.drifted for one in drift),
        estimated=estimated,
        realised={n: metrics.compute(n, labels, scores, profile.threshold) for n in METRICS},
        promised=profile.promised,
        verdict=windows.judge(gate, policy, promise, evidence),
        fell=real.value < bar,
        proven=windows.best_end(gate.metric, real) < bar,
    )


def _report(seen: Sequence[Seen]) -> None:
    head = ["from", "positives", "columns moved", "estimated ROC-AUC", "realised", "inside",
            "drifted", "and hurt (estimated)", "fell (outcomes)", "fell provably"]  # fmt: skip
    _table(head, [_row(one) for one in seen])
    print()
    head = ["metric", "mean absolute error", "of the promise instead", "bias", "inside",
            "mean width"]  # fmt: skip
    _table(head, [_summary(name, seen) for name in METRICS])
    print()
    head = ["alarm", "windows", "false (did not fall)", "missed falls", "missed proven falls"]
    drifted = np.array([one.verdict.drifted for one in seen])
    hurt = np.array([one.verdict.hurt for one in seen])
    alarms = {"drifted": drifted, "drifted and hurt": drifted & hurt, "hurt": hurt}
    _table(head, [_alarm(name, fired, seen) for name, fired in alarms.items()])


def _row(one: Seen) -> list[str]:
    name = PRODUCT.gate.metric
    found, real = one.estimated[name], one.realised[name]
    flags = (found.low <= real <= found.high, one.verdict.drifted,
             one.verdict.drifted and one.verdict.hurt, one.fell, one.proven)  # fmt: skip
    interval = f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"
    return [f"{one.first:%Y-%m-%d}", f"{one.rate:.1%}", str(one.moved), interval, f"{real:.3f}",
            *("yes" if flag else "-" for flag in flags)]  # fmt: skip


def _summary(name: str, seen: Sequence[Seen]) -> list[str]:
    found = [one.estimated[name] for one in seen]
    real: Vector = np.array([one.realised[name] for one in seen])
    value, low, high = np.array([(one.value, one.low, one.high) for one in found]).T
    promised = np.array([one.promised[name].value for one in seen])
    inside = int(((low <= real) & (real <= high)).sum())
    return [name, f"{np.abs(value - real).mean():.4f}", f"{np.abs(promised - real).mean():.4f}",
            f"{(value - real).mean():+.4f}", f"{inside} of {len(seen)} ({inside / len(seen):.0%})",
            f"{(high - low).mean():.3f}"]  # fmt: skip


def _alarm(name: str, fired: NDArray[np.bool_], seen: Sequence[Seen]) -> list[str]:
    fell = np.array([one.fell for one in seen])
    proven = np.array([one.proven for one in seen])
    return [name, str(fired.sum()), str((fired & ~fell).sum()),
            f"{(fell & ~fired).sum()} of {fell.sum()}",
            f"{(proven & ~fired).sum()} of {proven.sum()}"]  # fmt: skip


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
