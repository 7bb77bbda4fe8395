"""The layer that reads a PROXY header, before the layer or stream that follows."""

from __future__ import annotations

from collections.abc import Callable

from fourtuple.errors import ProxyHeaderError
from fourtuple.proxy.header import ProxyHeader, begins, parse
from fourtuple.stream import Layer, Reason


class ProxyReader(Layer):
    """Reads the header in front of a conversation, no matter how it is cut, and passes on the octets after it.

    ``introduce(header, now)`` is called once with the header, and returns the layer that follows; it may refuse by
    raising ProxyHeaderError. If the first octets are not a header, they are an error with ``required``; without it they
    belong to the conversation, and ``introduce(None, now)`` is called.
    """

    deadline = "proxy_header_timeout"
    reason = Reason.PROXY_ERROR

    __slots__ = ("_held", "_introduce", "_outgoing", "_required", "_whom")

    following: Layer | None
    since: float | None

    def __init__(
        self,
        introduce: Callable[[ProxyHeader | None, float], Layer | None],
        now: float,
        *,
        required: bool = True,
        whom: str = "",
    ) -> None:
        # If the header is optional, its deadline begins with its first octet.
        super().__init__(now if required else None)
        self._introduce = introduce
        self._required = required
        self._whom = whom
        self._held = bytearray()
        self._outgoing = b""

    def write(self, octets: bytes) -> None:
        """Take octets to send: they pass unchanged, because the header comes from the peer only."""
        self._outgoing += octets

    def outgoing(self) -> bytes:
        """Return what was written."""
        octets, self._outgoing = self._outgoing, b""
        return octets

    def received(self, data: bytes, now: float) -> bytes:
        """Take octets; return those after the header, once it is complete. At most 107 octets or 64 KiB are held."""
        if self.error is not None:
            return b""
        held = self._held
        held += data
        if not self._required and not begins(held):
            return self._pass(None, bytes(held), now)
        try:
            found = parse(held)
        except ProxyHeaderError as error:
            self.fail(ProxyHeaderError(f"{self._whom}: {error}"))
            return b""
        if found is None:
            if self.since is None:
                self.since = now
            return b""
        header, size = found
        return self._pass(header, bytes(held[size:]), now)

    def _pass(self, header: ProxyHeader | None, rest: bytes, now: float) -> bytes:
        try:
            self.following = self._introduce(header, now)
        except ProxyHeaderError as error:
            self.fail(error)
            return b""
        self.done = True
        return rest

    def received_eof(self) -> bytes:
        """Take the FIN: inside a header it is an error, before the first octet it is a probe."""
        held = bytes(self._held)
        if not held:
            return b""
        if self._required or len(held) >= 6:
            self.fail(ProxyHeaderError(f"{self._whom}: end of file inside a PROXY header: {held[:128]!r}"))
            return b""
        return self._pass(None, held, self.since or 0.0)

    def let_go(self) -> None:
        self._held, self._outgoing, self._introduce = bytearray(), b"", _to_no_conversation


class PeekingReader(ProxyReader):
    """A reader that takes no octet after the header: who gets the socket reads them.

    An incomplete header is taken as it comes: all octets up to now are its own. So nothing is left in the kernel that
    would make the socket readable again and again. If the first octets are no header, none of them is taken.
    """

    __slots__ = ()

    peeks = True

    def own(self, data: bytes) -> int:
        """Return the octets of ``data`` up to the header's end; all of them if it has no end here.

        If it is not a header: 0, or all of them if its beginning looked like one and was taken.
        """
        held = bytes(self._held) + data
        if not self._required and not begins(held):
            return len(data) if self._held else 0
        try:
            found = parse(held)
        except ProxyHeaderError:
            return len(data)
        return len(data) if found is None else found[1] - len(self._held)

    def skip(self, now: float) -> None:
        self._pass(None, b"", now)


def _to_no_conversation(header: ProxyHeader | None, now: float) -> Layer | None:
    """Do nothing: the connection has ended."""
    return None
