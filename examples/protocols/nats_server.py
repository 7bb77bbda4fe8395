r"""Publish and subscribe, as NATS does it: `PUB` and `MSG` announce a body, and the other verbs have none.

    fourtuple serve examples/protocols/nats_server.py

    >>> client = await nats.connect("nats://127.0.0.1:9999")          (the package nats-py)
    >>> subscription = await client.subscribe("news.*")
    >>> await client.publish("news.weather", b"it rains")

A subject's subscribers are found word by word: `*` is any word, `>` all that follow.
"""

from fourtuple import Connection, Service
from fourtuple.framing import duplex, headed

Lines = tuple[bytes, bytes | None]
Peer = Connection[Lines, Lines, dict[bytes, list[bytes]]]

INFO = b'{"server_id":"fourtuple","version":"2.10.0","proto":1,"headers":true,"max_payload":1048576}'

requests = headed("line:net,max_message=4096", "PUB:last|HPUB:last", trailer=b"\r\n", max_message=(1 << 20) + 4096)
replies = headed("line:net", "MSG:last|HMSG:last", trailer=b"\r\n")
service = Service(duplex(requests, replies), state=dict[bytes, list[bytes]])  # subscriptions: number and subject

peers: set[Peer] = set()


@service.opened
def greet(connection: Peer) -> Lines:
    peers.add(connection)
    return b"INFO " + INFO, None


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
            connection.state[number] = subject.split(b".")
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
    words = subject.split(b".")
    for peer in peers:
        for number, pattern in peer.state.items():
            if matches(pattern, words):  # `more`: perhaps a subject for the reply, and the sizes
                peer.send((b" ".join([verb, subject, number, *more]), body))


def matches(pattern: list[bytes], words: list[bytes]) -> bool:
    if pattern[-1] == b">":
        pattern, words = pattern[:-1], words[: len(pattern) - 1] if len(words) >= len(pattern) else []
    return len(pattern) == len(words) and all(each in (b"*", word) for each, word in zip(pattern, words, strict=True))
