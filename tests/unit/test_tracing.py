"""A trace goes through several processes, says ids and times only, and costs nothing when off."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from bentos.pool import Pool
from gateway import tracing
from gateway.asked import ASKED, Asked
from gateway.errors import StartError
from gateway.guard import Guard
from gateway.headers import carried
from gateway.tracing import Tracer, begin, carry, end, endpoint_of, note, share_of
from tests.unit.otlp_receiver import Span, receiver

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = (b"traceparent", f"00-{TRACE}-{PARENT}-01".encode())
LEFT_OUT = (b"traceparent", f"00-{TRACE}-{PARENT}-00".encode())
JSON = (b"content-type", b"application/json")


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture(autouse=True)
def own_tracer(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("ASSAY_OTLP_URL", "ASSAY_TRACE_SHARE", "OTEL_SERVICE_NAME"):
        monkeypatch.delenv(name, raising=False)
    tracing.tracer.cache_clear()
    yield
    tracing.tracer.cache_clear()


def use(monkeypatch: pytest.MonkeyPatch, tracer: Tracer) -> Tracer:
    """Make a tracer that of the process."""

    def cached() -> Tracer:
        return tracer

    cached.cache_clear = lambda: None  # type: ignore[attr-defined]
    monkeypatch.setattr(tracing, "tracer", cached)
    return tracer


def asked(trace: Any = None) -> Asked:
    return Asked("r1", time.monotonic_ns(), "traffic", trace=trace)


def finished(exporter: InMemorySpanExporter, tracer: Tracer) -> dict[str, Any]:
    tracer.close()
    return {span.name: span for span in exporter.get_finished_spans()}


def test_without_an_address_nothing_is_done():
    assert tracing.tracer() is None
    request = asked()
    assert begin("upstream", request) is request
    assert carry(request) == []
    note("model", None, 1)
    end(None, 200)
    tracing.verify()


def test_a_trace_of_the_client_is_gone_on_with_and_handed_on(
    spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
):
    tracer = use(monkeypatch, Tracer(spans, "router", share=0.0))
    request = tracer.request([(b"host", b"x"), SAMPLED], 1_000, product="risk/x")
    upstream = begin("upstream", asked(request), version="v1")
    headers = dict(carry(upstream))
    end(upstream.trace, 200)
    end(request, 502)
    found = finished(spans, tracer)
    for span in found.values():
        assert f"{span.context.trace_id:032x}" == TRACE
    assert f"{found['request'].parent.span_id:016x}" == PARENT
    assert found["upstream"].parent.span_id == found["request"].context.span_id
    assert headers[b"traceparent"].decode().split("-")[2] == (
        f"{found['upstream'].context.span_id:016x}"
    )
    assert found["request"].status.is_ok is False
    assert found["request"].attributes["product"] == "risk/x"
    assert found["upstream"].status.is_ok is True
    assert found["upstream"].attributes["version"] == "v1"


def test_what_is_over_is_noted_with_its_own_times(
    spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
):
    tracer = use(monkeypatch, Tracer(spans, "service", share=1.0))
    request = tracer.request([], 5_000_000_000)
    note("model", request, 6_000_000_000, 6_004_000_000, rows=3)
    end(request, 200)
    model = finished(spans, tracer)["model"]
    # each time is converted by a clock read of its own, so some microseconds apart
    assert model.end_time - model.start_time == pytest.approx(4_000_000, abs=3_000_000)
    assert model.attributes["rows"] == 3
    assert model.parent.span_id == request.context.span_id


@pytest.mark.parametrize(("headers", "share"), [([LEFT_OUT], 1.0), ([], 0.0)])
def test_what_nobody_chose_is_not_sent_and_still_has_ids(
    spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch, headers: Any, share: float
):
    tracer = use(monkeypatch, Tracer(spans, "service", share))
    request = tracer.request(headers, 1)
    note("model", request, 1, 2)
    (name, value), *_ = carry(asked(request))
    end(request, 200)
    assert finished(spans, tracer) == {}
    assert name == b"traceparent"
    assert int(value.rpartition(b"-")[2], 16) & 1 == 0, "the flag that says sampled"


def test_a_pool_says_how_long_each_request_waited_and_was_computed(
    spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
):
    tracer = use(monkeypatch, Tracer(spans, "service", share=1.0))
    requests = [tracer.request([], time.monotonic_ns()) for _ in range(2)]
    pool: Pool[str, int] = Pool(
        1, 8, lambda texts, _: time.sleep(0.02) or [len(text) for text in texts], len, product="a/b"
    )

    async def ask() -> None:
        one, other = (
            pool.run(["a", "bb"], math.inf, "traffic", requests[0]),
            pool.run(["ccc"], math.inf, "traffic", requests[1]),
        )
        assert await asyncio.gather(one, other, pool.run(["untraced"])) == [[1, 2], [3], [8]]

    asyncio.run(ask())
    pool.close()
    for request in requests:
        end(request, 200)
    tracer.close()
    ids = {request.context.span_id: number for number, request in enumerate(requests)}
    of: dict[tuple[str, int], float] = {}
    for span in spans.get_finished_spans():
        if span.name != "request":
            key = span.name, ids[span.parent.span_id]
            of[key] = of.get(key, 0.0) + (span.end_time - span.start_time) / 1e9
    assert set(of) == {(name, number) for name in ("queue", "model") for number in (0, 1)}
    assert of["model", 0] >= 0.018
    assert of["model", 1] >= 0.018


def serve(
    guard: Guard, headers: list[tuple[bytes, bytes]], said: list[Any] | None = None
) -> dict[bytes, bytes]:
    """Ask an application for ``POST /predict``; the headers of its answer."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/predict", "headers": headers}
    asyncio.run(guard(scope, receive, send))
    (said if said is not None else []).append(sent[0]["status"])
    return dict(sent[0]["headers"])


def test_the_spans_of_two_processes_reach_a_collector_as_one_trace(
    monkeypatch: pytest.MonkeyPatch,
):
    """Each process has a tracer of its own; what goes from one to the other is headers only."""
    handed: list[list[tuple[bytes, bytes]]] = []

    async def reply(send: Any, status: int) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    async def router(_: Any, __: Any, send: Any) -> None:
        copy = begin("upstream", ASKED.get(), product="risk/x")
        handed.append([JSON, *carried(copy, None), *carry(copy)])
        end(copy.trace, 200)
        await reply(send, 200)

    async def service(_: Any, __: Any, send: Any) -> None:
        note("model", ASKED.get().trace, time.monotonic_ns(), rows=1)
        await reply(send, 503)

    with receiver() as (url, spans):
        monkeypatch.setenv("ASSAY_OTLP_URL", url)
        monkeypatch.setenv("ASSAY_TRACE_SHARE", "1")
        for name, app in (("router", router), ("risk-x", service)):
            monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
            tracing.become(name)
            secret = (b"authorization", b"Bearer ak_0123456789ab_secret")
            serve(Guard(app), handed[-1] if handed else [JSON, secret, (b"x-request-id", b"r-7")])
            tracer = tracing.tracer()
            assert tracer is not None
            assert tracer is tracing.tracer()
            tracer.close()
            tracing.tracer.cache_clear()
        check_one_trace(spans)


def check_one_trace(spans: list[Span]) -> None:
    found = {(span.service, span.name): span for span in spans}
    assert set(found) == {
        ("router", "request"), ("router", "upstream"), ("risk-x", "request"), ("risk-x", "model"),
    }  # fmt: skip
    assert len({span.trace for span in spans}) == 1
    front, upstream = found["router", "request"], found["router", "upstream"]
    behind, model = found["risk-x", "request"], found["risk-x", "model"]
    assert [front.parent, upstream.parent, behind.parent, model.parent] == [
        "", front.own, upstream.own, behind.own,
    ]  # fmt: skip
    assert (front.failed, behind.failed) == (False, True)
    assert front.told["request_id"] == behind.told["request_id"] == "r-7"
    assert behind.told["http.response.status_code"] == 503
    assert "secret" not in str(spans)


def test_who_is_not_let_in_is_not_traced(
    spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
):
    """A stranger must not make us send spans, by a header that says that it was chosen."""
    tracer = use(monkeypatch, Tracer(spans, "service", share=1.0))

    async def app(*_: Any) -> None:
        raise AssertionError("it went further in")

    said: list[Any] = []
    serve(Guard(app), [(b"content-type", b"text/plain"), SAMPLED], said)
    assert said == [415]
    assert finished(spans, tracer) == {}


def test_a_collector_that_is_away_is_no_fault_of_a_request(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ASSAY_OTLP_URL", "http://127.0.0.1:9")
    tracing.verify()
    tracer = tracing.tracer()
    assert tracer is not None
    tracer.close()


@pytest.mark.parametrize("text", ["much", "1.5", "-0.1", "nan"])
def test_a_share_is_a_share(text: str, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(StartError, match="share from 0 to 1"):
        share_of(text)
    monkeypatch.setenv("ASSAY_OTLP_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("ASSAY_TRACE_SHARE", text)
    with pytest.raises(StartError, match="share from 0 to 1"):
        tracing.verify()


@pytest.mark.parametrize(
    ("url", "sent_to"),
    [
        ("http://collector:4318", "http://collector:4318/v1/traces"),
        ("http://collector:4318/", "http://collector:4318/v1/traces"),
        ("https://traces.example/otlp/v1/traces", "https://traces.example/otlp/v1/traces"),
    ],
)
def test_an_address_without_a_path_gets_the_usual_one(url: str, sent_to: str):
    assert endpoint_of(url) == sent_to
