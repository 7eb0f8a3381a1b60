"""What the admin service shows without a token: status, monitoring, evaluations, gauges.

They are what links in the Dagster UI point to (a browser opens no local file from a web page), and
what Prometheus reads. Loopback only, like the rest of the admin service.
"""

from __future__ import annotations

from datetime import timedelta

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from orchestration.settings import Settings

SHOWN = ("evaluations", "monitoring", "status")


def page_routes(settings: Settings) -> list[BaseRoute]:
    """``/`` (the status page), one folder of the home per page, and ``/metrics``."""

    async def first(_: Request) -> Response:
        return RedirectResponse("/status/index.html")

    async def metrics(_: Request) -> Response:
        text = await run_in_threadpool(platform_metrics, settings)
        return Response(text, media_type="text/plain; version=0.0.4")

    root = settings.home_paths().root
    mounts = [
        Mount(f"/{name}", StaticFiles(directory=root / name, check_dir=False)) for name in SHOWN
    ]
    return [Route("/", first), Route("/metrics", metrics), *mounts]


def platform_metrics(settings: Settings) -> bytes:
    """Runs, incidents and the products' newest windows, as Prometheus reads them."""
    from assets.status import DAYS, product_status, run_counts
    from models.registry import products
    from orchestration.gauges import exposition
    from orchestration.resources import build_deployer
    from orchestration.running import instance
    from stores.alerts import Alerts
    from stores.ledger import now_utc

    home, deployer = settings.home_paths(), build_deployer(settings)
    with instance(settings) as found:
        seen = [product_status(one, home, deployer, found) for one in products()]
        runs = run_counts(found, now_utc() - timedelta(days=DAYS))
    return exposition(seen, Alerts(home.alerts).incidents(open_only=True), runs)
