"""A channel that is held to a rate: it reads later than it could.

Only servers that were given ``max_message_rate`` or ``max_octet_rate`` have such channels; all others pay
nothing for it. When reading goes on is looked at with the deadlines, four times a second: a bucket holds a
second's worth, so the rate is kept all the same.
"""

from __future__ import annotations

from functools import lru_cache

from fourtuple.engine.channel import Channel
from fourtuple.engine.overdue import miss
from fourtuple.engine.readiness import ERR, HUP, IN, OUT, RDHUP, SILENCE
from fourtuple.errors import DeadlinePassed
from fourtuple.options import Limits
from fourtuple.rates import Pace


class ShapedChannel(Channel):
    """Held to the pace in its slot ``pace``: see :func:`shape`. The socket of a thread or program is only watched."""

    __slots__ = ()

    pace: Pace

    def on_ready(self, events: int) -> None:
        if events & IN and not events & (ERR | HUP) and self._held():
            self.stream.paused(self.engine.now)
            self.engine.readiness.watch(self, self.mask & OUT or self._unread)
            events &= OUT
            if not events:
                return
        if events & (RDHUP | ERR | HUP) and self._held():
            self._deafen(events)
            return
        if events & SILENCE and self._held():
            self._gap_timer = None  # update() starts another when reading goes on
            return
        self._serve(events)

    def update(self) -> None:
        if self._held() and self._socket is not None and not self.lent:
            mask = (OUT if self.stream.outbox_size else 0) | (self.mask & IN) or self._unread
            if mask != self.mask:
                self.engine.readiness.watch(self, mask)
        else:
            super().update()

    def _held(self) -> bool:
        return self.pace.until > self.engine.now and not self.stream.closing

    def _read(self) -> None:
        super()._read()
        self._take_note()

    def _take_note(self) -> None:
        stream = self.stream
        if self.pace.took(stream.octets_in, stream.messages_in, self.engine.now) or self.lent:
            self.due = min(self.due, self.pace.until)

    def on_due(self, now: float) -> None:
        pace, patience = self.pace, self.deadlines.rate_timeout
        if self.stream.closing or self.stream.over:
            super().on_due(now)  # It was ended before; a thread may be on its way back with the socket.
            return
        if self.lent:
            self._take_note()
        if pace.over_since is not None and patience is not None and now - pace.over_since >= patience:
            miss(self, DeadlinePassed("rate_timeout", patience, str(self.name)))
            return
        super().on_due(now)
        if self._socket is None:
            return
        if pace.until > now or self.lent:
            self.due = min(self.due, max(pace.until, now))
        else:
            self.update()


def shape(channel: Channel, limits: Limits, now: float) -> None:
    """Hold a channel to the rates of ``limits``, or let it go where there are none."""
    if limits.max_message_rate is not None or limits.max_octet_rate is not None:
        channel.pace = Pace(limits, channel.stream.octets_in, channel.stream.messages_in, now)
        channel.due = now
        channel.stream.limits = _in_small_reads(limits)
        _become(channel, ShapedChannel)
    elif channel.pace is not None:
        channel.pace = None
        _become(channel, Channel)
        channel.update()


@lru_cache(maxsize=16)
def _in_small_reads(limits: Limits) -> Limits:
    """Limits whose read takes no more than a second's worth: a debt is never longer than that."""
    rate = limits.max_octet_rate
    return limits if rate is None else limits.replace(read_size=min(limits.read_size, max(1, int(rate))))


def _become(channel: Channel, kind: type[Channel]) -> None:
    # The class is the state: a look at "is there a pace?" in every turn of every channel would cost those who
    # have none. Both classes have the same slots, so an object may change between them.
    channel.__class__ = kind
