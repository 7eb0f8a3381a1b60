"""What the gateway needs of whatever answers, in this process or in another. Types only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from pydantic import BaseModel

from gateway.asked import Asked
from gateway.traffic_log import TrafficLog
from models.contracts.api import Answer
from models.contracts.learner import Matrix
from models.contracts.routing import RoutingTable

Headers = tuple[tuple[bytes, bytes], ...]
Path = Literal["predict", "outcome", "health"]

#: Header of a 5xx whose cause is this answerer, so that another may be asked: ``model`` or
#: ``late``. A 503 without it says "not now", and another would say the same.
FAULT_HEADER = b"x-assay-fault"


#: After the version of a release: the simple model that is packed beside it.
BASELINE = "-baseline"


class Reply(NamedTuple):
    """One HTTP answer."""

    status: int
    headers: Headers
    body: bytes


class Call(NamedTuple):
    """One request to one release of a product.

    Attributes:
        query: As it came, without the question mark.
        body: JSON, not parsed yet.
    """

    product: str
    version: str
    path: Path
    query: bytes
    body: bytes
    asked: Asked


class Unreachable(Exception):  # noqa: N818 - a state of the other side
    """A release that did not answer at all."""


class Backend(Protocol):
    """What the gateway asks: engines in this process, or services behind it."""

    async def ask(self, call: Call) -> Reply:
        """The release's answer; a 5xx with `FAULT_HEADER` is its own fault.

        Raises:
            Unreachable: It did not answer.
        """
        ...

    def follow(self, table: RoutingTable) -> None:
        """Take a new table; must not block."""
        ...

    async def close(self) -> None:
        """Let go of everything, after the last answer."""
        ...


class Wrong(Exception):  # noqa: N818 - the client's fault, not ours
    """A request that this model cannot be asked.

    Attributes:
        status: 4xx.
        body: JSON, with ``error``.
    """

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        super().__init__(body["error"])
        self.status, self.body = status, body


class Shed(Exception):  # noqa: N818 - a decision
    """More waits than can be answered in time.

    Attributes:
        seconds: After which it may be tried again.
        reason: What there is too little of: ``queue`` or ``memory``.
    """

    def __init__(self, seconds: int, reason: Literal["queue", "memory"] = "queue") -> None:
        super().__init__(f"no room in {reason}; try again in {seconds} s")
        self.seconds, self.reason = seconds, reason


class Late(Exception):  # noqa: N818 - a decision
    """The deadline passed before the answer was there."""


class Answered(NamedTuple):
    """What a model said, not logged yet.

    Attributes:
        response: With n ``predictions``.
        rows: n validated rows.
        inputs: Shape (n, d), the product's columns.
        version: Release that answered.
        digests: See ``records.predictions``.
        cache: ``hit``, ``part`` or ``miss``; None where nothing is kept.
    """

    response: BaseModel
    rows: Sequence[Any]
    inputs: Matrix
    version: str
    digests: Sequence[str] | None = None
    cache: str | None = None

    @property
    def predictions(self) -> Sequence[Answer]:
        """Of the response."""
        told: Sequence[Answer] = self.response.predictions  # type: ignore[attr-defined]  # of every contract's
        return told


class Answers(Protocol):
    """The models of this process, as a `gateway.lane.Lane` asks them."""

    def request_type(self, product: str, version: str) -> type[BaseModel]:
        """The body of ``POST /predict``."""
        ...

    async def answer(
        self, product: str, version: str, request: BaseModel, asked: Asked
    ) -> Answered:
        """Ask a release.

        Raises:
            Wrong: The request is none for this model.
            Shed: Too much waits, or there is no room for the model.
            Late: The deadline passed.
        """
        ...

    async def health(self, product: str, version: str) -> dict[str, str]:
        """Which model answers, and whether its answers are logged."""
        ...

    def log(self, product: str, version: str) -> TrafficLog:
        """Where its answers are logged."""
        ...
