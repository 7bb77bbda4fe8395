"""OpenTelemetry: a span for each message that a reply handler gets, and metrics of connections from an observer.

It needs the API of OpenTelemetry, ``pip install 'fourtuple[otel]'``, and an SDK with exporters, which the program sets
up.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Token, copy_context
from typing import Any

from opentelemetry import context, metrics, trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from fourtuple import events
from fourtuple._version import __version__
from fourtuple.errors import DeadlinePassed
from fourtuple.four_tuple import FourTuple
from fourtuple.operations.measuring import sizes, sizes_of_batch
from fourtuple.options import by_keyword
from fourtuple.printable import class_of
from fourtuple.service import Service
from fourtuple.service.handler import ReplyHandler
from fourtuple.service.kinds import ReplyKind
from fourtuple.typevars import In, L, Out, S

Attributes = dict[str, str | int]
_END = object()


class Telemetry:
    """Tells OpenTelemetry what a server does: an :data:`~fourtuple.events.Observer`, and :meth:`traced` for messages.

    ::

        telemetry = Telemetry("echo")
        server = Server(telemetry.traced(service), "127.0.0.1:9999", observer=telemetry)

    Parameters
    ----------
    service
        The name of the service, the attribute ``fourtuple.service`` of all spans and metrics.
    tracer_provider, meter_provider
        Default: the global ones.
    """

    @by_keyword()
    def __init__(
        self,
        service: str,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        self._own: Attributes = {"fourtuple.service": service}
        self._service = service
        self._tracer = trace.get_tracer("fourtuple", __version__, tracer_provider)
        meter = metrics.get_meter("fourtuple", __version__, meter_provider)
        self._open = meter.create_up_down_counter("fourtuple.connections.open", "{connection}", "Connections open now.")
        self._accepted = meter.create_counter("fourtuple.connections.accepted", "{connection}", "Connections accepted.")
        self._refused = meter.create_counter("fourtuple.connections.refused", "{connection}", "Connections refused.")
        self._duration = meter.create_histogram(
            "fourtuple.connection.duration", "s", "How long connections that have ended were open."
        )
        self._messages = meter.create_counter(
            "fourtuple.messages", "{message}", "Messages of connections that have ended."
        )
        self._octets = meter.create_counter("fourtuple.octets", "By", "Octets of connections that have ended.")
        self._failures = meter.create_counter("fourtuple.failures", "{failure}", "What failed, by kind.")

    # -- metrics ------------------------------------------------------------------------------------------

    def __call__(self, event: events.Event) -> None:
        """Count one event, in any thread: the instruments of OpenTelemetry allow that."""
        match event:
            case events.Accepted():
                self._accepted.add(1, self._own)
                self._open.add(1, self._own)
            case events.Refused():
                self._refused.add(1, self._own | {"fourtuple.limit": event.limit})
            case events.Closed():
                self._closed(event)
            case events.HandlerRaised() | events.MessageFailed() | events.TlsFailed():
                self._failures.add(1, self._own | {"error.type": class_of(event.error), "fourtuple.event": event.kind})
            case events.DeadlineMissed():
                which = event.error.which if isinstance(event.error, DeadlinePassed) else "other"
                self._failures.add(1, self._own | {"error.type": which, "fourtuple.event": event.kind})
            case events.LimitExceeded():
                self._failures.add(1, self._own | {"error.type": event.limit, "fourtuple.event": event.kind})

    def _closed(self, event: events.Closed) -> None:
        self._open.add(-1, self._own)
        self._duration.record(event.seconds, self._own | {"fourtuple.reason": event.reason.value})
        counted = event.statistics
        for instrument, received, sent in (
            (self._messages, counted.messages_in, counted.messages_out),
            (self._octets, counted.octets_in, counted.octets_out),
        ):
            instrument.add(received, self._own | {"network.io.direction": "receive"})
            instrument.add(sent, self._own | {"network.io.direction": "transmit"})

    # -- traces -------------------------------------------------------------------------------------------

    def traced(self, service: Service[In, Out, S, L]) -> Service[In, Out, S, L]:
        """Return a copy of a service whose reply handler runs in a span for each message, or for each batch.

        The span is the current one while the handler runs, so that its own spans are children; also in each step of a
        generator, but not between two replies, when other code runs. A service of another kind is returned as it is: a
        conversation, a program and adapted code take their messages themselves, so they have no spans.
        """
        handler = service.handler
        if not isinstance(handler, ReplyHandler):
            return service
        wrap: Callable[[ReplyHandler], Callable[..., Any]]
        match handler.kind:
            case ReplyKind.ASYNC:
                wrap = self._async
            case ReplyKind.ASYNC_GENERATOR:
                wrap = self._async_generator
            case ReplyKind.INLINE | ReplyKind.THREAD:
                wrap = self._plain
            case _:
                wrap = self._generator
        function = functools.wraps(handler.function)(wrap(handler))
        return service._with_handler(dataclasses.replace(handler, function=function))

    @contextmanager
    def _span(self, handler: ReplyHandler, message: Any, connection: tuple[Any, ...]) -> Iterator[Span]:
        """A span, which is not the current one; an exception is its status."""
        received = (sizes_of_batch if handler.batches else sizes)(message)
        about: Attributes = {**self._own, "code.function.name": handler.name, "network.transport": "tcp"}
        if received:
            about["fourtuple.message.size"] = sum(received)
        if handler.batches:
            about["fourtuple.batch.messages"] = len(message)
        if connection:
            about |= _of_connection(connection[0])
        span = self._tracer.start_span(f"{self._service} message", kind=SpanKind.SERVER, attributes=about)
        try:
            yield span
        except Exception as error:
            span.record_exception(error)
            span.set_status(Status(StatusCode.ERROR, class_of(error)))
            raise
        finally:
            span.end()

    def _plain(self, handler: ReplyHandler) -> Callable[..., Any]:
        function = handler.function

        def plain(message: Any, *connection: Any) -> Any:
            with self._span(handler, message, connection) as span, _current(span):
                return function(message, *connection)

        return plain

    def _async(self, handler: ReplyHandler) -> Callable[..., Any]:
        function = handler.function

        async def awaited(message: Any, *connection: Any) -> Any:
            with self._span(handler, message, connection) as span, _current(span):
                return await function(message, *connection)

        return awaited

    def _generator(self, handler: ReplyHandler) -> Callable[..., Any]:
        function = handler.function

        def generator(message: Any, *connection: Any) -> Any:
            with self._span(handler, message, connection) as span:
                # A context of its own: what the handler has entered (a span of its own, say) is there again in the next
                # step, and nowhere else in between. Another thread may take that step.
                own = copy_context()
                own.run(context.attach, trace.set_span_in_context(span))
                replies = own.run(function, message, *connection)
                try:
                    while (reply := own.run(next, replies, _END)) is not _END:
                        yield reply
                finally:
                    own.run(replies.close)

        return generator

    def _async_generator(self, handler: ReplyHandler) -> Callable[..., Any]:
        function = handler.function

        async def generator(message: Any, *connection: Any) -> Any:
            with self._span(handler, message, connection) as span:
                replies = function(message, *connection)
                own = _Entered(trace.set_span_in_context(span))
                try:
                    while True:
                        with own:
                            reply = await anext(replies, _END)
                        if reply is _END:
                            return
                        yield reply
                finally:
                    with own:
                        await replies.aclose()

        return generator


class _Entered:
    """The context of OpenTelemetry in an async generator: entered for each step, as the step before has left it."""

    def __init__(self, own: Context) -> None:
        self._own = own
        self._token: Token[Context] | None = None

    def __enter__(self) -> None:
        self._token = context.attach(self._own)

    def __exit__(self, *_exc: object) -> None:
        assert self._token is not None
        self._own = context.get_current()
        context.detach(self._token)


def _current(span: Span) -> Any:
    # _span records the exception.
    return trace.use_span(span, end_on_exit=False, record_exception=False, set_status_on_exception=False)


def _of_connection(connection: Any) -> Attributes:
    name = connection.name
    if not isinstance(name, FourTuple):
        return {"network.transport": "unix", "network.peer.address": name.path}
    return {
        "network.peer.address": name.remote.host,
        "network.peer.port": name.remote.port,
        "network.local.address": name.local.host,
        "network.local.port": name.local.port,
        "fourtuple.connection.id": connection.id,
    }
