"""Guardrails on measures: robustness, fairness and cost, with and without intervals."""

import numpy as np
import pytest

from models.contracts.product import Gate, Guardrail
from models.contracts.results import Measure, Scorecard
from models.core import gates, guardrails
from models.core.slices import Scores


def measure(value, half=0.0, higher=True):
    return Measure(
        title="area under attack", value=value, low=value - half, high=value + half,
        higher_is_better=higher,
    )  # fmt: skip


def judge(new, old=None, **rule):
    guardrail = Guardrail(metric="attack.homoglyph", **rule)
    before = None if old is None else {"attack.homoglyph": old}
    return guardrails.judge_measure(guardrail, {"attack.homoglyph": new}, before)


@pytest.mark.parametrize(
    ("new", "old", "max_loss", "status"),
    [
        # errors of shares: 0.30 against 0.20; at best 0.28 against at worst 0.22 * (1 + max_loss)
        (measure(0.70, 0.02), measure(0.80, 0.02), 0.05, "violated"),
        (measure(0.70, 0.02), measure(0.80, 0.02), 0.30, "passed"),
        (measure(0.70, 0.05), measure(0.80, 0.05), 0.05, "passed"),
        (measure(0.70), measure(0.80), 0.49, "violated"),
        (measure(0.70), measure(0.80), 0.51, "passed"),
        (measure(0.85, 0.02), measure(0.80, 0.02), 0.0, "passed"),
        # lower is better: a gap of 0.3 at best against 0.12 at worst
        (measure(0.32, 0.02, higher=False), measure(0.10, 0.02, higher=False), 1.0, "violated"),
        (measure(0.10, 0.02, higher=False), measure(0.32, 0.02, higher=False), 0.0, "passed"),
        # higher is better, above 1: 50 rows/s against 100 is twice the time per row
        (measure(50.0), measure(100.0), 0.9, "violated"),
        (measure(50.0), measure(100.0), 1.1, "passed"),
        # a signed measure has no error to compare
        (measure(-0.3, higher=False), measure(-0.5, higher=False), 0.0, "passed"),
    ],
)
def test_a_measure_is_judged_by_the_ends_of_its_intervals(new, old, max_loss, status):
    assert judge(new, old, max_loss=max_loss).status == status


def test_what_is_written_down():
    found = judge(measure(0.70, 0.02), measure(0.80, 0.02))
    assert (found.challenger, found.champion, found.slice) == (0.70, 0.80, "overall")
    assert found.relative_loss == pytest.approx(0.5)
    assert (found.p_value, found.adjusted_p) == (None, None)
    assert "area under attack goes from 0.8 [0.78, 0.82] to 0.7 [0.68, 0.72]" in found.reason


def test_a_floor_needs_no_champion():
    assert judge(measure(0.7), floor=0.8).status == "violated"
    assert judge(measure(0.9), floor=0.8).status == "passed"
    assert judge(measure(np.nan), floor=0.8).status == "too_few_rows"
    assert judge(measure(0.8), measure(np.nan)).status == "passed"
    assert judge(measure(0.2, higher=False), floor=0.1).status == "violated"
    assert "misses its floor 0.1" in judge(measure(0.2, higher=False), floor=0.1).reason
    assert judge(measure(0.7)).status == "passed"


def test_two_equal_models_are_seldom_blamed():
    """Independent normal estimates of one truth: 1 % by calculation, P(z > 1.645 * sqrt 2)."""
    generator, blamed, runs = np.random.default_rng(0), 0, 4000
    for new, old in 0.8 + 0.01 * generator.standard_normal((runs, 2)):
        half = 1.645 * 0.01
        blamed += judge(measure(new, half), measure(old, half), max_loss=0.0).status == "violated"
    assert 0.005 < blamed / runs < 0.016


def card(name, **measures):
    named = {f"attack.{key}": value for key, value in measures.items()}
    return Scorecard(
        candidate_id=name, trial=name, metrics={}, rows={"overall": 400}, positives={},
        latency_p50_ms=1, latency_p95_ms=1, size_bytes=1, importance={}, measures=named,
    )  # fmt: skip


def decide(challenger, rule):
    labels = (np.arange(400) % 2).astype(float)
    scores = Scores(labels, np.clip(labels, 0.1, 0.9), None, (0.5, 0.5))
    gate = Gate(metric="roc_auc", floor=0.5, guardrails=(rule,))
    return gates.decide(
        "a/b",
        gate,
        gates.Paired(scores, np.array(["t"] * 400), {}),
        challenger,
        None,
        replicates=50,
    )


def test_the_gate_takes_one_line_per_measure():
    rule = Guardrail(metric="attack.homoglyph", floor=0.8)
    assert decide(card("c", homoglyph=measure(0.85)), rule).outcome == "promote"
    blocked = decide(card("c", homoglyph=measure(0.75)), rule)
    assert blocked.outcome == "keep"
    assert "area under attack is 0.75 and misses its floor 0.8" in blocked.reason
    assert blocked.guardrails[0].status == "violated"


def test_a_measure_that_nobody_took_is_named():
    with pytest.raises(
        ValueError, match=r"'attack.homoglyph', but the scorecard has \['attack.swap'\]"
    ):
        decide(card("c", swap=measure(0.9)), Guardrail(metric="attack.homoglyph"))
    with pytest.raises(ValueError, match="knows no slices"):
        decide(card("c"), Guardrail(metric="attack.homoglyph", slice="tenant"))
