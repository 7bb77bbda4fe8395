r"""A cache that speaks memcached's text protocol: a line may announce a body, in both directions.

    fourtuple serve examples/protocols/memcached_server.py
    python -c "import pymemcache; c = pymemcache.Client('127.0.0.1:9999'); c.set('k', 'abc'); print(c.get('k'))"

A body may hold anything, line endings too: it is as long as the fifth word of its line says. What goes back is framed
differently (`VALUE k 0 3`), so the two directions are two framings.
"""

from collections.abc import Iterator

from fourtuple import Service
from fourtuple.framing import duplex, headed

Lines = tuple[bytes, bytes | None]

STORING = "|".join(f"{verb}:4" for verb in ("set", "add", "replace", "append", "prepend"))
MAX_ITEM = 1 << 20

requests = headed("line:net,max_message=2048", STORING, trailer=b"\r\n", max_message=MAX_ITEM + 2048)
service = Service(duplex(requests, headed("line:net", "VALUE:3", trailer=b"\r\n")))

items: dict[bytes, tuple[bytes, bytes]] = {}  # flags and value


@service.reply
def handle(message: Lines) -> Iterator[Lines]:
    head, body = message
    verb, *words = head.split() or [b""]
    quiet = words[-1:] == [b"noreply"]
    if verb in (b"get", b"gets"):
        for key in words:
            if key in items:
                flags, value = items[key]
                yield b"VALUE %b %b %d" % (key, flags, len(value)), value
        yield b"END", None
    elif body is not None and len(words) >= 4:
        stored = store(verb, words[0], words[1], body)
        if not quiet:
            yield stored, None
    elif verb == b"delete" and words:
        found = items.pop(words[0], None)
        if not quiet:
            yield b"NOT_FOUND" if found is None else b"DELETED", None
    elif verb == b"version":
        yield b"VERSION fourtuple", None
    else:
        yield b"ERROR", None


def store(verb: bytes, key: bytes, flags: bytes, value: bytes) -> bytes:
    known = items.get(key)
    if (known is None) is (verb != b"add") and verb != b"set":
        return b"NOT_STORED"
    if known is not None and verb in (b"append", b"prepend"):
        flags, old = known
        value = old + value if verb == b"append" else value + old
    items[key] = flags, value
    return b"STORED"
