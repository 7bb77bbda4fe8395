"""What is measured beside the events: how long handlers take, how large messages are, and how late the loop is.

Only a server that shows metrics pays for it. The handler is wrapped: two readings of the clock and three counters for
each message, which docs/how-to/metrics.md gives in microseconds.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
from bisect import bisect_left
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

from fourtuple.observe.declared import METRICS
from fourtuple.observe.metrics import Meter
from fourtuple.observe.snapshot import Distribution, Snapshot
from fourtuple.service import Service
from fourtuple.service.handler import ReplyHandler
from fourtuple.service.kinds import ReplyKind
from fourtuple.service.replies import ReplyAndClose
from fourtuple.typevars import In, L, Out, S

#: Seconds between two looks at how late the loop is.
LAG_SECONDS = 0.5

Sizes = Callable[[Any], Sequence[int]]


def measured(service: Service[In, Out, S, L], meter: Meter) -> Service[In, Out, S, L]:
    """Return a copy of a service whose reply handler tells a meter how long its calls took, and of which sizes.

    Conversations and programs are not measured: they have no call for each message.
    """
    handler = service.handler
    if not isinstance(handler, ReplyHandler):
        return service
    return service._with_handler(dataclasses.replace(handler, function=_wrapped(handler, meter)))


def _wrapped(handler: ReplyHandler, meter: Meter) -> Callable[..., Any]:
    function = handler.function
    size = sizes_of_batch if handler.batches else sizes
    match handler.kind:
        case ReplyKind.INLINE if not handler.batches:
            wrapped = _inline(function, meter)
        case ReplyKind.INLINE | ReplyKind.THREAD:
            wrapped = _plain(function, meter, size)
        case ReplyKind.ASYNC:
            wrapped = _async(function, meter, size)
        case ReplyKind.ASYNC_GENERATOR:
            wrapped = _async_generator(function, meter)
        case _:
            wrapped = _generator(function, meter)
    return functools.wraps(function)(wrapped)


def _inline(function: Callable[..., Any], meter: Meter) -> Callable[..., Any]:
    """The fastest one: only the loop's thread runs it, so it writes to the counters without a lock."""
    seconds, received, sent = meter.handler, meter.received, meter.sent
    times, sizes_in, sizes_out = seconds.counts, received.counts, sent.counts
    time_bounds, size_bounds = seconds.bounds, received.bounds
    find, clock = bisect_left, perf_counter

    def inline(message: Any, *connection: Any) -> Any:
        began = clock()
        try:
            reply = function(message, *connection)
        except BaseException:
            meter.handled(clock() - began, sizes(message))
            raise
        took = clock() - began
        if message.__class__ is not bytes or reply.__class__ is not bytes:
            meter.handled(took, sizes(message), sizes(reply))
            return reply
        times[find(time_bounds, took)] += 1
        seconds.sum += took
        size = len(message)
        sizes_in[find(size_bounds, size)] += 1
        received.sum += size
        size = len(reply)
        sizes_out[find(size_bounds, size)] += 1
        sent.sum += size
        return reply

    return inline


def _plain(function: Callable[..., Any], meter: Meter, size: Sizes) -> Callable[..., Any]:
    def plain(message: Any, *connection: Any) -> Any:
        began, reply = perf_counter(), None
        try:
            reply = function(message, *connection)
        finally:
            meter.handled(perf_counter() - began, size(message), size(reply))
        return reply

    return plain


def _async(function: Callable[..., Any], meter: Meter, size: Sizes) -> Callable[..., Any]:
    async def awaited(message: Any, *connection: Any) -> Any:
        began, reply = perf_counter(), None
        try:
            reply = await function(message, *connection)
        finally:
            meter.handled(perf_counter() - began, size(message), size(reply))
        return reply

    return awaited


def _generator(function: Callable[..., Any], meter: Meter) -> Callable[..., Any]:
    def generator(message: Any, *connection: Any) -> Any:
        began, replies = perf_counter(), function(message, *connection)
        sent: list[int] = []
        try:
            for reply in replies:
                sent += sizes(reply)
                yield reply
        finally:
            replies.close()
            meter.handled(perf_counter() - began, sizes(message), sent)

    return generator


def _async_generator(function: Callable[..., Any], meter: Meter) -> Callable[..., Any]:
    async def generator(message: Any, *connection: Any) -> Any:
        began, replies = perf_counter(), function(message, *connection)
        sent: list[int] = []
        try:
            async for reply in replies:
                sent += sizes(reply)
                yield reply
        finally:
            await replies.aclose()
            meter.handled(perf_counter() - began, sizes(message), sent)

    return generator


def sizes(message: Any) -> Sequence[int]:
    """The octets of a message or a reply; nothing for one that is not octets."""
    if isinstance(message, ReplyAndClose):
        message = message.message
    if isinstance(message, bytes | bytearray):
        return (len(message),)
    if isinstance(message, memoryview):
        return (message.nbytes,)
    return ()


def sizes_of_batch(messages: Any) -> Sequence[int]:
    """The octets of each message of a batch."""
    return [size for each in messages for size in sizes(each)] if isinstance(messages, list | tuple) else ()


class LoopMeter:
    """Measures how late the timers of a loop run, twice a second: by how long its calls hold it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lag = Distribution.empty(METRICS["fourtuple_loop_lag_seconds"].bounds)
        self._longest = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def start(self) -> None:
        """Begin to measure."""
        self._due = self._loop.time() + LAG_SECONDS
        self._timer = self._loop.call_at(self._due, self._look)

    def stop(self) -> None:
        """Measure no more. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self.late(self._loop.time() - self._due)
        self.start()

    def late(self, seconds: float) -> None:
        """Count that a timer ran so late."""
        self._lag.observe(max(0.0, seconds))
        self._longest = max(self._longest, seconds)

    def fill(self, snapshot: Snapshot) -> None:
        """Put what was measured into a snapshot."""
        snapshot.put("fourtuple_loop_lag_seconds", self._lag)
        snapshot.put("fourtuple_loop_longest_hold_seconds", self._longest)
