"""One relayed conversation: a client's connection, the target's, and the two directions between them.

::

    client --- reading ---> [ flow upstream ] ---- writing ---> target        each direction ends by itself: the FIN of
    client <-- writing --- [ flow downstream ] <-- reading ---- target        its source is sent on to its sink

    relaying --- both directions are over -----------------------------------> closed
       |    \\--- a toxic ends it: close or reset; an end is lost ---> closed or aborted, both ends
       |
       |  over, but a toxic has made an end vanish (half_open_after)
       v
    staying: this end's connection is kept --- it is lost, or the server drains ---> closed
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from fourtuple.connection import Connection
from fourtuple.connection.waiters import behind_others, had_its_share
from fourtuple.errors import ConnectionEnded, DeadlinePassed, EndOfFile, FourTupleError
from fourtuple.relay.flow import Flow, What
from fourtuple.relay.notation import DOWNSTREAM, UPSTREAM, NamedToxic, combined
from fourtuple.relay.passage import Passage
from fourtuple.relay.pump import Pump

#: How often a draining relay looks whether a conversation is idle, in seconds.
_LOOK_SECONDS = 0.1


class Ended(Exception):
    """A toxic, or the relay itself, ends the conversation."""

    def __init__(self, what: What, why: str) -> None:
        super().__init__(why)
        self.what = what


class ConnectionEnd:
    """A connection as a source and a sink of a pump. ``on_end`` is called at the end of file."""

    def __init__(self, connection: Connection[bytes, bytes], on_end: Callable[[], None]) -> None:
        self._connection = connection
        self._on_end = on_end

    async def receive(self, most: int) -> bytes:
        try:
            return await self._connection.receive_some(most)
        except EndOfFile:
            self._on_end()
            return b""

    def turn(self) -> Awaitable[None] | None:
        """Return what to await, so that other connections go first, if this one has used its share of the loop."""
        channel = self._connection._channel
        return behind_others(channel) if had_its_share(channel) else None

    async def send(self, octets: bytes) -> None:
        await self._connection.send(octets)

    async def finish(self) -> None:
        with suppress(ConnectionEnded):
            self._connection.send_eof()


class Link:
    """The two directions of one conversation.

    Parameters
    ----------
    client, target
        The connections.
    toxics
        Those that act on this conversation.
    passages
        What is shown, edited and cut in each direction, by whether it is upstream; None passes octets as they are.
    room
        The most octets held in each direction.
    dice
        For what happens at random.
    on_end
        Called with the direction whose sender has sent its end of file.
    """

    def __init__(
        self,
        client: Connection[bytes, bytes],
        target: Connection[bytes, bytes],
        toxics: tuple[NamedToxic, ...],
        passages: dict[bool, Passage | None],
        room: int,
        dice: random.Random,
        on_end: Callable[[str], None],
    ) -> None:
        self._client, self._target = client, target
        self._clock = clock = asyncio.get_running_loop().time
        self._passages = passages
        self._active = clock()
        #: The octets sent, by whether they went upstream.
        self.passed: dict[bool, int] = {True: 0, False: 0}
        ends = (
            ConnectionEnd(client, lambda: on_end(UPSTREAM)),
            ConnectionEnd(target, lambda: on_end(DOWNSTREAM)),
        )
        began = clock()
        self._pumps = {
            upstream: Pump(
                Flow(combined(toxics, upstream), room, dice, began),
                ends[not upstream],
                ends[upstream],
                clock,
                self._end,
                lambda count, upstream=upstream: self._count(upstream, count),  # type: ignore[misc]
                passages[upstream],
                ends[not upstream].turn,
            )
            for upstream in (True, False)
        }

    def change(self, toxics: tuple[NamedToxic, ...]) -> None:
        """Put other toxics in force."""
        for upstream, pump in self._pumps.items():
            pump.flow.toxics = combined(toxics, upstream)
            pump.wake()

    def inject(self, message: Any, direction: str) -> None:
        """Put a message of the editing function into a direction."""
        upstream = direction == UPSTREAM
        passage, pump = self._passages[upstream], self._pumps[upstream]
        assert passage is not None
        octets = passage.encode(message)
        passage.told_injected(octets)
        pump.flow.put(octets, self._clock())
        pump.wake()

    def _count(self, upstream: bool, count: int) -> None:
        self.passed[upstream] += count
        self._active = self._clock()

    def _end(self, what: What) -> None:
        raise Ended(what, "reset by a toxic" if what is What.RESET else "closed by a toxic")

    async def run(self, drain_idle: float) -> str:
        """Relay until both directions have ended; return why. Both connections are closed or aborted then.

        ``drain_idle``: while the server drains, the target is half-closed after this many seconds without an octet.
        Raises what the editing function raises.
        """
        tasks = [
            asyncio.ensure_future(each)
            for upstream, pump in self._pumps.items()
            for each in (pump.reading(), pump.writing(self._pumps[not upstream]))
        ]
        draining = asyncio.ensure_future(self._drain(drain_idle))
        try:
            await asyncio.gather(*tasks)
            await self._stay()
        except Ended as ended:
            if ended.what is What.RESET:
                self._abort()
            return str(ended)
        except (OSError, FourTupleError) as error:
            self._abort()
            if not isinstance(error, OSError):
                raise
            return str(error)
        except BaseException:
            self._abort()
            raise
        else:
            return "both ends have closed"
        finally:
            for task in (*tasks, draining):
                task.cancel()
            await asyncio.gather(*tasks, draining, return_exceptions=True)
            # In every case, and last: close() after an abort() does nothing.
            self._client.close()
            self._target.close()

    async def _stay(self) -> None:
        """Both directions are over. An end whose sender has vanished keeps its connection until it resets it.

        A FIN of that end does not tell whether it has closed; if so, its kernel answers a keepalive probe with RST.
        """
        receivers = {True: self._target, False: self._client}
        kept = [receivers[upstream] for upstream, pump in self._pumps.items() if pump.flow.vanished]
        if not kept:
            return
        for each in receivers.values():
            if each not in kept:
                each.close()
        lost = asyncio.gather(*(each.wait_closed() for each in kept))
        draining = asyncio.ensure_future(self._client.draining.wait())
        try:
            await asyncio.wait((lost, draining), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiting in (lost, draining):
                waiting.cancel()
            await asyncio.gather(lost, draining, return_exceptions=True)

    def _abort(self) -> None:
        """An end that broke also breaks the other one."""
        self._client.abort()
        self._target.abort()

    async def _drain(self, idle: float) -> None:
        """Half-close the target of an idle conversation while the server drains: its FIN then ends the client's."""
        await self._client.draining.wait()
        up, down = self._pumps[True], self._pumps[False]
        since = self._clock()
        while up.flow.size or down.flow.size or self._clock() - max(since, self._active) < idle:
            await asyncio.sleep(_LOOK_SECONDS)
        await up.finish()


async def closed(connection: Connection[bytes, bytes]) -> None:
    """Wait for the end of a connection that was closed; its linger timeout bounds that."""
    with suppress(DeadlinePassed):
        await connection.wait_closed()
