"""A chat: each message goes to all other clients.

    fourtuple serve examples/chat.py
    fourtuple connect 127.0.0.1:9999          (in several terminals)

The first line is the client's name. Every further line goes to all clients with a name. A client that does not read
misses lines: the others do not wait for it, and no memory grows.
"""

from fourtuple import Connection, Service
from fourtuple.framing import Line

service = Service(Line(max_message=500))


@service.opened
def greet(connection: Connection) -> bytes:
    return b"What is your name?"


@service.reply
def say(line: bytes, connection: Connection) -> None:
    if connection.state is None:
        connection.state = line
        tell(connection, line + b" has come")
    else:
        tell(connection, connection.state + b": " + line)


@service.closed
def leave(connection: Connection) -> None:
    if connection.state is not None:
        tell(connection, connection.state + b" has gone")


def tell(speaker: Connection, line: bytes) -> None:
    assert speaker.server is not None
    speaker.server.broadcast(line, to=lambda each: each is not speaker and each.state is not None)
