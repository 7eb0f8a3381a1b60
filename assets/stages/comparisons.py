"""All candidates side by side, beyond the one test that decides: over folds and over tenants.

These tables inform; only the gate decides, on the holdout, for one challenger.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from models.contracts.product import ModelProduct
from models.contracts.results import Candidate, Scorecard, Snapshot


def folds_table(
    product: ModelProduct, snapshot: Snapshot, candidates: Sequence[Candidate]
) -> list[dict[str, Any]]:
    """Each candidate against the first trial over the folds, corrected for overlapping training.

    Nadeau and Bengio's corrected t-test; with expanding folds the mean training size stands in.
    """
    import numpy as np

    from models.core.metrics import error
    from models.core.significance import corrected_resampled_t

    metric, k = product.gate.metric, product.data.folds.k
    if product.data.folds.kind == "newest":  # one fold has no spread
        return []
    errors = [error(metric, np.array(candidate.cv[metric])) for candidate in candidates]
    expanding = product.data.folds.kind == "time"
    block = snapshot.train_rows // (k + 1 if expanding else k)
    train = block * (k + 1) // 2 if expanding else block * (k - 1)
    rows = []
    for candidate, mine in zip(candidates[1:], errors[1:], strict=True):
        test = corrected_resampled_t(errors[0] - mine, train, block, alpha=product.gate.alpha)
        rows.append({
            "trial": candidate.trial,
            "against": candidates[0].trial,
            f"{metric} error less by": round(test.effect, 4),
            "low": round(test.low, 4),
            "high": round(test.high, 4),
            "p": f"{test.p_value:.2g}",
        })  # fmt: skip
    return rows


def tenants_table(product: ModelProduct, cards: Sequence[Scorecard]) -> list[dict[str, Any]]:
    """Average rank of each model over the tenants (Friedman's test, Nemenyi's difference)."""
    import numpy as np

    from models.core.metrics import METRICS
    from models.core.significance import friedman_nemenyi

    metric = product.gate.metric
    sign = 1 if METRICS[metric].higher_is_better else -1
    tenants = [name for name in cards[0].metrics if name.startswith("tenant=")]
    values = np.array(
        [[sign * c.metrics[t][metric].value if metric in c.metrics[t] else np.nan for c in cards]
         for t in tenants]
    ).reshape(len(tenants), len(cards))  # fmt: skip
    complete = values[~np.isnan(values).any(axis=1)]
    if min(complete.shape) < 2:
        return []
    found = friedman_nemenyi(complete, alpha=product.gate.alpha)
    return [
        {
            "trial": card.trial,
            "average rank": round(float(rank), 2),
            "tenants": len(complete),
            "critical difference": round(found.critical_difference, 2),
            "p (Friedman)": f"{found.p_f:.2g}",
        }
        for card, rank in zip(cards, found.ranks, strict=True)
    ]
