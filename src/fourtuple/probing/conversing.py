"""After the handshake of TCP: a PROXY header, TLS, and what the peer says first."""

from __future__ import annotations

import socket
from dataclasses import dataclass, replace
from typing import Any

from fourtuple.blocking import BlockingConnection
from fourtuple.errors import (
    ConnectionLost,
    DeadlinePassed,
    EndOfFile,
    FramingError,
    PeerReset,
    TlsCertificateRefused,
    TlsError,
)
from fourtuple.four_tuple import FourTuple
from fourtuple.framing import Framing
from fourtuple.net.connecting import clock
from fourtuple.options import Deadlines, Limits
from fourtuple.options import Tls as TlsOptions
from fourtuple.probing import x509
from fourtuple.probing.result import Heard, Tls
from fourtuple.proxy.header import say_header
from fourtuple.stream import Stream

#: As many of the peer's first octets are kept.
MOST_OCTETS = 256
_NO_DEADLINES = Deadlines(message_timeout=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """What to say and what to listen for."""

    framing: Framing[Any, Any]
    #: Whether the framing was asked for: then a whole message is waited for.
    framed: bool = False
    messages: tuple[Any, ...] = ()
    tls: TlsOptions | None = None
    server_name: str | None = None
    proxy_header: int | None = None
    #: Seconds for TLS, and for the first octets.
    timeout: float = 5.0
    wait: float = 1.0


def connection_over(sock: socket.socket, name: FourTuple, talk: Talk) -> BlockingConnection[Any, Any]:
    """Return a connection that owns the socket; a PROXY header is on its way, if one was asked for."""
    sock.setblocking(True)
    stream = Stream(talk.framing, name, Limits(), clock())
    connection: BlockingConnection[Any, Any] = BlockingConnection(sock, stream, owned=True, deadlines=_NO_DEADLINES)
    try:
        say_header(stream, talk.proxy_header)
    except BaseException:
        connection.abort()
        raise
    return connection


def shake_hands(connection: BlockingConnection[Any, Any], talk: Talk) -> Tls:
    """Begin TLS; return what was agreed, or how it failed."""
    assert talk.tls is not None
    began = clock()
    try:
        info = connection.start_tls(talk.tls, server_hostname=talk.server_name, timeout=talk.timeout)
    except TlsCertificateRefused as error:
        return Tls(clock() - began, error=error, code=error.code)
    except (TlsError, ConnectionLost, DeadlinePassed, EndOfFile) as error:
        return Tls(clock() - began, error=error)
    return Tls(
        clock() - began,
        info.version,
        info.cipher,
        info.alpn,
        certificate_of(info.der),
        verified=info.certificate is not None,
    )


def certificate_of(der: bytes | None) -> x509.Certificate | None:
    """Return what a certificate says; None for none, and for one that cannot be read."""
    if not der:
        return None
    try:
        return x509.parse(der)
    except ValueError:
        return None


def unverified(talk: Talk) -> Talk:
    """Return the talk that looks at a certificate without judging it."""
    assert talk.tls is not None
    return replace(talk, tls=talk.tls.replace(verify="none"))


def listen(connection: BlockingConnection[Any, Any], talk: Talk) -> Heard:
    """Say what is to be said, and wait for what comes first."""
    sent = sum(len(talk.framing.encode(message)) for message in talk.messages)
    return replace(_heard(connection, talk), sent=sent)


def _heard(connection: BlockingConnection[Any, Any], talk: Talk) -> Heard:
    began = clock()
    heard: Heard | None = None
    try:
        for message in talk.messages:
            connection.send(message)
        first = bytes(connection.receive_some(MOST_OCTETS, timeout=talk.wait))
        heard = Heard(clock() - began, first)
        if talk.framed:
            connection.unread(first)
            connection.receive(timeout=talk.wait)
            heard = replace(heard, messages=1)
    except DeadlinePassed:
        return _ended(heard, clock() - began, "silence")
    except FramingError as error:
        return replace(heard or Heard(clock() - began), end="framing", error=error)
    except EndOfFile:
        return _ended(heard, clock() - began, "end of file")
    except ConnectionLost as error:
        end = "reset" if isinstance(error, PeerReset) else "lost"
        return replace(_ended(heard, clock() - began, end), error=error)
    return heard


def _ended(heard: Heard | None, seconds: float, end: str) -> Heard:
    """Return what was heard before this end: nothing, or a part of the message that was waited for."""
    return Heard(seconds, end=end) if heard is None else replace(heard, end=end)
