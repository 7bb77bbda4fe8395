"""When a draining server says goodbye to a connection, and when it waits for the answer no longer.

Only the peer's own octets count as a sign of it: a server that broadcasts would keep its silent subscribers for ever.
Silence never extends a drain.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from fourtuple.handlers import Runner
from fourtuple.options import Deadlines
from fourtuple.stream import Half


@dataclass(slots=True)
class Quiet:
    """What is known of one connection: since when nothing has come from its peer while nothing was in hand."""

    octets_in: int
    since: float
    #: When the server has said goodbye.
    said: float | None = None


class Farewells:
    """Decides for each look of a drain what is to be said to whom.

    Parameters
    ----------
    began
        When the drain began, on the engine's clock: silence before does not count.
    deadlines
        ``drain_idle_timeout``, ``drain_first_message_timeout`` and ``linger_timeout`` are what it keeps to.
    patience
        Seconds from then until the rest is aborted; None for no bound.
    """

    def __init__(self, began: float, deadlines: Deadlines, patience: float | None = None) -> None:
        self._began = began
        #: From here on a peer that never idles gets its FIN, too: at the next message boundary.
        self._last_call = math.inf if patience is None else began + last_call(patience, deadlines.linger_timeout)
        self._deadlines = deadlines
        self._quiet: dict[int, Quiet] = {}

    def due(self, runners: Iterable[Runner], now: float) -> Iterator[Callable[[], None]]:
        """What is to be called now, for all who are connected: half-closes, and ends of those that did not answer."""
        for runner in runners:
            if not runner.stream.closing:  # the linger_timeout looks after those
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
        elif (now - quiet.since >= wait or now >= self._last_call) and runner.stream.writing is Half.OPEN:
            quiet.said = now
            yield runner.half_close


def last_call(patience: float, linger: float | None) -> float:
    """When a drain half-closes those that never idle, in seconds from its beginning.

    ``linger_timeout`` before the rest is aborted, so that they have time to answer the FIN; not before half of the
    time is over.
    """
    return patience / 2 if linger is None else max(patience / 2, patience - linger)
