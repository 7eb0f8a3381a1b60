"""All candidates side by side, beyond the one test that decides: folds, tenants, any two, labels.

These figures inform; only the gate decides, on the holdout, for one challenger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from models.contracts.product import ModelProduct
from models.contracts.results import Candidate, Estimate, Scorecard, Snapshot
from stores.reports import LabelRow, Pair, Ranks

if TYPE_CHECKING:
    import pandas as pd

    from models.contracts.learner import Matrix, Vector
    from models.contracts.results import TestResult

    Answered = tuple[Candidate, Mapping[str, Vector]]

#: Resamples of a comparison of two; their deviation is what is used of them.
RESAMPLES = 300
#: Demsar's tests want at least so many data sets, and more than two models.
MIN_SETS, MIN_MODELS = 5, 3


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


def average_ranks(
    metric: str, alpha: float, cards: Sequence[Scorecard], candidates: Sequence[Candidate]
) -> Ranks | None:
    """Average ranks over tenants, or else folds, or else named slices, with Nemenyi's difference.

    Tenants share no rows; the others do, which the page says. A form is no model of its own and is
    left out.

    Returns:
        None with fewer than three models or five complete data sets of each sort.
    """
    import numpy as np

    from models.core.metrics import error
    from models.core.significance import cliques, friedman_nemenyi
    from stores.reports.tables import model_names

    names, forms = model_names(cards), {one.candidate_id for one in candidates if one.form}
    cards = [card for card in cards if card.candidate_id not in forms]
    if len(cards) < MIN_MODELS:
        return None
    for over, values in _data_sets(metric, cards, candidates).items():
        complete = values[~np.isnan(values).any(axis=1)]
        if len(complete) >= MIN_SETS:
            found = friedman_nemenyi(-error(metric, complete), alpha=alpha)
            return Ranks(
                over=over,
                sets=len(complete),
                models=tuple(names[card.candidate_id] for card in cards),
                ranks=tuple(found.ranks.tolist()),
                critical_difference=found.critical_difference,
                p=found.p_f,
                cliques=cliques(found.ranks, found.critical_difference),
            )
    return None


def _data_sets(
    metric: str, cards: Sequence[Scorecard], candidates: Sequence[Candidate]
) -> dict[str, Matrix]:
    """What models are ranked over: values of shape (data sets, models), NaN where undefined."""
    import numpy as np

    def over(prefix: str) -> Matrix:
        sets = [name for name in cards[0].metrics if name.startswith(prefix)]
        found = [[_value(card, name, metric) for card in cards] for name in sets]
        return np.array(found, float).reshape(len(sets), len(cards))

    folds = {one.candidate_id: one.cv.get(metric, ()) for one in candidates}
    kept = [folds.get(card.candidate_id, ()) for card in cards]
    same = len({len(each) for each in kept}) == 1
    validated = np.array(kept if same else [()] * len(cards), float).T
    return {"tenants": over("tenant="), "folds": validated, "slices": over("slice_")}


def _value(card: Scorecard, slice_name: str, metric: str) -> float:
    found = card.metrics.get(slice_name, {}).get(metric)
    return found.value if found else float("nan")


class _Drawn(NamedTuple):
    """One model on the holdout: its error, and that on every resample."""

    answered: Answered
    error: float
    errors: Vector


def model_answers(units: pd.DataFrame, candidate_id: str) -> dict[str, Vector]:
    """One model's columns of the answers an evaluation kept."""
    mark = f"{candidate_id}:"
    return {
        str(column).removeprefix(mark): units[column].to_numpy(float)
        for column in units
        if str(column).startswith(mark)
    }


def every_pair(
    product: ModelProduct, units: pd.DataFrame, answered: Mapping[str, Answered]
) -> list[Pair]:
    """Any two models on the same units: the gate's metric by bootstrap, and the units' own tests.

    All models are compared on what all of them answer (a text model may lack a label). The p of the
    bootstrap is a normal one, from the deviation of the difference: 300 resamples could not give
    one below 2 / 301.

    Args:
        product: The product.
        units: The judged units.
        answered: Name of the model to its manifest and its answers.
    """
    import numpy as np

    from models.core.bootstrap import counts
    from models.core.metrics import error
    from models.kinds import kind_of

    metric, paired = product.gate.metric, kind_of(product.contract).paired
    resamples = counts(len(units), RESAMPLES)
    drawn = {}
    for name, one in _on_common(answered).items():
        alone = paired(product, units, one, None)
        values = alone.replicates([metric], resamples)[metric]
        drawn[name] = _Drawn(one, error(metric, alone.value(metric)), error(metric, values))
    drawn = {name: one for name, one in drawn.items() if not np.isnan(one.error)}
    order = sorted(drawn, key=lambda name: drawn[name].error)
    found = []
    for better, other in combinations(order, 2):
        both = paired(product, units, drawn[better].answered, drawn[other].answered)
        found.append((better, other, _tests(product, drawn[better], drawn[other], both)))
    return _corrected(found)


def _on_common(answered: Mapping[str, Answered]) -> dict[str, Answered]:
    """The answers with those that any model leaves out blanked for all."""
    import numpy as np

    missing = {
        column
        for _, answers in answered.values()
        for column, values in answers.items()
        if np.isnan(values).all()
    }
    return {
        name: (one, {c: np.full_like(v, np.nan) if c in missing else v for c, v in answers.items()})
        for name, (one, answers) in answered.items()
    }


def _tests(
    product: ModelProduct, better: _Drawn, other: _Drawn, both: Any
) -> tuple[TestResult, dict[str, float]]:
    """The bootstrap's test, and two-sided p-values by the name of the test."""
    from scipy.stats import norm

    from models.core.bootstrap import PairedErrors, paired_test

    alpha, pairs = product.gate.alpha, PairedErrors(better.errors, other.errors)
    test = paired_test(product.gate.metric, better.error, other.error, pairs, alpha=alpha)
    p = {test.name: float(2 * norm.sf(abs(test.statistic)))}
    own = {one.name: cast("float", one.detail["p_two_sided"]) for one in both.tests(alpha)}
    return test, p | own


def _corrected(found: Sequence[tuple[str, str, tuple[TestResult, dict[str, float]]]]) -> list[Pair]:
    """Holm's correction over all pairs, each test by itself."""
    import numpy as np

    from models.core.significance import holm

    names = dict.fromkeys(name for _, _, (_, p) in found for name in p)
    adjusted = {name: holm(np.array([p[name] for *_, (_, p) in found])) for name in names}
    return [
        Pair(
            better=better,
            other=other,
            effect=Estimate(value=test.effect, low=test.low, high=test.high),
            p={name: float(values[i]) for name, values in adjusted.items()},
        )
        for i, (better, other, (test, _)) in enumerate(found)
    ]


def label_rows(
    product: ModelProduct, units: pd.DataFrame, answered: Mapping[str, Answered]
) -> list[LabelRow]:
    """Each model on each label of the product, on the units of which the label is known."""
    import numpy as np

    from models.core.metrics import compute
    from models.core.text.frames import label_matrix

    found, labels = [], product.data.labels
    for label, truth in zip(labels, label_matrix(units, labels).T, strict=True):
        known = ~np.isnan(truth)
        for name, (manifest, answers) in answered.items():
            scores, threshold = answers[label][known], manifest.thresholds.get(label, np.nan)
            judged = 0 < truth[known].sum() < known.sum() and not np.isnan(scores).all()
            values = {
                metric: compute(metric, truth[known], scores, threshold) if judged else np.nan
                for metric in ("roc_auc", "average_precision", "f1")
            }
            found.append(
                LabelRow(
                    label=label,
                    model=name,
                    known=int(known.sum()),
                    positives=int(truth[known].sum()),
                    threshold=threshold,
                    **values,
                )
            )
    return found
