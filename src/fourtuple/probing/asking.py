"""One probe, from the name to the first octet."""

from __future__ import annotations

from dataclasses import replace

from fourtuple.address import Address
from fourtuple.errors import AddressError, ConnectError, DeadlinePassed, PeerReset, TlsCertificateRefused
from fourtuple.four_tuple import FourTuple
from fourtuple.inspector.routes import route_to
from fourtuple.net.connecting import clock, parsed
from fourtuple.net.connecting.sources import Target
from fourtuple.net.names import connection_name
from fourtuple.net.tcpinfo import TcpInfo
from fourtuple.probing.conversing import Talk, connection_over, listen, shake_hands, unverified
from fourtuple.probing.dialing import Race, race, resolve, with_source
from fourtuple.probing.looking import full_queue, waits_for_accept
from fourtuple.probing.result import Attempt, Connected, Found, Heard, Tls


def probe(address: Address, talk: Talk, *, local: Address | None = None) -> Found:
    """Connect, look, listen and close; return what was found.

    ``talk.timeout`` bounds the name and the connection together, and TLS by itself; ``talk.wait`` the first octets.
    Raises :class:`~fourtuple.errors.AddressError` for an address to which no connection is possible.
    """
    if parsed(address).is_unix:
        raise AddressError(str(address), "a probe is for TCP: name a host and a port")
    until = clock() + talk.timeout
    resolved, targets = resolve(address, until)
    found = Found(
        address=str(address), resolved=resolved, expected=bool(talk.messages) or talk.framed, timeout=talk.timeout
    )
    if resolved.error is not None:
        return found
    try:
        targets = with_source(targets, local, address)
    except ConnectError as error:
        return replace(found, error=error)
    ran = race(targets, until)
    if ran.socket is None or ran.winner is None:
        return replace(found, attempts=tuple(_with_queue(each, address) for each in ran.attempts))
    return _converse(replace(found, attempts=tuple(ran.attempts)), ran, ran.winner, talk)


def _with_queue(attempt: Attempt, address: Address) -> Attempt:
    """A silent address of this machine may have a full accept queue, and then that is why."""
    if attempt.connected or (attempt.error is not None and not isinstance(attempt.error, TimeoutError)):
        return attempt
    host = attempt.address.rpartition(":")[0].strip("[]")
    return replace(attempt, full_queue=full_queue(host, address.port))


def _converse(found: Found, ran: Race, winner: Target, talk: Talk) -> Found:
    assert ran.socket is not None
    try:
        name = connection_name(ran.socket)
        info = TcpInfo.of(ran.socket)
    except OSError:  # a reset that came faster than we looked: the socket has no peer any more
        ran.socket.close()
        made = Connected("", winner.text, ran.seconds, None, None)
        return replace(found, connected=made, heard=Heard(0.0, end="reset", error=PeerReset("reset at once")))
    assert isinstance(name, FourTuple)
    made = Connected(str(name.local), str(name.remote), ran.seconds, info, route_to(name.remote_ip))
    with connection_over(ran.socket, name, talk) as connection:
        tls: Tls | None = None
        if talk.tls is not None:
            tls = shake_hands(connection, talk)
            if isinstance(tls.error, TlsCertificateRefused):
                tls = _looked_at(tls, winner, talk)
            if tls.error is not None:
                if isinstance(tls.error, DeadlinePassed):
                    made = replace(made, waits_for_accept=waits_for_accept(name))
                connection.abort()
                return replace(found, connected=made, tls=tls)
        heard = listen(connection, talk)
        if heard.end == "silence" and tls is None:
            made = replace(made, waits_for_accept=waits_for_accept(name))
        connection.abort()  # no lingering: nothing more is wanted
    return replace(found, connected=made, tls=tls, heard=heard)


def _looked_at(tls: Tls, winner: Target, talk: Talk) -> Tls:
    """The certificate that was refused, read over a second connection that does not verify it."""
    ran = race([winner], clock() + talk.timeout)
    if ran.socket is None:
        return tls
    try:
        name = connection_name(ran.socket)
    except OSError:
        ran.socket.close()
        return tls
    assert isinstance(name, FourTuple)
    with connection_over(ran.socket, name, talk) as connection:
        seen = shake_hands(connection, unverified(talk))
        connection.abort()
    return replace(tls, version=seen.version, cipher=seen.cipher, alpn=seen.alpn, certificate=seen.certificate)
