"""A channel that is held to rates: what came above them waits, and is delivered and read on as there are tokens.

Only servers that were given a rate have such channels; all others pay nothing for it. The turn in C declines them by
their class. What the rates allow is decided by the stream and its throttle; here is when it goes on: with the
deadlines, four times a second. A bucket holds a second's worth, so the rate is kept all the same.
"""

from __future__ import annotations

import math

from fourtuple.engine.channel import Channel
from fourtuple.engine.expire import miss
from fourtuple.engine.readiness import ERR, HUP, IN, OUT, RDHUP
from fourtuple.errors import DeadlinePassed
from fourtuple.options import Limits
from fourtuple.throttle import AddressRate, Throttle, own_rates, throttles


class ThrottledChannel(Channel):
    """Held to the throttle of its stream: see :func:`throttle`. The socket of a program is out of our hands."""

    __slots__ = ()

    def on_ready(self, events: int) -> None:
        """Serve what is ready, the long way; with no events, go on where a rate was waited for."""
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
            self._read()  # at once: what is reserved for this turn is lost with it

    def _read(self) -> None:
        if self.stream.read_size:
            super()._read()
        else:
            self._unwatch(IN)

    def wait(self, until: float) -> None:
        """There is no token before this moment."""
        self.due = min(self.due, until)

    def on_turn(self) -> bool:
        """It is this one's turn, of those of its address. A thread that has the socket sees it by itself."""
        if self.detached:
            return False
        self.engine.serve(self, 0)
        return True

    def on_due(self, now: float) -> None:
        stream, throttle, patience = self.stream, self.stream.throttle, self.deadlines.rate_timeout
        assert throttle is not None
        if stream.closing or stream.over:
            super().on_due(now)  # It was ended before; a thread may be on its way back with the socket.
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

    def _next_look(self, throttle: Throttle, now: float) -> float:
        look = math.inf
        if self.stream.held_back or throttle.thirsty:
            look = max(throttle.until, now)
        if throttle.over_since is not None and self.deadlines.rate_timeout is not None:
            look = min(look, throttle.over_since + self.deadlines.rate_timeout)
        return look


def throttle(channel: Channel, limits: Limits, address: AddressRate | None) -> None:
    """Hold a channel to the rates of ``limits`` and of its address, or let it go where there are none."""
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


def _become(channel: Channel, kind: type[Channel]) -> None:
    # The class is the state: a look at "is there a throttle?" in every turn of every channel would cost those who
    # have none. Both classes have the same slots, so an object may change between them.
    channel.__class__ = kind
