r"""A broker that speaks MQTT 3.1.1, quality of service 0 and 1: a type, a length of one to four octets, a body.

    fourtuple serve examples/protocols/mqtt_server.py
    mosquitto_sub -p 9999 -t 'news/#' &
    mosquitto_pub -p 9999 -t news/weather -m 'it rains'

Each client says how long it may be silent: from CONNECT on, its connection has a deadline of its own.
"""

import re

from fourtuple import Connection, Service
from fourtuple.framing import Length, Varint, u16

CONNACK, PUBLISH, PUBACK, SUBACK, UNSUBACK, PINGRESP = 2, 3, 4, 9, 11, 13

Filters = dict[bytes, re.Pattern[bytes]]
Peer = Connection[bytes, bytes, Filters]

body_framing = Varint(4, max_message=1 << 20)
topic_framing, filter_framing = u16(), Length(2, adjustment=1)  # behind each filter, an octet that is not counted
service = Service(Varint(4, offset=1, keep=True, max_message=1 << 20), state=Filters)


def packet(kind: int, body: bytes = b"") -> bytes:
    return bytes((kind << 4,)) + body_framing.encode(body)


def pattern(topic: bytes) -> re.Pattern[bytes]:
    """What a filter matches: `+` is any level, `#` all that follow. Possessive, so that no filter takes long."""
    levels = re.escape(topic).replace(rb"\+", b"[^/]*+").replace(rb"/\#", b"(/.*+)?+").replace(rb"\#", b".*+")
    return re.compile(levels, re.DOTALL)


@service.reply
def handle(message: bytes, connection: Peer) -> bytes | None:
    kind, (body,) = message[0] >> 4, body_framing.decoder().feed(message[1:])
    match kind:
        case 1:  # CONNECT
            keep_alive = int.from_bytes(body[8:10])
            connection.change_deadlines(idle_timeout=1.5 * keep_alive if keep_alive else None)  # section 3.1.2.10
            return packet(CONNACK, b"\0\0")
        case 3:  # PUBLISH
            topics = topic_framing.decoder()
            (topic,), rest = topics.feed(body, 1), topics.take()
            number, payload = (rest[:2], rest[2:]) if message[0] & 6 else (b"", rest)
            published = packet(PUBLISH, topic_framing.encode(topic) + payload)
            assert connection.server is not None
            connection.server.broadcast(published, to=lambda peer: any(f.fullmatch(topic) for f in peer.state.values()))
            return packet(PUBACK, number) if number else None
        case 8:  # SUBSCRIBE
            filters = [each[:-1] for each in filter_framing.decoder().feed(body[2:])]
            connection.state.update((each, pattern(each)) for each in filters)
            return packet(SUBACK, body[:2] + bytes(len(filters)))
        case 10:  # UNSUBSCRIBE
            for each in topic_framing.decoder().feed(body[2:]):
                connection.state.pop(each, None)
            return packet(UNSUBACK, body[:2])
        case 12:  # PINGREQ
            return packet(PINGRESP)
    connection.close()  # DISCONNECT
    return None
