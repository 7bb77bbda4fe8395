"""PURE: the question to sock_diag(7) about Unix sockets, and its answers: linux/unix_diag.h."""

from __future__ import annotations

import os
import struct

from fourtuple.inspector import states
from fourtuple.inspector.messages import attributes
from fourtuple.inspector.model import UnixSocket
from fourtuple.net.backlog import AcceptQueue

_AF_UNIX = 1
_KINDS = {1: "stream", 5: "seqpacket"}  # SOCK_STREAM, SOCK_SEQPACKET; datagram sockets are not connections
_NAME, _PEER, _RQLEN, _UID = 0, 2, 4, 7
_SHOW = 0x01 | 0x04 | 0x10 | 0x40  # UDIAG_SHOW_NAME, _PEER, _RQLEN, _UID
_REQUEST = struct.Struct("=BBHIIIQ")
_MESSAGE = struct.Struct("=BBBxIQ")  # family, type, state; inode, cookie
_WORD, _LENGTHS = struct.Struct("=I"), struct.Struct("=II")
_EVERY = 0xFFFFFFFF


def question() -> bytes:
    """Return the request for all Unix sockets."""
    return _REQUEST.pack(_AF_UNIX, 0, 0, _EVERY, 0, _SHOW, (1 << 64) - 1)


def decode(body: memoryview) -> UnixSocket | None:
    """Decode one answer; None for a datagram socket. Raises :class:`ValueError` for one that is too short."""
    if len(body) < _MESSAGE.size:
        raise ValueError(f"an answer of unix_diag has at least {_MESSAGE.size} octets, {len(body)} were given")
    _family, kind, number, inode, cookie = _MESSAGE.unpack_from(body)
    if kind not in _KINDS:
        return None
    found = dict(attributes(body, _MESSAGE.size))
    first, second = _LENGTHS.unpack_from(found[_RQLEN]) if len(found.get(_RQLEN, b"")) >= _LENGTHS.size else (0, 0)
    state = states.name_of(number)
    listening = state == states.LISTEN
    uid, peer = found.get(_UID), found.get(_PEER)
    return UnixSocket(
        family="unix",
        state=state,
        kind=_KINDS[kind],
        inode=inode,
        cookie=cookie,
        uid=_WORD.unpack_from(uid)[0] if uid else None,
        path=_path(found.get(_NAME)),
        peer_inode=_WORD.unpack_from(peer)[0] if peer else 0,
        # For a listener these are the accept queue's length and limit (sk_diag_show_rqlen(), net/unix/diag.c).
        receive_queue=0 if listening else first,
        send_queue=0 if listening else second,
        queue=AcceptQueue(first, second) if listening and _RQLEN in found else None,
    )


def _path(octets: memoryview | None) -> str:
    if not octets:
        return ""
    name = bytes(octets)
    if name[0] == 0:
        return "@" + os.fsdecode(name[1:])  # an abstract name, unix(7)
    return os.fsdecode(name.rstrip(b"\0"))
