"""Reconnecting: one attempt to connect at a time, and when the next one may begin."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum

from fourtuple.backoff import Backoff
from fourtuple.errors import PermanentFailure
from fourtuple.options import Retries


class Dial(Enum):
    """What the dialler does."""

    IDLE = "idle"
    CONNECTING = "connecting"
    GREETING = "greeting"
    REFUSED = "refused"


class Dialler:
    """The states of connecting::

                   begin()               connected()              done()
        IDLE ----------------> CONNECTING ---------> GREETING -----------------> IDLE
          ^                        |                     |
          |  failed(), later       |                     |  PermanentFailure
          +------------------------+---------------------+-----------------> REFUSED --- forgive() ---> IDLE

    In IDLE, the next attempt may begin at :attr:`not_before`.
    """

    def __init__(self, options: Retries, random: Callable[[], float]) -> None:
        self.state: Dial = Dial.IDLE
        self.not_before: float = -math.inf
        #: Why the last attempt failed; None after one that succeeded.
        self.error: Exception | None = None
        #: Why the last connection that was ready was lost; None before there was one.
        self.loss: Exception | None = None
        #: The attempts since the last success, and the moment at which the latest began.
        self.attempts: int = 0
        self.started: float = 0.0
        #: When the latest connection became ready, while it is not known to have ended.
        self._greeted_at: float | None = None
        self._reset_after = options.reset_after
        self._after_loss = options.after_loss
        self._random = random
        self._backoff = Backoff(
            first=options.delay,
            factor=options.factor,
            longest=options.max_delay,
            jitter=options.jitter,
            spread=options.after_loss,
            chance=random,
        )

    @property
    def busy(self) -> bool:
        """Whether an attempt is under way."""
        return self.state in (Dial.CONNECTING, Dial.GREETING)

    def failing(self, now: float) -> bool:
        """Whether the last attempt has failed, and the next one is not due yet."""
        return self.error is not None and not self.busy and now < self.not_before

    def begin(self, now: float) -> None:
        """Note that an attempt begins."""
        assert self.state is Dial.IDLE, self.state
        self.state, self.started = Dial.CONNECTING, now
        self.attempts += 1

    def connected(self) -> None:
        """Note that the connection is made; ``greet`` is next."""
        assert self.state is Dial.CONNECTING, self.state
        self.state = Dial.GREETING

    def done(self, now: float) -> int:
        """Note that ``greet`` is done; return the number of attempts that it took."""
        assert self.busy, self.state
        attempts, self.attempts = self.attempts, 0
        self.state, self.error = Dial.IDLE, None
        self._greeted_at = now
        return attempts

    def failed(self, error: Exception, now: float) -> float | None:
        """Note that the attempt failed; return the seconds to the next one, or None if there must be none."""
        assert self.busy, self.state
        self.error = error
        if isinstance(error, PermanentFailure):
            self.state = Dial.REFUSED
            return None
        self.state = Dial.IDLE
        if self._greeted_at is not None and now - self._greeted_at >= self._reset_after:
            self._backoff.reset()  # another connection works
        # Once: the next failure in a row is not excused by the same connection.
        self._greeted_at = None
        # Counted from the beginning of the attempt: one that took long to fail has waited already.
        self.not_before = max(now, self._backoff.failed(self.started))
        return self.not_before - now

    def cancelled(self) -> None:
        """Note that the attempt was given up by this side: it says nothing about the server."""
        if self.busy:
            self.state = Dial.IDLE

    def lost(self, greeted_at: float, lost_at: float, held: float, error: Exception) -> None:
        """Note that a connection that worked was lost, after it was held for this many seconds.

        It may have been lost before this side noticed, so ``lost_at`` is the last moment at which it was known to work.
        """
        self.loss = error
        if self._greeted_at == greeted_at:
            self._greeted_at = None
        if held >= self._reset_after:
            moment = self._backoff.lost(lost_at)
        else:
            # A server that drops connections soon drops those of all its clients: they must not return together either.
            moment = max(self._backoff.failed(greeted_at), lost_at + self._random() * self._after_loss)
        self.not_before = max(self.not_before, moment)

    def forgive(self) -> None:
        """Try again after a PermanentFailure."""
        if self.state is Dial.REFUSED:
            self.state, self.error, self.loss, self.not_before = Dial.IDLE, None, None, -math.inf
