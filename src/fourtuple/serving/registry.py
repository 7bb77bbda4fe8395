"""Who is here: a server's connections by their id and by their name, and the counters of all that ever were."""

from __future__ import annotations

from fourtuple.address import Name
from fourtuple.engine import Channel
from fourtuple.forking import holds
from fourtuple.handlers import PreambleHandler, Runner
from fourtuple.serving.fields import RegistryFields, TotalsFields
from fourtuple.serving.values import ServerStatistics
from fourtuple.stream import Statistics


class Registry(RegistryFields):
    """The living connections, and what is counted of them.

    Other threads may look while the loop's thread writes: what they read takes one step under the interpreter's lock.
    """

    __slots__ = (
        "__weakref__",
        "_namesakes",
        "abandoned",
        "aborted",
        "handshakes",
        "tls_failures",
        "tls_without_close_notify",
        "unnamed",
    )

    def __init__(self) -> None:
        #: By the connection's id.
        self.runners: dict[int, Runner] = {}
        #: Those whose PROXY header has not come yet: nobody is told of them.
        self.unnamed: set[int] = set()
        self.accepted = self.probes = self.aborted = self.abandoned = self.handshakes = self.tls_failures = 0
        self.tls_without_close_notify = 0
        self._ended = Totals()
        holds(self)
        #: The ids of those who are past the preamble, by name, from the first on that is looked for; the kernel gives a
        #: name once, a balancer may not.
        self._by_name: dict[Name, int] | None = None
        self._namesakes: dict[Name, list[int]] = {}

    def __len__(self) -> int:
        return len(self.runners)

    def disown(self) -> None:
        """In a forked child: the connections are the parent's, those too that are not on the engine yet."""
        for runner in self.living():
            runner.channel.disown()

    def enter(self, runner: Runner) -> None:
        """A connection has come, or its runner takes the place of the preamble handler's."""
        self.runners[runner.channel.id] = runner
        if self._by_name is not None and not isinstance(runner, PreambleHandler):
            self._name(runner, self._by_name)

    def _name(self, runner: Runner, by_name: dict[Name, int]) -> None:
        id = runner.channel.id
        if by_name.setdefault(runner.stream.name, id) != id:
            self._namesakes.setdefault(runner.stream.name, []).append(id)

    def leave(self, id: int) -> Runner | None:
        """A connection has ended: return its runner, None where it had left before."""
        runner = self.runners.pop(id, None)
        if runner is not None and self._by_name is not None:
            self._forget(runner.stream.name, id, self._by_name)
        return runner

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

    def sums_with(self, statistics: Statistics) -> Totals:
        """What :meth:`count` takes when a connection with these counters has ended."""
        sums = self._ended.copy()
        sums.add(statistics)
        return sums

    def count(self, sums: Totals) -> None:
        """Keep the counters of a connection that has ended, with those of the others."""
        self._ended = sums

    def find(self, name: Name) -> Runner | None:
        """The runner of this name, the eldest of several; None where there is none, or it is not past the preamble."""
        by_name = self._by_name
        if by_name is None:
            # Who never looks for a name pays for no place of it in memory.
            by_name = {}
            for runner in self.inside():
                self._name(runner, by_name)
            self._by_name = by_name
        return self.runners.get(by_name.get(name, 0))

    def living(self) -> list[Runner]:
        """The runners of this moment."""
        return list(self.runners.values())

    def channels(self) -> tuple[list[Channel], list[Channel]]:
        """The channels of this moment: those that have their client's name, and those whose PROXY header is to come."""
        named: list[Channel] = []
        unnamed: list[Channel] = []
        for runner in self.living():
            (unnamed if runner.channel.id in self.unnamed else named).append(runner.channel)
        return named, unnamed

    def inside(self) -> list[Runner]:
        """The runners of those who are past the preamble."""
        return [runner for runner in self.living() if not isinstance(runner, PreambleHandler)]

    def statistics(self, *, refused: int, limited: int, accept_failures: int) -> ServerStatistics:
        """A snapshot of the counters, with those that others keep."""
        totals = self._ended.copy()
        living = [runner for runner in self.living() if runner.channel.id not in self.unnamed]
        for runner in living:
            totals.add(runner.stream.statistics)
        return ServerStatistics(
            accepted=self.accepted,
            active=len(living),
            closed=self.accepted - len(living),
            probes=self.probes,
            refused=refused,
            aborted=self.aborted,
            abandoned=self.abandoned,
            octets_in=totals.octets_in,
            octets_out=totals.octets_out,
            messages_in=totals.messages_in,
            messages_out=totals.messages_out,
            limited=limited,
            accept_failures=accept_failures,
            handshakes=self.handshakes,
            tls_failures=self.tls_failures,
            tls_without_close_notify=self.tls_without_close_notify,
        )


class Totals(TotalsFields):
    """Sums over the connections that have ended."""

    __slots__ = ()

    def __init__(self) -> None:
        self.octets_in = self.octets_out = self.messages_in = self.messages_out = 0

    def add(self, statistics: Statistics) -> None:
        """Add one connection's counters."""
        self.octets_in += statistics.octets_in
        self.octets_out += statistics.octets_out
        self.messages_in += statistics.messages_in
        self.messages_out += statistics.messages_out

    def copy(self) -> Totals:
        """The same sums, to be added to."""
        other = Totals()
        for name in ("octets_in", "octets_out", "messages_in", "messages_out"):
            setattr(other, name, getattr(self, name))
        return other
