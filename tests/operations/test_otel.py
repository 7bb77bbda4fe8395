"""OpenTelemetry, with the SDK's exporters in memory."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from fourtuple import Server, Service, events
from fourtuple.observe.combine import each_of
from fourtuple.operations import Telemetry
from operations.support import conversation
from rig import PATIENT, Peer, Seen


class Collected:
    def __init__(self, service: str) -> None:
        self._exporter, self._reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.meters = MeterProvider(metric_readers=[self._reader])
        self.telemetry = Telemetry(service, tracer_provider=self.tracers, meter_provider=self.meters)

    def close(self) -> None:
        self.meters.shutdown()
        self.tracers.shutdown()

    @property
    def spans(self) -> Any:
        return self._exporter.get_finished_spans()

    def metrics(self) -> dict[tuple[str, tuple[Any, ...]], Any]:
        data = self._reader.get_metrics_data()
        assert data is not None
        return {
            (metric.name, tuple(sorted(point.attributes.items()))): point
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
        }


async def served(collected: Collected, service: Service[Any, Any, Any, Any], *messages: bytes) -> list[bytes]:
    seen = Seen()
    traced = collected.telemetry.traced(service)
    server = Server(traced, observer=each_of(seen, collected.telemetry), deadlines=PATIENT)
    async with server:
        replies = await conversation(server, *messages)
        await seen.closed()
    return replies


def test_a_span_for_each_message_and_the_handlers_own_below_it(run_async: Any) -> None:
    collected = Collected("upper")
    service = Service("line", name="upper")
    tracer = collected.tracers.get_tracer("of the user")

    @service.reply
    def shout(message: bytes, _connection: Any) -> bytes:
        with tracer.start_as_current_span("inner"):
            return message.upper()

    assert run_async(served(collected, service, b"hello", b"you")) == [b"HELLO", b"YOU"]
    inner, outer, *rest = collected.spans
    assert [span.name for span in (inner, outer, *rest)] == ["inner", "upper message"] * 2
    assert inner.parent.span_id == outer.context.span_id
    assert outer.kind is SpanKind.SERVER
    assert outer.attributes["fourtuple.service"] == "upper"
    assert outer.attributes["fourtuple.message.size"] == 5
    assert outer.attributes["network.peer.address"] == "127.0.0.1"
    assert outer.attributes["code.function.name"].endswith("shout")
    assert trace.get_current_span() is trace.INVALID_SPAN
    collected.close()


def test_the_span_of_a_handler_that_raises(run_async: Any) -> None:
    collected = Collected("broken")
    service = Service("line", name="broken")

    @service.reply
    async def fail(_message: bytes) -> bytes:
        raise LookupError("by request")

    assert run_async(served(collected, service, b"hello")) == []
    (span,) = collected.spans
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "LookupError")
    assert [event.name for event in span.events] == ["exception"]
    failure = ("error.type", "LookupError"), ("fourtuple.event", "handler-raised"), ("fourtuple.service", "broken")
    assert collected.metrics()["fourtuple.failures", failure].value == 1
    collected.close()


@pytest.mark.parametrize("kind", ["async", "thread", "generator", "async generator", "batch"])
def test_every_kind_of_handler(run_async: Any, kind: str) -> None:
    collected = Collected(kind)
    service = Service("line", name=kind)
    if kind == "async":

        @service.reply
        async def awaited(message: bytes) -> bytes:
            return message

    elif kind == "thread":

        @service.reply(threads=True)
        def in_thread(message: bytes) -> bytes:
            return message

    elif kind == "generator":

        @service.reply
        def several(message: bytes) -> Any:
            yield message

    elif kind == "async generator":

        @service.reply
        async def several_later(message: bytes) -> Any:
            yield message

    else:

        @service.replies
        def batch(messages: list[bytes]) -> list[bytes]:
            return messages

    assert run_async(served(collected, service, b"a", b"bc")) == [b"a", b"bc"]
    assert sum(span.attributes["fourtuple.message.size"] for span in collected.spans) == 3
    assert all(span.end_time for span in collected.spans)
    collected.close()


def test_metrics_of_connections(run_async: Any) -> None:
    collected = Collected("upper")
    service = Service("line", name="upper")

    @service.reply
    def shout(message: bytes) -> bytes:
        return message.upper()

    run_async(served(collected, service, b"hello", b"you"))
    own = ("fourtuple.service", "upper")
    collected.telemetry(events.Refused(None, "max_connections", "why"))
    found = collected.metrics()
    assert found["fourtuple.connections.accepted", (own,)].value == 1
    assert found["fourtuple.connections.open", (own,)].value == 0
    assert found["fourtuple.messages", (own, ("network.io.direction", "receive"))].value == 2
    assert found["fourtuple.octets", (own, ("network.io.direction", "transmit"))].value == 10
    assert found["fourtuple.connection.duration", (("fourtuple.reason", "closed by peer"), own)].count == 1
    assert found["fourtuple.connections.refused", (("fourtuple.limit", "max_connections"), own)].value == 1
    collected.close()


@pytest.mark.parametrize("kind", ["generator", "async generator", "waiting", "thread"])
def test_the_spans_of_a_generator_are_below_its_messages(run_async: Any, kind: str, caplog: Any) -> None:
    collected = Collected(kind)
    service = Service("line", name=kind)
    tracer = collected.tracers.get_tracer("of the user")
    between: list[Any] = []

    def steps(message: bytes) -> Any:
        with tracer.start_as_current_span("outer"):
            yield message
            with tracer.start_as_current_span("inner"):
                yield message.upper()
        with tracer.start_as_current_span("last"):
            pass

    if kind in ("generator", "thread"):
        service.reply(threads=kind == "thread")(steps)
    else:

        @service.reply
        async def in_steps(message: bytes) -> Any:
            for reply in steps(message):
                if kind == "waiting":
                    await asyncio.sleep(0)
                yield reply
                if kind == "waiting":
                    await asyncio.sleep(0)

    async def main() -> list[bytes]:
        replies = await served(collected, service, b"a", b"b")
        between.append(trace.get_current_span())
        return replies

    assert run_async(main()) == [b"a", b"A", b"b", b"B"]
    assert between == [trace.INVALID_SPAN]
    names = {span.context.span_id: span.name for span in collected.spans}
    of_a_message = [("inner", "outer"), ("outer", f"{kind} message"), ("last", f"{kind} message")]
    below = [(span.name, names[span.parent.span_id]) for span in collected.spans if span.parent]
    assert below == of_a_message * 2
    assert not caplog.records, "OpenTelemetry reports what it cannot detach"
    collected.close()


@pytest.mark.parametrize("kind", ["generator", "async generator"])
def test_a_generator_that_is_dropped_ends_in_its_span(run_async: Any, kind: str, caplog: Any) -> None:
    collected = Collected(kind)
    service = Service("line", name=kind)
    tracer = collected.tracers.get_tracer("of the user")

    def endless(message: bytes) -> Any:
        try:
            with tracer.start_as_current_span("outer"):
                while True:
                    yield message * 10_000
        finally:
            with tracer.start_as_current_span("at the end"):
                pass

    if kind == "generator":
        service.reply(endless)
    else:

        @service.reply
        async def endless_later(message: bytes) -> Any:
            replies = endless(message)
            try:
                for reply in replies:
                    yield reply
            finally:
                replies.close()

    async def main() -> None:
        seen = Seen()
        traced = collected.telemetry.traced(service)
        async with Server(traced, observer=seen, deadlines=PATIENT) as server:
            with await Peer.connect(server) as peer:
                await peer.send(b"a\n")
                await peer.receive(10_001)
            await seen.closed()

    run_async(main())
    names = {span.context.span_id: span.name for span in collected.spans}
    below = [(span.name, names[span.parent.span_id]) for span in collected.spans if span.parent]
    assert below == [("outer", f"{kind} message"), ("at the end", f"{kind} message")]
    assert not caplog.records
    collected.close()


def test_what_takes_its_messages_itself_is_returned_as_it_is() -> None:
    collected = Collected("talk")
    service = Service("line", name="talk")

    @service.conversation
    async def talk(connection: Any) -> None:
        async for message in connection:
            await connection.send(message)

    assert collected.telemetry.traced(service) is service
    collected.close()
