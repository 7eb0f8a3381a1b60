"""A real service that is stopped and started: what it said before is not computed again."""

from __future__ import annotations

from pathlib import Path

import httpx

from models.recommendation.films.product import PRODUCT
from tests.service.each import make
from tests.service.site import TENANTS, Site

ROW = {"tenant": TENANTS[0], "user": "u001", "k": 3}


def test_a_restart_does_not_begin_with_misses(tmp_path: Path):
    site = Site(tmp_path, PRODUCT)
    built = make(site, "v20260101_000000")
    deployer = site.deployer()

    def asked() -> tuple[str, list[dict[str, object]]]:
        url = deployer.roll_out(PRODUCT, built.ref.tag, built.golden).url
        answer = httpx.post(f"{url}/predict", json={"rows": [ROW]})
        return answer.headers["x-assay-cache"], answer.json()["predictions"]

    try:
        state, (first,) = asked()
        assert state == "miss"
        assert deployer.stop(PRODUCT)
        state, (again,) = asked()
        assert state == "hit"
        assert again["items"] == first["items"]
        assert again["prediction_id"] != first["prediction_id"]
    finally:
        site.end()
