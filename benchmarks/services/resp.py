"""GET and SET on a dict, in the Redis protocol."""

from typing import Any

from fourtuple import Service
from fourtuple.framing import NULL, ReplyError, Resp, Simple

service = Service(Resp())
values: dict[bytes, bytes] = {}
OK = Simple(b"OK")


@service.reply
def execute(command: list[bytes]) -> Any:
    """Execute one command."""
    match command:
        case [b"GET", key]:
            return values.get(key, NULL)
        case [b"SET", key, value]:
            values[key] = value
            return OK
        case [b"PING"]:
            return Simple(b"PONG")
        case [b"CONFIG", b"GET", name]:
            return [name, b""]
        case _:
            return ReplyError(f"ERR unknown command {command[0].decode(errors='replace')!r}")
