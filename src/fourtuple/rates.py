"""Rates: a token bucket, and the pace that one connection is held to. Pure: the clock is an argument."""

from __future__ import annotations

from fourtuple.options import Limits


class Bucket:
    """A token bucket: ``rate`` tokens a second, at most ``burst`` of them saved up."""

    __slots__ = ("_burst", "_rate", "_since", "_tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = max(1.0, burst)
        self._tokens = self._burst
        self._since = now

    def wait(self, now: float) -> float:
        """Seconds until a whole token is there; 0 when one is there now."""
        self._fill(now)
        return 0.0 if self._tokens >= 1 else (1 - self._tokens) / self._rate

    def full(self, now: float) -> bool:
        """Whether all that can be saved up is there: nothing was taken for a while."""
        self._fill(now)
        return self._tokens >= self._burst

    def take(self, now: float, tokens: float = 1.0) -> float:
        """Take tokens, into debt if need be; return the seconds until the debt is paid."""
        self._fill(now)
        self._tokens -= tokens
        return 0.0 if self._tokens >= 0 else -self._tokens / self._rate

    def _fill(self, now: float) -> None:
        if now > self._since:
            self._tokens = min(self._burst, self._tokens + (now - self._since) * self._rate)
            self._since = now


class Pace:
    """Holds one connection to ``max_message_rate`` and ``max_octet_rate``: a second's worth at once, then the rate.

    Reading is what is delayed: what was read is never thrown away, so one read may make a debt, and the next
    one waits until it is paid. TCP's own flow control slows the peer down.
    """

    __slots__ = ("_messages", "_octets", "_seen_messages", "_seen_octets", "over_since", "until")

    def __init__(self, limits: Limits, octets: int, messages: int, now: float) -> None:
        octet_rate, message_rate = limits.max_octet_rate, limits.max_message_rate
        self._octets = Bucket(octet_rate, octet_rate, now) if octet_rate is not None else None
        self._messages = Bucket(message_rate, message_rate, now) if message_rate is not None else None
        self._seen_octets, self._seen_messages = octets, messages
        #: Reading waits until then.
        self.until = now
        #: Since when the connection has been above a rate, without one moment of quiet; None while it is not.
        self.over_since: float | None = None

    def took(self, octets: int, messages: int, now: float) -> bool:
        """Note how many octets and messages have come in all; return whether reading has to wait now."""
        wait = 0.0
        if self._octets is not None:
            wait = self._charge(self._octets, octets - self._seen_octets, now)
            self._seen_octets = octets
        if self._messages is not None:
            # Fewer than before: messages that were read again as raw octets.
            wait = max(wait, self._charge(self._messages, max(0, messages - self._seen_messages), now))
            self._seen_messages = messages
        self.until = now + wait
        if wait and self.over_since is None:
            self.over_since = now
        return wait > 0

    def _charge(self, bucket: Bucket, tokens: int, now: float) -> float:
        if bucket.full(now):
            self.over_since = None  # A second of quiet: whatever was, is forgiven.
        return bucket.take(now, tokens)
