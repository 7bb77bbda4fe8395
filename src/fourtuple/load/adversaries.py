"""Connections besides the load: idle ones, and adversaries.

Their effect on the server shows in the latencies of the load. How they end is counted for each kind.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from fourtuple.engine import Channel, Consumer, throttle
from fourtuple.load.host import SlotHost
from fourtuple.load.patterns import octets_of
from fourtuple.load.sink import MessageSink
from fourtuple.load.slots import Slot
from fourtuple.options import Limits, Sockets

#: Messages up to this size are cut octet by octet, longer ones into this many pieces.
_PIECES = 4096
#: Seconds after which a resetter resets its connection, if no reply came before.
_RESET_SECONDS = 0.1


class Idle(Slot):
    """Sends nothing, and stays open."""

    name = "idle"


class Adversary(Slot):
    """The base class of connections that write: encoded requests, and timers that end with the connection."""

    def __init__(self, worker: SlotHost, number: int) -> None:
        super().__init__(worker, number)
        self._turn = 0
        self._timer: asyncio.TimerHandle | None = None

    def encoded(self) -> bytes:
        """The next request, encoded."""
        return self.worker.framing.encode(self.compose()[0])

    def compose(self) -> tuple[Any, Any]:
        """The next request, and the reply that it must get (``None`` if any reply is right)."""
        worker = self.worker
        values = {"n": worker.composed, "connection": self.number, "turn": self._turn, "process": worker.plan.process}
        worker.composed += 1
        self._turn += 1
        message = worker.source(values)
        expectation = worker.expectation
        if expectation.expected is not None:
            return message, expectation.expected(values)
        return message, message if expectation.same else None

    def write(self, octets: bytes) -> None:
        """Send octets now, as a separate segment if the kernel takes them."""
        if self.can_write:
            assert self.channel is not None
            self.channel.stream.write(octets)
            self.channel.settle()

    def later(self, seconds: float, step: Any) -> None:
        """Call ``step`` after ``seconds``, if the connection is still open."""
        self._timer = self.worker.engine.loop.call_later(seconds, self._step, self.channel, step)

    def _step(self, channel: Channel | None, step: Any) -> None:
        self._timer = None
        if channel is not None and channel is self.channel and not channel.stream.closing and not self.worker.over:
            step()

    def _ended(self, channel: Channel) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        super()._ended(channel)


class SlowReader(Adversary):
    """Sends requests without end and reads slowly, to test whose memory holds the replies."""

    name = "slow readers"

    def __init__(self, worker: SlotHost, number: int) -> None:
        super().__init__(worker, number)
        # A minimal receive buffer, so that the kernel buffers little (socket(7): the value is doubled, at least 2,304).
        self.sockets: Sockets = worker.sockets.replace(receive_buffer=2048)

    def limits(self) -> Limits:
        return Limits(max_octet_rate=self.worker.load.slow_rate)

    def consumer(self, channel: Channel) -> Consumer:
        channel.stream.converse()  # reading must not get faster when the server does not read
        throttle(channel, channel.stream.limits, None)
        return MessageSink(channel, relieved=self.begin)

    def begin(self) -> None:
        channel = self.channel
        if channel is None or not self.can_write or self.worker.over:
            return
        stream = channel.stream
        for _ in range(64):
            if stream.crowded:
                break
            stream.write(self.encoded())
        channel.settle()
        if stream.crowded:
            channel.expect_relief()
        else:
            self.later(0, self.begin)


class SlowWriter(Adversary):
    """Sends its requests slowly, octet by octet, to test how long the server waits for the rest."""

    name = "slow writers"

    def begin(self) -> None:
        self._octets = memoryview(b"")
        self._trickle()

    def _trickle(self) -> None:
        if not self._octets:
            self._octets = memoryview(self.encoded())
        self.write(bytes(self._octets[:1]))
        self._octets = self._octets[1:]
        self.later(1 / self.worker.load.slow_rate, self._trickle)


class Fragmenter(Adversary):
    """Sends each request in segments of one octet. Its replies are checked like those of the load."""

    name = "fragmenters"

    def __init__(self, worker: SlotHost, number: int) -> None:
        super().__init__(worker, number)
        self._pieces: deque[bytes] = deque()
        self._expected: Any = None
        self._parts = 0
        self._greetings = 0

    def consumer(self, channel: Channel) -> Consumer:
        return MessageSink(channel, heard=self.worker.without_pushes(self._heard))

    def begin(self) -> None:
        self._greetings = self.worker.load.greeting
        if not self._greetings:
            self._ask()

    def _ask(self) -> None:
        message, self._expected = self.compose()
        octets = self.worker.framing.encode(message)
        size = max(1, -(-len(octets) // _PIECES))
        self._pieces = deque(octets[at : at + size] for at in range(0, len(octets), size))
        self._parts = self.worker.load.replies
        self._send()

    def _send(self) -> None:
        if self._pieces:
            self.write(self._pieces.popleft())
            self.later(0, self._send)
        elif not self._parts:
            self._done()

    def _heard(self, reply: Any) -> None:
        if self._greetings:
            self._greetings -= 1
            if not self._greetings:
                self._ask()
            return
        check = self.worker.expectation.check
        meter = self.worker.meter
        meter.tally.others[f"{self.name}: replies"] += 1
        if check is not None and not check(reply, self._expected):
            meter.tally.mismatches += 1
            name = self.channel.name if self.channel else ""
            meter.sample(f"{name}: the reply to a fragmented request is {octets_of(reply)[:40]!r}")
        self._parts -= 1
        if self._parts <= 0 and not self._pieces:
            self._done()

    def _done(self) -> None:
        self.worked()
        if not self.worker.over:
            self._ask()


class Resetter(Adversary):
    """Sends a request and a half, resets the connection, and connects again."""

    name = "resetters"

    def consumer(self, channel: Channel) -> Consumer:
        return MessageSink(channel, heard=self.worker.without_pushes(lambda _: self._reset()))

    def begin(self) -> None:
        octets = self.encoded() + self.encoded()
        self.write(octets[: max(1, len(octets) * 3 // 4)])
        self.later(_RESET_SECONDS, self._reset)

    def _reset(self) -> None:
        if not self.leaving:
            self.worker.meter.tally.others[f"{self.name}: reset"] += 1
            self.leave("reset")


class HalfOpen(Adversary):
    """Sends half a request and then nothing, like a client whose machine has lost power."""

    name = "half-open"

    def begin(self) -> None:
        octets = self.encoded()
        self.write(octets[: max(1, len(octets) // 2)])
