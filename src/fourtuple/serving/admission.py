"""Admission: which connections are served, which wait in the accept queue, and which are refused.

There are two kinds of limits. A limit *of the server* (``max_connections``, ``max_threads``, ``accept_rate``,
``max_buffered``) pauses accept: new connections wait in the kernel's accept queue, and none is dropped. A limit *of
one peer* can be checked only after accept, which tells the peer's address. Such a connection is refused: the observer
gets the reason, and the peer gets the refusal message if there is one.
"""

from __future__ import annotations

import asyncio
import math
import socket
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TypeAlias

from fourtuple import events
from fourtuple.engine import Channel, Engine, Listener
from fourtuple.engine.consumer import Handlerless
from fourtuple.errors import EncodeError
from fourtuple.four_tuple import FourTuple, Name
from fourtuple.framing import Framing
from fourtuple.net.backlog import data_age
from fourtuple.options import Deadlines, Limits
from fourtuple.serving.policy import AdmissionPolicy, Refusal
from fourtuple.stream import Half, Layer, Reason, Stream

#: The most refused connections that linger after the refusal message, fewer than the descriptors kept in reserve. Any
#: further one is closed at once, and its peer may lose the message to an RST.
MAX_LINGERING = 32
#: The most refused connections that do a TLS handshake before the message, with a PROXY header or without: each
#: costs a signature, and a peer may stall until the deadline. Any further one is closed at once, without the message.
MAX_HANDSHAKES = 16
#: The least seconds between two events AcceptDelayed: an event at each delayed connection would be a flood.
QUIET_SECONDS = 60.0

#: ``secure(stream, now)`` makes the TLS layer with which a connection begins.
Secure: TypeAlias = Callable[[Stream, float], Layer | None]


class TurnedAway(Handlerless):
    """The consumer of a refused connection: it sends the refusal message as soon as it can, and then closes.

    What the peer sends is discarded. The refusal is already reported, so that nothing is told of its end.
    """

    __slots__ = ("_channel", "_words")

    def __init__(self, channel: Channel, words: bytes) -> None:
        self._channel = channel
        self._words = words

    def start(self) -> None:
        """Begin to serve the channel."""
        self._channel.start(self)
        self.readable()

    def readable(self) -> None:
        """Send the refusal message and close; with TLS, after the handshake."""
        stream = self._channel.stream
        if stream.closing or not (stream.ready or stream.exhausted):
            return
        if stream.ready and stream.writing is Half.OPEN:
            stream.write(self._words)
        self._channel.close(Reason.REFUSED)


class Admission:
    """Decides which accepted connections a server serves, and when its listeners accept."""

    def __init__(self, limits: Limits, deadlines: Deadlines, framing: Framing, observer: events.Observer) -> None:
        self.listeners: list[Listener] = []
        #: Why accept pauses at all listeners, including those opened later.
        self._pauses: set[str] = set()
        #: The number of refused connections, by the name of the limit.
        self.refused: Counter[str] = Counter()
        self._deadlines = _for_the_refused(deadlines)
        self._framing = framing
        self._observer = observer
        self._lingering: set[Channel] = set()
        self._handshakes: set[Channel] = set()
        self._turn: asyncio.TimerHandle | None = None
        self._told = -math.inf
        self._words = _encoded(limits, framing)
        self.policy: AdmissionPolicy = AdmissionPolicy(limits)

    def open(self, engine: Engine) -> None:
        """Start, with the server's engine."""
        self._engine = engine

    @property
    def limits(self) -> Limits:
        """The limits in force."""
        return self.policy.limits

    def change(self, limits: Limits) -> None:
        """Put other limits in force. Raises :class:`~fourtuple.errors.FourTupleError` and changes nothing."""
        words = _encoded(limits, self._framing)
        # After the message is encoded, which may raise: then nothing has changed.
        self.policy.change(limits)
        self._words = words
        self._apply_rate()

    # -- a new connection ---------------------------------------------------------------------------------

    def passes(self, sock: socket.socket, name: Name, secure: Secure | None) -> bool:
        """Return whether an accepted connection is admitted. If not, turn it away: see :meth:`turn_away`."""
        self.comes()
        refusal = self.policy.admit(ip_of(name), self._engine.time())
        if refusal is not None:
            self.turn_away(sock, name, refusal, secure)
        return refusal is None

    def comes(self) -> None:
        """Count an accepted connection for ``accept_rate``; behind a balancer its client is not known yet.

        :meth:`introduced` is called when it is.
        """
        self.policy.accepted(self._engine.time())
        if self.limits.accept_rate is not None:
            self._apply_rate()

    def introduced(self, name: Name) -> Refusal | None:
        """Admit the real client that a balancer's PROXY header names (None), or return the refusal."""
        refusal = self.policy.admit(ip_of(name), self._engine.time())
        if refusal is not None:
            self.told(name, refusal)
        return refusal

    @property
    def words(self) -> bytes:
        """The refusal message, framed."""
        return self._words

    def waited(self, sock: socket.socket) -> Refusal | None:
        """Return the refusal of a connection that waited too long in the accept queue; None if it did not."""
        if self.limits.max_queue_age is None:
            return None
        try:
            age = data_age(sock)
        except OSError:
            return None  # a Unix socket, for which the kernel has no such number
        return self.policy.waited(age)

    def shakes_hands(self, channel: Channel) -> bool:
        """Return whether a refused peer gets a TLS handshake, so that it can read the message.

        If it does, call :meth:`forget` when the connection has ended.
        """
        if not self._words or len(self._handshakes) >= MAX_HANDSHAKES:
            return False
        self._handshakes.add(channel)
        channel.keep_to(self._deadlines)
        return True

    def forget(self, channel: Channel) -> None:
        """Forget a refused connection that has ended."""
        self._handshakes.discard(channel)
        self._lingering.discard(channel)

    def leaves(self, name: Name) -> None:
        """Stop counting an admitted connection that has ended."""
        self.policy.leave(ip_of(name))

    def recount(self, names: Iterable[Name]) -> None:
        """Count the open connections again, from their names."""
        self.policy.recount(map(ip_of, names))

    def look(self) -> None:
        """Let each listener be watched or not as it should be: the sweep calls this if it failed before."""
        for listener in self.listeners:
            listener.look()
        if self._turn is None and any("accept_rate" in listener.paused for listener in self.listeners):
            self._apply_rate()  # its timer came when there was no memory to end the pause

    def vanished(self, sock: socket.socket) -> None:
        """Close a socket whose peer's RST came before accept: it has no name and no peer."""
        sock.close()
        self.told(None, Refusal("vanished", "the peer was gone before it was accepted"))

    def told(self, name: Name | None, refusal: Refusal) -> None:
        """Count a refusal and report it to the observer."""
        self.refused[refusal.limit] += 1
        self._observer(events.Refused(name, refusal.limit, refusal.text))

    def turn_away(self, sock: socket.socket, name: Name, refusal: Refusal, secure: Secure | None) -> None:
        """Refuse a connection: send the refusal message, if there is one, and linger so that it arrives; then close.

        ``secure`` makes the TLS layer that comes first; None without TLS.
        """
        if not self._words or len(self._lingering) >= MAX_LINGERING or not self._linger(sock, name, secure):
            # Nothing was read: if the peer has sent something, close(2) sends RST (RFC 1122, 4.2.2.13).
            sock.close()
        self.told(name, refusal)

    def _linger(self, sock: socket.socket, name: Name, secure: Secure | None) -> bool:
        now = self._engine.time()
        stream = Stream(self._framing, name, self.limits, now, first_message=True)
        channel = Channel(self._engine, sock, stream, self._deadlines, self.forget)
        if secure is not None and not self.shakes_hands(channel):
            return False
        self._lingering.add(channel)
        try:
            if secure is not None:
                stream.begin_with(secure(stream, now))
            turned_away = TurnedAway(channel, self._words)
        except BaseException:
            self.forget(channel)
            raise
        self._engine.guard(channel, turned_away.start)  # from here on the socket is the channel's
        return True

    # -- the queue ----------------------------------------------------------------------------------------

    def begin(self, listener: Listener) -> None:
        """Begin to accept at a listener, unless accept pauses: then it begins when the others go on."""
        for why in self._pauses:
            listener.pause(why)
        if not listener.paused:
            listener.start()

    def pause(self, why: str, text: str) -> None:
        """Stop accepting for the reason ``why``; several reasons can hold at once. ``text`` is for the observer."""
        self._pauses.add(why)
        for listener in self.listeners:
            if why not in listener.paused:
                listener.pause(why)
                self._observer(events.AcceptPaused(listener.name, text))

    def resume(self, why: str) -> None:
        """Remove the reason ``why``; accept goes on at listeners without another reason."""
        self._pauses.discard(why)
        for listener in self.listeners:
            if why in listener.paused:
                listener.resume(why)
                if not listener.paused:
                    self._observer(events.AcceptResumed(listener.name))

    def queued(self, why: str) -> int:
        """Return how many connections wait in the accept queues for nothing else than ``why``, as far as is known."""
        return sum(listener.queued for listener in self.listeners if listener.paused == {why})

    def capacity_freed(self) -> None:
        """Let listeners that wait for descriptors try again: a connection has ended."""
        for listener in self.listeners:
            listener.capacity_freed()

    def _apply_rate(self) -> None:
        """Pause accept until ``accept_rate`` allows the next connection, and resume it then."""
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        now = self._engine.time()
        wait = self.policy.wait(now)
        if wait:
            # The timer comes first: if it cannot be made, no pause begins that would never end.
            self._turn = self._engine.loop.call_later(wait, self._apply_rate)
            self._pauses.add("accept_rate")
        else:
            self._pauses.discard("accept_rate")
        # No event here: one at each connection beyond the rate would flood the observer.
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
        """Cancel the timer and abort the refused connections that linger: the server has stopped."""
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        for channel in list(self._lingering):
            channel.abort()


def _for_the_refused(deadlines: Deadlines) -> Deadlines:
    """Return the deadlines of refused connections: ``handshake_timeout``, for the first octet too, and never None."""
    seconds = deadlines.handshake_timeout or Deadlines().handshake_timeout
    return deadlines.replace(handshake_timeout=seconds, first_message_timeout=seconds)


def ip_of(name: Name) -> str | None:
    """Return the peer's IP address; None for the peer of a Unix socket."""
    return name.remote_ip if isinstance(name, FourTuple) else None


def _encoded(limits: Limits, framing: Framing) -> bytes:
    """Return the refusal message, framed. Raises EncodeError if the framing cannot carry it."""
    try:
        return framed_refusal(limits, framing)
    except EncodeError as error:
        raise EncodeError(f"refusal: {error}") from error


def framed_refusal(limits: Limits, framing: Framing) -> bytes:
    """Return the refusal message, framed. Raises EncodeError, without the option's name, if it cannot be."""
    if not limits.refusal:
        return b""
    from fourtuple.framing.fromoctets import check_sends_octets  # imported here: few servers have one

    octets = limits.refusal.encode()
    try:
        check_sends_octets(framing, octets)
    except EncodeError as error:
        raise EncodeError(
            f"a refusal is octets, and {framing} sends values; leave it out: refused connections are then closed "
            "without a message"
        ) from error
    return framing.encode(octets)
