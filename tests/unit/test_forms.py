"""Forms: when INT8 may serve for its original, and what the budgets are then held against."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm

from models.contracts.product import Gate, Guardrail
from models.contracts.results import Measure, Scorecard
from models.core import bootstrap, gates, slices
from models.core.forms import Form, choose, judge_forms, non_inferiority
from models.core.slices import Scores
from models.core.units import ListScores

GATE = Gate(metric="roc_auc", floor=0.75, form_margin=0.05)
ROWS = 4000


def card(name, **changes):
    given = {"latency_p50_ms": 1.0, "latency_p95_ms": 4.0, "size_bytes": 10**7, **changes}
    rows = given.pop("rows", ROWS)
    return Scorecard(
        candidate_id=name, trial=name, metrics={}, rows={"overall": rows}, positives={},
        importance={}, **given,
    )  # fmt: skip


def model(n=ROWS, seed=0):
    generator = np.random.default_rng(seed)
    labels = (generator.random(n) < 0.3).astype(float)
    return labels, generator.standard_normal(n) + 2 * labels - 1.5, generator.standard_normal(n)


def form(name, noise, n=ROWS, mask=None, **changes):
    """The model with noise of this size on its logits, everywhere or under a mask."""
    labels, logits, disturbance = model(n)
    where = np.ones(n, bool) if mask is None else mask
    scores = expit(logits + noise * where * disturbance)
    return Form(card(name, rows=n, **changes), Scores(labels, scores, expit(logits), (0.5, 0.5)))


def judge(*forms, gate=GATE, slices=None, **changes):
    n = len(forms[0].units)
    tenants = np.array(["acme", "globex"])[np.arange(n) % 2]
    given = {"replicates": 400, **changes}
    return judge_forms(gate, forms, card("torch", rows=n), tenants, slices or {}, **given)


def test_a_form_with_rounding_noise_passes_and_a_coarse_one_does_not():
    fine, coarse = judge(form("int8", 0.02, latency_p95_ms=1.0, size_bytes=2_500_000),
                         form("int2", 1.0, latency_p95_ms=1.0))  # fmt: skip
    assert fine.passed
    assert (fine.speedup, fine.size_ratio) == (4.0, 0.25)
    assert "not inferior in 1 tests" in fine.reason
    assert fine.tests[0].effect < fine.tests[0].high < 0.05
    assert not coarse.passed
    assert "the margin is 5.0%" in coarse.reason
    assert coarse.tests[0].p_value > 0.9


def test_the_test_is_the_distance_to_the_margin_over_its_standard_error():
    pairs = bootstrap.PairedErrors(np.array([0.10, 0.12, 0.11]), np.array([0.10, 0.10, 0.12]))
    found = non_inferiority("brier", 0.10, 0.10, pairs, 0.5)
    excess = np.array([-0.05, -0.03, -0.07])
    assert found.statistic == pytest.approx(-0.05 / 0.02)
    assert found.p_value == pytest.approx(norm.cdf(-0.05 / excess.std(ddof=1)))
    assert found.effect == 0
    worse = non_inferiority("brier", 0.16, 0.10, pairs, 0.5)
    assert (worse.effect, worse.p_value > 0.5) == (pytest.approx(0.6), True)
    nothing = bootstrap.PairedErrors(np.full(3, np.nan), np.full(3, np.nan))
    assert non_inferiority("brier", np.nan, np.nan, nothing, 0.5).p_value == 1.0


def test_few_rows_do_not_pass_and_say_so():
    noisy = form("int8", 0.2, n=300, latency_p95_ms=1.0)
    _, logits, disturbance = model(300)
    original = expit(logits + 0.2 * disturbance[::-1])  # as noisy, elsewhere: equally good
    (few,) = judge(noisy._replace(units=replace(noisy.units, champion=original)))
    assert not few.passed
    assert abs(few.tests[0].effect) < 0.05
    assert "too few rows to show it" in few.reason
    assert "could" in few.reason
    (tiny,) = judge(form("int8", 0.0, n=60, latency_p95_ms=1.0))  # the very same answers
    assert not tiny.passed
    assert "fewer than 30 rows of a class" in tiny.reason


def test_every_guardrail_slice_must_hold_and_small_ones_are_not_asked():
    hard, rare = np.arange(ROWS) % 4 == 0, np.arange(ROWS) < 40
    rules = tuple(
        Guardrail(metric="brier", slice=name) for name in ("slice_hard", "tenant", "slice_rare")
    )
    gate = GATE.model_copy(update={"guardrails": rules})
    here = {"slice_hard": hard, "slice_rare": rare}
    fine = form("int8", 0.02, latency_p95_ms=1.0)
    coarse = form("int4", 1.5, mask=hard, latency_p95_ms=1.0)
    good, bad = judge(fine, coarse, gate=gate, slices=here)
    named = [(test.detail["metric"], test.detail["slice"]) for test in good.tests]
    assert named == [("roc_auc", "overall"), ("brier", "slice_hard"), ("brier", "tenant=acme"),
                     ("brier", "tenant=globex")]  # fmt: skip
    assert good.passed
    assert not bad.passed
    assert "Brier score on slice_hard" in bad.reason


def test_the_p_values_are_holms():
    gate = GATE.model_copy(update={"guardrails": (Guardrail(metric="brier"),)})
    (found,) = judge(form("int8", 0.35), gate=gate)
    plain = sorted(float(test.detail["p_unadjusted"]) for test in found.tests)
    assert sorted(test.p_value for test in found.tests) == pytest.approx(
        [min(2 * plain[0], 1), min(max(2 * plain[0], plain[1]), 1)]
    )


def test_a_form_that_gains_nothing_or_misses_a_floor_is_not_passed():
    (same,) = judge(form("onnx", 0.0))
    assert "neither faster (1.00 times) nor smaller (1.00)" in same.reason
    assert judge(form("onnx", 0.0, size_bytes=10**6))[0].passed
    area = form("int8", 0.0).units.value("roc_auc")
    (low,) = judge(
        form("int8", 0.02, latency_p95_ms=1), gate=GATE.model_copy(update={"floor": area + 0.01})
    )
    assert "misses its floor" in low.reason
    rule = Guardrail(metric="attack.homoglyph", floor=0.8)
    weak = {
        "attack.homoglyph": Measure(title="ROC-AUC under homoglyphs", value=0.7, low=0.6, high=0.8)
    }
    (attacked,) = judge(form("int8", 0.0, latency_p95_ms=1, measures=weak),
                        gate=GATE.model_copy(update={"guardrails": (rule,)}))  # fmt: skip
    assert not attacked.passed
    assert "under homoglyphs is 0.7 and misses its floor 0.8" in attacked.reason


def test_lists_have_forms_too():
    values = np.random.default_rng(0).random(500)
    units = ListScores({"ndcg_at_10": values}, {"ndcg_at_10": values})
    gate = Gate(metric="ndcg_at_10", floor=0.1)
    assert judge(Form(card("half", rows=500, size_bytes=10), units), gate=gate)[0].passed


def test_a_form_needs_both_answers():
    lonely = form("int8", 0.0)
    lonely = lonely._replace(units=replace(lonely.units, champion=None))
    with pytest.raises(ValueError, match="its own and its original's answers"):
        judge(lonely)


def test_the_fastest_within_the_budgets_serves():
    torch, onnx, int8 = (
        card("torch"),
        card("onnx", latency_p95_ms=3.0),
        card("int8", latency_p95_ms=1.0),
    )
    results = judge(form("onnx", 0.0, latency_p95_ms=3.0), form("int8", 0.0, latency_p95_ms=1.0))
    pairs = list(zip(results, (onnx, int8), strict=True))
    fits = {"torch": True, "onnx": True, "int8": True}
    assert choose(pairs, torch, fits).trial == "int8"
    assert choose(pairs, torch, fits | {"int8": False}).trial == "onnx"
    refused = [(result.model_copy(update={"passed": False}), its) for result, its in pairs]
    assert choose(refused, torch, fits).trial == "torch"
    slow = card("int8", latency_p95_ms=9.0, size_bytes=1)
    assert choose([(results[1], slow)], torch, fits).trial == "torch"
    assert choose([(results[1], slow)], torch, fits | {"torch": False}).trial == "int8"
    assert choose(pairs, torch, dict.fromkeys(fits, False)).trial == "torch"


def decide(torch_ms, *forms, gate=GATE):
    labels, logits, _ = model()
    old = 0.5 * logits + np.random.default_rng(9).standard_normal(ROWS)
    units = Scores(labels, expit(logits), expit(old), (0.5, 0.5))
    paired = gates.Paired(units, np.array(["acme"] * ROWS), {})
    cards = card("torch", latency_p95_ms=torch_ms), card("old")
    return gates.decide("a/b", gate, paired, *cards, replicates=400, forms=forms)


def test_a_slow_challenger_is_released_as_its_fast_form():
    assert decide(8.0).outcome == "keep"
    decision = decide(8.0, form("int8", 0.02, latency_p95_ms=2.0))
    assert (decision.outcome, decision.challenger, decision.serves) == ("promote", "torch", "int8")
    assert "it serves as int8, 4.0 times as fast" in decision.reason
    assert decision.forms[0].passed


def test_a_slow_challenger_whose_fast_form_is_inferior_is_not_released():
    decision = decide(8.0, form("int8", 1.0, latency_p95_ms=2.0))
    assert (decision.outcome, decision.serves) == ("keep", "torch")
    assert "p95 latency 8.00 ms is over its budget of 5 ms" in decision.reason
    assert "Not released as int8: its error in ROC-AUC on overall" in decision.reason


def test_a_fast_challenger_does_not_wait_for_its_forms():
    decision = decide(3.0, form("int8", 1.0, latency_p95_ms=2.0))
    assert (decision.outcome, decision.serves) == ("promote", "torch")
    assert not decision.forms[0].passed
    assert decide(3.0).serves == "torch"


def test_slices_of_a_form_are_resampled_as_those_of_the_gate():
    """The same seed and slice draw the same units, whoever is judged."""
    units = form("int8", 0.1).units
    a, b = (slices.replicate(["brier"], units, "overall", 20, 3) for _ in range(2))
    assert np.array_equal(a.champion["brier"], b.champion["brier"])
