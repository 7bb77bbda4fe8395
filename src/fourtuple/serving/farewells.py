"""When a draining server half-closes a connection, and when it stops waiting for the peer's answer to the FIN.

Only octets from the peer count as activity. If octets from the server counted, a server that broadcasts would never
half-close its silent subscribers. Silence never extends a drain.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from fourtuple.handlers import Runner
from fourtuple.options import Deadlines

#: The golden ratio.
_GOLDEN = (1 + math.sqrt(5)) / 2


@dataclass(slots=True)
class Quiet:
    """For one connection: since when the peer has been silent while the server had no work for it."""

    octets_in: int
    since: float
    #: When the server half-closed the connection; None if it has not.
    said: float | None = None


class Farewells:
    """Decides at each check of a drain which connections are half-closed and which are ended.

    Parameters
    ----------
    began
        When the drain began, on the engine's clock: silence before it does not count.
    deadlines
        ``drain_idle_timeout``, ``drain_first_message_timeout`` and ``linger_timeout`` apply.
    patience
        Seconds from ``began`` until the remaining connections are aborted; None for no bound.
    """

    def __init__(self, began: float, deadlines: Deadlines, patience: float | None = None) -> None:
        self._began = began
        #: From this moment on, busy connections are also half-closed: at the next message boundary.
        self._last_call = math.inf if patience is None else began + last_call(patience, deadlines.linger_timeout)
        self._deadlines = deadlines
        #: The seconds over which the half-closes of idle connections are spread: before the last call.
        self._spread = min(deadlines.drain_spread, max(0.0, self._last_call - began - deadlines.drain_idle_timeout))
        self._quiet: dict[int, Quiet] = {}

    def due(self, runners: Iterable[Runner], now: float) -> Iterator[Callable[[], None]]:
        """Yield the calls that are due now: they half-close connections, and end those that did not answer a FIN."""
        for runner in runners:
            if not runner.stream.closing:  # linger_timeout applies to those that close
                quiet = self._look(runner, now)
                if runner.at_rest:
                    yield from self._decide(runner, quiet, now)
                elif now >= self._last_call and runner.has_spoken:
                    yield runner.take_no_more

    def _look(self, runner: Runner, now: float) -> Quiet:
        stream = runner.stream
        quiet = self._quiet.get(runner.channel.id)
        if quiet is None:
            quiet = self._quiet[runner.channel.id] = Quiet(stream.octets_in, max(self._began, stream.last_activity))
        elif not runner.at_rest:
            quiet.since = now
        elif quiet.octets_in != stream.octets_in:
            quiet.octets_in, quiet.since = stream.octets_in, max(quiet.since, stream.last_activity)
        return quiet

    def _decide(self, runner: Runner, quiet: Quiet, now: float) -> Iterator[Callable[[], None]]:
        deadlines, linger = self._deadlines, self._deadlines.linger_timeout
        wait = deadlines.drain_idle_timeout if runner.has_spoken else deadlines.drain_first_message_timeout
        if quiet.said is not None:
            if linger is not None and now - quiet.said >= linger:
                yield runner.hang_up
        elif not runner.may_half_close:
            return
        elif now >= self._last_call or (now - quiet.since >= wait and now - self._began >= self._turn_of(runner)):
            quiet.said = now
            yield runner.half_close  # called before the next step of this generator
            if runner.stream.reason is None:
                quiet.said = None  # a thread took a message in this moment: it was not half-closed

    def _turn_of(self, runner: Runner) -> float:
        """Return how long after the beginning an idle connection is half-closed at the earliest.

        Ids in a row are spread evenly: multiples of the golden ratio are, modulo 1.
        """
        if not self._spread or not runner.has_spoken:
            return 0.0
        return self._deadlines.drain_idle_timeout + self._spread * (runner.channel.id * _GOLDEN % 1)


def last_call(patience: float, linger: float | None) -> float:
    """Return when a drain half-closes busy connections, in seconds from its beginning.

    That is ``linger_timeout`` before the remaining connections are aborted, so that peers have time to answer the
    FIN, but not before half of the time has passed.
    """
    return patience / 2 if linger is None else max(patience / 2, patience - linger)
