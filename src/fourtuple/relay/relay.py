"""The service of a relay: each connection of a client gets a connection to the target, and a link between them."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from fourtuple import events
from fourtuple.connection import Connection
from fourtuple.errors import FourTupleError
from fourtuple.framing import Framing, Raw
from fourtuple.printable import text_of
from fourtuple.relay.events import EndRelayed, RelayEnded, TargetConnected, TargetFailed
from fourtuple.relay.link import Link, closed
from fourtuple.relay.notation import NamedToxic, ToxicTable
from fourtuple.relay.passage import Edit, Passage, Relayed
from fourtuple.relay.targets import Target
from fourtuple.service import Service

#: The most octets that each direction of a conversation holds, beside the buffers of both connections.
ROOM = 65536


@dataclass(frozen=True)
class Options:
    """What a relay does beside passing octets on."""

    #: How messages are cut, for what is shown, edited and broken by message.
    framing: Framing = field(default_factory=Raw)
    edit: Edit | None = None
    #: Whether every message is told to the observer.
    tell_messages: bool = True
    #: While draining: seconds without an octet after which the target is half-closed.
    drain_idle: float = 1.0
    #: The seed of what happens at random; None for another one in each run.
    seed: int | None = None


class Relay:
    """Relays connections to a target. :attr:`service` serves it.

    Parameters
    ----------
    target
        Opens the other end.
    options
        What happens on the way.
    toxics
        What goes wrong on the way.
    observer
        Gets the events of :mod:`fourtuple.relay.events`.
    """

    def __init__(self, target: Target, options: Options, toxics: ToxicTable, observer: events.Observer) -> None:
        self._target = target
        self._options = options
        self._toxics = toxics
        self._observer = observer
        self._dice = random.Random(options.seed)
        self._links: set[Link] = set()
        # A peer may only listen. And every octet is passed on, so an end of file is not a broken message.
        self.service: Service[bytes, bytes] = Service("raw", name="relay", silent_peers=True)
        self.service.conversation(self._relay)

    def change_toxics(self, toxics: ToxicTable) -> None:
        """Put other toxics in force, also for open conversations."""
        self._toxics = toxics
        for link in self._links:
            link.change(toxics.roll(self._dice))

    async def _relay(self, client: Connection[bytes, bytes]) -> None:
        try:
            target = await self._target.open(client)
        except (FourTupleError, OSError) as error:
            self._observer(TargetFailed(client.id, client.name, str(self._target), error))
            client.abort()
            return
        why = "the client's connection was lost"
        link = None
        try:
            link = self._link(client, target)
            self._links.add(link)
            why = await link.run(self._options.drain_idle)
        except Exception as error:
            why = text_of(error) if isinstance(error, FourTupleError) else f"{type(error).__name__}: {text_of(error)}"
            raise
        finally:
            if link is not None:
                self._links.discard(link)
            else:
                target.abort()
            passed = {True: 0, False: 0} if link is None else link.passed
            self._observer(RelayEnded(client.id, client.name, str(self._target), passed[True], passed[False], why))
            await self._target.leave(target)
        await closed(target)

    def _link(self, client: Connection[bytes, bytes], target: Connection[bytes, bytes]) -> Link:
        toxics = self._toxics.roll(self._dice)
        self._observer(TargetConnected(client.id, client.name, str(self._target), tuple(each.text for each in toxics)))
        relayed = Relayed(client.id, client.name, str(self._target))
        passages = {upstream: self._passage(upstream, relayed, toxics) for upstream in (True, False)}

        def ended(direction: str) -> None:
            self._observer(EndRelayed(client.id, client.name, direction))

        link = Link(client, target, toxics, passages, ROOM, self._dice, ended)
        relayed._inject = link.inject
        return link

    def _passage(self, upstream: bool, relayed: Relayed, toxics: tuple[NamedToxic, ...]) -> Passage | None:
        options = self._options
        if isinstance(options.framing, Raw) and options.edit is None and not options.tell_messages:
            return None
        return Passage(
            options.framing,
            upstream,
            relayed,
            self._observer,
            by_message=self._toxics.by_message,
            edit=options.edit,
            tell_messages=options.tell_messages,
        )
