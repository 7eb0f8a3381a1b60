"""Does a rollout keep its word? Canaries and A/B tests whose truth is known, without HTTP.

Every request is a journal line that the real ``fold`` counts; after every 25 units of the
challenger the real ``decide`` looks. Equal challengers must be aborted in at most 5 % of the runs
however often it looks, one that loses 2 points must be. Run
``python -m benchmarks.rollout_simulation``; ``--runs 20`` is enough to see that it works, and
``--only '^equal, .* outcomes$'`` chooses cases.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import beta

from models.contracts.rollout import RolloutPlan, RolloutStep, Tally
from models.core.journal import Line
from models.core.rollouts.betting import uniform
from models.core.rollouts.decide import Elapsed, decide
from models.core.rollouts.enforce import Routes, enforced, share
from models.core.rollouts.fold import fold

UNITS, LOOK = 20_000, 25
PER_SECOND = 100.0
CANARY = RolloutPlan(max_units=UNITS)
#: Nothing is ever proven good, so every run lasts to its end: the hardest case for false aborts.
PATIENT = CANARY.model_copy(update={"promote_alpha": 1e-300})
AB = RolloutPlan(kind="ab", max_units=UNITS)
_AT = "2030-01-01T00:00:00Z"


class Truth(NamedTuple):
    """What is true of both releases.

    Attributes:
        worse: Share of requests that only the challenger gets wrong. ``better``: only the champion.
        outcomes: Whether what was right becomes known.
        errors: Share of the challenger's requests that fail; the champion's is 0.1 %.
        units_per_key: Requests of one key on average; keys differ in how often they are got wrong.
    """

    worse: float
    better: float
    outcomes: bool = True
    errors: float = 0.001
    units_per_key: int = 1


class Drawn(NamedTuple):
    """One request before it is assigned.

    Attributes:
        alone: 1: only the challenger gets it wrong, -1: only the champion, 0: both or neither.
        both: Which of these two.
        ms: Of champion and challenger. Likewise ``fails``.
        label: What comes of it.
    """

    key: int
    alone: int
    both: bool
    ms: list[float]
    fails: list[bool]
    label: int


class Run(NamedTuple):
    """How one rollout ended, and after how many units of the challenger."""

    phase: str
    rule: str
    units: int


def run(truth: Truth, plan: RolloutPlan, seed: int) -> Run:
    """One rollout from its first request to its verdict."""
    step = RolloutStep(
        rollout_id="r1", number=2, phase="running", kind=plan.kind, champion="v1", challenger="v2",
        stage=0, weight=plan.weights[0], share=None, units=0, reason="", by="simulation",
    )  # fmt: skip
    tally, requests, begun = Tally(rollout_id="r1"), _Requests(truth, plan, seed), 0
    while True:
        tally = fold(tally, requests.until(step.weight, LOOK), plan, {})
        elapsed = Elapsed((requests.sent - begun) / PER_SECOND, requests.sent / PER_SECOND / 3600)
        verdict = decide(plan, step, tally, enforced(share(tally), Routes()), elapsed)
        if verdict.phase != "running":
            return Run(verdict.phase, verdict.reason.split(":")[0], tally.units)
        if verdict.stage != step.stage:
            begun = requests.sent
            changed = {"stage": verdict.stage, "weight": verdict.weight}
            step = step.model_copy(update=changed)


class _Requests:
    """An endless stream of requests, as a gateway would journal them."""

    def __init__(self, truth: Truth, plan: RolloutPlan, seed: int) -> None:
        self.sent, self._line, self._salt = 0, 0, seed
        self._truth, self._plan = truth, plan
        self._generator = np.random.default_rng(seed)
        self._drawn: Iterator[Drawn] = iter(())

    def until(self, weight: float, units: int) -> Iterator[tuple[str, Line]]:
        """Lines up to so many units of the challenger."""
        while units:
            drawn = next(self._drawn, None)
            if drawn is None:
                self._drawn = self._draw(4_096)
                continue
            body, label = self._body(weight, drawn)
            units -= body["challenger"] is not None
            yield self._next("exposure", body)
            if self._truth.outcomes and (seen := body[body["assigned"]])["rows"]:
                told = {"prediction_id": seen["rows"][0][0], "event_id": None, "label": label}
                yield self._next("outcome", told)

    def _next(self, kind: Any, body: dict[str, Any]) -> tuple[str, Line]:
        self._line += 1
        return "w", Line(self._line, kind, body)

    def _draw(self, size: int) -> Iterator[Drawn]:
        """The next requests. A key that comes again keeps its own share of hard requests."""
        generator, truth = self._generator, self._truth
        keys = generator.integers(0, 2**62, size)
        hard = np.full(size, 0.1)
        if truth.units_per_key > 1:
            heavy = np.random.default_rng(7).lognormal(size=UNITS // truth.units_per_key)
            keys = generator.choice(len(heavy), size, p=heavy / heavy.sum())
            hard = 0.3 * (keys % 3 == 0)
        wrong = generator.random(size)
        alone = (wrong < truth.worse).astype(int)
        alone -= (wrong >= truth.worse) & (wrong < truth.worse + truth.better)
        columns = (
            keys, alone, generator.random(size) < hard, generator.lognormal(2.0, 0.4, (size, 2)),
            generator.random((size, 2)) < [0.001, truth.errors], generator.integers(0, 2, size),
        )  # fmt: skip
        return map(Drawn, *(column.tolist() for column in columns))

    def _body(self, weight: float, drawn: Drawn) -> tuple[dict[str, Any], int]:
        """An exposure and its outcome."""
        self.sent += 1
        alone, label = drawn.alone, bool(drawn.label)
        wrong = (alone < 0, alone > 0) if alone else (drawn.both, drawn.both)
        # calibrated: given that they differ, the champion is right as often as it really is
        right = self._truth.worse / (self._truth.worse + self._truth.better)
        belief = right if label ^ wrong[0] else 1 - right
        champion, challenger = (
            _seen(f"{side}{self.sent}", label ^ wrong[place], belief, drawn, place)
            for place, side in enumerate("ab")
        )
        challenged = uniform(f"{self._salt}|{drawn.key}") < weight
        copied = challenged and self._plan.mirror > 0
        assigned = "challenger" if challenged else "champion"
        return {
            "rollout_id": "r1", "at": _AT, "request_id": f"{self._salt}-{self.sent}",
            "key": f"{int(uniform(str(drawn.key)) * 2**64):016x}", "weight": weight,
            "assigned": assigned, "served": assigned, "tenants": ["t"], "events": [None],
            "champion": champion if copied or not challenged else None,
            "challenger": challenger if challenged else None,
        }, drawn.label  # fmt: skip


def _seen(name: str, decision: bool, belief: float, drawn: Drawn, place: int) -> dict[str, Any]:
    fault = drawn.fails[place]
    rows = [] if fault else [[name, belief, decision]]
    return {"status": 500 if fault else 200, "ms": drawn.ms[place], "rows": rows}


CASES: tuple[tuple[str, Truth, RolloutPlan], ...] = (
    *(
        (f"equal, {flips:.1%} flips each way, {'with' if known else 'without'} outcomes",
         Truth(flips, flips, known), CANARY)
        for flips in (0.005, 0.02, 0.05) for known in (True, False)
    ),
    ("equal, 2.0% flips, never promoted: to the end", Truth(0.02, 0.02), PATIENT),
    ("2-point loss (3 % / 1 %), with outcomes", Truth(0.03, 0.01), CANARY),
    ("2-point loss (3 % / 1 %), without outcomes", Truth(0.03, 0.01, outcomes=False), CANARY),
    ("2-point loss (6 % / 4 %), with outcomes", Truth(0.06, 0.04), CANARY),
    ("1-point loss, the margin itself (2.5 % / 1.5 %)", Truth(0.025, 0.015), CANARY),
    ("1 % more errors", Truth(0.02, 0.02, errors=0.011), CANARY),
    ("A/B, equal", Truth(0.02, 0.02), AB),
    ("A/B, equal, few heavy keys that differ", Truth(0.02, 0.02, units_per_key=20), AB),
    ("A/B, 2-point loss", Truth(0.03, 0.01), AB),
)  # fmt: skip


def report(name: str, runs: list[Run]) -> str:
    """One line of the table."""
    aborted = [each for each in runs if each.phase == "aborted"]
    units = f"{np.median([each.units for each in aborted]):,.0f}" if aborted else "-"
    low, high = _exact(len(aborted), len(runs))
    ends = [sum(each.phase == phase for each in runs) for phase in ("promoted", "inconclusive")]
    rules = ", ".join(sorted({each.rule for each in aborted})) or "-"
    return (
        f"| {name} | {len(aborted)} ({low:.1%} to {high:.1%}) | {units} | {rules} | "
        f"{ends[0]} | {ends[1]} | {np.median([each.units for each in runs]):,.0f} |"
    )


def _exact(hits: int, of: int) -> tuple[float, float]:
    """Clopper and Pearson 1934, 95 %."""
    low = beta.ppf(0.025, hits, of - hits + 1) if hits else 0.0
    high = beta.ppf(0.975, hits + 1, of - hits) if hits < of else 1.0
    return float(low), float(high)


def main() -> None:
    """Run every case, or those whose name is asked for, and print markdown."""
    parser = argparse.ArgumentParser(description="Simulate rollouts whose truth is known.")
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--only", default="", help="regular expression found in a case's name")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    print(f"{given.runs} runs each, at most {UNITS:,} units, a look every {LOOK}\n")
    print("| case | aborted (95 % interval) | units | by | promoted | no verdict | units of all |")
    print("|" + "---|" * 7)
    with ProcessPoolExecutor(given.processes) as pool:
        for name, truth, plan in CASES:
            if re.search(given.only, name):
                started = time.perf_counter()
                found = list(pool.map(partial(run, truth, plan), range(given.runs)))
                print(report(name, found), f"<!-- {time.perf_counter() - started:.0f} s -->",
                      flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
