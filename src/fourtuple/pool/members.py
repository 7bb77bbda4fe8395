"""The members of a pool: which one is used next, and which one gets no request any more, and why."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from fourtuple.options import Pool
from fourtuple.pool.correlation import Correlation
from fourtuple.pool.link import Link
from fourtuple.pool.member import Member

#: The random share of ``max_age`` that is taken off.
#: Connections that were made together, after a restart of the server, must not all be replaced together.
_AGE_SPREAD = 0.1


class Members:
    """All connections, the one used last at the end.

    The connection used last is used next (last in, first out), so that those that are not needed become idle and are
    closed.
    """

    def __init__(
        self,
        options: Pool,
        correlation: Correlation,
        random: Callable[[], float],
        *,
        pings: bool,
    ) -> None:
        self._options = options
        self._correlation = correlation
        self._random = random
        self._pings = pings
        self._members: list[Member] = []
        #: The number of times that all connections were replaced.
        self.generation = 0
        #: The earliest moment at which :meth:`reason` may have something new to say.
        self.due: float = math.inf

    def add(self, link: Link, now: float, generation: int) -> Member:
        """Add a connection that is ready, made for the generation that was current when it began."""
        age = self._options.max_age
        # A connection for pushes is not replaced for its age: each replacement would lose pushes.
        expires = math.inf
        if age is not None and not self._correlation.takes_pushes:
            expires = now + age * (1 - _AGE_SPREAD * self._random())
        member = Member(link, self._correlation.outstanding(link.name), now, generation, expires)
        self._members.append(member)
        self.due = min(self.due, self._next_look(member))
        return member

    def remove(self, member: Member) -> bool:
        """Remove a connection; return whether it was here."""
        if member.ended:
            return False
        member.ended = True
        self._members.remove(member)
        return True

    def used(self, member: Member, now: float) -> None:
        """Note that a connection was given a request, or has become idle: it is the next one to be used again."""
        member.last_used = member.last_active = now
        if member.idle:
            self.due = min(self.due, self._next_look(member))
        # The common case, one connection in use, costs one comparison.
        if self._members[-1] is not member:
            self._members.remove(member)
            self._members.append(member)

    def pick(self, *, fresh: bool) -> Member | None:
        """Return the connection for the next request: the idle one used last, or the one with the fewest outstanding.

        ``fresh`` asks for one that has served no request.
        """
        best: Member | None = None
        for member in reversed(self._members):
            if not member.usable or (fresh and member.served):
                continue
            if member.live >= self._options.max_pipelined or member.link.crowded:
                continue
            if member.idle:
                return member
            if member.in_doubt and member.live:
                continue
            # All outstanding ones, those abandoned too: their replies come before that of a new request.
            if best is None or len(member.outstanding) < len(best.outstanding):
                best = member
        return best

    def spare(self) -> Member | None:
        """Return an idle connection that can make room for a new one, which has served no request."""
        return next((each for each in self._members if each.usable and each.idle and each.served), None)

    def for_one_way(self) -> Member | None:
        """Return the connection for a message that has no reply, if :meth:`pick` has none.

        Such a message need not wait for the reply to a ping, nor for those of requests: ``max_pipelined`` bounds only
        these. Where the outbox has no room, its ``send()`` waits.
        """
        ready = [each for each in reversed(self._members) if each.up]
        return min(ready, key=lambda each: (each.link.crowded, each.live), default=None)

    @property
    def ready(self) -> bool:
        """Whether there is a connection that gets requests: at once, or when its ping is answered.

        A ping does not make a healthy connection unknown: it is ready until the reply has failed to come.
        """
        return any(member.up for member in self._members)

    @property
    def full(self) -> bool:
        """Whether no other connection may be made."""
        return len(self._members) >= self._options.max_connections

    def reason(self, member: Member, now: float) -> str:
        """Return why a connection must get no request any more; empty if it may."""
        options = self._options
        if member.abandoned > options.max_abandoned or self._given_up(member, now):
            return "abandoned"
        if member.generation != self.generation:
            return "expired"
        if options.max_requests is not None and member.served >= options.max_requests:
            return "requests"
        if now >= member.expires:
            return "age"
        if now >= self._idle_until(member) and member.idle:
            return "idle"
        return ""

    def _given_up(self, member: Member, now: float) -> bool:
        """Whether so many requests in a row were given up, or for so long, that the order of replies is in doubt.

        If the server never answers one request, the reply to the next one is taken for its late reply, and so on: each
        comes and is dropped, so neither their number nor their age shows it.
        """
        if not member.outstanding.in_order:
            return False
        if member.given_up > self._options.max_abandoned:
            return True
        timeout = self._options.request_timeout
        # Not for one alone, whose late reply ends it, or its age does.
        return timeout is not None and member.given_up > 2 and now - member.given_up_since > 2 * timeout

    def _idle_until(self, member: Member) -> float:
        if self._options.max_idle is None or self._correlation.takes_pushes:
            return math.inf
        return member.last_used + self._options.max_idle

    def ping_due(self, member: Member, now: float) -> bool:
        """Whether an idle connection has to show that it lives."""
        return self._pings and member.usable and member.idle and now >= member.last_active + self._options.ping_interval

    def check_due(self, member: Member, now: float) -> bool:
        """Whether a connection has idled for so long that its socket is looked at before it is used."""
        return now - member.last_active >= self._options.check_after

    def looked(self) -> None:
        """Compute :attr:`due` again: every connection was looked at."""
        self.due = min(map(self._next_look, self._members), default=math.inf)

    def _next_look(self, member: Member) -> float:
        if member.retiring:
            return math.inf  # its last reply ends it
        if not member.idle:
            return member.expires  # its last reply brings the next look at the rest
        pings = self._pings and member.usable  # one that the peer has finished gets no ping: it ends by itself
        ping = member.last_active + self._options.ping_interval if pings else math.inf
        return min(self._idle_until(member), member.expires, ping)

    def __iter__(self) -> Iterator[Member]:
        return iter(self._members[:])

    def __len__(self) -> int:
        return len(self._members)
