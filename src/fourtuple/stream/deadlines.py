"""Deadlines as data: which one passes first. The clock is an argument, and somebody else's."""

from __future__ import annotations

from fourtuple.errors import DeadlinePassed
from fourtuple.events import Reason
from fourtuple.options import Deadlines
from fourtuple.stream.values import Half
from fourtuple.stream.wire import Wire


class Timed(Wire):
    """The peer's clocks: they stand still while we do not read."""

    __slots__ = ()

    def resumed(self, now: float) -> None:
        """Reading goes on: the peer gets back the time that we took."""
        if self._paused_at is None:
            return
        away, self._paused_at = now - self._paused_at, None
        self.opened += away if self.deferred_first and not self.messages_in else 0.0
        self.last_activity = now
        if self.message_since is not None:
            self.message_since += away

    def excused(self, which: str, now: float) -> bool:
        """A handler is at work: the peer may wait in silence for it, and has its whole time again from here on.

        Returns whether the deadline ``which`` is one for silence.
        """
        if which == "idle_timeout":
            self.last_activity = now
        elif which == "first_message_timeout":
            self.opened = now
        else:
            return False
        return True

    def late(self, error: DeadlinePassed) -> None:
        """A deadline passed: note it, and tell whoever waits for a handshake; closing is next."""
        self.because(Reason.DEADLINE)
        self.cause = self.cause or error
        if self.layer is not None and not self.layer.established:
            self.layer.fail(error)
            self.read_error = self.read_error or error

    def next_deadline(self, deadlines: Deadlines) -> tuple[float, str, float] | None:
        """The deadline that passes first: the moment, its name as in Deadlines, its length; None without any."""
        found: list[tuple[float, str, float]] = []

        def add(since: float | None, seconds: float | None, which: str) -> None:
            if since is not None and seconds is not None:
                found.append((since + seconds, which, seconds))

        add(self.write_since, deadlines.write_timeout, "write_timeout")
        layer = self.layer
        if layer is not None and not layer.established and not layer.finished:
            if layer.since is None:
                add(self.opened, deadlines.first_message_timeout, "first_message_timeout")
            else:
                add(layer.since, getattr(deadlines, layer.deadline), layer.deadline)
        elif self.closing or self.reading is not Half.OPEN:
            add(self.fin_at if self.closing else None, deadlines.linger_timeout, "linger_timeout")
        elif self._paused_at is None and not self.inbox:
            if not self.messages_in and self.deferred_first:
                add(self.opened, deadlines.first_message_timeout, "first_message_timeout")
            add(self.message_since, deadlines.message_timeout, "message_timeout")
            if self.outbox_size == 0:
                add(self.last_activity, deadlines.idle_timeout, "idle_timeout")
        return min(found, default=None)
