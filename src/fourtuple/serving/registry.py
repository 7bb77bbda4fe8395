"""The registry: a server's open connections by id and by name, and the counters over all connections."""

from __future__ import annotations

from typing import TypeAlias

from fourtuple.engine import Channel
from fourtuple.forking import holds
from fourtuple.four_tuple import Name
from fourtuple.handlers import PreambleHandler, Runner
from fourtuple.serving.values import ServerStatistics
from fourtuple.stream import Statistics

#: Octets in and out, messages in and out.
Sums: TypeAlias = tuple[int, int, int, int]


class Registry:
    """The open connections of a server, and its counters.

    Other threads may read while the loop's thread writes: each read is atomic under the interpreter's lock (the GIL).
    """

    __slots__ = (
        "__weakref__",
        "_by_name",
        "_ended",
        "_namesakes",
        "abandoned",
        "aborted",
        "accepted",
        "handshakes",
        "probes",
        "runners",
        "tls_failures",
        "tls_without_close_notify",
        "unnamed",
    )

    def __init__(self) -> None:
        #: The runners, by the connection's id.
        self.runners: dict[int, Runner] = {}
        #: The ids of connections whose PROXY header has not come yet: they are not reported or counted as accepted.
        self.unnamed: set[int] = set()
        self.accepted: int = 0
        self.probes: int = 0
        self.aborted: int = 0
        self.abandoned: int = 0
        self.handshakes: int = 0
        self.tls_failures: int = 0
        self.tls_without_close_notify: int = 0
        #: Octets in and out and messages in and out, of connections that have ended.
        self._ended: Sums = (0, 0, 0, 0)
        holds(self)
        #: The ids of connections past the preamble, by name. It is None until the first call of find(). Names from the
        #: kernel are unique; names from a balancer may not be, and _namesakes holds the ids of the later ones.
        self._by_name: dict[Name, int] | None = None
        self._namesakes: dict[Name, list[int]] = {}

    def __len__(self) -> int:
        return len(self.runners)

    def _disown(self) -> None:
        """In a forked child: disown all connections, including those not on the engine yet. They are the parent's."""
        for runner in self.living():
            runner.channel.disown()

    def enter(self, runner: Runner) -> None:
        """Add a new connection, or replace its preamble handler by the service's runner."""
        self.runners[runner.channel.id] = runner
        if self._by_name is not None and not isinstance(runner, PreambleHandler):
            self._name(runner, self._by_name)

    def _name(self, runner: Runner, by_name: dict[Name, int]) -> None:
        id = runner.channel.id
        if by_name.setdefault(runner.stream.name, id) != id:
            self._namesakes.setdefault(runner.stream.name, []).append(id)

    def leave(self, id: int, statistics: Statistics | None) -> Runner | None:
        """Remove a connection that has ended, and add its counters to the sums, unless they are None.

        Return its runner, None if it was removed before: then nothing is added.
        """
        # This allocates, so it comes first: what follows cannot stop half-way.
        sums = self._ended if statistics is None else with_counters(self._ended, statistics)
        runner = self.runners.pop(id, None)
        if runner is not None:
            self._ended = sums
            if self._by_name is not None:
                self._forget(runner.stream.name, id, self._by_name)
        return runner

    def end_all(self) -> None:
        """Remove all connections: they have ended with their loop, and nothing else counts them."""
        for runner in self.living():
            id = runner.channel.id
            self.leave(id, None if id in self.unnamed else runner.stream.statistics)
        self.unnamed.clear()

    def _forget(self, name: Name, id: int, by_name: dict[Name, int]) -> None:
        others = self._namesakes.get(name)
        if by_name.get(name) == id:
            if others:
                by_name[name] = others.pop(0)
            else:
                del by_name[name]
        elif others and id in others:
            others.remove(id)
        if others is not None and not others:
            del self._namesakes[name]

    def find(self, name: Name) -> Runner | None:
        """Return the runner with this name, the oldest of several; None if there is none past the preamble."""
        by_name = self._by_name
        if by_name is None:
            # Made at the first search: a program that never searches needs no memory for it.
            by_name = {}
            for runner in self.inside():
                self._name(runner, by_name)
            self._by_name = by_name
        return self.runners.get(by_name.get(name, 0))

    def living(self) -> list[Runner]:
        """Return the runners as a list, which does not change while you iterate."""
        # One call in C, so that another thread can read while the loop adds and removes.
        return list(self.runners.values())

    def channels(self) -> tuple[list[Channel], list[Channel]]:
        """Return two lists: the channels with their client's name, and those whose PROXY header has not come yet."""
        named: list[Channel] = []
        unnamed: list[Channel] = []
        for runner in self.living():
            (unnamed if runner.channel.id in self.unnamed else named).append(runner.channel)
        return named, unnamed

    def inside(self) -> list[Runner]:
        """Return the runners of connections past the preamble."""
        return [runner for runner in self.living() if not isinstance(runner, PreambleHandler)]

    def statistics(self, *, refused: int, limited: int, accept_failures: int) -> ServerStatistics:
        """Return a snapshot of the counters; the arguments are counters that are kept elsewhere."""
        totals = self._ended
        living = [runner for runner in self.living() if runner.channel.id not in self.unnamed]
        for runner in living:
            totals = with_counters(totals, runner.stream.statistics)
        octets_in, octets_out, messages_in, messages_out = totals
        return ServerStatistics(
            accepted=self.accepted,
            active=len(living),
            closed=self.accepted - len(living),
            probes=self.probes,
            refused=refused,
            aborted=self.aborted,
            abandoned=self.abandoned,
            octets_in=octets_in,
            octets_out=octets_out,
            messages_in=messages_in,
            messages_out=messages_out,
            limited=limited,
            accept_failures=accept_failures,
            handshakes=self.handshakes,
            tls_failures=self.tls_failures,
            tls_without_close_notify=self.tls_without_close_notify,
        )


def with_counters(sums: Sums, statistics: Statistics) -> Sums:
    """Return the sums with one connection's counters added. A tuple costs less than an object: each end makes one."""
    octets_in, octets_out, messages_in, messages_out = sums
    return (
        octets_in + statistics.octets_in,
        octets_out + statistics.octets_out,
        messages_in + statistics.messages_in,
        messages_out + statistics.messages_out,
    )
