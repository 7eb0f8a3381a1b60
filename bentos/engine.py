"""One release in memory: its verified model, the threads that ask it, and what it answers.

Belongs here: what the engines of all contracts share. Each contract has its own in
``bentos/<contract>/engine.py``. Knows no HTTP, no BentoML and no log.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from bentos.limits import cores, memory_bytes
from bentos.runtime import THREADS, Runtime
from gateway.asked import Asked
from gateway.errors import StartError
from gateway.ports import Answered, Wrong

MODELS = "ASSAY_MODEL_MB"
#: Of the memory there is, for engines; the rest is for the process, requests and the cache.
_MODEL_SHARE = 0.6
#: Rows of a wrong request that are named.
_NAMED = 10


class Engine(ABC):
    """A release that answers.

    Attributes:
        runtime: The model.
        bytes: Memory it takes, as far as it was seen; who loads it notes it.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.bytes = 0

    @abstractmethod
    async def answer(self, request: Any, asked: Asked) -> Answered:
        """Ask the model.

        Args:
            request: Of the contract's request type.
            asked: Says how long and for what.

        Raises:
            Wrong: The request is none for this model.
            Shed: Too much waits.
            Late: The deadline passed.
        """

    @abstractmethod
    def warm_up(self) -> None:
        """Ask for everything once that is slow the first time; blocks."""

    @abstractmethod
    def close(self) -> None:
        """End its threads; what it still computes is late."""

    def known(self, rows: Sequence[Any]) -> None:
        """Refuse rows of tenants the model was not trained for; no known one is told.

        Raises:
            Wrong: There are some.
        """
        if strangers := self.runtime.unknown_tenants(rows):
            raise wrong_rows(
                strangers, "tenant", "unknown tenant: the model was not trained for it"
            )

    def answered(
        self, response: BaseModel, rows: Sequence[Any], inputs: Any, **more: Any
    ) -> Answered:
        """What is logged and sent.

        Args:
            response: See ``Answered``.
            rows: See ``Answered``.
            inputs: See ``Answered``.
            **more: Its digests and what the cache had, where the contract has these.
        """
        return Answered(response, rows, inputs, version=self.runtime.version, **more)


def bad_request(message: str, **more: Any) -> Wrong:
    """A 400 of our own, in the form of all others."""
    return Wrong(400, {"error": message, **more})


def wrong_rows(positions: Sequence[int], field: str, message: str) -> Wrong:
    """A 400 that names the first ten rows it is about."""
    detail = [{"loc": ["rows", place, field], "msg": message} for place in positions[:_NAMED]]
    return bad_request(message, detail=detail)


def lanes(environment: Mapping[str, str] = os.environ) -> int:
    """Threads that ask a model: as many as ``ASSAY_THREADS`` says, else one per core.

    Raises:
        StartError: The variable holds no whole number above 0.
    """
    return _whole(environment, THREADS, str(cores()), "give the threads of a service, at least 1")


def model_bytes(environment: Mapping[str, str] = os.environ) -> int:
    """Memory for the engines of one process together, by ``ASSAY_MODEL_MB``.

    Raises:
        StartError: The variable holds no whole number above 0.
    """
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    usual = int(_MODEL_SHARE * min(machine, memory_bytes() or machine)) // 1_000_000
    megabytes = _whole(environment, MODELS, str(usual), "give the models' memory in megabytes")
    return megabytes * 1_000_000


def _whole(environment: Mapping[str, str], name: str, default: str, wanted: str) -> int:
    text = environment.get(name, "") or default
    if not text.isdecimal() or int(text) == 0:
        raise StartError(f"{name} is {text!r}; {wanted}")
    return int(text)
