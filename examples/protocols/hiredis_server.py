r"""A third-party parser as the framing: commands are read by hiredis, replies are written here.

    fourtuple serve examples/protocols/hiredis_server.py
    redis-cli -p 9999 ECHO hello

It needs the package hiredis.
"""

from typing import Any

import hiredis

from fourtuple import Service
from fourtuple.framing import ReplyError, Resp, Simple, feed_parser


class NotYet:
    """What the reader says while a command is not complete: its own False is a value, too."""


service = Service(
    feed_parser(
        lambda: hiredis.Reader(notEnoughData=NotYet),
        Resp().encode,
        incomplete=NotYet,
        max_message=16 * 1024,  # it makes dicts of maps: in a large one, a peer could choose keys that collide
        name="hiredis",
    )
)


@service.reply
def command(message: Any) -> Any:
    match message:
        case [b"PING"]:
            return Simple(b"PONG")
        case [b"ECHO", bytes(text)]:
            return text
        case _:
            return ReplyError("ERR there is PING and ECHO")
