"""The template of fast-path connections: the C copies it to begin a connection, and uses it to end one.

Most connections of a reply service stay on the fast path from accept to close: there is no preamble, no limit for
their address, and the handler is a plain function of the message. For these the C (``_accept/begin.c``,
``_accept/end.c``) does what :meth:`Acceptor.accept` and :meth:`Acceptor.ended` do, with the same events and the same
counters. Python serves all other connections, and those that leave the fast path.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from fourtuple import events, fast_path
from fourtuple.address import FourTuple
from fourtuple.engine import Channel, Engine, Listener
from fourtuple.engine.readiness import Nested, Swept, Watcher
from fourtuple.framing import Framing, decoder_of
from fourtuple.framing.splitting import Split
from fourtuple.handlers import InlineReplies, Runner
from fourtuple.serving.fields import TemplateFields
from fourtuple.serving.registry import Registry
from fourtuple.stream import Half, Reason, Statistics, Stream, new_id


class ConnectionTemplate(TemplateFields):
    """Template objects that the C copies for each connection, and the tables into which it enters the copies.

    It is also the callable that a channel of this server calls when it has ended; it then calls ``on_ended``.
    """

    __slots__ = ("on_ended",)

    def __init__(
        self,
        engine: Engine,
        registry: Registry,
        by_address: dict[str, int],
        listeners: list[Listener],
        observer: events.Observer,
        *,
        on_deaf: Callable[[events.Event, BaseException], None],
        on_ended: Callable[[Channel], None],
        on_failed: Callable[[bytes, BaseException], None],
        on_capacity_freed: Callable[[], None],
    ) -> None:
        self.engine = engine
        self.registry = registry
        self.by_address = by_address
        self.listeners = listeners
        self.observer = observer
        #: ``on_deaf(event, error)`` reports that the observer, which is not guarded here, raised.
        self.on_deaf = on_deaf
        #: ``on_ended(channel)`` does the work for a channel that has ended.
        self.on_ended: Callable[[Channel], None] = on_ended
        #: ``on_failed(packed_name, error)`` reports that an accepted connection could not be made.
        self.on_failed = on_failed
        #: Called when a connection ends while a listener pauses, and when the last place is taken.
        self.on_capacity_freed = on_capacity_freed
        self.runners: dict[int, Runner] = registry.runners
        self.channels: dict[Swept, None]
        self.to_close: list[socket.socket | int]
        self.channels, self.to_close = engine.places
        #: The epoll set and its members. If the host loop itself watches the sockets, there is no template.
        assert isinstance(engine.readiness, Nested)
        self.epoll: int = engine.readiness.fileno()
        self.watchers: dict[int, Watcher] = engine.readiness.watchers
        self.new_id: Callable[[], int] = new_id
        self.max_connections = 0
        #: While the server drains, the drain waits for each end of a connection: Python does the work.
        self.draining = False
        self.runner: InlineReplies | None = None
        self.channel: Channel | None = None
        self.stream: Stream | None = None
        self.new_decoder: Callable[[], Any] | None = None

    def fill(self, runner: InlineReplies, framing: Framing) -> None:
        """Make new connections like that of this runner, which has no socket."""
        self.runner, self.channel, self.stream = runner, runner.channel, runner.stream
        self.stream.be_template()
        # A framing in C makes its decoders by a C method, unless a subclass overrides decoder().
        splitter = framing._in_c if isinstance(framing, Split) and type(framing).decoder is Split.decoder else None
        self.new_decoder = partial(decoder_of, framing) if splitter is None else splitter.decoder

    def empty(self) -> None:
        """Leave new connections to Python."""
        self.runner = self.channel = self.stream = self.new_decoder = None

    def __call__(self, channel: Channel) -> None:
        self.on_ended(channel)


def record(kind: type) -> tuple[Any, ...]:
    """Return a frozen dataclass and the descriptors of its slots in the order of its fields: the C sets them."""
    return (kind, *(vars(kind)[name] for name in kind.__match_args__))  # type: ignore[attr-defined]


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
