"""What all parts of a channel share: its fields, its socket, and the request to write soon."""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from fourtuple.engine.consumer import Consumer, Inline
from fourtuple.engine.engine import Engine
from fourtuple.engine.fields import ChannelFields
from fourtuple.engine.readiness import OUT, SILENCE, Swept
from fourtuple.four_tuple import Name
from fourtuple.net.sockets import adopted
from fourtuple.options import Deadlines
from fourtuple.stream import Stream, new_id

Socket: TypeAlias = socket.socket

if TYPE_CHECKING:
    # What the engine calls, which the parts above implement. A protocol as a base would change the class's metaclass.
    class _Base(ChannelFields, Swept):
        pass
else:
    _Base = ChannelFields


class ChannelState(_Base):
    """The fields of a channel. The parts of a channel (ending.py, lending.py, watching.py) are its methods."""

    __slots__ = ("_gap_timer", "deadlines", "inline")

    def __init__(
        self,
        engine: Engine,
        sock: Socket | int,
        stream: Stream,
        deadlines: Deadlines,
        on_end: Callable[[Any], None] | None = None,
    ) -> None:
        self.engine: Engine = engine
        #: The socket; its descriptor until :attr:`socket` is read; None when the channel has ended.
        self._socket: Socket | int | None = sock
        self.fd: int = sock if isinstance(sock, int) else sock.fileno()
        self.stream: Stream = stream
        self.deadlines: Deadlines = deadlines
        self.on_end: Callable[[Any], None] | None = on_end
        self.id: int = 0 if sock == -1 else new_id()  # -1: a template without a socket
        self.opened: float = stream.opened
        self.mask: int = 0
        self.detached: bool = False
        self._crowded = False
        self._dirty = False
        self._gap_timer: asyncio.TimerHandle | None = None
        self.consumer: Consumer | None = None
        #: The consumer again, if it replies by a plain function on the loop: this shortens the turn.
        self.inline: Inline | None = None
        #: The earliest moment at which a deadline may pass; the sweep skips the channel before it.
        self.due: float = -math.inf

    @property
    def socket(self) -> Socket | None:
        """The connected socket; None when the channel has ended.

        A socket accepted in C is only a descriptor until this is read: most connections never need the object.
        """
        sock = self._socket
        if isinstance(sock, int):
            sock = self._socket = adopted(sock)
        return sock

    @property
    def ended(self) -> bool:
        """Whether the channel has given up its socket: it is closed, or will be at the end of the turn."""
        return self._socket is None

    @property
    def name(self) -> Name:
        """The connection's name, taken when the connection was made."""
        return self.stream.name

    @property
    def waits_to_send(self) -> bool:
        """Whether the outbox waits for the kernel, which did not take it all. What was just queued does not count."""
        return self.stream.outbox_size > 0 and not (self._dirty and not self.mask & OUT)

    def flush_soon(self) -> None:
        """Write at the end of this turn or, outside of a turn, in the loop's next iteration."""
        if not self._dirty and self._socket is not None:
            self.engine.flush_soon(self)
            self._dirty = True

    def expect_relief(self) -> None:
        """Call the consumer's ``writable`` once the crowded outbox is down to ``low_water``: a sender waits for it."""
        self._crowded = True

    def _await_gap(self, gap_at: float) -> None:
        """Call :meth:`_silence` when the gap may be over. There is one timer at a time; reads do not restart it."""
        if self._gap_timer is None:
            self._gap_timer = self.engine.serve_later(gap_at - self.engine.time(), self, SILENCE)

    def keep_to(self, deadlines: Deadlines) -> None:
        """Apply these deadlines from now on."""
        self.deadlines = deadlines
        # Now and not at the next look: a new deadline may be shorter than the one that was waited for.
        self.due = -math.inf

    def __repr__(self) -> str:
        state = "closed" if self._socket is None else "detached" if self.detached else "open"
        return f"<Channel {self.id} {self.name} {state}>"
