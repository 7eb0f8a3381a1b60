"""Does the gate keep its word on forms, on texts with rare labels and on users? True values known.

Beside ``gate_simulation`` (rows with one label), whose binormal scores it uses: false promotions
per unit of judgement, and how often a form passes whose true error is raised by so much. Run
``python benchmarks/gate_units_simulation.py``: about 5 minutes of one core.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable

import numpy as np
from gate_simulation import OLD, ROWS, Truth, card, header, separation, share

from models.contracts.product import Gate
from models.core import gates
from models.core.forms import Form, judge_forms
from models.core.slices import Scores, Units
from models.core.units import LabelScores, ListScores

RESAMPLES = 200
#: So small that significance alone decides: a null challenger is then promoted most easily.
MIN_EFFECT = 0.001


def forms(runs: int) -> None:
    """How often a form passes, by the true relative increase of its error. Margin 5 %."""
    print(f"\n## Forms that pass ({runs} runs; margin 5 %: at 5 % and above the goal is <= 5 %)\n")
    header("metric", "rows", "rho", "+0 %", "+2 %", "+5 %", "+10 %")
    for metric, rho in (("roc_auc", 0.99), ("roc_auc", 0.999), ("accuracy", 0.999)):
        for rows in (ROWS, 10_000):
            cells = []
            for increase in (0.0, 0.02, 0.05, 0.10):
                truth = Truth(separation(metric, -increase, OLD), OLD, rho)
                hits = sum(_passes(metric, truth, rows, seed) for seed in range(runs))
                cells.append(share(hits, runs))
            print(f"| {metric} | {rows:,} | {rho} | {' | '.join(cells)} |")


def _passes(metric: str, truth: Truth, rows: int, seed: int) -> bool:
    labels, new, old = truth.draw(rows, seed)
    small = card("form", rows).model_copy(update={"size_bytes": 1})
    form = Form(small, Scores(labels, new, old, (0.5, 0.5)))
    tenants = np.full(rows, "t")
    (found,) = judge_forms(
        Gate(metric=metric, floor=0.0), [form], card("original", rows), tenants, {},
        replicates=RESAMPLES, seed=seed,
    )  # fmt: skip
    return found.passed


def null(runs: int) -> None:
    """False promotions of equally good challengers on the other kinds of unit."""
    print(f"\n## False promotions of {runs} null challengers (goal: at most 5 %)\n")
    header("units", "metric", "promoted", "too few data", "kept")
    cases: list[tuple[str, str, Callable[[int], Units]]] = [
        ("3,000 texts, labels of 600, 60 and 10 positives", "roc_auc", _texts),
        ("3,000 texts, labels of 600, 60 and 10 positives", "macro_f1", _texts),
        ("500 users", "ndcg_at_10", lambda seed: _users(500, seed)),
        ("5,000 users", "ndcg_at_10", lambda seed: _users(5000, seed)),
    ]
    for name, metric, draw in cases:
        found = Counter(_outcome(metric, draw(seed), seed) for seed in range(runs))
        rest = f"{found['too_few_data'] / runs:.1%} | {found['keep'] / runs:.1%}"
        print(f"| {name} | {metric} | {share(found['promote'], runs)} | {rest} |")


def _outcome(metric: str, units: Units, seed: int) -> str:
    paired = gates.Paired(units, np.full(len(units), "t"), {})
    cards = card("new", len(units)), card("old", len(units))
    gate = Gate(metric=metric, floor=0.0, min_effect=MIN_EFFECT)
    return gates.decide("a/b", gate, paired, *cards, replicates=RESAMPLES, seed=seed).outcome


def _texts(seed: int) -> Units:
    drawn = [Truth(OLD, OLD, 0.95, rate).draw(3000, 10 * seed + j)
             for j, rate in enumerate((0.2, 0.02, 10 / 3000))]  # fmt: skip
    labels, new, old = (np.stack([each[i] for each in drawn], axis=1) for i in range(3))
    at = np.full(3, 0.5)
    return LabelScores(labels, new, old, (at, at), ("toxicity", "hate", "threat"))


def _users(n: int, seed: int) -> Units:
    """Half of the users get nothing right by either model, as nDCG of long catalogues has it."""
    generator = np.random.default_rng(seed)
    shared, mine, theirs = generator.beta(1, 3, (3, n))
    hit = generator.random((2, n)) < 0.5 + 0.3 * (shared > 0.25)
    values = hit * (0.7 * shared + 0.3 * np.stack([mine, theirs]))
    return ListScores({"ndcg_at_10": values[0]}, {"ndcg_at_10": values[1]})


def main() -> None:
    """Run both sections, or one, and print markdown."""
    parser = argparse.ArgumentParser(description="Simulate the gate on forms, texts and users.")
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--only", choices=("forms", "null"))
    given = parser.parse_args()
    for name, run in {"null": null, "forms": forms}.items():
        if given.only in (None, name):
            started = time.perf_counter()
            run(given.runs)
            print(f"\n({time.perf_counter() - started:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
