"""The tests against published worked examples, and against brute force.

Every published number below was read in the named source, none is from memory.
"""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import make_moons
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
from sklearn.svm import SVC

from models.core import bootstrap, metrics, significance

# 113 patients with a subarachnoid haemorrhage (Turck et al. 2010, doi:10.1007/s00134-009-1641-y),
# the data of R's pROC package: WFNS grade / S100B / NDKA, by outcome.
GOOD = """
1/0.13/3.01 1/0.14/8.54 1/0.1/8.09 1/0.04/10.42 5/0.47/6 1/0.18/15.54 2/0.1/6.01 2/0.1/17.86
1/0.04/13.41 2/0.08/20.75 2/0.04/16.11 1/0.09/49.94 1/0.11/9.47 1/0.07/6.29 2/0.17/12.53
1/0.07/6.54 2/0.11/6.3 1/0.13/80.3 1/0.19/12.8 3/0.05/9.8 4/0.16/9.81 1/0.14/18.21 4/0.34/5.03
1/0.09/8.02 5/0.5/6.59 5/0.46/9.63 1/0.16/13.12 1/0.07/7.96 2/0.43/14.34 4/0.45/41.43
1/0.11/7.63 1/0.08/7.06 2/0.09/12.59 2/0.08/9.44 1/0.06/7.66 2/0.13/12.98 1/0.1/27.19
2/0.14/22.27 2/0.15/9.95 1/0.06/11.73 1/0.05/58.83 1/0.09/6.39 1/0.04/17.21 2/0.09/9.7
1/0.08/10.51 2/0.16/10.6 1/0.09/14.57 1/0.08/4.61 3/0.33/17.3 2/0.11/12.71 4/0.28/9.44
2/0.07/11.07 1/0.1/19.46 4/0.32/10.83 1/0.07/11.97 1/0.05/7.75 5/0.24/9.83 4/0.38/10.55
2/0.1/28.49 2/0.15/8.53 1/0.08/12.57 1/0.14/12.9 1/0.1/46.83 3/0.07/11.68 1/0.04/12.67
2/0.19/9.01 2/0.15/24.58 4/0.47/10.33 4/0.17/13.87 1/0.15/22.43 1/0.5/6.79 1/0.48/13.45
"""
POOR = """
3/0.13/17.4 2/0.1/12.75 4/0.16/13.2 5/0.12/15.96 5/0.44/5.18 5/0.71/8.9 5/0.49/11.6 2/0.07/32.37
5/0.33/54.82 2/0.09/32.41 1/0.07/40.34 2/0.41/9.85 5/0.35/14.04 4/0.48/21.93 4/0.96/7.42
2/0.25/8.38 5/0.86/13.56 5/0.52/3.87 5/2.07/419.19 2/0.07/21.22 5/0.77/10.4 2/0.3/11.09
5/0.03/12.22 2/0.09/13.67 4/0.23/22.63 5/0.7/12.9 4/0.27/21.57 4/0.71/8.23 1/0.08/72.57
4/0.26/15.54 4/0.13/5.19 2/0.1/9.63 2/0.11/21.48 5/0.22/5.37 5/0.56/9.57 2/0.14/34.06
2/0.58/11.72 5/0.32/14.26 5/0.82/47.61 5/0.74/11.67 5/0.44/15.89
"""


def haemorrhage():
    """Labels (poor outcome) and the three markers, shape (3, 113)."""
    patients = [[float(x) for x in each.split("/")] for each in (GOOD + POOR).split()]
    labels = np.repeat([0.0, 1.0], [len(GOOD.split()), len(POOR.split())])
    return labels, np.array(patients).T


@pytest.mark.parametrize(
    ("a", "b", "z", "p", "low", "high"),
    [
        (0, 1, 2.20898359144091, 0.0271757822291882, 0.0104061769564846, 0.174214419249478),
        (0, 2, 2.79777591868904, 0.00514557970691098, 0.0634011709339876, 0.3600405634833566),
        (2, 1, -1.39077002573558, 0.164295175223054, -0.2876917446341914, 0.0488706064228094),
    ],
)
def test_delong_equals_proc(a, b, z, p, low, high):
    """Expected values: pROC, tests/testthat/test-roc.test.R, paired roc.test on aSAH."""
    labels, markers = haemorrhage()
    result = significance.delong(labels, markers[a], markers[b], alpha=0.025)
    assert result.statistic == pytest.approx(z, rel=1e-12)
    assert result.detail["p_two_sided"] == pytest.approx(p, rel=1e-12)
    assert (result.low, result.high) == pytest.approx((low, high), rel=1e-12)


def test_delong_one_sided_equals_proc():
    """Expected value: pROC, as above, alternative = "greater"."""
    labels, markers = haemorrhage()
    result = significance.delong(labels, markers[0], markers[1])
    assert result.p_value == pytest.approx(0.0135878911145941, rel=1e-12)


def test_delong_interval_equals_proc():
    """Expected values: pROC, tests/testthat/test-ci.auc.R, ci(roc(outcome, wfns))."""
    labels, markers = haemorrhage()
    interval = significance.delong_interval(labels, markers[0], alpha=0.025)
    assert (interval.low, interval.value, interval.high) == pytest.approx(
        (0.748534887819453, 0.823678861788618, 0.898822835757783), rel=1e-12
    )


def test_the_bootstrap_interval_is_near_proc():
    """Expected values: pROC, as above, 2,000 stratified resamples: another random stream."""
    labels, markers = haemorrhage()
    interval = bootstrap.estimate("roc_auc", labels, markers[0], alpha=0.025, size=4000)
    assert interval.low == pytest.approx(0.741361788617886, abs=0.01)
    assert interval.high == pytest.approx(0.893805047425474, abs=0.01)


@st.composite
def two_models(draw):
    """Labels with two rows of each class at least, and two tied scorings."""
    n = draw(st.integers(4, 25))
    labels = [0, 1, 0, 1, *draw(st.lists(st.integers(0, 1), min_size=n - 4, max_size=n - 4))]
    scores = [draw(st.lists(st.integers(0, 6), min_size=n, max_size=n)) for _ in range(2)]
    return np.array(labels, float), np.array(scores, float)


@given(two_models())
@settings(max_examples=50)
def test_delong_equals_its_definition(case):
    """The O(m n) kernel and structural components of DeLong, DeLong and Clarke-Pearson (1988)."""
    labels, scores = case
    components = []
    for row in scores:
        up, down = row[labels == 1][:, None], row[labels == 0][None, :]
        kernel = (up > down) + 0.5 * (up == down)
        components.append((kernel.mean(axis=1), kernel.mean(axis=0), kernel.mean()))
    ups, downs, areas = (np.array(part) for part in zip(*components, strict=True))
    covariance = np.cov(ups) / ups.shape[1] + np.cov(downs) / downs.shape[1]
    found = significance.delong_areas(labels, scores)
    assert found.auc == pytest.approx(areas)
    assert found.covariance == pytest.approx(covariance, abs=1e-12)


def even_models(n=300, seed=0, gap=0.0):
    """Two correlated models on one scale; ``gap`` lifts the first model's positives."""
    generator = np.random.default_rng(seed)
    labels = (generator.random(n) < 0.4).astype(float)
    shared, own = generator.standard_normal((2, n))
    return labels, shared + (1.2 + gap) * labels, 0.7 * shared + 0.7 * own + 1.2 * labels


@pytest.mark.parametrize(("seed", "gap"), [(0, 0.0), (1, 0.1), (2, 0.25)])
def test_delong_and_bootstrap_agree_with_a_permutation_test(seed, gap):
    """Under H0 the two scores of a row may be swapped: count swaps at least as extreme."""
    labels, a, b = even_models(seed=seed, gap=gap)
    generator, swaps = np.random.default_rng(seed), 800
    delong = significance.delong(labels, a, b)
    more = 0
    for _ in range(swaps):
        swap = generator.random(len(labels)) < 0.5
        areas = significance.delong_areas(
            labels, np.stack([np.where(swap, b, a), np.where(swap, a, b)])
        )
        more += areas.auc[0] - areas.auc[1] >= delong.effect
    assert delong.p_value == pytest.approx((1 + more) / (1 + swaps), abs=0.04)
    resamples = bootstrap.counts(len(labels), 2000, seed)
    pairs = bootstrap.paired_errors(["roc_auc"], labels, a, b, resamples)["roc_auc"]
    errors = [metrics.error("roc_auc", metrics.compute("roc_auc", labels, x)) for x in (a, b)]
    drawn = bootstrap.paired_test("roc_auc", *errors, pairs)
    assert drawn.p_value == pytest.approx(delong.p_value, abs=0.03)
    assert drawn.statistic == pytest.approx(delong.statistic, abs=0.15)


def test_identical_models_give_no_evidence():
    labels, a, _ = even_models()
    result = significance.delong(labels, a, 3 * a + 1)
    assert (result.statistic, result.p_value, result.effect) == (0.0, 1.0, 0.0)


def test_an_area_of_one_is_not_certain():
    labels = np.array([0.0] * 20 + [1.0] * 5)
    interval = significance.delong_interval(labels, labels, alpha=0.05)
    assert (interval.value, interval.high) == (1.0, 1.0)
    assert interval.low == pytest.approx(0.05 ** (1 / 5))
    reverse = significance.delong_interval(labels, -labels, alpha=0.05)
    assert (reverse.low, reverse.high) == (0.0, pytest.approx(1 - 0.05 ** (1 / 5)))


def test_delong_wants_two_rows_of_each_class():
    with pytest.raises(ValueError, match="two rows of each class, got 1 and 3"):
        significance.delong_interval(np.array([0, 0, 0, 1.0]), np.arange(4.0))


@pytest.mark.parametrize(
    ("b", "c", "key", "expected"),
    [
        # Fagerland, Lydersen and Laake 2013, supplement: Bentur's 21 children, 2 * binomcdf(1, 8)
        (1, 7, "p_two_sided", 2 * 9 / 256),
        (1, 7, "p_two_sided_mid", 2 * 9 / 256 - 8 / 256),
        # Armitage and Berry 1994, p. 127, as printed in StatsDirect's manual: P = 0.0129
        (12, 2, "p_two_sided", 0.0129),
        # University of Amsterdam, McNemar's test page: BA = 12, AB = 3, p <= 0.0352
        (12, 3, "p_two_sided", 0.0352),
    ],
)
def test_mcnemar_equals_published_examples(b, c, key, expected):
    assert significance.mcnemar_exact(b, c).detail[key] == pytest.approx(expected, abs=5e-5)


def test_mcnemar_interval_equals_a_published_one():
    """StatsDirect's manual, as above: R' = b / c = 6, exact 95 % interval 1.335744 to 55.197091."""
    result = significance.mcnemar_exact(12, 2, alpha=0.025)
    odds = [share / (1 - share) for share in (result.low, result.effect, result.high)]
    assert odds == pytest.approx([1.335744, 6, 55.197091], rel=1e-6)


@given(st.integers(0, 7), st.integers(0, 7))
def test_mcnemar_equals_enumeration(b, c):
    signs = np.array(list(itertools.product([0, 1], repeat=b + c))).reshape(2 ** (b + c), b + c)
    wins = signs.sum(axis=1)
    result = significance.mcnemar_exact(b, c)
    assert result.p_value == pytest.approx((wins >= b).mean())
    extreme = np.abs(wins - (b + c) / 2) >= abs(b - c) / 2
    assert result.detail["p_two_sided"] == pytest.approx(extreme.mean())
    assert result.low <= result.effect <= result.high


def test_mcnemar_refuses_negative_counts():
    with pytest.raises(ValueError, match="cannot be negative"):
        significance.mcnemar_exact(-1, 3)


def test_corrected_resampled_t_equals_a_published_example():
    """scikit-learn's example "Statistical comparison of models using grid search": 0.750, 0.227."""
    X, y = make_moons(noise=0.352, random_state=1, n_samples=100)
    folds = RepeatedStratifiedKFold(n_splits=10, n_repeats=10, random_state=0)
    rbf, linear = (
        cross_val_score(SVC(kernel=kernel, random_state=0), X, y, scoring="roc_auc", cv=folds)
        for kernel in ("rbf", "linear")
    )
    result = significance.corrected_resampled_t(rbf - linear, 90, 10)
    assert result.statistic == pytest.approx(0.750, abs=5e-4)
    assert result.p_value == pytest.approx(0.227, abs=5e-4)
    uncorrected = significance.corrected_resampled_t(rbf - linear, 90, 0)
    assert uncorrected.statistic == pytest.approx(2.611, abs=5e-4)


# Demsar 2006, Table 6: AUC of C4.5, C4.5+m, C4.5+cf, C4.5+m+cf on 14 data sets.
C45 = """
0.763 0.768 0.771 0.798  0.599 0.591 0.590 0.569  0.954 0.971 0.968 0.967  0.628 0.661 0.654 0.657
0.882 0.888 0.886 0.898  0.936 0.931 0.916 0.931  0.661 0.668 0.609 0.685  0.583 0.583 0.563 0.625
0.775 0.838 0.866 0.875  1.000 1.000 1.000 1.000  0.940 0.962 0.965 0.962  0.619 0.666 0.614 0.669
0.972 0.981 0.975 0.975  0.957 0.978 0.946 0.970
"""


def test_friedman_and_nemenyi_equal_demsar():
    scores = np.array(C45.split(), float).reshape(14, 4)
    scores[12, 2] += 1e-5  # the paper ranks this rounded tie (2, 3): its unrounded values differ
    result = significance.friedman_nemenyi(scores)
    assert result.ranks == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    assert result.chi2 == pytest.approx(9.28, abs=0.005)
    assert result.f == pytest.approx(3.69, abs=0.005)
    assert result.critical_difference == pytest.approx(1.25, abs=0.005)
    assert (result.p_pairs >= 0.05).all()  # "even best and worst" differ by less than that
    at_10 = significance.friedman_nemenyi(scores, alpha=0.10)
    assert at_10.critical_difference == pytest.approx(1.12, abs=0.005)
    assert np.argwhere(np.triu(result.p_pairs < 0.10)).tolist() == [[0, 1], [0, 3]]


def test_the_groups_of_the_diagram_equal_demsar():
    """Section 3.2.2: at CD 1.25 nobody differs; at 1.12 (10 %) C4.5 does from +m and +m+cf."""
    ranks = np.array([3.143, 2.000, 2.893, 1.964])
    assert significance.cliques(ranks, 1.25) == ((3, 1, 2, 0),)
    assert significance.cliques(ranks, 1.12) == ((3, 1, 2), (2, 0))
    assert significance.cliques(ranks, 0.1) == ((3, 1),)
    assert significance.cliques(ranks, 0.01) == ()


@given(st.lists(st.integers(2, 12), min_size=2, max_size=7), st.integers(1, 6))
def test_groups_are_maximal_and_complete(doubled, difference):
    """By brute force over all subsets, on half ranks so that equal distances are exact."""
    ranks = np.array(doubled) / 2
    joined = [
        set(some)
        for size in range(2, len(ranks) + 1)
        for some in itertools.combinations(range(len(ranks)), size)
        if np.ptp(ranks[list(some)]) < difference / 2
    ]
    maximal = [some for some in joined if not any(some < other for other in joined)]
    found = significance.cliques(ranks, difference / 2)
    assert sorted(map(sorted, found)) == sorted(map(sorted, maximal))


def test_friedman_of_one_clear_order_and_of_none():
    clear = significance.friedman_nemenyi(np.tile([3.0, 2.0, 1.0], (6, 1)))
    assert (clear.chi2, clear.f, clear.p_f) == (12.0, np.inf, 0.0)
    even = significance.friedman_nemenyi(np.ones((6, 3)))
    assert (even.chi2, even.p_chi2, even.p_f) == (0.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="complete"):
        significance.friedman_nemenyi(np.array([[1.0, np.nan], [1.0, 2.0]]))


def test_holm_equals_a_published_example():
    """pingouin's manual: holm([.50, .003, .32, .054, .0003])."""
    adjusted = significance.holm(np.array([0.50, 0.003, 0.32, 0.054, 0.0003]))
    assert adjusted == pytest.approx([0.64, 0.012, 0.64, 0.162, 0.0015])


@given(st.lists(st.floats(0, 1), max_size=8), st.sampled_from([0.01, 0.05, 0.2]))
@settings(max_examples=200)
def test_holm_rejects_what_the_step_down_rule_rejects(p_values, alpha):
    rejected = np.zeros(len(p_values), bool)
    for step, i in enumerate(np.argsort(p_values, kind="stable")):
        if p_values[i] * (len(p_values) - step) >= alpha:
            break
        rejected[i] = True
    assert np.array_equal(significance.holm(np.array(p_values)) < alpha, rejected)
