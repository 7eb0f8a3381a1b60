"""Going back on quality needs a drop that is large and proven."""

import pytest

from models.core.regression import judge_regression


def test_a_large_drop_on_many_rows_is_proven():
    verdict = judge_regression("accuracy", 0.95, 0.80, rows=500)
    assert verdict.degraded
    assert verdict.p_value < 1e-6
    assert "go back" in verdict.reason


def test_the_same_drop_on_few_rows_is_not():
    assert not judge_regression("accuracy", 0.95, 0.80, rows=10).degraded


def test_a_tolerated_drop_never_is():
    assert not judge_regression("accuracy", 0.95, 0.91, rows=100_000).degraded


def test_the_level_holds():
    """At the edge of what is tolerated the exact test alarms at most alpha of the time."""
    from scipy.stats import binom

    rows = 400
    alarms = sum(
        binom.pmf(k, rows, 0.90)
        for k in range(rows + 1)
        if judge_regression("accuracy", 0.95, k / rows, rows).degraded
    )
    assert 0.02 < alarms <= 0.05


@pytest.mark.parametrize(
    "bad", [{"metric": "roc_auc"}, {"current": 1.2}, {"rows": 0}, {"threshold": 0.99}]
)
def test_bad_numbers_are_refused(bad):
    good = {"metric": "accuracy", "promised": 0.95, "current": 0.9, "rows": 10}
    with pytest.raises(ValueError, match=r"need|must be"):
        judge_regression(**{**good, **bad})
