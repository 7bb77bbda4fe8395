r"""A small Redis: strings in memory, for redis-cli and every client library.

    fourtuple serve examples/protocols/redis_server.py
    redis-cli -p 9999 SET greeting hello
    redis-cli -p 9999 GET greeting

A client that says HELLO 3 goes on in RESP3: the framing changes behind the message that asked for it.
"""

from collections.abc import Callable
from typing import Any

from fourtuple import Connection, Service
from fourtuple.framing import NULL, ReplyError, Resp, Simple

store: dict[bytes, bytes] = {}

service = Service(Resp())


@service.reply
def command(message: list[bytes], connection: Connection) -> Any:
    if not isinstance(message, list) or not message or not all(isinstance(each, bytes) for each in message):
        return ReplyError("ERR a command is an array of bulk strings")
    name, arguments = message[0].upper(), message[1:]
    if name == b"HELLO":
        return hello(connection, *arguments)
    if name not in COMMANDS:
        return ReplyError(f"ERR unknown command '{name.decode(errors='replace')}'")
    try:
        reply = COMMANDS[name](*arguments)
    except TypeError:
        return ReplyError(f"ERR wrong number of arguments for '{name.decode().lower()}' command")
    except ValueError:
        return ReplyError("ERR value is not an integer or out of range")
    return NULL if reply is None else reply


def hello(connection: Connection, version: bytes = b"2", *_more: bytes) -> Any:
    if version not in (b"2", b"3"):
        return ReplyError("NOPROTO unsupported protocol version")
    connection.change_framing("resp:3" if version == b"3" else "resp")
    known = {b"server": b"fourtuple", b"proto": int(version)}
    # Sent, not returned: what is returned goes out in the framing in which HELLO came in.
    connection.send(known if version == b"3" else [each for pair in known.items() for each in pair])
    return None


def set_value(key: bytes, value: bytes) -> Simple:
    store[key] = value
    return Simple(b"OK")


def increment(key: bytes, by: bytes = b"1") -> int:
    store[key] = b"%d" % (int(store.get(key, b"0")) + int(by))
    return int(store[key])


COMMANDS: dict[bytes, Callable[..., Any]] = {
    b"PING": lambda: Simple(b"PONG"),
    b"ECHO": lambda message: message,
    b"SET": set_value,
    b"GET": lambda key: store.get(key),
    b"MGET": lambda *keys: [store.get(key) for key in keys],
    b"DEL": lambda *keys: sum(store.pop(key, None) is not None for key in keys),
    b"EXISTS": lambda *keys: sum(key in store for key in keys),
    b"INCR": increment,
    b"INCRBY": increment,
    b"DBSIZE": lambda: len(store),
}
