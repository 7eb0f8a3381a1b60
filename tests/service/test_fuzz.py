"""A hundred requests that schemathesis makes of a service's own document; thousands are asked by
``benchmarks/fuzz_routes.py``."""

from __future__ import annotations

from pathlib import Path

from stores.deployer import Rollout
from tests.service.fuzzing import fuzz
from tests.service.site import TENANTS


def test_whatever_is_asked_is_answered_as_the_document_says(served: Rollout, tmp_path: Path):
    found = fuzz(
        served.url, tmp_path, tenants=TENANTS, examples=60, seed=1, phases="fuzzing",
        only="predict|outcome",
    )  # fmt: skip
    assert found.failures == []
    assert found.broken == 0
    assert found.cases >= 100
    assert found.statuses["POST /predict", 200] >= 5, "of a valid request nothing else is learned"
    assert found.statuses["POST /predict", 400] >= 5
    assert found.statuses["POST /outcome", 202] >= 1
