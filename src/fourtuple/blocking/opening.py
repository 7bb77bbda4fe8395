"""The blocking client: it opens a connection."""

from __future__ import annotations

from typing import Any, Protocol, Unpack

from fourtuple.address import Address
from fourtuple.blocking.connection import BlockingConnection
from fourtuple.blocking.handshake import begin_tls, finish_tls
from fourtuple.blocking.polling import clock
from fourtuple.client.options import Connect, ConnectOptions, takes_connect_options
from fourtuple.framing import Framing, parse_framing
from fourtuple.net import connecting
from fourtuple.options import Limits
from fourtuple.proxy.header import say_header
from fourtuple.stream import Stream
from fourtuple.tls.start import first_to_pass, host_of, tls_wanted
from fourtuple.typevars import In, Out


@takes_connect_options
def connect(
    address: Address | str, framing: Framing[In, Out] | str, **options: Unpack[ConnectOptions]
) -> BlockingConnection[In, Out]:
    """Connect to an address, and return the blocking connection.

    ``with connect(...) as connection`` closes it at the end of the block. The async function is
    :func:`fourtuple.connect`.
    """
    return opened(address, parse_framing(framing), Connect(**options))


class Opening(connecting.Stop, Protocol):
    """The attempt of a client: another thread may end it at any time."""

    def made(self, connection: BlockingConnection[Any, Any]) -> None:
        """Take the connection, before its TLS handshake. Raises if the attempt is to end."""


def opened(
    address: Address | str, framing: Framing[In, Out], chosen: Connect, opening: Opening | None = None
) -> BlockingConnection[In, Out]:
    """Connect as :func:`connect` does, with checked options."""
    connected = connecting.run(
        connecting.connecting(
            address,
            timeout=chosen.timeout,
            local_address=chosen.local_address,
            sockets=chosen.sockets,
            reconnect=chosen.reconnect,
        ),
        opening,
    )
    connected.socket.setblocking(True)
    stream = Stream(framing, connected.name, chosen.limits or Limits(), clock())
    connection: BlockingConnection[In, Out] = BlockingConnection(
        connected.socket, stream, owned=True, deadlines=chosen.deadlines
    )
    connection.host = chosen.server_hostname or host_of(address)
    try:
        if opening is not None:
            opening.made(connection)
        say_header(stream, chosen.proxy_header)
        if tls_wanted(chosen.tls):
            layer = begin_tls(connection._socket, chosen.tls, connection.host)
            until = first_to_pass(connection._socket.deadlines, chosen.timeout, connected.until, clock())
            finish_tls(connection._in, connection._out, layer, *until)
        else:
            connection._out.write_out(connecting.left(connected.until))
    except BaseException:
        connection.abort()
        raise
    return connection
