r"""A broker of messages that speaks STOMP 1.2: frames that end with NUL, or are as long as their header says.

    fourtuple serve examples/protocols/stomp_server.py

    >>> connection = stomp.Connection([("127.0.0.1", 9999)])          (the package stomp.py)
    >>> connection.connect(wait=True)
    >>> connection.send("/queue/news", "it rains")

A frame without `content-length` ends at its first NUL; with one, its body may hold any octets. Line endings between
frames are heart-beats.
"""

import itertools

from fourtuple import Connection, Service
from fourtuple.framing import headed

Frame = tuple[bytes, bytes | None]
Peer = Connection[Frame, Frame, dict[str, str]]

framing = headed(r"delimited:\n\n|\r\n\r\n", "header:content-length", trailer=b"\0", swallow=b"\r\n")
service = Service(framing, state=dict[str, str])  # a connection's state: destinations by subscription

subscribers: dict[str, set[Peer]] = {}
numbers = itertools.count(1)


def frame(command: str, body: bytes = b"", **headers: str) -> Frame:
    lines = [command, *(f"{name.replace('_', '-')}:{value}" for name, value in headers.items())]
    return "\n".join([*lines, f"content-length:{len(body)}"]).encode(), body


@service.reply
def handle(message: Frame, connection: Peer) -> Frame | None:
    command, *lines = message[0].decode().splitlines()
    headers = dict(line.split(":", 1) for line in lines)
    match command:
        case "CONNECT" | "STOMP":
            return frame("CONNECTED", version="1.2", heart_beat="0,0")
        case "SUBSCRIBE":
            connection.state[headers["id"]] = headers["destination"]
            subscribers.setdefault(headers["destination"], set()).add(connection)
        case "UNSUBSCRIBE":
            subscribers[connection.state.pop(headers["id"])].discard(connection)
        case "SEND":
            deliver(headers["destination"], message[1] or b"")
        case "DISCONNECT" | "ACK" | "NACK" | "BEGIN" | "COMMIT" | "ABORT":
            pass
        case _:
            return frame("ERROR", message=f"unknown command {command!r}")
    return frame("RECEIPT", receipt_id=headers["receipt"]) if "receipt" in headers else None


def deliver(destination: str, body: bytes) -> None:
    for peer in subscribers.get(destination, ()):
        for number, subscribed in peer.state.items():
            if subscribed == destination:
                told = {"subscription": number, "message_id": str(next(numbers)), "destination": destination}
                peer.send(frame("MESSAGE", body, **told))


@service.closed
def forget(connection: Peer) -> None:
    for destination in connection.state.values():
        subscribers[destination].discard(connection)
