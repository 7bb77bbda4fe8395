"""What the octets of TLS tell without a key: whether a conversation begins with it, and where a record ends."""

from __future__ import annotations

from collections.abc import Callable

from fourtuple.stream import Layer

#: The content types that a first record can have: a handshake, or a server's alert that refuses it (RFC 8446, 5.1).
HANDSHAKE = 0x16
_ALERT = 0x15
#: How many octets tell whether a connection begins with TLS: a record's header, and the type of handshake message.
ENOUGH = 6
#: The most octets in a record that is not encrypted (RFC 8446, 5.1).
_LONGEST = 1 << 14

_CLIENT_HELLO, _SERVER_HELLO, _HELLO_REQUEST = 1, 2, 0


class Records:
    """Finds the ends of records in a TLS stream (RFC 8446, 5.1): a header's last two of five octets have the length."""

    __slots__ = ("_head", "_left")

    def __init__(self) -> None:
        self._head = b""
        self._left = 0

    def pass_over(self, data: bytes) -> bool:
        """Take octets from the wire; return whether the octets so far end inside a record."""
        if self._head:
            data = self._head + data
            self._head = b""
        at, end = self._left, len(data)
        while at + 5 <= end:
            at += 5 + (data[at + 3] << 8 | data[at + 4])
        self._left = max(0, at - end)
        if at < end:
            self._head = data[at:]
        return at != end


def begins_tls(head: bytes, server_side: bool) -> bool:
    """Return whether a client (if ``server_side``) or a server may begin TLS with these octets, however few.

    One octet is not enough: a peer that echoes begins with the same octet as this side, and OpenSSL would wait for the
    rest of its own record.
    """
    alert = head[0] == _ALERT and not server_side
    if head[0] != HANDSHAKE and not alert:
        return False
    # The major version in a record's header is 3 in every version of TLS (legacy_record_version, RFC 8446, 5.1).
    if len(head) > 1 and head[1] != 3:
        return False
    if len(head) > 4 and not 0 < (head[3] << 8 | head[4]) <= _LONGEST:
        return False
    # HelloRequest: a server of TLS 1.2 may send it at any time (RFC 5246, 7.4.1.1).
    hellos = (_CLIENT_HELLO,) if server_side else (_SERVER_HELLO, _HELLO_REQUEST)
    return alert or len(head) < ENOUGH or head[5] in hellos


class FirstOctet(Layer):
    """TLS and plain conversations at one port: the first octet decides.

    0x16 begins a TLS handshake. As text it is the control character SYN, with which no text protocol begins. As the
    first octet of a four-octet length it means more than 369 MB. ``secure(now)`` makes the TLS layer.
    """

    __slots__ = ("_secure",)

    following: Layer | None

    def __init__(self, secure: Callable[[float], Layer]) -> None:
        super().__init__(None)
        self._secure = secure

    def received(self, data: bytes, now: float) -> bytes:
        """Check the first octet. All octets are passed on to the layer or stream that follows."""
        self.done = True
        if data[0] == HANDSHAKE:
            self.following = self._secure(now)
        return data
