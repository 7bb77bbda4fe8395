"""A connection, as far as the pool needs to know it."""

from __future__ import annotations

from typing import Any, Protocol

from fourtuple.framing import Framing
from fourtuple.stream import Stream


class Link(Protocol):
    """The async and the blocking client implement it. No method waits."""

    @property
    def name(self) -> str:
        """The name of the connection, for events and errors."""

    @property
    def framing(self) -> Framing:
        """The framing in which messages are sent now; ``greet`` may have changed it."""

    @property
    def position(self) -> int:
        """The number of octets that the connection will have sent before the next message."""

    @property
    def taken(self) -> int:
        """The number of octets that the kernel has taken; it stays when the connection has ended."""

    @property
    def sealed(self) -> bool:
        """Whether messages become TLS records when they are sent: these cannot be taken back."""

    @property
    def crowded(self) -> bool:
        """Whether the outbox has no room now: the next message waits."""

    def send(self, message: Any) -> None:
        """Encode a message and put it into the outbox. Raises as the connection's ``send()``."""

    def check(self, *, peek: bool) -> Exception | None:
        """Return why the connection must not be used: an end of file has come, or octets that no request asked for.

        It is called while no reply is outstanding. ``peek`` permits system calls. If pushes are taken, those that are
        found go to the pool: once a request is sent, they might be taken for its reply.
        """

    def has_unread(self, *, begun: bool) -> bool:
        """Whether octets have come that were not passed on; ``begun``: a message of which only a part has come counts.

        It is asked only while the pool could not tell from them a reply to a request that is sent now.
        """

    def close(self) -> None:
        """Close the connection; it does not report its end to the pool any more."""


class StreamLink:
    """The part of a link that its stream answers."""

    __slots__ = ()

    stream: Stream

    @property
    def framing(self) -> Framing:
        return self.stream.framing

    @property
    def position(self) -> int:
        return self.stream.octets_out + self.stream.outbox_size

    @property
    def taken(self) -> int:
        return self.stream.octets_out

    @property
    def sealed(self) -> bool:
        return self.stream.layer is not None

    @property
    def crowded(self) -> bool:
        return self.stream.crowded

    @property
    def undelivered(self) -> bool:
        """Whether octets have come that the stream does not have yet."""
        raise NotImplementedError

    def has_unread(self, *, begun: bool) -> bool:
        stream = self.stream
        return bool(stream.inbox) or (begun and stream.unasked) or self.undelivered
