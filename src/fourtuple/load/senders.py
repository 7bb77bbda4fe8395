"""Requests without replies: syslog, statsd, discard. They measure how much the server takes, not latency."""

from __future__ import annotations

from fourtuple.engine import Channel, Consumer
from fourtuple.load.host import SlotHost
from fourtuple.load.requesters import Requester
from fourtuple.load.sink import MessageSink
from fourtuple.options import Limits

#: The most requests that one connection hands over before others get their turn.
_BATCH = 256


class Sender(Requester):
    """A connection that sends and waits for no reply: as fast as the peer reads, or at scheduled times with a rate."""

    left: int
    visit_left: int

    def __init__(self, worker: SlotHost, number: int) -> None:
        super().__init__(worker, number)
        self.parked = True
        self._told = 0

    def consumer(self, channel: Channel) -> Consumer:
        return MessageSink(channel, heard=self.worker.without_pushes(self.greeted), relieved=self.start)

    def limits(self) -> Limits:
        """The default limits: the high-water mark of the outbox holds a sender back."""
        return Limits()

    @property
    def room(self) -> bool:
        """Whether the peer keeps up, judged by the outbox."""
        channel = self.channel
        return self.can_write and channel is not None and not channel.stream.crowded and self.visit_left > 0

    def start(self) -> None:
        pacer = self.worker.pacer
        if pacer is None:
            self._pour(self.channel)
        elif self.parked:
            pacer.joined(self)

    def _pour(self, channel: Channel | None) -> None:
        if channel is None or channel is not self.channel or not self.can_write or self.worker.over:
            return
        stream = channel.stream
        count = 0
        while not stream.crowded and count < _BATCH and (self.left or self.refill()):
            self.left -= 1
            count += 1
            stream.send(self._message if self._message is not None else self.compose())
        channel.settle()
        if not self.left and self.visit_left <= 0:
            self._visited()
        elif stream.crowded:
            channel.expect_relief()
        elif self.left or self.worker.pool.left:
            self.worker.engine.loop.call_soon(self._pour, channel)
        else:
            self.worker.perhaps_done()

    def push(self, now: int) -> None:
        """Send the request that is due."""
        assert self.channel is not None
        assert self.worker.pacer is not None
        self.worker.pacer.take(now)
        self.visit_left -= 1
        self._told += 1
        self.channel.stream.send(self._message if self._message is not None else self.compose())

    def flush(self) -> None:
        """Send the pushed requests now; if the outbox is crowded, wait for relief."""
        channel = self.channel
        if channel is None:
            return
        channel.settle()
        if channel.stream.crowded:
            channel.expect_relief()
        elif self.parked and self.room:
            self.start()  # the kernel took all of it
        if self.visit_left <= 0:
            self._visited()
        elif self.worker.pool.left <= 0:
            self.worker.perhaps_done()

    def _visited(self) -> None:
        self.worked()
        self.leave(self.worker.load.close)
        self.worker.perhaps_done()

    @property
    def in_flight(self) -> int:
        """1 if octets wait for the kernel, otherwise 0: the end of the run waits for them."""
        return int(self.channel is not None and self.channel.stream.outbox_size > 0 and not self.leaving)

    def oldest(self) -> int:
        """Now, so that no request is too old: ``write_timeout`` covers this case."""
        return self._clock()

    def count_requests(self) -> None:
        if self.worker.pacer is None:
            super().count_requests()
        else:
            self.worker.meter.tally.requests += self._told
            self._told = 0
