r"""A chat over WebSocket (RFC 6455), read by wsproto: its events are the messages, and it makes what is sent.

    fourtuple serve examples/protocols/websocket_server.py
    python -m websockets ws://127.0.0.1:9999/

The handler reaches its parser: `connection.parser` answers the handshake and pings, and closes a connection whose
message is too large, with the reason.
"""

from typing import Any

from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import AcceptConnection, CloseConnection, Message, Ping, Request, TextMessage
from wsproto.frame_protocol import CloseReason

from fourtuple import Connection, Service
from fourtuple.framing import NOT_YET, Parser

MAX_TEXT = 1 << 16

Peer = Connection[Any, Any, list[str]]


framing = Parser[Any, Any](
    lambda: WSConnection(ConnectionType.SERVER),
    put=lambda parser, octets: parser.receive_data(octets),
    get=lambda parser: next(parser.events(), NOT_YET),  # wsproto gives its events with a generator
    name="websocket",
    stateful=True,  # what its octets mean depends on the handshake before them
)
service = Service(framing, state=list[str])
peers: set[Peer] = set()


def send(peer: Peer, event: Any) -> None:
    if peer.parser.state is not ConnectionState.CLOSED:
        peer.send_octets(peer.parser.send(event))


@service.reply
def handle(event: Any, connection: Peer) -> None:
    match event:
        case Request():
            send(connection, AcceptConnection())
            peers.add(connection)
        case TextMessage():
            connection.state.append(event.data)
            if sum(map(len, connection.state)) > MAX_TEXT:
                send(connection, CloseConnection(CloseReason.MESSAGE_TOO_BIG, f"at most {MAX_TEXT} characters"))
                forget(connection)
            elif event.message_finished:
                for peer in peers:
                    send(peer, TextMessage("".join(connection.state)))
                connection.state.clear()
        case Ping():
            send(connection, event.response())
        case CloseConnection():
            send(connection, event.response())
            connection.close()
        case Message():
            send(connection, CloseConnection(CloseReason.UNSUPPORTED_DATA, "text only"))


@service.closed
def forget(connection: Peer) -> None:
    peers.discard(connection)
