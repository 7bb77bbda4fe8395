"""The template of fast-path connections: the C copies it to begin a connection, and uses it to end one.

Most connections of a reply service stay on the fast path from accept to close: there is no preamble, no limit for
their address, and the handler is a plain function of the message. For these the C (``_accept/begin.c``,
``_accept/end.c``) and this class do what :meth:`Acceptor.accept` and :meth:`Acceptor.ended` do, with the same events
and the same counters. Python serves all other connections, and those that leave the fast path.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from types import MemberDescriptorType
from typing import Any

from fourtuple import events, fast_path
from fourtuple.engine import Channel, Engine, Listener
from fourtuple.engine.readiness import Nested, Swept, Watcher
from fourtuple.four_tuple import FourTuple
from fourtuple.framing import Framing, decoder_of
from fourtuple.framing.splitting import Split
from fourtuple.handlers import InlineReplies
from fourtuple.service import Service
from fourtuple.serving.admission import Admission
from fourtuple.serving.core import ServerCore
from fourtuple.serving.fields import TemplateFields
from fourtuple.serving.policy import decrement
from fourtuple.serving.registry import Registry
from fourtuple.stream import Half, Reason, Statistics, Stream, new_id


class ConnectionTemplate(TemplateFields):
    """Template objects that the C copies for each connection, and the tables into which it enters the copies.

    It is also the callable that a channel of this server calls when it has ended; it then calls ``on_ended``.
    """

    __slots__ = (
        "_by_address",
        "_engine",
        "_listeners",
        "_observer",
        "_on_capacity_freed",
        "_on_ended",
        "_registry",
        "_service",
        "max_connections",
    )

    def __init__(
        self,
        server: ServerCore,
        admission: Admission,
        registry: Registry,
        *,
        on_ended: Callable[[Channel], None],
        on_failed: Callable[[Channel | FourTuple | None, BaseException], None],
        on_capacity_freed: Callable[[], None],
    ) -> None:
        self._engine: Engine = server.engine
        self._service: Service[Any, Any, Any, Any] = server.service
        self._observer: events.Observer = server.observer
        self._registry = registry
        self._by_address = admission.policy.by_address
        self._listeners = admission.listeners
        #: Does the work for a channel that has ended in Python.
        self._on_ended: Callable[[Channel], None] = on_ended
        #: Called with a channel that could not begin; or, if it could not be made, with its name, if that is known.
        self.on_failed = on_failed
        #: Called when a connection ends while a listener pauses, and when the last place is taken.
        self._on_capacity_freed = on_capacity_freed
        self.channels: dict[Swept, None]
        self.to_close: list[socket.socket | int]
        self.channels, self.to_close = server.engine.places
        readiness = server.engine.readiness
        #: The epoll set and its members. If the host loop itself watches the sockets, there is no template.
        assert isinstance(readiness, Nested)
        self.epoll: int = readiness.fileno()
        self.watchers: dict[int, Watcher] = readiness.watchers
        self.new_id: Callable[[], int] = new_id
        self.max_connections: int = 0
        #: While the server drains, the drain waits for each end of a connection: Python does the work.
        self.draining = False
        self.runner: InlineReplies | None = None
        self.channel: Channel | None = None
        self.stream: Stream | None = None
        self.new_decoder: Callable[[], Any] | None = None

    def accept_many(self, listener: Listener, most: int) -> tuple[int, int]:
        """Accept connections on the fast path, at most ``most``, until none is left or the listener is not watched.

        Returns the number of connections, and the errno of the accept(2) that failed, or 0. (0, 0) means that new
        connections are not on the fast path now.
        """
        assert fast_path.turn is not None
        accept_one, service, now = fast_path.turn.accept_one, self._service, self._engine.now
        fd, local = listener.fd, listener.local
        for count in range(most):
            # The observer of a connection may pause or close the listener, or change the limits or the service.
            if not listener.mask or self.runner is None or service.on_opened is not None:
                return count, 0
            code = accept_one(self, fd, local, now)
            if code:
                return count, code
        return most, 0

    def enter(self, runner: InlineReplies, event: events.Accepted, ip: str) -> None:
        """Register a new connection from this address, and tell the observer. The C calls it."""
        registry, by_address = self._registry, self._by_address
        by_address[ip] = by_address.get(ip, 0) + 1
        registry.enter(runner)
        if len(registry.runners) >= self.max_connections:
            self._on_capacity_freed()
        registry.accepted += 1
        self._observer(event)

    def leave(self, event: events.Closed, ip: str) -> None:
        """Remove a connection that has ended, and tell the observer. The C calls it.

        ``ip`` is the peer's address. For a Unix socket it is none, and counted nowhere.
        """
        registry = self._registry
        registry.leave(event.id, event.statistics)
        if event.probe:
            registry.probes += 1
        decrement(self._by_address, ip)
        self._observer(event)
        for listener in self._listeners:
            if not listener.mask:
                self._on_capacity_freed()
                break

    def fill(self, runner: InlineReplies, framing: Framing) -> None:
        """Make new connections like that of this runner, which has no socket."""
        self.runner, self.channel, self.stream = runner, runner.channel, runner.stream
        # A framing in C makes its decoders by a C method, unless a subclass overrides decoder().
        splitter = framing._in_c if isinstance(framing, Split) and type(framing).decoder is Split.decoder else None
        self.new_decoder = partial(decoder_of, framing) if splitter is None else splitter.decoder

    def empty(self) -> None:
        """Leave new connections to Python."""
        self.runner = self.channel = self.stream = self.new_decoder = None

    def __call__(self, channel: Channel) -> None:
        self._on_ended(channel)


def record(kind: type) -> tuple[Any, ...]:
    """Return a frozen dataclass and the descriptors of its slots in the order of its fields: the C sets them."""
    slots = [vars(kind)[name] for name in kind.__match_args__]  # type: ignore[attr-defined]
    assert all(isinstance(slot, MemberDescriptorType) for slot in slots)  # C takes their places in the object
    return (kind, *slots)


if fast_path.turn is not None:
    fast_path.turn.know(
        ConnectionTemplate=ConnectionTemplate,
        FourTuple=FourTuple,
        accepted=record(events.Accepted),
        closed=record(events.Closed),
        statistics=record(Statistics),
        PEER_CLOSED=Reason.PEER_CLOSED,
        RESET=Reason.RESET,
        ENDED=Half.ENDED,
        BROKEN=Half.BROKEN,
    )
