"""Rows that two models of known separation answered, and the gate asked about them."""

from dataclasses import replace

import numpy as np
from scipy.special import expit

from models.contracts.product import Gate
from models.contracts.results import Estimate, Scorecard
from models.core import gates
from models.core.slices import Scores

WEAK, GOOD, BETTER = 1.5, 2.0, 2.4  # separation of the positives: AUC 0.856, 0.921, 0.955
GATE = Gate(metric="roc_auc", floor=0.75)


def paired(new, old, n=3000, seed=0, rho=0.95, rate=0.25):
    """Rows scored by a challenger and a champion of known separation (None: no champion)."""
    generator = np.random.default_rng(seed)
    labels = (generator.random(n) < rate).astype(float)
    shared, own = generator.standard_normal((2, n))
    other = rho * shared + np.sqrt(1 - rho**2) * own
    scores = Scores(
        labels,
        expit(new * (shared + new * labels) - new**2 / 2 - 1.1),
        None if old is None else expit(old * (other + old * labels) - old**2 / 2 - 1.1),
        (0.5, 0.5),
    )
    tenants = np.array(["acme", "globex", "initech"])[np.arange(n) % 3]
    return gates.Paired(scores, tenants, {"slice_hard": np.arange(n) % 2 == 0})


def answered(rows, **changes):
    """The same rows with other labels or scores."""
    return rows._replace(units=replace(rows.units, **changes))


def card(name, rows, **changes):
    budget = {"latency_p50_ms": 0.5, "latency_p95_ms": 1.0, "size_bytes": 10**6, **changes}
    slope = Estimate(value=budget.pop("slope", 1.0), low=0.9, high=1.1)
    return Scorecard(
        candidate_id=name,
        trial=name,
        metrics={"overall": {"calibration_slope": slope}},
        rows={"overall": rows},
        positives={},
        importance={},
        **budget,
    )


def decide(rows, gate=GATE, approved=False, replicates=400, seed=0, **changes):
    n = len(rows.units)
    champion = card("old", n) if rows.units.paired else None
    new, options = card("new", n, **changes), {"replicates": replicates, "seed": seed}
    return gates.decide("risk/x", gate, rows, new, champion, approved=approved, **options)
