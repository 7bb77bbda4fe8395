"""A chat: what one says, all others hear.

    fourtuple serve examples/chat.py
    fourtuple connect 127.0.0.1:9999          (in several terminals)

The first line is the name, every further line goes to all who have one. Somebody who does not read misses lines; nobody
waits for them, and no memory grows.
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
