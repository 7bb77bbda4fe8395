"""A channel that is held to rates: excess messages wait until their bucket has tokens again.

Only servers with a rate have such channels; all others pay nothing for it. The turn in C declines them by their class.
The stream and its throttle decide what the rates allow. This file decides when the channel continues: with the sweep,
four times a second. A bucket holds tokens for one second, so the rate is still reached.

After a loss nothing waits any more: what the rate has not allowed until then is dropped.
"""

from __future__ import annotations

import math

from fourtuple.engine.channel import Channel
from fourtuple.engine.expire import miss
from fourtuple.engine.readiness import ERR, HUP, IN, OUT, RDHUP
from fourtuple.errors import DeadlinePassed
from fourtuple.options import Limits
from fourtuple.rates.throttle import AddressRate, Throttle, own_rates, throttles
from fourtuple.stream import Half


class ThrottledChannel(Channel):
    """A channel held to the throttle of its stream: see :func:`throttle`. It cannot throttle a program's socket."""

    __slots__ = ()

    # Fields of ChannelState that this part writes.
    due: float

    def on_ready(self, events: int) -> None:
        """Serve the ready socket in the general case; without events, continue after waiting for a rate."""
        if events & (ERR | HUP | RDHUP) and not self.stream.read_size:
            self._unwatch(events)
            events &= OUT
        if events:
            self._serve(events)
            return
        throttle = self.stream.throttle
        thirsty = throttle is not None and throttle.thirsty
        if throttle is not None:
            throttle.thirsty = False
        self._serve(0)
        if thirsty and self.mask & IN and not self.detached and self.stream.wants_read:
            self._read()  # now: the tokens reserved for this turn are lost at its end

    def _read(self) -> None:
        if self.stream.read_size:
            super()._read()
        else:
            self._unwatch(IN)

    def wait(self, until: float) -> None:
        """Let the sweep look at this moment: there is no token before."""
        self.due = -math.inf if self.stream.writing is Half.BROKEN else min(self.due, until)

    def _write_failed(self, error: OSError) -> None:
        super()._write_failed(error)
        self.due = -math.inf  # the sweep drops what waits

    def on_turn(self) -> bool:
        """Continue: of all connections from this address, it is this one's turn. False if a thread has the socket.

        Such a thread notices its turn by itself.
        """
        if self.detached:
            return False
        self.engine.serve(self, 0)
        return True

    def on_due(self, now: float) -> None:
        stream, throttle, patience = self.stream, self.stream.throttle, self.deadlines.rate_timeout
        assert throttle is not None
        if stream.closing or stream.over:
            super().on_due(now)  # it is ending already; a thread may be about to give the socket back
            return
        if stream.writing is Half.BROKEN and (stream.held_back or throttle.thirsty) and not self.detached:
            self._drop_waiting()
            return
        over_since = throttle.over_since
        if over_since is not None and patience is not None and now - over_since >= patience:
            miss(self, DeadlinePassed("rate_timeout", patience, str(self.name)))
            return
        super().on_due(now)
        if not self.ended and not self.detached and throttle.until <= now and (stream.held_back or throttle.thirsty):
            self.engine.serve(self, 0)
        if not self.ended:
            self.due = min(self.due, self._next_look(throttle, now))

    def _drop_waiting(self) -> None:
        """End: the connection is lost, and messages that wait for a rate could not be answered."""
        self.stream.drop_waiting()
        if self.consumer is not None:
            self.consumer.readable()
        self._end()

    def _next_look(self, throttle: Throttle, now: float) -> float:
        look = math.inf
        if self.stream.held_back or throttle.thirsty:
            look = max(throttle.until, now)
        if throttle.over_since is not None and self.deadlines.rate_timeout is not None:
            look = min(look, throttle.over_since + self.deadlines.rate_timeout)
        return look


def throttle(channel: Channel, limits: Limits, address: AddressRate | None) -> None:
    """Hold a channel to the rates of ``limits`` and of its address; without rates, release it."""
    stream = channel.stream
    if throttles(limits):
        _become(channel, ThrottledChannel)
        assert isinstance(channel, ThrottledChannel)
        if stream.throttle is None or stream.throttle.rates != own_rates(limits):
            if stream.throttle is not None:
                stream.throttle.join(None)
            stream.be_throttled(Throttle(limits, channel.engine.time, channel.wait, channel.on_turn))
        assert stream.throttle is not None
        stream.throttle.join(address)
    elif stream.throttle is not None:
        stream.throttle.join(None)
        stream.be_throttled(None)
        _become(channel, Channel)
        channel.look_again()


def change_rates(channel: Channel) -> None:
    """Hold a channel to the rates that its limits now have. The rates of its address stay."""
    own, before = channel.stream.limits, channel.stream.throttle
    if before is not None or throttles(own):
        throttle(channel, own, None if before is None else before.leave_to_next())


def _become(channel: Channel, kind: type[Channel]) -> None:
    # The class is the state: a test for a throttle in every turn would cost channels that have none. Both classes have
    # the same slots, so that an object can change its class.
    channel.__class__ = kind
