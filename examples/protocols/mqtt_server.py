r"""A broker that speaks MQTT 3.1.1, quality of service 0 and 1: a type, a length of one to four octets, a body.

    fourtuple serve examples/protocols/mqtt_server.py
    mosquitto_sub -p 9999 -t 'news/#' &
    mosquitto_pub -p 9999 -t news/weather -m 'it rains'

Each client says how long it may be silent: from CONNECT on, its connection has a deadline of its own.
"""

from fourtuple import Connection, Service
from fourtuple.framing import Varint, u16

CONNACK, PUBLISH, PUBACK, SUBACK, UNSUBACK, PINGRESP = 2, 3, 4, 9, 11, 13

Peer = Connection[bytes, bytes, set[str]]

body_framing = Varint(4, max_message=1 << 20)
service = Service(Varint(4, offset=1, keep=True, max_message=1 << 20), state=set[str])  # the state: filters of topics
peers: set[Peer] = set()


def packet(kind: int, body: bytes = b"") -> bytes:
    return bytes((kind << 4,)) + body_framing.encode(body)


def text(body: bytes) -> tuple[str, bytes]:
    """The text at the beginning of a body, and what follows it."""
    end = 2 + int.from_bytes(body[:2])
    return body[2:end].decode(), body[end:]


@service.reply
def handle(message: bytes, connection: Peer) -> bytes | None:
    kind, (body,) = message[0] >> 4, body_framing.decoder().feed(message[1:])
    match kind:
        case 1:  # CONNECT
            _protocol, rest = text(body)
            keep_alive = int.from_bytes(rest[2:4])
            connection.change_deadlines(idle_timeout=1.5 * keep_alive if keep_alive else None)  # section 3.1.2.10
            peers.add(connection)
            return packet(CONNACK, b"\0\0")
        case 3:  # PUBLISH
            topic, rest = text(body)
            number, payload = (rest[:2], rest[2:]) if message[0] & 6 else (b"", rest)
            published = packet(PUBLISH, body[: len(body) - len(rest)] + payload)
            levels = topic.split("/")
            to = [peer for peer in peers if any(matches(each.split("/"), levels) for each in peer.state)]
            assert connection.server is not None
            connection.server.broadcast(published, to=to)
            return packet(PUBACK, number) if number else None
        case 8:  # SUBSCRIBE
            rest, granted = body[2:], b""
            while rest:
                topic, rest = text(rest)
                connection.state.add(topic)
                rest, granted = rest[1:], granted + b"\0"
            return packet(SUBACK, body[:2] + granted)
        case 10:  # UNSUBSCRIBE
            connection.state.difference_update(map(bytes.decode, u16().decoder().feed(body[2:])))
            return packet(UNSUBACK, body[:2])
        case 12:  # PINGREQ
            return packet(PINGRESP)
    connection.close()  # DISCONNECT
    return None


def matches(pattern: list[str], topic: list[str]) -> bool:
    if pattern[-1] == "#":
        pattern, topic = pattern[:-1], topic[: len(pattern) - 1]
    return len(pattern) == len(topic) and all(each in ("+", name) for each, name in zip(pattern, topic, strict=True))


@service.closed
def forget(connection: Peer) -> None:
    peers.discard(connection)
