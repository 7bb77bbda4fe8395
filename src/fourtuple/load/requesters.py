"""The closed loop: a request, its reply, the next request.

The runner of a server's reply handlers (:class:`~fourtuple.handlers.inline.InlineReplies`) drives the conversation,
in C if the C is built. The "handler" takes the reply, notes the time, and returns the next request: all replies of one
read are handled, and all requests that follow are sent in one call.

A latency is the time from handing over a request, which happens when the reply before it is handled, to handling its
reply. The clock is read at each of these moments, not once for each read: a reply that waits for others of its batch
waits in this program, as in any client.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from fourtuple.connection import Connection
from fourtuple.engine import Channel, Consumer
from fourtuple.errors import DeadlinePassed
from fourtuple.handlers.inline import InlineReplies
from fourtuple.load.histogram import MAX_VALUE, bucket_of
from fourtuple.load.host import SlotHost
from fourtuple.load.patterns import octets_of
from fourtuple.load.slots import Slot
from fourtuple.service import ReplyHandler, ReplyKind
from fourtuple.stream import Reason, Stream

#: The most requests that a connection takes from the pool at once, so that it asks the pool rarely.
_GRANT = 64


class Requester(Slot):
    """One connection of the closed loop."""

    name = "connections"

    def __init__(self, worker: SlotHost, number: int) -> None:
        super().__init__(worker, number)
        load = worker.load
        self._clock = worker.clock
        self._counts = worker.meter.latency.counts
        #: The moments when the requests in flight were handed over or, in an open loop, were due.
        self.sent: deque[int] = deque()
        self._expected: deque[Any] = deque()
        #: Requests that may still be sent without asking the pool, and requests that this visit may still take.
        self.left: int = 0
        self.visit_left: int = 0
        #: Requests granted so far, and requests counted so far.
        self._granted = self._counted = 0
        # Used to detect a message that came before its request was sent: the value of octets_out at the last look, and
        # the number of requests made since it changed. See _early().
        self._stream: Stream
        self._octets_out = -1
        self._made = 0
        self._turn = 0
        self._part = 0
        self._greetings = 0
        #: The moment since which the peer's greeting is awaited; None if it is not.
        self.greeting_since: int | None = None
        self._depth = load.in_flight
        self._replies = load.replies
        self._message = worker.message
        self._check = worker.expectation.check
        self._handle: Callable[[Any], Any] = self.answered
        if load.replies > 1 or load.greeting > 0 or self._check is not None:
            self._handle = self.answered_carefully
            if load.replies == 1 and not load.greeting and worker.expectation.same and self._message is not None:
                self._handle = self.answered_same
        self._handle = worker.without_pushes(self._handle)

    # -- the conversation ---------------------------------------------------------------------------------

    def consumer(self, channel: Channel) -> Consumer:
        self._stream, self._octets_out, self._made = channel.stream, -1, 0
        handler = ReplyHandler(self._handle, ReplyKind.INLINE, False, 1)
        return InlineReplies(self.worker, self.worker.service, Connection(channel), channel, handler)

    def begin(self) -> None:
        self.visit_left = self.worker.visit
        self._greetings = self.worker.load.greeting
        self._part = 0
        if self._greetings:
            self.greeting_since = self._clock()
        else:
            self._start_behind(self.channel)

    def greeted(self, _message: Any = None) -> None:
        """Take a message of the greeting. After the last one, the requests begin."""
        if self._greetings:
            self._greetings -= 1
            if not self._greetings:
                self.greeting_since = None
                self.start()

    def _start_behind(self, channel: Channel | None) -> None:
        """Start when all octets received so far are read: no request has been sent, so they are not a reply."""
        if channel is None or channel is not self.channel or self.worker.over:
            return
        if channel.has_unread:
            self.worker.engine.loop.call_soon(self._start_behind, channel)
        else:
            self.start()

    def start(self) -> None:
        """Send the first requests, as many as may be in flight."""
        if self.worker.load.churn == 0:
            self.worked()
            self.leave(self.worker.load.close)
            return
        if not self.can_write:
            return
        now = self._clock()
        requests: list[Any] = []
        while len(requests) < self._depth and (request := self._ask(now)) is not None:
            requests.append(request)
        self.hand_over(requests)

    def hand_over(self, requests: list[Any]) -> None:
        """Send requests from outside a turn."""
        if requests and self.channel is not None:
            self.channel.stream.send_many(requests)
            self.channel.flush_soon()

    def _ask(self, now: int) -> Any:
        """The next request; None if no more may be sent."""
        if not self.left and not self.refill():
            return None
        self.left -= 1
        self.sent.append(now)
        self.made()
        return self._message if self._message is not None else self.compose()

    def made(self) -> None:
        """Note that one more request is in flight and has not been sent yet."""
        self._early()
        self._made += 1

    def _early(self) -> bool:
        """Whether a message that is handled now came before its request was sent, so that it cannot be a reply."""
        octets = self._stream.octets_out
        if octets != self._octets_out:
            self._octets_out, self._made = octets, 0
        return len(self.sent) <= self._made

    def answered(self, _reply: Any) -> Any:
        """Count a reply and return the next request. This is the hot path."""
        now = self._clock()
        octets = self._stream.octets_out
        if octets != self._octets_out:
            self._octets_out, self._made = octets, 0
        if len(self.sent) <= self._made:
            return self._unasked(_reply)
        took = now - self.sent.popleft()
        # The same as Recorder.record(), without the call.
        exponent = took.bit_length() - 9
        self._counts[(exponent << 8) + (took >> exponent) if exponent > 0 else took] += 1
        if not self.left and not self.refill():
            return self.no_more()
        self.left -= 1
        self.sent.append(now)
        self._made += 1
        return self._message if self._message is not None else self.compose()

    def answered_same(self, reply: Any) -> Any:
        """The same, if every reply must equal the only request."""
        if reply != self._message and not self._early():
            self._mismatch(reply, self._message)
        return self.answered(reply)

    def answered_carefully(self, reply: Any) -> Any:
        """The same, if there is a greeting, a reply has several messages, or replies are checked."""
        if self._greetings:
            self.greeted()
            return None
        if self._early():
            return self._unasked(reply)
        expected = self._expected[0] if self._expected else self._message
        if self._check is not None and not self._check(reply, expected):
            self._mismatch(reply, expected)
        self._part += 1
        if self._part < self._replies:
            return None
        self._part = 0
        if self._expected:
            self._expected.popleft()
        return self.answered(reply)

    def compose(self) -> Any:
        """Make the next message, and store the reply that it must get."""
        worker = self.worker
        values = {"n": worker.composed, "connection": self.number, "turn": self._turn, "process": worker.plan.process}
        worker.composed += 1
        self._turn += 1
        message = worker.source(values)
        if worker.expectation.same:
            self._expected.append(message)
        elif worker.expectation.expected is not None:
            self._expected.append(worker.expectation.expected(values))
        return message

    def _mismatch(self, reply: Any, expected: Any) -> None:
        meter = self.worker.meter
        meter.tally.mismatches += 1
        per_request = self.worker.expectation.per_request
        wanted = _shown(expected) if per_request else self.worker.load.expect
        meter.sample(f"{self.channel.name if self.channel else ''}: the reply is {_shown(reply)}, expected {wanted}")

    def _unasked(self, reply: Any) -> None:
        meter = self.worker.meter
        meter.tally.unasked += 1
        if not self.worker.over:
            meter.tally.mismatches += 1
            meter.sample(f"{self.channel.name if self.channel else ''}: {_shown(reply)} answers no request")

    # -- how many -----------------------------------------------------------------------------------------

    def refill(self) -> bool:
        """Take some of the requests left to the run and to this visit; return whether there were any."""
        worker = self.worker
        # The last requests are shared among all connections.
        wanted = min(_GRANT, self.visit_left, max(1, worker.pool.left // (2 * len(worker.requesters))))
        if wanted <= 0:
            return False
        granted = worker.pool.take(wanted)
        self.left += granted
        self.visit_left -= granted
        self._granted += granted
        return granted > 0

    def give_back(self) -> None:
        """Return requests that were granted and not sent to the pool."""
        self.worker.pool.put(self.left)
        self._granted -= self.left
        self.visit_left += self.left
        self.left = 0

    def no_more(self) -> None:
        """Send no more here. When all requests are answered, leave, and check whether the run is done."""
        if self.sent:
            return
        if self.visit_left <= 0 and not self.worker.over:
            self.worked()
            self.leave(self.worker.load.close)
        self.worker.perhaps_done()

    @property
    def in_flight(self) -> int:
        return len(self.sent)

    def count_requests(self) -> None:
        """Count the requests sent since the last call."""
        sent = self._granted - self.left
        self.worker.meter.tally.requests += sent - self._counted
        self._counted = sent

    def oldest(self) -> int:
        """The moment when the oldest request in flight was sent."""
        return self.sent[0]

    # -- ending -------------------------------------------------------------------------------------------

    def counted(self, nanoseconds: int) -> None:
        self.worker.meter.connecting.record(nanoseconds)

    def time_out(self) -> None:
        """Abort, because the oldest request has waited too long: a late reply could not be told from other replies."""
        assert self.channel is not None
        meter = self.worker.meter
        meter.tally.timeouts += self.in_flight
        meter.sample(f"{self.channel.name}: no reply within {self.worker.load.timeout:g} s")
        self.forget()
        self.channel.abort(Reason.DEADLINE)

    def no_greeting(self) -> None:
        """Abort, because the greeting has not come in time. It counts as one timeout."""
        assert self.channel is not None
        self.greeting_since = None
        meter = self.worker.meter
        meter.tally.timeouts += 1
        meter.sample(f"{self.channel.name}: no greeting within {self.worker.load.timeout:g} s, so nothing was sent")
        self.channel.abort(Reason.DEADLINE)

    @property
    def owed(self) -> bool:
        return self.in_flight > 0 or self.greeting_since is not None

    def ended(self, stream: Stream) -> None:
        tally = self.worker.meter.tally
        if stream.messages_in:
            self.worked()
        if stream.reason is not Reason.DEADLINE:
            self.broken(stream)
            tally.unanswered += self.in_flight
        elif isinstance(stream.read_error, DeadlinePassed):
            self.broken(stream)  # the deadline of a handshake, or of a peer that does not read
        else:
            tally.timeouts += self.in_flight

    def _ended(self, channel: Channel) -> None:
        super()._ended(channel)
        self.forget()
        self.worker.perhaps_done()

    def forget(self) -> None:
        """Forget the requests in flight: their replies cannot come any more."""
        self.sent.clear()
        self._expected.clear()
        self.greeting_since = None
        self.give_back()


def record(counts: list[int], value: int) -> None:
    """The same as :meth:`Recorder.record`, for callers that hold the counters."""
    counts[bucket_of(min(value, MAX_VALUE))] += 1


def _shown(message: Any) -> str:
    octets = octets_of(message)
    return repr(octets) if len(octets) <= 40 else f"{octets[:40]!r}... ({len(octets)} octets)"
