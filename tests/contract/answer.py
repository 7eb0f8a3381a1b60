"""Serves one artifact inside this process, without a server, and prints what it answers.

A process of its own, because BentoML fixes its home and a service its product when it is imported.
Run as ``python -m tests.contract.answer``; the request is JSON on stdin, the answers on stdout.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx


def service(request: dict[str, Any]) -> Any:
    """The contract's service with the arguments that a bento of this product has baked in."""
    import bentoml
    from bentoml._internal.utils.args import set_arguments  # what `bentoml serve --arg` calls

    from bentos.runtime import ARTIFACT

    tag = f"{request['slug']}:contract"
    with bentoml.models.create(tag) as model:
        shutil.copytree(request["artifact"], model.path_of(ARTIFACT))
    set_arguments({"product": request["product"], "model": tag, "version": "v20260101_000000"})
    module = __import__(f"bentos.{request['contract']}.service", fromlist=["SERVICE"])
    return module.SERVICE


@asynccontextmanager
async def started(app: Any) -> AsyncIterator[None]:
    """The application after its start and before its end, as its server runs it."""
    told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    said: asyncio.Queue[Any] = asyncio.Queue()
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    serving = asyncio.create_task(app(scope, told.get, said.put))
    for stage in ("startup", "shutdown"):
        await told.put({"type": f"lifespan.{stage}"})
        message = await said.get()
        assert message["type"] == f"lifespan.{stage}.complete", message
        if stage == "startup":
            yield
    await serving


async def ask(app: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Every body of the request posted to ``/predict``, after start-up and before shut-down."""
    async with started(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://inside") as client:
            health = (await client.get("/health")).json()
            answers = [await client.post("/predict", json=body) for body in request["bodies"]]
    told = [{"status": answer.status_code, "json": answer.json()} for answer in answers]
    return {"health": health, "answers": told}


if __name__ == "__main__":
    given = json.load(sys.stdin)
    sys.stdout.write(json.dumps(asyncio.run(ask(service(given).to_asgi(), given))))
