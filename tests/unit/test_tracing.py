"""A trace goes through several processes, says ids and times only, and costs nothing when off."""

from types import SimpleNamespace

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from gateway import tracing
from gateway.errors import StartError
from gateway.tracing import Tracer, carry, endpoint_of, share_of

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = (b"traceparent", f"00-{TRACE}-{PARENT}-01".encode())
LEFT_OUT = (b"traceparent", f"00-{TRACE}-{PARENT}-00".encode())


@pytest.fixture
def spans():
    return InMemorySpanExporter()


@pytest.fixture(autouse=True)
def none_kept():
    tracing.tracer.cache_clear()
    yield
    tracing.tracer.cache_clear()


def finished(exporter, tracer):
    tracer.close()
    return {span.name: span for span in exporter.get_finished_spans()}


def test_without_an_address_there_is_none(monkeypatch):
    monkeypatch.delenv("ASSAY_OTLP_URL", raising=False)
    assert tracing.tracer() is None
    assert carry(SimpleNamespace(trace=None)) == []


def test_a_trace_of_the_client_is_gone_on_with_and_handed_on(spans):
    tracer = Tracer(spans, "router", share=0.0)
    request = tracer.request([(b"host", b"x"), SAMPLED], 1_000, product="risk/x")
    upstream = tracer.begin("upstream", request)
    headers = dict(carry(SimpleNamespace(trace=upstream)))
    tracer.end(upstream, 200)
    tracer.end(request, 502)
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


def test_what_is_over_is_noted_with_its_own_times(spans):
    tracer = Tracer(spans, "service", share=1.0)
    request = tracer.request([], 5_000_000_000)
    tracer.note("model", request, 6_000_000_000, 6_004_000_000, rows=3)
    tracer.end(request, 200)
    model = finished(spans, tracer)["model"]
    # each time is converted by a clock read of its own, so some microseconds apart
    assert model.end_time - model.start_time == pytest.approx(4_000_000, abs=3_000_000)
    assert model.attributes["rows"] == 3
    assert model.parent.span_id == request.context.span_id


@pytest.mark.parametrize(("headers", "share"), [([LEFT_OUT], 1.0), ([], 0.0)])
def test_what_nobody_chose_is_not_sent_and_still_has_ids(spans, headers, share):
    tracer = Tracer(spans, "service", share)
    request = tracer.request(headers, 1)
    tracer.note("model", request, 1, 2)
    (name, value), *_ = carry(SimpleNamespace(trace=request))
    tracer.end(request, 200)
    assert finished(spans, tracer) == {}
    assert name == b"traceparent"
    assert int(value.rpartition(b"-")[2], 16) & 1 == 0, "the flag that says sampled"


def test_the_exporter_of_the_environment_is_used(monkeypatch):
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    monkeypatch.setenv("ASSAY_OTLP_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("ASSAY_TRACE_SHARE", "0")
    tracer = tracing.tracer()
    assert tracer is tracing.tracer()
    tracer.close()


@pytest.mark.parametrize("text", ["much", "1.5", "-0.1", "nan"])
def test_a_share_is_a_share(text):
    with pytest.raises(StartError, match="share from 0 to 1"):
        share_of(text)


@pytest.mark.parametrize(
    ("url", "sent_to"),
    [
        ("http://collector:4318", "http://collector:4318/v1/traces"),
        ("http://collector:4318/", "http://collector:4318/v1/traces"),
        ("https://traces.example/otlp/v1/traces", "https://traces.example/otlp/v1/traces"),
    ],
)
def test_an_address_without_a_path_gets_the_usual_one(url, sent_to):
    assert endpoint_of(url) == sent_to
