"""`assay demo`: the chain once, real requests, then the loop: drift that hurts and drift that not.

Prints what it shows and why; leaves nothing running. The loop's events are generated
(``orchestration.rehearsal``), so it is shown on generated data only, and once per home.
"""

from __future__ import annotations

import json
import time
from textwrap import shorten
from typing import Any

import httpx
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gateway.headers import SERVICE_TOKEN
from models.contracts.api import GoldenSet
from models.contracts.product import TENANT, ModelProduct
from models.contracts.traffic import PURPOSE_HEADER
from models.registry import products
from orchestration.console import plan_table, product_table
from orchestration.definitions import defs
from orchestration.demo_loop import show_loop
from orchestration.loop import Site
from orchestration.resources import build_deployer, build_router
from orchestration.running import execute, instance, stale
from orchestration.settings import Settings
from stores import gateway_store
from stores.key_store import service_token
from stores.ledger import Ledger
from stores.router_process import RouterError

#: Values of a row, an answer or a list that are shown.
SHOWN = 6
_FOLLOW_SECONDS = 5.0


def run_demo(settings: Settings, out: Console) -> int:
    """Materialise what changed, serve, ask, print; then the loop, where it was not shown yet.

    Returns:
        Exit status: 0 when every product serves and answered, and the loop did what it should.
    """
    begun = time.perf_counter()
    out.print(f"home {settings.home_paths().root}, raw data from {settings.data_origin().chosen()}")
    deployer = build_deployer(settings)
    # any port: the usual one may be that of a platform that runs
    router = build_router(settings.model_copy(update={"port": 0}))
    try:
        out.print(f"front door {router.start().url}")
        with instance(settings) as found:
            site = Site(defs(), found, settings, deployer)
            ok = _chain(site, out) and show_loop(site, out)
        for product in products():
            out.print(product_table(product, settings))
    finally:
        router.stop()
        for product in products():
            deployer.stop(product)
    out.print(f"{time.perf_counter() - begun:.0f} s; every service was stopped.")
    out.print("Next: `make up` for the UI; `assay explain risk/sync_conflict` for the record")
    return 0 if ok else 1


def _chain(site: Site, out: Console) -> bool:
    """Raw data to champions that answer."""
    reasons = stale(site.definitions, site.instance, site.settings, None)
    out.print(plan_table(reasons))
    if reasons and not execute(site.definitions, site.instance, list(reasons)).success:
        out.print("[red]the run failed; the messages above say at which step[/red]")
        return False
    served = [_ask(product, site.settings, out) for product in products()]
    out.print(f"{sum(served)} of {len(served)} products serve and answer.")
    return all(served)


def _ask(product: ModelProduct, settings: Settings, out: Console) -> bool:
    """Send a few held-out rows through the front door and show what is answered."""
    from assets.stages.kept import find_candidate_file
    from assets.stages.service import roll_out

    home = settings.home_paths()
    deployer = build_deployer(settings)
    release = Ledger(home.ledger(product)).current()
    if release is None:
        out.print(f"{product.key}: the gate let nothing through")
        return False
    if deployer.current(product) is None:
        roll_out(product, home, deployer, out.print)
    url = _front_door(product, settings)
    folder = home.evaluation(product, release.evaluation_id)
    text = find_candidate_file(folder, "golden", release.candidate_id).read_text()
    rows = GoldenSet.model_validate_json(text).rows[:3]
    # golden rows of long ago: answered and logged, and no traffic
    token = service_token(home).read_text(encoding="ascii")
    golden = {PURPOSE_HEADER: "golden", SERVICE_TOKEN.decode(): token}
    answer = httpx.post(f"{url}/predict", json={"rows": rows}, headers=golden, timeout=60)
    answer.raise_for_status()
    table = Table("asked", "answered", title=f"POST {url}/predict", title_justify="left")
    for row, prediction in zip(rows, answer.json()["predictions"], strict=True):
        table.add_row(escape(_short(row)), escape(_short(prediction)))
    out.print(table)
    refused = httpx.post(
        f"{url}/predict", json={"rows": [{**rows[0], TENANT: 5}]}, headers=golden, timeout=60
    )
    out.print(f"a wrong type answers {refused.status_code}: {json.dumps(refused.json())[:160]}")
    return refused.status_code == httpx.codes.BAD_REQUEST


def _front_door(product: ModelProduct, settings: Settings) -> str:
    """The product's address at the router, once that follows the newest table."""
    home = settings.home_paths()
    table = gateway_store.read_table(home)
    gateway_store.acknowledged(home, table.generation, _FOLLOW_SECONDS)
    running = build_router(settings).current()
    if running is None:
        raise RouterError(f"the router ended; see {home.gateway}/router.log")
    return f"{running.url}/v1/{product.key}"


def _short(said: dict[str, Any]) -> str:
    """The first few values of a row or an answer, ids left out."""
    shown = {name: value for name, value in said.items() if not name.endswith("_id")}
    return ", ".join(f"{name} {_value(value)}" for name, value in list(shown.items())[:SHOWN])


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, list):
        return f"[{', '.join(_value(one) for one in value[:SHOWN])}]"
    if isinstance(value, dict):
        inner = (f"{name} {_value(one)}" for name, one in value.items())
        return f"({', '.join(inner)})"
    return shorten(str(value), 60, placeholder=" ...")
