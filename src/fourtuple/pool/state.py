"""The state of a pool: what it holds, and what of it is seen from outside."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fourtuple.events import ClientState, ClientStatistics
from fourtuple.framing import Framing
from fourtuple.options import Pool, Retries
from fourtuple.pool.budget import RetryBudget
from fourtuple.pool.calls import Attempt, Call
from fourtuple.pool.correlation import Correlation
from fourtuple.pool.deadlines import Deadlines
from fourtuple.pool.member import Member
from fourtuple.pool.members import Members
from fourtuple.pool.pushes import PushInbox
from fourtuple.pool.reconnecting import Dial, Dialler
from fourtuple.pool.report import Report


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a client can serve requests (``ok``), its ``state``, and what is wrong, if something is (``error``).

    ``seconds`` is the time to the next attempt to connect while the state is ``waiting``, otherwise 0.
    """

    ok: bool
    state: ClientState
    error: BaseException | None = None
    seconds: float = 0.0


class PoolState:
    """The fields of a pool, its state, health and counters.

    The states of a client, as they are shown in ``repr`` and told in events::

        new --- the first call ---> connecting ----> greeting ----> ready ---- the last connection is lost --+
                                      ^   |             |                                                    |
                                      |   +---failed----+---> waiting (for the next attempt) <---------------+
                                      |                  \\       |
                                      +------------------ \\ -----+
                                                           \\ PermanentFailure
                                                            +---> failed --- expire() ---> new

        any --- drain() ---> draining ---> closed          any --- close() ---> closed

    In a forked child the state is forked, whatever it was. A client whose event loop was closed is "loop closed", until
    it is closed itself.
    """

    def __init__(
        self,
        report: Report,
        options: Pool,
        retries: Retries,
        correlation: Correlation,
        *,
        random: Callable[[], float],
        wall: Callable[[], float],
        inbox: PushInbox | None = None,
        ping: Callable[[], Any] | None = None,
        framing: Framing | None = None,
    ) -> None:
        self._report = report
        self._options = options
        self._correlation = correlation
        self._passes = correlation.passes
        self._ping = ping
        #: The framing that connections have, as far as it is known: None before a ``greet``, which may change it.
        self._framing = framing
        self._wall = wall
        self.inbox = inbox
        self.members: Members = Members(options, correlation, random, pings=ping is not None)
        self.dialler: Dialler = Dialler(retries, random)
        self._budget = RetryBudget(retries)
        #: The calls that wait for a connection, the next one first.
        self._waiting: OrderedDict[Call, None] = OrderedDict()
        self._deadlines: Deadlines[tuple[Call | Member, Attempt | None]] = Deadlines(_counts)
        #: Whether another connection would serve a call sooner, although it was given one.
        self._wants_more = False
        #: Whether a connection is kept although no call waits for it: for pushes.
        self.stays = False
        #: Whether the server ended the last connection without having served it, and has not replied since.
        self._unserved = False
        self._dial_generation = 0
        self._lost: tuple[float, float] | None = None  # when the last connection for pushes ended, on both clocks
        self._advancing = False
        #: Counts calls of :meth:`advance`: a call that is handed on in the next one has not waited.
        self._turn = 0
        self.draining = self.closed = False
        #: Why nothing can be used here: this process is a forked child, and the connections are its parent's.
        self.disowned: Exception | None = None
        #: Why nothing can be used any more, but still be closed: the event loop of the connections was closed.
        self.stranded: Exception | None = None

    def disown(self, error: Exception) -> None:
        """Note that this process is a forked child, where every call raises this error."""
        self.disowned = error

    def dial_at(self) -> float | None:
        """Return when an attempt to connect should begin; None if none is wanted, or one is under way."""
        dialler = self.dialler
        if self.closed or dialler.state is not Dial.IDLE or self.members.full:
            return None
        wanted = bool(self._waiting) or self._wants_more or (self.stays and not self.draining and not len(self.members))
        return dialler.not_before if wanted else None

    @property
    def advancing(self) -> bool:
        """Whether :meth:`ConnectionPool.advance` runs now; it may call functions of the program."""
        return self._advancing

    @property
    def address(self) -> str:
        """The server's address."""
        return self._report.address

    def state(self, now: float) -> ClientState:
        """Return the state's name."""
        if self.disowned is not None:
            return "forked"
        if self.closed:
            return "closed"
        if self.stranded is not None:
            return "loop closed"
        if self.draining:
            return "draining"
        if self.members.ready:
            return "ready"
        if self.dialler.busy:
            return "connecting" if self.dialler.state is Dial.CONNECTING else "greeting"
        if self.dialler.state is Dial.REFUSED:
            return "failed"
        if (moment := self.dial_at()) is not None:
            return "waiting" if moment > now else "connecting"
        return "waiting" if now < self.dialler.not_before or self._down() is not None else "new"

    def state_text(self, now: float) -> str:
        """Return the state, with the seconds to the next attempt: ``waiting(2.4 s)``."""
        state = self.state(now)
        return f"waiting({self._pause(now):.1f} s)" if state == "waiting" else state

    def _pause(self, now: float) -> float:
        return max(0.0, self.dialler.not_before - now)

    def tell_state(self, now: float) -> None:
        """Tell the observer if the state has changed."""
        state = self.state(now)
        self._report.state_is(state, self._pause(now) if state == "waiting" else 0.0)

    def _trouble(self, now: float) -> Exception | None:
        """Return what is wrong now; None while all is well."""
        if self.dialler.state is Dial.REFUSED:
            return self.dialler.error
        return self.inbox.trouble() if self.inbox is not None else None

    def _down(self) -> Exception | None:
        """Return why no connection is ready: the last failure to connect, or the last loss; None if all is well."""
        dialler = self.dialler
        if self.members.ready:
            return None
        return dialler.error or (dialler.loss if self._unserved else None)

    def health(self, now: float) -> Health:
        """Return whether requests can be served, and why not."""
        error = self.disowned or (None if self.closed else self.stranded) or self._trouble(now)
        if error is None:
            error = self._down()
        state = self.state(now)
        seconds = self._pause(now) if state == "waiting" else 0.0
        return Health(error is None and state not in ("draining", "closed"), state, error, seconds)

    def statistics(self, now: float) -> ClientStatistics:
        """Return the counters."""
        usable = self.disowned is None and self.stranded is None
        members = list(self.members) if usable else []
        in_use = sum(member.live > 0 for member in members)
        inbox = self.inbox
        return self._report.statistics(
            {
                "open": len(members),
                "in_use": in_use,
                "idle": len(members) - in_use,
                "waiting": len(self._waiting) if usable else 0,
                "abandoned": sum(member.abandoned for member in members),
                "retry_budget": int(self._budget.left(now)),
                "pushes_waiting": len(inbox) if inbox is not None else 0,
                "pushes_dropped": inbox.dropped if inbox is not None else 0,
            }
        )


def _counts(due: tuple[Call | Member, Attempt | None]) -> bool:
    """Whether something that is due still matters."""
    who, attempt = due
    if isinstance(who, Member):
        return not who.ended and attempt is not None and not attempt.over
    return not who.done and (attempt is None or who.attempt is attempt)
