"""The admin HTTP service: versions, best, performance, rollback, rollouts, alerts. Loopback.

A thin face of ``operations``; who may call it and who did is ``admin_access``'s affair. The pages
of evaluations and incidents are handed out to everybody: they are what links in the UI point to.
It also sweeps for alerts, because a dead daemon cannot report itself, and drives rollouts.
"""

from __future__ import annotations

import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from gateway import redact
from gateway.errors import Refused
from gateway.guard import request_id
from models.core.regression import judge_regression
from models.registry import ProductError
from orchestration import admin_rollouts, operations
from orchestration.admin_access import (
    Access,
    OutOfScopeError,
    permitted,
    require_all_products,
)
from orchestration.admin_bodies import BodyError, ProductBody, parsed
from orchestration.pages import page_routes
from orchestration.settings import Settings
from orchestration.watch import EVERY_SECONDS, watch
from stores.deployer import RolloutError
from stores.gateway_store import TableError
from stores.home import MissingError
from stores.ledger import LedgerError
from stores.rollout_journal import JournalError

if TYPE_CHECKING:
    from stores.alerts import Alerts

Answer = tuple[int, Any]
#: A sweep that is sending is not waited for longer.
_END_SECONDS = 5.0


class RollbackBody(ProductBody):
    """``version_id`` None means the release that served before; a later one goes forward."""

    version_id: str | None = None
    reason: str = Field(default="by admin request", max_length=500)
    by: str | None = Field(default=None, min_length=1, max_length=200)


class ApproveBody(ProductBody):
    """Who approves the challenger that waits."""

    by: str = Field(min_length=1, max_length=200)


class PerformanceBody(ProductBody):
    """Realised metrics of the current release."""

    metrics: dict[str, float] = Field(min_length=1, max_length=50)


class AutoRollbackBody(ProductBody):
    """What traffic shows of the current release."""

    metric: str = "accuracy"
    current: float = Field(ge=0, le=1)
    rows: int = Field(ge=1)
    degradation_threshold: float = Field(default=0.05, ge=0, lt=1)


def build_app(settings: Settings, sweep_seconds: float = EVERY_SECONDS) -> Starlette:
    """The ASGI application; every route answers JSON, and errors say what to do.

    Args:
        settings: Where everything is.
        sweep_seconds: Seconds between two sweeps for alerts; none comes at once.
    """
    access = Access(settings.home_paths())

    def route(path: str, method: str, act: Callable[[Settings, Any], Answer]) -> Route:
        async def endpoint(request: Request) -> JSONResponse:
            name = request_id(request.headers.get("x-request-id", "").encode())
            try:
                call, body = await access.enter(request)
            except Refused as refusal:
                answer = _error(refusal.status, str(refusal))
                answer.raw_headers.extend(refusal.headers)
            else:
                data = request.query_params if method == "GET" else body
                answer = await _answer(act, settings, data)
                status = answer.status_code
                await run_in_threadpool(access.note, call, request, body, status, name)
            answer.headers["x-request-id"] = name
            return answer

        return Route(path, endpoint, methods=[method])

    return Starlette(
        routes=[
            route("/models/versions", "GET", versions),
            route("/models/best", "GET", best),
            route("/models/rollback", "POST", rollback),
            route("/models/approve", "POST", approve),
            route("/models/performance", "POST", performance),
            route("/models/auto-rollback", "POST", auto_rollback),
            route("/rollouts", "GET", admin_rollouts.listed),
            route("/rollouts/start", "POST", admin_rollouts.start),
            route("/rollouts/abort", "POST", admin_rollouts.abort),
            route("/rollouts/promote", "POST", admin_rollouts.promote),
            route("/rollouts/override", "POST", admin_rollouts.override),
            route("/rollouts/flag", "POST", admin_rollouts.flag),
            route("/alerts", "GET", alerts),
            *page_routes(settings),
            Route("/alerts/{incident}/{name}", _incident_file(settings)),
        ],
        lifespan=_watching(settings, sweep_seconds),
    )


def app() -> Starlette:
    """The application with the environment's settings (`uvicorn --factory`)."""
    redact.install()
    return build_app(Settings())


def versions(settings: Settings, query: Any) -> Answer:
    """``GET /models/versions?product=``: every release with its figures, newest first."""
    found = operations.versions(permitted(query.get("product", "")), settings)
    return 200, [version.model_dump(mode="json") for version in found]


def best(settings: Settings, query: Any) -> Answer:
    """``GET /models/best?product=&metric=``: releases whose interval reaches the best value."""
    product = permitted(query.get("product", ""))
    metric = query.get("metric", product.gate.metric)
    found = operations.best(product, settings, metric)
    return 200, [version.model_dump(mode="json") for version in found]


def rollback(settings: Settings, body: bytes) -> Answer:
    """``POST /models/rollback``: serve another release, back or forward, with a ledger entry."""
    asked = parsed(RollbackBody, body)
    done = operations.go_to(
        permitted(asked.product), settings, asked.version_id, asked.reason, _quiet, by=asked.by
    )
    return 200, done.model_dump(mode="json")


def approve(settings: Settings, body: bytes) -> Answer:
    """``POST /models/approve``: a named person's word for the challenger that waits."""
    asked = parsed(ApproveBody, body)
    entry = operations.approve(permitted(asked.product), settings, asked.by)
    return 200, entry.model_dump(mode="json")


def performance(settings: Settings, body: bytes) -> Answer:
    """``POST /models/performance``: record realised metrics beside the release."""
    asked = parsed(PerformanceBody, body)
    release = operations.record_performance(permitted(asked.product), settings, asked.metrics)
    return 200, {"version": release.version, "recorded": sorted(asked.metrics)}


def auto_rollback(settings: Settings, body: bytes) -> Answer:
    """``POST /models/auto-rollback``: go back when the drop is large and statistically proven."""
    asked = parsed(AutoRollbackBody, body)
    product = permitted(asked.product)
    serving = [v for v in operations.versions(product, settings) if "champion" in v.aliases]
    if not serving or asked.metric not in serving[0].metrics:
        raise LedgerError(f"{product.key}: no release was measured by {asked.metric!r}")
    verdict = judge_regression(
        asked.metric,
        serving[0].metrics[asked.metric][0],
        asked.current,
        asked.rows,
        threshold=asked.degradation_threshold,
        alpha=product.gate.alpha,
    )
    answer: dict[str, Any] = {"verdict": verdict.model_dump(), "rollout": None}
    if verdict.degraded:
        done = operations.go_to(product, settings, None, verdict.reason, _quiet)
        answer["rollout"] = done.model_dump(mode="json")
    return 200, answer


def alerts(settings: Settings, query: Any) -> Answer:
    """``GET /alerts?open=1&limit=``: incidents, newest first, with who was told."""
    from stores.alerts import Alerts

    require_all_products()
    table = Alerts(settings.home_paths().alerts)
    limit = int(query.get("limit", 100))
    found = table.incidents(open_only=query.get("open", "") in ("1", "true"), limit=limit)
    return 200, [
        incident.model_dump(mode="json")
        | {"next_step": incident.next_step, "told": _told(table, incident.id)}
        for incident in found
    ]


def _told(table: Alerts, identity: str) -> dict[str, str | None]:
    """Notifier to when it took the message, None while it has not."""
    return {
        one.notifier: one.delivered_at.isoformat() if one.delivered_at else None
        for one in table.deliveries(identity)
    }


def _incident_file(settings: Settings) -> Callable[[Request], Awaitable[Response]]:
    """Hands out an incident's two files; not the folder, in which the alert table lies too."""
    from stores.reports.incident import HTML_NAME, JSON_NAME

    folder = settings.home_paths().alerts

    async def endpoint(request: Request) -> Response:
        identity, name = request.path_params["incident"], request.path_params["name"]
        path = folder / identity / name
        known = re.fullmatch(r"[0-9a-z-]+", identity) and name in (HTML_NAME, JSON_NAME)
        if not known or not path.is_file():
            return _error(404, "no such report; `assay alerts` lists the incidents")
        return FileResponse(path)

    return endpoint


def _watching(
    settings: Settings, seconds: float
) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    """Sweeps, and drives rollouts, each in a thread for as long as the service runs."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        ended = threading.Event()
        threads = [
            threading.Thread(target=watch, args=(settings, ended, seconds), daemon=True),
            threading.Thread(target=admin_rollouts.drive, args=(settings, ended), daemon=True),
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            ended.set()
            for thread in threads:
                await run_in_threadpool(thread.join, _END_SECONDS)

    return lifespan


async def _answer(
    act: Callable[[Settings, Any], Answer], settings: Settings, data: Any
) -> JSONResponse:
    try:
        status, content = await run_in_threadpool(act, settings, data)
    except BodyError as error:
        return _error(400, "the body does not fit", error.problems)
    except ValidationError as error:
        return _error(500, f"a stored record cannot be read, the request was fine: {error}")
    except tuple(_STATUS) as error:
        kinds = (kind for kind in _STATUS if isinstance(error, kind))
        return _error(_STATUS[next(kinds)], str(error))
    return JSONResponse(content, status)


_STATUS: dict[type[Exception], int] = {
    ProductError: 404, OutOfScopeError: 403, LedgerError: 409, MissingError: 409,
    RolloutError: 503, TableError: 503, JournalError: 503, ValueError: 400,
}  # fmt: skip


def _error(status: int, message: str, detail: Any = ()) -> JSONResponse:
    return JSONResponse({"error": message, "detail": list(detail)}, status)


def _quiet(_: str) -> None:
    """Progress has no reader here; the ledger and the service's log keep it."""
