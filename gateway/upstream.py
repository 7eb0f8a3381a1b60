"""The gateway's way to services behind it: kept connections per release, and which are out.

A request goes out once. Once more only when a *kept* connection ended before a byte of the answer:
the service had closed it while the request was on its way, and a prediction changes nothing. All
else is a failure of the release, and who answers instead is the ladder's to say.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from contextlib import suppress
from urllib.parse import urlsplit

from gateway import shedding, tracing
from gateway.headers import carried
from gateway.lane import shed
from gateway.meters import METERS
from gateway.ports import FAULT_HEADER, Call, Reply, Shed, Unreachable
from gateway.room import Room
from gateway.wire import Lost, Wire
from models.contracts.routing import RoutingTable

#: Of a release that is out, how often it is asked whether it is ready.
PROBE_SECONDS = 1.0
#: Beyond the deadline, which the service knows: it says 504 by itself, unless it hangs.
GRACE_SECONDS = 0.1
_FAILURES, _FIRST_PAUSE, _LONGEST_PAUSE = 3, 1.0, 30.0
_METHODS = {"predict": b"POST", "outcome": b"POST", "health": b"GET"}
_LOG = logging.getLogger("assay.upstream")


class HttpBackend:
    """Asks services by HTTP.

    Args:
        token: The service token, None when they ask for none.
        idle_seconds: A connection is kept so long; uvicorn closes it after 5 s.
        most: Connections to one release.
    """

    def __init__(self, token: str | None, idle_seconds: float = 4.0, most: int = 64) -> None:
        self._token, self._idle, self._most = token, idle_seconds, most
        self._releases: dict[tuple[str, str], Upstream] = {}

    async def ask(self, call: Call) -> Reply:
        """The release's answer; a 5xx with `FAULT_HEADER` is its own fault.

        Raises:
            Unreachable: It did not answer.
        """
        upstream = self._releases.get((call.product, call.version))
        if upstream is None:
            raise Unreachable(f"{call.version} of {call.product} does not run")
        name = "shadow" if call.asked.purpose == "shadow" else "upstream"
        told = {"product": call.product, "version": call.version}
        copy = tracing.begin(name, call.asked, **told)
        status = 0
        try:
            headers = [*carried(copy, self._token), *tracing.carry(copy)]
            request, left = upstream.request(call, headers), call.asked.deadline - time.monotonic()
            upstream.room.check(left, call.asked.purpose)
            reply = await upstream.ask(request, left)
            status = reply.status
        except Lost as lost:
            METERS.inc("assay_upstream_failures_total", **told, kind=lost.kind)
            raise Unreachable(f"{call.version} of {call.product} did not answer") from lost
        except TimeoutError:
            METERS.inc("assay_upstream_failures_total", **told, kind="late")
            raise Unreachable(f"{call.version} of {call.product} did not answer in time") from None
        except Out:
            METERS.inc("assay_upstream_failures_total", **told, kind="out")
            raise Unreachable(f"{call.version} of {call.product} is out") from None
        except Shed as error:
            return shed(call.product, error)
        finally:
            tracing.end(copy.trace, status)
        if status >= 500:
            _count_fault(reply, told)
        return reply

    def follow(self, table: RoutingTable) -> None:
        """Take a new table: connections to releases that stay are kept."""
        wanted = {
            (routes.product, member.version): member.url
            for routes in table.products.values()
            for member in routes.members.values()
            if member.url
        }
        for release, upstream in list(self._releases.items()):
            if wanted.get(release) != upstream.url:
                self._releases.pop(release).retire()
        for release, url in wanted.items():
            if release not in self._releases:
                self._releases[release] = Upstream(url, self._idle, self._most)

    def problems(self) -> list[str]:
        """The releases that are out."""
        return [
            f"{version} of {product} does not answer"
            for (product, version), upstream in self._releases.items()
            if upstream.health.out
        ]

    async def close(self) -> None:
        """Let go of everything."""
        for upstream in self._releases.values():
            upstream.retire()
        self._releases = {}


class Out(Exception):  # noqa: N818 - a state of the other side
    """The release failed several times in a row and is not asked for a while."""


class Health:
    """Three failures in a row take a release out, longer each time it fails again."""

    def __init__(self) -> None:
        self.out = False
        self._failures, self._pause = 0, _FIRST_PAUSE

    def good(self) -> None:
        """It answered."""
        self._failures, self._pause = 0, _FIRST_PAUSE

    def bad(self) -> float | None:
        """It did not; the seconds it is out from now on, None while it is not taken out by this."""
        self._failures += 1
        if self.out or self._failures < _FAILURES:
            return None
        self.out, pause = True, self._pause
        self._pause = min(2 * pause, _LONGEST_PAUSE)
        return pause

    def back(self) -> None:
        """It is asked again, on trial: one more failure takes it out."""
        self.out, self._failures = False, _FAILURES - 1


class Upstream:
    """The connections to one release.

    Args:
        url: Of its service.
        idle_seconds: See `HttpBackend`. Likewise ``most``.
    """

    def __init__(self, url: str, idle_seconds: float, most: int) -> None:
        self.url, self.health = url, Health()
        parts = urlsplit(url)
        self._address = parts.hostname or "", parts.port or 80
        self._host = parts.netloc.encode()
        self._idle_seconds, self.room = idle_seconds, Room(most, shedding.longest_wait())
        self._idle: list[Wire] = []  # the newest last, and used first: the rest grows old
        self._sweeper: asyncio.TimerHandle | None = None
        self._prober: asyncio.Task[None] | None = None
        self._retired = False

    def request(self, call: Call, headers: list[tuple[bytes, bytes]]) -> bytes:
        """The whole request, to be written at once."""
        query = b"?" + call.query if call.query else b""
        head = [
            b"%b /%b%b HTTP/1.1" % (_METHODS[call.path], call.path.encode(), query),
            b"host: " + self._host,
            b"content-type: application/json",
            b"content-length: %d" % len(call.body),
            *[b"%b: %b" % pair for pair in headers],
            b"\r\n",
        ]
        return b"\r\n".join(head) + call.body

    async def ask(self, request: bytes, seconds: float) -> Reply:
        """Send a request.

        Args:
            request: See `request`.
            seconds: To wait for the answer; may be infinite.

        Raises:
            Lost: There is no answer.
            TimeoutError: There is none yet.
            Out: It was not asked.
        """
        if self.health.out:
            raise Out
        if seconds <= 0:
            raise TimeoutError  # and not the release's fault
        loop = asyncio.get_running_loop()
        until = None if math.isinf(seconds) else loop.time() + seconds + GRACE_SECONDS
        async with asyncio.timeout_at(until):
            await self.room.enter()  # that many ask is no fault of the release
        try:
            async with self.room.place(), asyncio.timeout_at(until):
                reply = await self._sent(request)
        except (Lost, TimeoutError):
            self._failed()
            raise
        self.health.good()
        return reply

    def retire(self) -> None:
        """Close what is idle; what is under way ends with its answer."""
        self._retired = True
        self._sweep(everything=True)
        if self._prober is not None:
            self._prober.cancel()

    async def _sent(self, request: bytes) -> Reply:
        wire = self._kept()
        if wire is not None:
            try:
                return self._keep(wire, await wire.ask(request))
            except Lost as lost:
                if lost.kind != "reset" or lost.heard:
                    raise
        wire = await Wire.connect(*self._address)
        return self._keep(wire, await wire.ask(request))

    def _kept(self) -> Wire | None:
        oldest = asyncio.get_running_loop().time() - self._idle_seconds
        while self._idle:
            wire = self._idle.pop()
            if not wire.closed and wire.idle_since > oldest:
                return wire
            wire.close()
        return None

    def _keep(self, wire: Wire, reply: Reply) -> Reply:
        if self._retired:
            wire.close()
        elif not wire.closed:
            self._idle.append(wire)
            if self._sweeper is None:
                loop = asyncio.get_running_loop()
                self._sweeper = loop.call_later(self._idle_seconds, self._sweep)
        return reply

    def _sweep(self, *, everything: bool = False) -> None:
        """Close what was not used for long: rather we than the service, whose close is a race."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        kept = []
        for wire in self._idle:
            loop = asyncio.get_running_loop()
            if everything or wire.closed or loop.time() - wire.idle_since >= self._idle_seconds:
                wire.close()
            else:
                kept.append(wire)
        self._idle = kept
        if kept:
            self._sweeper = loop.call_later(self._idle_seconds / 4, self._sweep)

    def _failed(self) -> None:
        pause = self.health.bad()
        if pause is None or self._retired:
            return
        _LOG.warning("%s did not answer; it is not asked for %.0f s", self.url, pause)
        self._sweep(everything=True)
        self._prober = asyncio.create_task(self._probe(pause))

    async def _probe(self, pause: float) -> None:
        """Wait, then until it says that it is ready."""
        await asyncio.sleep(pause)
        while not await self._ready():
            await asyncio.sleep(PROBE_SECONDS)
        self.health.back()
        _LOG.info("%s is ready; it is asked again", self.url)

    async def _ready(self) -> bool:
        request = b"GET /readyz HTTP/1.1\r\nhost: %b\r\nconnection: close\r\n\r\n" % self._host
        with suppress(Lost, TimeoutError):
            async with asyncio.timeout(PROBE_SECONDS):
                wire = await Wire.connect(*self._address)
                return (await wire.ask(request)).status == 200
        return False


def _count_fault(reply: Reply, told: dict[str, str]) -> None:
    """A service that says itself that it failed; it is there, so it is not taken out."""
    fault = next((value for name, value in reply.headers if name == FAULT_HEADER), None)
    if fault is not None:
        METERS.inc("assay_upstream_failures_total", **told, kind=fault.decode("latin-1"))
