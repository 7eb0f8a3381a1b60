"""One really fitted, sealed, built and served model for the whole folder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from models.risk.sync_conflict.product import PRODUCT
from stores.deployer import Rollout
from tests.service.site import Built, Site


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("site"), PRODUCT)
    try:
        yield made
    finally:
        made.end()


@pytest.fixture(scope="session")
def first(site: Site) -> Built:
    return site.make("v20260101_000000", seed=1)


@pytest.fixture(scope="session")
def second(site: Site) -> Built:
    return site.make("v20260108_000000", seed=2)


@pytest.fixture(scope="session")
def served(site: Site, first: Built) -> Rollout:
    """The first model, serving."""
    return site.deployer().roll_out(PRODUCT, first.ref.tag, first.golden)


@pytest.fixture(scope="session")
def client(served: Rollout) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, timeout=30) as opened:
        yield opened


@pytest.fixture
def row(first: Built) -> dict[str, Any]:
    """A valid request row, the test's own copy."""
    return dict(first.golden.rows[0])
