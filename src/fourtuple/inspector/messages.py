"""PURE: netlink messages and their attributes, cut and made: netlink(7), rtnetlink(7)."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_ATTRIBUTE = struct.Struct("=HH")  # struct rtattr: length, type
_INT = struct.Struct("=i")

_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE = 2, 3
#: The types of messages that may say that something failed.
FAILURES = (_ERROR, _DONE)
#: NLA_F_NESTED and NLA_F_NET_BYTEORDER stand in the type's upper bits.
_TYPE = 0x3FFF


@dataclass(frozen=True, slots=True)
class Message:
    """One netlink message: its type, its sequence number, and the octets after its header."""

    kind: int
    sequence: int
    body: memoryview


def request(kind: int, payload: bytes, sequence: int, *, dump: bool) -> bytes:
    """Return a request: for all that there is (``dump``), or for one thing, with an acknowledgement."""
    flags = _REQUEST | (_DUMP if dump else _ACK)
    return _HEADER.pack(_HEADER.size + len(payload), kind, flags, sequence, 0) + payload


def messages(octets: bytes) -> Iterator[Message]:
    """Cut what one recv(2) returned; a message that is shorter than it says ends the cutting."""
    view, at = memoryview(octets), 0
    while at + _HEADER.size <= len(view):
        length, kind, _flags, sequence, _port = _HEADER.unpack_from(view, at)
        if length < _HEADER.size or at + length > len(view):
            return
        yield Message(kind, sequence, view[at + _HEADER.size : at + length])
        at += _aligned(length)


def is_end(message: Message) -> bool:
    """Whether this message ends a dump in good order. NLMSG_DONE with a negative number tells that the dump failed."""
    return message.kind == _DONE and failure_of(message) is None


def failure_of(message: Message) -> OSError | None:
    """Return the error that an NLMSG_ERROR or NLMSG_DONE message carries; None for success."""
    code = -_INT.unpack_from(message.body)[0] if len(message.body) >= _INT.size else 0
    return OSError(code, os.strerror(code)) if code > 0 else None


def attributes(body: memoryview, at: int) -> Iterator[tuple[int, memoryview]]:
    """Yield the type and the octets of every attribute behind the fixed part of a message, which ends at ``at``."""
    end, size, unpack = len(body), _ATTRIBUTE.size, _ATTRIBUTE.unpack_from
    while at + size <= end:
        length, kind = unpack(body, at)
        if length < size or at + length > end:
            return
        yield kind & _TYPE, body[at + size : at + length]
        at += (length + 3) & ~3


def attribute(kind: int, octets: bytes) -> bytes:
    """Return one attribute, padded."""
    return (_ATTRIBUTE.pack(_ATTRIBUTE.size + len(octets), kind) + octets).ljust(_aligned(4 + len(octets)), b"\0")


def _aligned(length: int) -> int:
    return (length + 3) & ~3
