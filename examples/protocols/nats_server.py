r"""Publish and subscribe, as NATS does it: `PUB` and `MSG` announce a body, and the other verbs have none.

    fourtuple serve examples/protocols/nats_server.py

    >>> client = await nats.connect("nats://127.0.0.1:9999")          (the package nats-py)
    >>> subscription = await client.subscribe("news.*")
    >>> await client.publish("news.weather", b"it rains")

In the subject of a subscription, `*` is any word and `>` all words that follow.
"""

import re

from fourtuple import Connection, Service
from fourtuple.framing import duplex, headed

Lines = tuple[bytes, bytes | None]
Subscriptions = dict[bytes, re.Pattern[bytes]]
Peer = Connection[Lines, Lines, Subscriptions]

requests = headed("line:net,max_message=4096", "PUB:last|HPUB:last", trailer=b"\r\n", max_message=(1 << 20) + 4096)
replies = headed("line:net", "MSG:last|HMSG:last", trailer=b"\r\n")
service = Service(duplex(requests, replies), state=Subscriptions)  # by number
peers: set[Peer] = set()


@service.opened
def greet(connection: Peer) -> Lines:
    peers.add(connection)
    return b'INFO {"server_id":"fourtuple","version":"2.10.0","proto":1,"headers":true,"max_payload":1048576}', None


@service.closed
def forget(connection: Peer) -> None:
    peers.discard(connection)


@service.reply
def handle(message: Lines, connection: Peer) -> Lines | None:
    head, body = message
    verb, *words = head.split()
    match verb.upper(), words:
        case b"PING", []:
            return b"PONG", None
        case b"SUB", [subject, *_, number]:
            # Possessive, so that no subject takes long.
            connection.state[number] = re.compile(re.escape(subject).replace(rb"\*", b"[^.]++").replace(b">", b".++"))
        case b"UNSUB", [number, *_]:
            connection.state.pop(number, None)
        case b"PUB" | b"HPUB", [subject, *more]:
            publish(b"MSG" if verb.upper() == b"PUB" else b"HMSG", subject, more, body)
        case b"CONNECT" | b"PONG", _:
            pass
        case _:
            return b"-ERR 'Unknown Protocol Operation'", None
    return None


def publish(verb: bytes, subject: bytes, more: list[bytes], body: bytes | None) -> None:
    for peer in peers:
        for number, pattern in peer.state.items():
            if pattern.fullmatch(subject):  # `more`: perhaps a subject for the reply, and the sizes
                peer.send((b" ".join([verb, subject, number, *more]), body))
