"""The template of usual connections: a server's, in which the C of the turn makes them and by which it ends them.

Most connections of a reply service come, speak and go without anything that is not usual: nothing in front of it, no
limit for their address alone, a plain function of the message. For these the C (``_accept/begin.c``, ``_accept/end.c``)
does what :meth:`Acceptor.accept` and :meth:`Acceptor.ended` do, with the same events and the same counters. Whoever is
not usual, or begins not to be, is Python's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from fourtuple import events, fast_path
from fourtuple.address import FourTuple
from fourtuple.engine import Channel, Engine, Listener
from fourtuple.engine.readiness import Nested
from fourtuple.framing import Framing, decoder_of
from fourtuple.framing.splitting import Split
from fourtuple.handlers import InlineReplies
from fourtuple.serving.fields import TemplateFields
from fourtuple.serving.registry import Registry
from fourtuple.stream import Half, Reason, Statistics, Stream, new_id


class ConnectionTemplate(TemplateFields):
    """Templates, whose copies the connections are, and the places where a connection is entered.

    It is also what a channel of this server calls when it has ended: ``on_ended``.
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
        #: ``on_deaf(event, error)``: the observer, which is not guarded here, raised.
        self.on_deaf = on_deaf
        #: ``on_ended(channel)`` does what is to be done for a channel that has ended.
        self.on_ended = on_ended
        #: ``on_failed(packed_name, error)``: an accepted connection could not be made.
        self.on_failed = on_failed
        #: Asked where a listener pauses, or the last place is taken.
        self.on_capacity_freed = on_capacity_freed
        self.runners = registry.runners
        self.channels, self.to_close = engine.places
        readiness = engine.readiness
        #: The epoll set and who is in it; None where the loop itself watches.
        self.epoll = readiness.fileno() if isinstance(readiness, Nested) else None
        self.watchers = readiness.watchers if isinstance(readiness, Nested) else None
        self.new_id = new_id
        self.max_connections = 0
        #: While the server drains somebody waits for every end: Python does it.
        self.draining = False
        self.runner: InlineReplies | None = None
        self.channel: Channel | None = None
        self.stream: Stream | None = None
        self.new_decoder: Callable[[], Any] | None = None

    def fill(self, runner: InlineReplies, framing: Framing) -> None:
        """Make connections like this one, which has no socket, from now on."""
        self.runner, self.channel, self.stream = runner, runner.channel, runner.stream
        self.stream.be_template()
        # A framing in C makes its decoders by a method of C, unless somebody's own comes before.
        splitter = framing._in_c if isinstance(framing, Split) and type(framing).decoder is Split.decoder else None
        self.new_decoder = partial(decoder_of, framing) if splitter is None else splitter.decoder

    def empty(self) -> None:
        """Leave those who come to Python."""
        self.runner = self.channel = self.stream = self.new_decoder = None

    def __call__(self, channel: Channel) -> None:
        self.on_ended(channel)


def record(kind: type) -> tuple[Any, ...]:
    """A frozen dataclass with slots, and their descriptors in the order of its fields: the C fills them in."""
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
