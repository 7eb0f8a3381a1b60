"""Puts an application of our own before BentoML's, in BentoML's own server and worker.

BentoML asks a service for its ASGI application and has no place for another in front of its router
and middlewares. ``Service`` has slots, so ``to_asgi`` cannot be replaced on the instance; its class
can. Tried with BentoML 1.4.39; ``ASSAY_FAST_LANE=0`` serves without.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from _bentoml_sdk import Service  # type: ignore[import-untyped]  # BentoML is untyped
from bentoml._internal import server

from gateway.lane import App

#: What BentoML answers by itself: probes, figures, what its client wants, and a page of its own.
PASSED = frozenset(
    {"/", "/livez", "/readyz", "/healthz", "/metrics", "/schema.json"}
    | {
        f"/static_content/{file.name}"
        for file in (Path(server.__file__).parent / "static_content").iterdir()
    }
)


class LaneService(Service[Any]):  # type: ignore[misc]  # see above
    """A service whose application stands behind another."""

    __slots__ = ()

    @staticmethod
    def front(app: App) -> App:
        """The application before BentoML's; `wrap` gives it."""
        return app

    def to_asgi(self, is_main: bool = True) -> Any:
        """What the worker serves."""
        return self.front(super().to_asgi(is_main))


def wrap(service: Service[Any], front: Callable[[App], App]) -> Service[Any]:
    """Put an application before a service's own.

    Args:
        service: Changed, and returned.
        front: Takes BentoML's application; gets every request, and the start and the end.
    """
    body = {"__slots__": (), "front": staticmethod(front)}
    service.__class__ = type(LaneService.__name__, (LaneService,), body)
    return service
