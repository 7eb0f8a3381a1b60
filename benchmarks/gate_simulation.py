"""Does the promotion gate keep its word? Simulated challengers whose true quality is known exactly.

Scores are binormal with equal variances: within a class, both models' latent scores are normal with
correlation rho, and the positives' mean lies mu higher. Then ROC-AUC = Phi(mu / sqrt 2), the
calibrated probability is logistic in the score, and the true average precision and accuracy are
integrals; mu follows from any wanted effect. Every run goes through ``gates.decide`` itself.

The bootstrap has 200 resamples, not 2,000: its p-value (1 + r) / (1 + B) is as valid with few, they
only cost a little power. Run ``python benchmarks/gate_simulation.py``: about 3 minutes of one core.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from scipy import integrate, optimize, stats
from scipy.special import expit, logit

from models.contracts.learner import Vector
from models.contracts.product import Gate, Guardrail
from models.contracts.results import GateDecision, Scorecard
from models.core import gate_rules, gates, metrics, power, significance
from models.core.slices import Scores

RATE, ROWS, AUC, RHO = 0.225, 2938, 0.957, 0.95  # the mirror's test split of sync_conflict
PRIMARIES = ("roc_auc", "average_precision", "accuracy")
EFFECT = 0.05


class Truth(NamedTuple):
    """A population: positive rate, separation of challenger and champion, their correlation."""

    new: float
    old: float
    rho: float = RHO
    rate: float = RATE

    def draw(self, rows: int, seed: int) -> tuple[Vector, Vector, Vector]:
        """Labels and the calibrated probabilities of challenger and champion, each (rows,)."""
        generator = np.random.default_rng(seed)
        labels = (generator.random(rows) < self.rate).astype(float)
        shared, own = generator.standard_normal((2, rows))
        other = self.rho * shared + np.sqrt(1 - self.rho**2) * own
        return (
            labels,
            _probability(shared + self.new * labels, self.new, self.rate),
            _probability(other + self.old * labels, self.old, self.rate),
        )


def _probability(score: Vector, mu: float, rate: float) -> Vector:
    """P(label = 1 | score) under the binormal law."""
    probability: Vector = expit(mu * score - mu**2 / 2 + logit(rate))
    return probability


def true_value(metric: str, mu: float, rate: float = RATE) -> float:
    """The metric in the whole population."""
    if metric == "roc_auc":
        return float(stats.norm.cdf(mu / np.sqrt(2)))
    if metric == "accuracy":  # at probability 0.5, i.e. at this latent score
        cut = (mu**2 / 2 - logit(rate)) / mu
        return float(rate * stats.norm.sf(cut - mu) + (1 - rate) * stats.norm.cdf(cut))

    def precision_density(x: float) -> float:
        hits, false = rate * stats.norm.sf(x - mu), (1 - rate) * stats.norm.sf(x)
        return float(stats.norm.pdf(x - mu) * hits / (hits + false))

    return float(integrate.quad(precision_density, -8, 8 + mu, limit=200)[0])


def separation(metric: str, effect: float, old: float, rate: float = RATE) -> float:
    """The mu whose true error is ``effect`` (relative) below that of ``old``."""
    target = (1 - effect) * metrics.error(metric, true_value(metric, old, rate))

    def excess(mu: float) -> float:
        return metrics.error(metric, true_value(metric, mu, rate)) - target

    return float(optimize.brentq(excess, 0.2, 8.0))


OLD = float(np.sqrt(2) * stats.norm.ppf(AUC))


def card(name: str, rows: int) -> Scorecard:
    """A scorecard whose budgets hold."""
    return Scorecard(
        candidate_id=name,
        trial=name,
        metrics={},
        rows={"overall": rows},
        positives={},
        latency_p50_ms=1.0,
        latency_p95_ms=2.0,
        size_bytes=1_000_000,
        importance={},
    )


def judge(gate: Gate, truth: Truth, rows: int, seed: int, resamples: int = 200) -> GateDecision:
    """One challenger through the gate, on rows of ten equal tenants."""
    labels, new, old = truth.draw(rows, seed)
    tenants = np.char.add("t", (np.arange(rows) % 10).astype(str))
    scores = Scores(labels, new, old, (0.5, 0.5))
    paired = gates.Paired(scores, tenants, {"slice_half": np.arange(rows) % 2 == 0})
    cards = card("new", rows), card("old", rows)
    return gates.decide("a/b", gate, paired, *cards, replicates=resamples, seed=seed)


def decisions(gate: Gate, truth: Truth, rows: int, runs: int) -> Iterator[GateDecision]:
    """``runs`` independent challengers."""
    return (judge(gate, truth, rows, seed) for seed in range(runs))


def header(*columns: str) -> None:
    """The head of a markdown table."""
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")


def share(hits: int, runs: int) -> str:
    """A share with its 95 % Clopper-Pearson interval."""
    interval = stats.binomtest(hits, runs).proportion_ci(0.95, "exact")
    return f"{hits / runs:.1%} ({interval.low:.1%} to {interval.high:.1%})"


def outcomes(gate: Gate, truth: Truth, rows: int, runs: int) -> Counter[str]:
    """How often each outcome."""
    return Counter(decision.outcome for decision in decisions(gate, truth, rows, runs))


def null(runs: int) -> None:
    """False promotions: challenger and champion equally good, their errors independent."""
    print(f"\n## False promotions of {runs} null challengers (goal: at most 5 %)\n")
    header("primary metric", "rows", "rho", "promoted", "too few data", "kept")
    cases = [(metric, ROWS, RHO) for metric in PRIMARIES]
    for metric, rows, rho in [*cases, ("roc_auc", ROWS, 0.6), ("roc_auc", 400, RHO)]:
        gate = Gate(metric=metric, floor=0.5)
        found = outcomes(gate, Truth(OLD, OLD, rho), rows, runs)
        rest = f"{found['too_few_data'] / runs:.1%} | {found['keep'] / runs:.1%}"
        print(f"| {metric} | {rows:,} | {rho} | {share(found['promote'], runs)} | {rest} |")


def at_stated_size(runs: int, pilots: int = 20) -> None:
    """Power at exactly the minimum effect and at the sample size the gate itself asks for."""
    print(
        f"\n## Power at a true effect of exactly {EFFECT:.0%} ({runs} runs; goal: at least 80 %)\n"
    )
    print(
        "The gate states `required_rows` on a holdout of 2,938 rows; the median of 20 such answers"
    )
    print("is then simulated. `keep` is the wrong answer here.\n")
    print(
        "| primary metric | stated rows | promoted | too few data | kept |\n|---|---|---|---|---|"
    )
    for metric in PRIMARIES:
        gate = Gate(metric=metric, floor=0.5, min_effect=EFFECT)
        truth = Truth(separation(metric, EFFECT, OLD), OLD)
        stated = [each.required_rows for each in decisions(gate, truth, ROWS, pilots)]
        rows = int(np.median([each for each in stated if each is not None]))
        found = outcomes(gate, truth, rows, runs)
        rest = f"{found['too_few_data'] / runs:.1%} | {found['keep'] / runs:.1%}"
        print(f"| {metric} | {rows:,} | {share(found['promote'], runs)} | {rest} |")


def curve(runs: int) -> None:
    """Outcomes over true effects and holdout sizes."""
    print(f"\n## Outcomes by true effect and rows, ROC-AUC ({runs} runs each)\n")
    print("promoted / too few data / kept, in %. From 5 % on, `kept` is wrong.\n")
    sizes = (1000, ROWS, 10_000)
    header("true effect", *(f"{rows:,} rows" for rows in sizes))
    gate = Gate(metric="roc_auc", floor=0.5, min_effect=EFFECT)
    for effect in (-0.1, 0.01, 0.025, 0.05, 0.1, 0.2):
        truth, cells = Truth(separation("roc_auc", effect, OLD), OLD), []
        for rows in sizes:
            found = outcomes(gate, truth, rows, runs)
            parts = [found[name] / runs for name in ("promote", "too_few_data", "keep")]
            cells.append(" / ".join(f"{part:.0%}".rstrip("%") for part in parts))
        print(f"| {effect:.1%} | " + " | ".join(cells) + " |")


def guardrails(runs: int) -> None:
    """How often guardrails block: without harm, at the edge of the tolerance, with real harm."""
    print(f"\n## Guardrails ({runs} runs, {ROWS:,} rows)\n")
    header("family", "true loss", "blocked")
    product = (
        Guardrail(metric="roc_auc", slice="slice_half", max_loss=0.05),
        Guardrail(metric="average_precision", max_loss=0.05),
        Guardrail(metric="brier", max_loss=0.05),
        Guardrail(metric="roc_auc", slice="tenant", max_loss=0.25),
    )
    one = (Guardrail(metric="roc_auc", max_loss=0.05),)
    tenants = (Guardrail(metric="roc_auc", slice="tenant", max_loss=0.25),)
    cases: list[tuple[str, tuple[Guardrail, ...], float]] = [
        ("13 tests as in sync_conflict", product, 0.0),
        ("13 tests as in sync_conflict", product, 0.2),
        ("overall, tolerance 5 %", one, 0.0),
        ("overall, tolerance 5 %: the edge", one, 0.05),
        ("overall, tolerance 5 %", one, 0.2),
        ("10 tenants, tolerance 25 %: all at the edge", tenants, 0.25),
        ("10 tenants, tolerance 25 %", tenants, 1.0),
    ]
    for name, family, loss in cases:
        gate = Gate(metric="brier", floor=1.0, guardrails=family)
        truth = Truth(separation("roc_auc", -loss, OLD), OLD)
        hits = sum(
            any(result.status == "violated" for result in decision.guardrails)
            for decision in decisions(gate, truth, ROWS, runs)
        )
        print(f"| {name} | {loss:.0%} | {share(hits, runs)} |")


def detectable(rows: int = ROWS, population: int = 200_000) -> None:
    """The smallest effect a holdout of the product's size can show, by correlation."""
    print(f"\n## Smallest detectable reduction of 1 - AUC, {rows:,} rows, {RATE:.1%} positive\n")
    print("At AUC 0.957 against an equal champion, the gate's level for alpha 5 %, power 80 %.\n")
    header("rho of the scores", "correlation of the AUCs", "detectable", "rows for 5 %")
    for rho in (0.6, 0.8, 0.9, 0.95, 0.98, 0.99):
        labels, new, old = Truth(OLD, OLD, rho).draw(population, 0)
        areas = significance.delong_areas(labels, np.stack([new, old]))
        (a, both), (_, b) = areas.covariance
        se = float(np.sqrt((a + b - 2 * both) * population / rows) / (1 - areas.auc[1]))
        least = power.detectable_effect(se, 0.05 * gate_rules.APPROXIMATE, 0.8)
        needed = power.rows_needed(rows, se, EFFECT, 0.05 * gate_rules.APPROXIMATE, 0.8)
        print(f"| {rho} | {both / np.sqrt(a * b):.3f} | {least:.1%} | {needed:,} |")


def main() -> None:
    """Run all sections, or some, and print markdown."""
    parser = argparse.ArgumentParser(description="Simulate the promotion gate.")
    parser.add_argument("--null", type=int, default=1000, help="null challengers per case")
    parser.add_argument("--runs", type=int, default=300, help="runs at the stated size")
    parser.add_argument("--cell", type=int, default=60, help="runs per cell of the curve")
    parser.add_argument("--guard", type=int, default=150, help="runs per guardrail case")
    parser.add_argument("--only", choices=("null", "power", "curve", "guardrails", "detectable"))
    given = parser.parse_args()
    sections: dict[str, Callable[[], None]] = {
        "detectable": detectable,
        "null": lambda: null(given.null),
        "power": lambda: at_stated_size(given.runs),
        "curve": lambda: curve(given.cell),
        "guardrails": lambda: guardrails(given.guard),
    }
    print("# The promotion gate by simulation")
    for name, run in sections.items():
        if given.only in (None, name):
            started = time.perf_counter()
            run()
            print(f"\n({time.perf_counter() - started:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
