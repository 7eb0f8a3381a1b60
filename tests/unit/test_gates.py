"""The promotion gate: every outcome, every refusal with its sentence, every bad input."""

import json

import numpy as np
import pytest

from models.contracts.product import Gate, Guardrail
from models.contracts.results import Estimate, GateDecision
from models.core import gates
from tests.unit.gate_sample import BETTER, GATE, GOOD, WEAK, answered, card, decide, paired


def test_a_better_challenger_is_promoted_with_every_number():
    decision = decide(paired(BETTER, GOOD))
    assert decision.outcome == "promote"
    assert [test.name for test in decision.tests] == ["delong", "paired_bootstrap", "mcnemar_exact"]
    assert decision.tests[0].p_value < 0.05 < decision.effect.low
    assert decision.effect.value == pytest.approx(
        1 - (1 - decision.challenger_value.value) / (1 - decision.champion_value.value)
    )
    assert (decision.challenger, decision.champion) == ("new", "old")
    assert GateDecision.model_validate_json(decision.model_dump_json()) == decision
    assert json.loads(decision.model_dump_json())["policy"]["min_effect"] == 0.05


@pytest.mark.parametrize("n", [3000, 300, 130])
def test_a_worse_challenger_is_kept_out_however_little_the_data(n):
    decision = decide(paired(WEAK, BETTER, n=n))
    assert decision.outcome == "keep"
    assert "The challenger is worse, its ROC-AUC error" in decision.reason


def test_the_same_model_again_is_kept_out():
    rows = paired(GOOD, GOOD)
    decision = decide(answered(rows, challenger=rows.units.champion))
    assert decision.outcome == "keep"
    assert decision.effect == Estimate(value=0, low=0, high=0)
    assert decision.tests[0].p_value == 1
    assert decision.required_rows is None
    assert "5.0% are ruled out" in decision.reason


def test_too_few_rows_are_said_to_be_too_few_and_how_many_would_do():
    decision = decide(paired(GOOD + 0.05, GOOD, n=600, seed=1, rho=0.8))
    assert decision.outcome == "too_few_data"
    seen = decision.tests[0].detail["minimum_detectable_effect"]
    assert seen > 0.05
    assert decision.required_rows == pytest.approx(1.1 * 600 * (seen / 0.05) ** 2, abs=1)
    assert f"judge again at about {decision.required_rows:,} rows" in decision.reason


def test_a_real_but_trivial_gain_is_not_released():
    decision = decide(paired(GOOD + 0.025, GOOD, n=60_000, rho=0.999), replicates=200)
    assert decision.tests[0].p_value < 0.001
    assert 0 < decision.effect.low < decision.effect.high < 0.05
    assert decision.outcome == "keep"
    assert "the wanted 5.0% are ruled out" in decision.reason


def test_enough_rows_without_a_gain_keep_the_champion():
    decision = decide(paired(GOOD + 0.04, GOOD, n=6000, seed=3))
    assert decision.outcome == "keep"
    assert decision.effect.high > 0.05
    assert "and show none" in decision.reason


@pytest.mark.parametrize(
    ("metric", "first"),
    [
        ("roc_auc", "delong"),
        ("accuracy", "mcnemar_exact"),
        ("average_precision", "paired_bootstrap"),
        ("brier", "paired_bootstrap"),
    ],
)
def test_each_primary_metric_has_its_test(metric, first):
    gate = Gate(metric=metric, floor=0.25 if metric == "brier" else 0.5)
    better, worse = decide(paired(BETTER, WEAK), gate), decide(paired(WEAK, BETTER), gate)
    assert better.tests[0].name == worse.tests[0].name == first
    level = 0.05 if first == "mcnemar_exact" else 0.04  # the exact test keeps its promise by itself
    assert better.tests[0].detail["level"] == pytest.approx(level)
    assert {test.name for test in better.tests} == {"delong", "mcnemar_exact", "paired_bootstrap"}
    assert (better.outcome, worse.outcome) == ("promote", "keep")
    assert better.effect.value > 0 > worse.effect.value


def test_the_first_champion_needs_the_floor_only():
    decision = decide(paired(GOOD, None))
    assert decision.outcome == "promote"
    assert (decision.champion, decision.effect, decision.tests) == (None, None, ())
    below = decide(paired(GOOD, None), Gate(metric="roc_auc", floor=0.95))
    assert below.outcome == "keep"
    assert "misses the floor 0.95" in below.reason


def test_a_first_champion_whose_bound_misses_the_floor_is_told_how_many_rows_it_needs():
    rows = paired(GOOD, None, n=300)
    area = rows.units.value("roc_auc")
    decision = decide(rows, GATE.model_copy(update={"floor": area - 0.01}))
    assert decision.outcome == "too_few_data"
    assert decision.challenger_value.low < area - 0.01
    assert decision.required_rows > 300
    assert f"{decision.required_rows:,} rows" in decision.reason


@pytest.mark.parametrize("old", [None, GOOD])
@pytest.mark.parametrize(
    ("changes", "sentences"),
    [
        ({"latency_p95_ms": 7.2}, ["p95 latency 7.20 ms is over its budget of 5 ms"]),
        ({"latency_p95_ms": np.nan}, ["p95 latency nan ms"]),
        ({"size_bytes": 60_000_000}, ["60.0 MB, over its budget of 50 MB"]),
        ({"slope": 0.6}, ["calibration slope 0.60 is further than 0.2 from 1"]),
        ({"slope": np.nan, "latency_p95_ms": 7.2}, ["calibration slope nan", "7.20 ms"]),
    ],
)
def test_budgets_hold_for_the_first_champion_too(old, changes, sentences):
    gate = GATE.model_copy(update={"max_calibration_error": 0.2})
    assert decide(paired(BETTER, old), gate).outcome == "promote"
    decision = decide(paired(BETTER, old), gate, **changes)
    assert decision.outcome == "keep"
    assert all(sentence in decision.reason for sentence in sentences)


def test_promotion_waits_for_a_person_where_the_policy_says_so():
    gate = GATE.model_copy(update={"needs_approval": True})
    rows = paired(BETTER, GOOD)
    assert decide(rows, gate).outcome == "awaiting_approval"
    assert decide(rows, gate, approved=True).outcome == "promote"
    assert decide(rows, gate, approved=True, latency_p95_ms=9).outcome == "keep"


@pytest.mark.parametrize("old", [None, GOOD])
@pytest.mark.parametrize("positives", [0, 1, 12])
def test_a_class_that_is_nearly_absent_is_too_few_data(old, positives):
    rows = paired(GOOD, old, n=500, rate=0.0)
    labels = rows.units.labels.copy()
    labels[:positives] = 1
    decision = decide(answered(rows, labels=labels), Gate(metric="roc_auc", floor=0.0))
    assert decision.outcome in {"too_few_data", "keep"}
    assert decision.required_rows == (-(-500 * 30 // positives) if positives else None)
    if decision.outcome == "keep":
        assert decision.effect.high < 0
    else:
        assert f"Only {positives} of 500 judged rows" in decision.reason


def test_a_perfect_champion_cannot_be_improved():
    rows = paired(GOOD, GOOD, n=400)
    labels = rows.units.labels
    assert decide(answered(rows, champion=labels)).outcome == "keep"
    assert decide(answered(rows, champion=labels, challenger=labels)).outcome == "keep"


def test_the_same_arguments_give_the_same_decision_and_slices_do_not_meddle():
    guard = (Guardrail(metric="roc_auc", slice="slice_hard"),)
    gate = GATE.model_copy(update={"guardrails": guard})
    rows = paired(BETTER, GOOD)
    assert decide(rows, gate) == decide(rows, gate)
    assert decide(rows, gate, seed=1).effect != decide(rows, gate).effect
    more = decide(rows, gate.model_copy(update={"guardrails": (Guardrail(metric="brier"), *guard)}))
    assert more.guardrails[-1].p_value == decide(rows, gate).guardrails[0].p_value
    assert more.effect == decide(rows, gate).effect


def test_roles_swapped_the_evidence_is_mirrored():
    rows = paired(BETTER, GOOD)
    there = decide(rows)
    units = rows.units
    back = decide(answered(rows, challenger=units.champion, champion=units.challenger))
    assert back.tests[0].statistic == pytest.approx(-there.tests[0].statistic)
    assert back.tests[0].p_value == pytest.approx(1 - there.tests[0].p_value)


def broken(**changes):
    return answered(paired(BETTER, GOOD, n=300), **changes)


def misplaced(**changes):
    return paired(BETTER, GOOD, n=300)._replace(**changes)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (broken(challenger=np.full(300, np.nan)), "300 scores are NaN"),
        (broken(champion=np.full(300, np.inf)), "300 scores are NaN or infinite"),
        (broken(champion=np.zeros(299)), "equally long"),
        (broken(labels=np.full(300, 2.0)), "300 labels are neither 0 nor 1"),
        (misplaced(tenants=np.array(["a"])), "1 tenants for 300 rows"),
        (misplaced(slices={"slice_hard": np.ones(300)}), "must be 300 booleans"),
        (misplaced(slices={"slice_hard": np.ones(3, bool)}), "must be 300 booleans"),
    ],
)
def test_bad_rows_are_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        decide(rows)


def test_bad_policies_and_cards_are_refused():
    rows = paired(BETTER, GOOD, n=300)
    guard = (Guardrail(metric="roc_auc", slice="slice_soft"),)
    with pytest.raises(ValueError, match=r"'slice_soft', but the holdout has .*slice_hard"):
        decide(rows, GATE.model_copy(update={"guardrails": guard}))
    with pytest.raises(ValueError, match="max_calibration_error"):
        decide(rows, Gate(metric="calibration_slope", floor=1))
    with pytest.raises(ValueError, match=r"cannot test \['auc'\]"):
        decide(rows, Gate(metric="auc", floor=1))
    with pytest.raises(ValueError, match="over 299 rows, the paired scores over 300"):
        gates.decide("risk/x", GATE, rows, card("new", 299), card("old", 300))
    with pytest.raises(ValueError, match="or neither"):
        gates.decide("risk/x", GATE, rows, card("new", 300), None)
