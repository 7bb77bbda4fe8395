"""The blocking client: how a connection is opened."""

from __future__ import annotations

from typing import TypedDict

from fourtuple.address import Address
from fourtuple.blocking.connection import BlockingConnection
from fourtuple.blocking.polling import clock
from fourtuple.framing import Framing, parse_framing
from fourtuple.net import connecting
from fourtuple.options import Deadlines, Limits, Reconnect, Sockets
from fourtuple.proxy.header import HeaderChoice, say_header
from fourtuple.stream import Stream
from fourtuple.tls.certificates import TlsChoice
from fourtuple.tls.start import check_client, first_to_pass, host_of, tls_wanted
from fourtuple.typevars import In, Out


class ConnectOptions(TypedDict, total=False):
    """The options of :func:`connect` as keyword arguments, for type checkers."""

    timeout: float | None
    local_address: Address | str | None
    sockets: Sockets | None
    limits: Limits | None
    deadlines: Deadlines | None
    reconnect: Reconnect | None
    tls: TlsChoice | None
    server_hostname: str | None
    proxy_header: HeaderChoice | None


def connect(
    address: Address | str,
    framing: Framing[In, Out] | str,
    *,
    timeout: float | None = 10.0,
    local_address: Address | str | None = None,
    sockets: Sockets | None = None,
    limits: Limits | None = None,
    deadlines: Deadlines | None = None,
    reconnect: Reconnect | None = None,
    tls: TlsChoice | None = None,
    server_hostname: str | None = None,
    proxy_header: HeaderChoice | None = None,
) -> BlockingConnection[In, Out]:
    """Connect to an address and return the connection.

    Parameters
    ----------
    address
        ``"host:port"``, ``"[v6]:port"``, ``"unix:/path"`` or an :class:`~fourtuple.Address`. All addresses of
        a name are tried, the families in turn, the next one beside the last after 0.25 s (RFC 8305).
    framing
        How messages are cut, as a value or as text: ``"line"``, ``"fixed:16"``. The types of the messages are those of
        the value; a text gives ``Any``.
    timeout
        Seconds for each attempt, from the look-up of the name to the end of the TLS handshake, all addresses included.
        Ten: a SYN that was lost is sent again after 1, 3 and 7 s. None waits for the kernel to give up, which takes
        minutes.
    local_address
        Where to connect from: a literal address, with or without a port.
    sockets, limits
        Options of the socket and of the conversation.
    deadlines
        Of these, ``write_timeout`` holds for every call that has octets to write, ``handshake_timeout`` for TLS, and
        ``linger_timeout`` for :meth:`BlockingConnection.close`. The others are for programs with an event loop.
    reconnect
        How many attempts, and the pauses between them. One by default: an error shows at once.
    tls
        True for the defaults, :class:`~fourtuple.Tls` options or a context of your own: returns when the handshake
        is done, which ``handshake_timeout`` bounds, too: the earlier of the two.
    server_hostname
        The name that the server's certificate has to have; by default the host of the address.
    proxy_header
        Say first who connects, as a balancer does: 1 or 2 (or True) for this socket's own name in that version, or
        a :class:`~fourtuple.proxy.ProxyHeader`. Only for servers that expect it.

    Raises :class:`~fourtuple.errors.ConnectError`, one subclass for every way to fail;
    :class:`~fourtuple.errors.TlsError` (which one says why) and :class:`~fourtuple.errors.DeadlinePassed` for a
    handshake that fails;
    :class:`~fourtuple.errors.AddressError`, :class:`~fourtuple.errors.FramingTextError` and
    :class:`~fourtuple.errors.OptionError` for arguments that cannot work, before or instead of connecting.
    """
    framing = parse_framing(framing)
    check_client(tls, server_hostname, proxy_header, limits=limits, deadlines=deadlines, sockets=sockets)
    connected = connecting.run(
        connecting.connecting(
            address, timeout=timeout, local_address=local_address, sockets=sockets, reconnect=reconnect
        )
    )
    connected.socket.setblocking(True)
    stream = Stream(framing, connected.name, limits or Limits(), clock())
    connection: BlockingConnection[In, Out] = BlockingConnection(
        connected.socket, stream, owned=True, deadlines=deadlines
    )
    connection.host = host_of(address)
    try:
        say_header(stream, proxy_header)
        if tls_wanted(tls):
            layer = connection.begin_tls(tls, server_hostname)
            connection.finish_tls(layer, *first_to_pass(connection._deadlines, timeout, connected.until, clock()))
        else:
            connection._write_out(connecting.left(connected.until))
    except BaseException:
        connection.abort()
        raise
    return connection
