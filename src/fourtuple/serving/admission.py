"""Admission: who is let in, who waits in the kernel's queue, who is turned away.

Two answers to too much. What is too much *for the server* (``max_connections``, ``max_threads``,
``accept_rate``, ``max_buffered``) pauses accept: who comes waits in the kernel's queue, and nobody is dropped.
What is too much *of one peer* is known only once it is accepted: it is turned away, with a reason that the
observer hears and a message that the peer may read.
"""

from __future__ import annotations

import asyncio
import math
import socket
from collections import Counter
from collections.abc import Callable, Iterable

from fourtuple import events
from fourtuple.address import FourTuple, Name
from fourtuple.engine import Channel, Engine, Listener
from fourtuple.errors import DeadlinePassed
from fourtuple.framing import Framing
from fourtuple.net.tcpinfo import data_age
from fourtuple.options import Deadlines, Limits
from fourtuple.serving.policy import AdmissionPolicy, Refusal
from fourtuple.stream import Half, Layer, Reason, Stream

#: The turned-away that are told why and not closed yet: fewer than the descriptors that are kept in reserve. One
#: more is closed at once, and may lose the message to its own RST.
MAX_LINGERING = 32
#: Those of them whose TLS handshake comes first, at the door of a balancer, too: each costs a signature, and a peer may
#: stall in it until the deadline. One more is closed at once, without a word.
MAX_HANDSHAKES = 16
#: That new connections wait for ``accept_rate`` is told once in so many seconds, not at each of them.
QUIET_SECONDS = 60.0


class TurnedAway:
    """The consumer of a connection that gets the refusal message as soon as it can be said, and nothing else."""

    __slots__ = ("_channel", "_words")

    busy = False

    def __init__(self, channel: Channel, words: bytes) -> None:
        self._channel = channel
        self._words = words

    def start(self) -> None:
        """Begin to serve the channel."""
        self._channel.start(self)
        self.readable()

    def readable(self) -> None:
        """Say it, and close; where TLS comes first, behind the handshake."""
        stream = self._channel.stream
        if stream.closing or not (stream.ready or stream.exhausted):
            return
        if stream.ready and stream.writing is Half.OPEN:
            stream.write(self._words)
        self._channel.close(Reason.REFUSED)

    def writable(self) -> None:
        """No sender waits."""

    def finished(self) -> None:
        """The peer may finish: it has nothing to say that is heard."""

    def lost(self, reason: Reason) -> None:
        """No handler runs."""

    def closed(self) -> bool:
        """Nothing is at work."""
        return True

    def left(self) -> None:
        """It never came in."""

    def deadline(self, error: DeadlinePassed) -> None:
        """The handshake was not done in time; that the peer was refused is told already."""

    def secured(self) -> None:
        """A handshake that the program began is done."""

    def slow(self, seconds: float) -> None:
        """No handler runs."""


class Admission:
    """Stands between a server's listeners and its connections."""

    def __init__(self, limits: Limits, deadlines: Deadlines, framing: Framing, observer: events.Observer) -> None:
        self.listeners: list[Listener] = []
        #: How many were turned away, by the name of the limit.
        self.refused: Counter[str] = Counter()
        self._deadlines = _for_the_refused(deadlines)
        self._framing = framing
        self._observer = observer
        self._lingering: set[Channel] = set()
        self._handshakes: set[Channel] = set()
        self._turn: asyncio.TimerHandle | None = None
        self._told = -math.inf
        self._words = _encoded(limits, framing)
        #: ``secure(stream, now)`` makes the layer with which those who come begin, TLS; None where there is none.
        self.secure: Callable[[Stream, float], Layer | None] | None = None
        self.policy = AdmissionPolicy(limits)

    def open(self, engine: Engine) -> None:
        """The server starts, on this engine."""
        self._engine = engine

    @property
    def limits(self) -> Limits:
        """The limits in force."""
        return self.policy.limits

    def change(self, limits: Limits) -> None:
        """Put other limits in force. Raises :class:`~fourtuple.errors.FourTupleError` and changes nothing."""
        words = _encoded(limits, self._framing)
        self.policy.change(limits)
        self._words = words
        self._apply_rate()

    # -- one who comes ------------------------------------------------------------------------------------

    def passes(self, sock: socket.socket, name: Name) -> bool:
        """Whether an accepted connection may come in; one that may not is turned away here."""
        self.comes()
        refusal = self.policy.admit(ip_of(name), self._engine.time())
        if refusal is not None:
            self.turn_away(sock, name, refusal)
        return refusal is None

    def comes(self) -> None:
        """Somebody was accepted, whoever it is: behind a balancer that is said later, see :meth:`introduced`."""
        self.policy.accepted(self._engine.time())
        if self.limits.accept_rate is not None:
            self._apply_rate()

    def introduced(self, name: Name) -> Refusal | None:
        """A connection came through a balancer, which says for whom: let the real client in (None), or say why not."""
        refusal = self.policy.admit(ip_of(name), self._engine.time())
        if refusal is not None:
            self.told(name, refusal)
        return refusal

    @property
    def words(self) -> bytes:
        """What the turned-away are told, framed."""
        return self._words

    def waited(self, sock: socket.socket) -> Refusal | None:
        """Why an accepted connection is turned away that waited for too long in the queue; None for one that is not."""
        if self.limits.max_queue_age is None:
            return None
        try:
            age = data_age(sock)
        except OSError:
            return None  # a Unix socket, of which the kernel does not tell
        return self.policy.waited(age)

    def shakes_hands(self, channel: Channel) -> bool:
        """Whether a peer that is turned away gets a TLS handshake for the message; :meth:`forget` it at its end."""
        if not self._words or len(self._handshakes) >= MAX_HANDSHAKES:
            return False
        self._handshakes.add(channel)
        channel.keep_to(self._deadlines)
        return True

    def forget(self, channel: Channel) -> None:
        """A peer that was turned away has gone."""
        self._handshakes.discard(channel)
        self._lingering.discard(channel)

    def leaves(self, name: Name) -> None:
        """A connection that passed has ended."""
        self.policy.leave(ip_of(name))

    def recount(self, names: Iterable[Name]) -> None:
        """Count those who are here anew."""
        self.policy.recount(map(ip_of, names))

    def look(self) -> None:
        """Be watched as is wanted: for the sweep, where that could not be done before."""
        for listener in self.listeners:
            listener.look()
        if self._turn is None and any("accept_rate" in listener.paused for listener in self.listeners):
            self._apply_rate()  # its timer came when there was no memory to end the pause

    def vanished(self, sock: socket.socket) -> None:
        """The peer's RST was faster than we: there is no name, and nobody to talk to."""
        sock.close()
        self.told(None, Refusal("vanished", "the peer was gone before it was accepted"))

    def told(self, name: Name | None, refusal: Refusal) -> None:
        """Count a refusal and tell the observer."""
        self.refused[refusal.limit] += 1
        self._observer(events.Refused(name, refusal.limit, refusal.text))

    def turn_away(self, sock: socket.socket, name: Name, refusal: Refusal) -> None:
        """Close a connection, with the refusal message where there is one, lingering so that it arrives."""
        if not self._words or len(self._lingering) >= MAX_LINGERING or not self._linger(sock, name):
            sock.close()
        self.told(name, refusal)

    def _linger(self, sock: socket.socket, name: Name) -> bool:
        now = self._engine.time()
        stream = Stream(self._framing, name, self.limits, now, first_message=True)
        channel = Channel(self._engine, sock, stream, self._deadlines, self.forget)
        if self.secure is not None and not self.shakes_hands(channel):
            return False
        self._lingering.add(channel)
        try:
            if self.secure is not None:
                stream.begin_with(self.secure(stream, now))
            turned_away = TurnedAway(channel, self._words)
        except BaseException:
            self.forget(channel)
            raise
        self._engine.guard(channel, turned_away.start)  # from here on the socket is the channel's
        return True

    # -- the queue ----------------------------------------------------------------------------------------

    def pause(self, why: str, text: str) -> None:
        """Stop accepting for the reason ``why``; reasons add up. ``text`` has the numbers, for the observer."""
        for listener in self.listeners:
            if why not in listener.paused:
                listener.pause(why)
                self._observer(events.AcceptPaused(listener.name, text))

    def resume(self, why: str) -> None:
        """The reason is gone; accept goes on where it was the last one."""
        for listener in self.listeners:
            if why in listener.paused:
                listener.resume(why)
                if not listener.paused:
                    self._observer(events.AcceptResumed(listener.name))

    def capacity_freed(self) -> None:
        """A connection ended: a listener that waits for descriptors may try again."""
        for listener in self.listeners:
            listener.capacity_freed()

    def _apply_rate(self) -> None:
        """Let the next one wait in the queue until ``accept_rate`` has a place for it."""
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        now = self._engine.time()
        wait = self.policy.wait(now)
        if wait:
            # First of all: without it nobody would end the pause.
            self._turn = self._engine.loop.call_later(wait, self._apply_rate)
        # Quietly: at every connection beyond the rate, an event would flood whoever listens to them.
        try:
            for listener in self.listeners:
                if wait:
                    listener.pause("accept_rate")
                else:
                    listener.resume("accept_rate")
        except BaseException:
            self._engine.sweep_on()  # which looks here again
            raise
        if wait and now - self._told >= QUIET_SECONDS:
            self._told = now
            self._observer(events.AcceptDelayed(f"more than accept_rate, {self.limits.accept_rate:g} a second"))

    # -- the end ------------------------------------------------------------------------------------------

    def close(self) -> None:
        """No more is to come: forget the timer, end those who linger."""
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        for channel in list(self._lingering):
            channel.abort()


def _for_the_refused(deadlines: Deadlines) -> Deadlines:
    """Who is turned away has the time of a handshake, also for its first octet, and never for ever."""
    seconds = deadlines.handshake_timeout or Deadlines().handshake_timeout
    return deadlines.replace(handshake_timeout=seconds, first_message_timeout=seconds)


def ip_of(name: Name) -> str | None:
    """The peer's address, None for the peer of a Unix socket."""
    return name.remote_ip if isinstance(name, FourTuple) else None


def _encoded(limits: Limits, framing: Framing) -> bytes:
    """The refusal message as it goes out. Raises EncodeError for one that the framing cannot carry."""
    return framing.encode(limits.refusal.encode()) if limits.refusal else b""
