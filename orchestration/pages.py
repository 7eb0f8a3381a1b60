"""What the admin service shows without a token: status, monitoring, evaluations, gauges.

They are what links in the Dagster UI point to (a browser opens no local file from a web page), and
what Prometheus reads: gauges, and where the services are. Loopback only, like the rest of the admin
service.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from orchestration.settings import Settings

if TYPE_CHECKING:
    from stores.reports.status_page import StatusData

#: Folders of the home that are shown, and the command that fills each.
_NO_ROLLOUT = "there is no such rollout; `assay rollout status` lists those there are\n"
SHOWN = {"evaluations": "assay run", "monitoring": "assay monitor", "status": "assay monitor"}


class _Folder(StaticFiles):
    """A folder that may not be there yet; what is missing names the command that makes it."""

    def __init__(self, folder: Path, maker: str) -> None:
        super().__init__(directory=folder, check_dir=False)
        self.config_checked = True  # the check raises for a home where nothing ran yet
        self._maker = maker

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except HTTPException as error:
            if error.status_code != 404:
                raise
            told = f"nothing is here; `{self._maker}` makes what this place shows\n"
            await PlainTextResponse(told, 404)(scope, receive, send)


def page_routes(settings: Settings) -> list[BaseRoute]:
    """``/`` (the status page as of now), a folder of the home per page, and Prometheus's two."""
    from stores.dashboards import TARGETS_PATH

    async def first(_: Request) -> Response:
        return HTMLResponse(await run_in_threadpool(status_page, settings))

    async def metrics(_: Request) -> Response:
        text = await run_in_threadpool(platform_metrics, settings)
        return Response(text, media_type="text/plain; version=0.0.4")

    async def targets(_: Request) -> Response:
        return JSONResponse(await run_in_threadpool(services, settings))

    root = settings.home_paths().root

    async def rollout(request: Request) -> Response:
        found = await run_in_threadpool(rollout_page, settings, **request.path_params)
        return HTMLResponse(found) if found else PlainTextResponse(_NO_ROLLOUT, 404)

    mounts = [Mount(f"/{name}", _Folder(root / name, maker)) for name, maker in SHOWN.items()]
    own = [Route("/", first), Route("/metrics", metrics), Route(TARGETS_PATH, targets)]
    return [*own, Route("/rollouts/{slug}/{rollout_id}/report.html", rollout), *mounts]


def status_page(settings: Settings) -> str:
    """The page of the asset ``status``, drawn now: monitoring redraws its file every six hours."""
    from stores.reports.status_page import render

    return render(_gathered(settings))


def rollout_page(settings: Settings, slug: str, rollout_id: str) -> str | None:
    """A rollout's page, drawn now; None where there is none."""
    from models.registry import products
    from orchestration.rollout_report import gather
    from stores.ledger import LedgerError
    from stores.reports.rollout_page import render

    for product in products():
        if product.slug == slug:
            try:
                return render(gather(product, settings.home_paths(), rollout_id))
            except LedgerError:
                return None
    return None


def platform_metrics(settings: Settings) -> bytes:
    """Runs, incidents, rollouts and the products' newest windows, as Prometheus reads them."""
    from models.registry import products
    from orchestration.gauges import exposition
    from orchestration.rollout_gauges import rollouts

    data = _gathered(settings)
    still = [one for one in data.incidents if one.closed_at is None]
    under_way = rollouts(settings.home_paths(), products())
    return exposition(data.products, still, data.runs, under_way)


def services(settings: Settings) -> list[dict[str, Any]]:
    """Where the services of this machine are, as ``http_sd_configs`` of Prometheus reads it."""
    from models.registry import products
    from orchestration.resources import build_deployer

    deployer = build_deployer(settings)
    found = {product.key: deployer.current(product) for product in products()}
    return [
        {"targets": [one.url.partition("://")[2]], "labels": {"service": key}}
        for key, one in found.items()
        if one
    ]


def _gathered(settings: Settings) -> StatusData:
    from assets.status import gather
    from models.registry import products
    from orchestration.resources import build_deployer
    from orchestration.running import instance

    with instance(settings) as found:
        return gather(products(), settings.home_paths(), build_deployer(settings), found)
