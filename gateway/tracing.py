"""Traces of single requests, by OpenTelemetry; nothing happens unless ``ASSAY_OTLP_URL`` is set.

`Guard` begins the span of a request that it lets in, and ends it. Whoever does a part of it says
so::

    tracing.note("parse", asked.trace, began_ns)  # over already
    copy = tracing.begin("upstream", asked)  # goes on in another process
    headers = [*carried(copy, token), *tracing.carry(copy)]
    tracing.end(copy.trace, reply.status)

Off, each of these costs one ``is None``. The spans are ``request``, ``upstream``, ``shadow``,
``parse``, ``queue``, ``model`` and ``log``. Their attributes are ids and counts: never a tenant, a
key or anything of a body. How many requests there are and how long they take is in the metrics; a
trace says where one of them spent its time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from functools import cache
from typing import Any

from gateway.asked import Asked
from gateway.errors import StartError

URL, SHARE = "ASSAY_OTLP_URL", "ASSAY_TRACE_SHARE"
_DEFAULT_SHARE = "0.01"
#: Where OTLP over HTTP takes spans, when the address names no path.
_PATH = "/v1/traces"
_SEND_SECONDS = 5.0
#: Who makes the spans, unless ``OTEL_SERVICE_NAME`` says so.
_NAMED = "OTEL_SERVICE_NAME"

Headers = list[tuple[bytes, bytes]]


class Tracer:
    """Makes spans and hands them to a thread that sends them in batches.

    Args:
        exporter: Where spans go, of ``opentelemetry.sdk``.
        service: Who makes them.
        share: Of requests without a trace of their own, by trace id: all processes choose alike.
    """

    def __init__(self, exporter: Any, service: str, share: float) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

        # not the global provider: BentoML sets that, with other exporters
        self._provider = TracerProvider(
            sampler=ParentBasedTraceIdRatio(share),
            resource=Resource.create({"service.name": service}),
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("assay")

    def request(self, headers: Iterable[tuple[bytes, bytes]], began_ns: int, **told: Any) -> Any:
        """The span of a request; goes on the trace that its ``traceparent`` names.

        Args:
            headers: Of the request, names in lower case.
            began_ns: Monotonic clock at its first byte.
            told: Attributes: ids and counts.
        """
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        wanted = (b"traceparent", b"tracestate")
        given = {
            name.decode(): value.decode("latin-1") for name, value in headers if name in wanted
        }
        context = TraceContextTextMapPropagator().extract(given)
        return self._start("request", context, began_ns, told)

    def inside(self, name: str, parent: Any, began_ns: int, **told: Any) -> Any:
        """A span inside another; ``end`` ends it."""
        return self._start(name, _below(parent), began_ns, told)

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()

    def _start(self, name: str, context: Any, began_ns: int, told: dict[str, Any]) -> Any:
        return self._tracer.start_span(name, context, attributes=told, start_time=_wall(began_ns))


@cache
def tracer() -> Tracer | None:
    """The one of this process; None when nobody wants traces.

    Raises:
        StartError: The share is no number from 0 to 1, or the exporter is not installed.
    """
    url = os.environ.get(URL, "")
    if not url:
        return None
    share = share_of(os.environ.get(SHARE, "") or _DEFAULT_SHARE)
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # type: ignore[import-not-found, unused-ignore]
            OTLPSpanExporter,
        )
    except ImportError as error:
        raise StartError(
            f"{URL} is set and the exporter is missing; install "
            "opentelemetry-exporter-otlp-proto-http, or unset it"
        ) from error
    exporter = OTLPSpanExporter(endpoint_of(url), timeout=_SEND_SECONDS)
    return Tracer(exporter, os.environ.get(_NAMED, "") or "assay", share)


def become(name: str) -> None:
    """Say whose spans these are; before the first of them."""
    if not os.environ.get(_NAMED):
        os.environ[_NAMED] = name


def verify() -> None:
    """Say at the start that traces cannot be made, not at the first request.

    Raises:
        StartError: See `tracer`.
    """
    if trace := tracer():
        trace.close()
        tracer.cache_clear()  # what forks or starts workers makes none itself


def begin(name: str, asked: Asked, **told: Any) -> Asked:
    """The request as a part of it is asked elsewhere: its span begins now, `end` ends it."""
    trace = None if asked.trace is None else tracer()
    if trace is None:
        return asked
    return asked._replace(trace=trace.inside(name, asked.trace, time.monotonic_ns(), **told))


def note(name: str, span: Any, began_ns: int, ended_ns: int | None = None, **told: Any) -> None:
    """A part of a request that is over; nothing where it is not traced.

    Args:
        name: Of the part.
        span: Of the request.
        began_ns: By the monotonic clock.
        ended_ns: The same; now if left out.
        told: Attributes: ids and counts.
    """
    if span is None or not span.is_recording() or (trace := tracer()) is None:
        return
    ended = time.monotonic_ns() if ended_ns is None else ended_ns
    trace.inside(name, span, began_ns, **told).end(_wall(ended))


def end(span: Any, status: int) -> None:
    """End a span with the status that was answered; nothing where there is none."""
    if span is None:
        return
    from opentelemetry.trace import StatusCode

    span.set_attribute("http.response.status_code", status)
    if status >= 500:
        span.set_status(StatusCode.ERROR)
    span.end()


def endpoint_of(url: str) -> str:
    """Where spans are sent: the address itself when it names a path."""
    host = url.partition("://")[2]
    return url if host.partition("/")[2] else url.rstrip("/") + _PATH


def share_of(text: str) -> float:
    """The share of traced requests.

    Raises:
        StartError: No number from 0 to 1.
    """
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise StartError(f"{SHARE} is {text!r}; give a share from 0 to 1")
    return share


def carry(asked: Asked) -> Headers:
    """Headers that hand the trace of a request on; none without one."""
    if asked.trace is None:
        return []
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    told: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(told, _below(asked.trace))
    return [(name.encode(), value.encode()) for name, value in told.items()]


def _below(span: Any) -> Any:
    from opentelemetry.trace import set_span_in_context

    return set_span_in_context(span)


def _wall(monotonic_ns: int) -> int:
    """A moment of the monotonic clock as nanoseconds since 1970."""
    return time.time_ns() - (time.monotonic_ns() - monotonic_ns)
