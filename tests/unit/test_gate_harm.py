"""The gate's guardrails: a challenger that is better on the whole and harms somebody."""

import numpy as np

from models.contracts.product import Gate, Guardrail
from tests.unit.gate_sample import BETTER, GATE, GOOD, WEAK, answered, decide, paired


def spoilt(rows, mask):
    """A better challenger that knows nothing under the mask."""
    noise = np.random.default_rng(5).random(len(rows.units))
    return answered(rows, challenger=np.where(mask, noise, rows.units.challenger))


def test_a_better_challenger_that_breaks_a_slice_is_kept_out():
    rows = paired(BETTER + 0.8, WEAK, n=6000)
    few = np.arange(6000) % 8 == 0
    rows = spoilt(rows, few)._replace(slices={"slice_hard": few})
    assert decide(rows).outcome == "promote"
    guard = (Guardrail(metric="roc_auc", slice="slice_hard", max_loss=0.05),)
    decision = decide(rows, GATE.model_copy(update={"guardrails": guard}))
    assert (decision.outcome, decision.tests[0].p_value < 0.05) == ("keep", True)
    assert "ROC-AUC on slice_hard goes from 0.8" in decision.reason
    assert decision.guardrails[0].status == "violated"
    assert decision.guardrails[0].relative_loss > 0.5


def test_one_harmed_tenant_is_named_and_small_tenants_are_reported():
    rows = paired(BETTER + 0.8, WEAK, n=6000)
    tenants = np.where(np.arange(6000) < 40, "tiny", rows.tenants)
    rows = spoilt(rows._replace(tenants=tenants), tenants == "globex")
    guard = (Guardrail(metric="roc_auc", slice="tenant", max_loss=0.25),)
    decision = decide(rows, Gate(metric="roc_auc", floor=0.5, guardrails=guard))
    found = {result.slice.removeprefix("tenant="): result for result in decision.guardrails}
    statuses = [found[tenant].status for tenant in ("acme", "globex", "initech", "tiny")]
    assert statuses == ["passed", "violated", "passed", "too_few_rows"]
    assert found["tiny"].adjusted_p is None


def test_a_guardrail_floor_binds_without_a_champion():
    guard = (Guardrail(metric="average_precision", slice="slice_hard", floor=0.99),)
    decision = decide(paired(GOOD, None), GATE.model_copy(update={"guardrails": guard}))
    assert decision.outcome == "keep"
    assert "average precision on slice_hard is" in decision.reason
    assert "misses its floor 0.99" in decision.reason
    ceiling = (Guardrail(metric="brier", floor=0.01),)
    decision = decide(paired(GOOD, None), GATE.model_copy(update={"guardrails": ceiling}))
    assert "Brier score on overall is" in decision.reason


def test_a_loss_within_the_tolerance_is_no_harm():
    rows = paired(BETTER, GOOD)
    guards = tuple(
        Guardrail(metric=name, slice=where, max_loss=0.05)
        for name in ("roc_auc", "brier", "f1", "log_loss")
        for where in ("overall", "slice_hard", "tenant")
    )
    decision = decide(rows, GATE.model_copy(update={"guardrails": guards}))
    assert {result.status for result in decision.guardrails} == {"passed"}
    assert len(decision.guardrails) == 4 * (1 + 1 + 3)
    assert decision.outcome == "promote"
