r"""A venue that speaks FIX 4.4 to one who logs on: fields of text, a length, and a sum of all octets at the end.

    fourtuple serve examples/protocols/fix_server.py

    >>> message = simplefix.FixMessage()                              (the package simplefix)
    >>> message.append_pair(8, "FIX.4.4"); message.append_pair(35, "A"); ...
    >>> socket.sendall(message.encode())

The length of the body is the second field, and the sum behind it has seven octets: a framing of one's own. A wrong sum
does not map, and costs its message only.
"""

import re

from fourtuple import Connection, ReplyAndClose, Service, reply_and_close
from fourtuple.framing import Unmapped, checked, custom, mapped

_HEAD = re.compile(rb"8=FIX[^\x01]{1,8}\x019=(\d{1,6})\x01")
MOST_HEAD = 24

Message = dict[int, str]
Session = Connection[Message, Message, dict[str, int]]


def cut(buffer: bytearray, _seen: int) -> tuple[bytes, int] | int | None:
    head = _HEAD.match(buffer)
    if head is None:
        if len(buffer) > MOST_HEAD:
            raise ValueError(f"no FIX: {bytes(buffer[:MOST_HEAD])!r}")
        return None
    size = head.end() + int(head[1]) + len("10=000\x01")
    return (bytes(buffer[:size]), size) if len(buffer) >= size else size


def read(octets: bytes) -> Message:
    fields = (field.partition("=") for field in octets[:-1].decode("latin-1").split("\x01"))
    return {int(tag): text for tag, _, text in fields}


def write(message: Message) -> bytes:
    body = "".join(f"{tag}={text}\x01" for tag, text in message.items()).encode("latin-1")
    return b"8=FIX.4.4\x019=%d\x01%b" % (len(body), body)


summed = checked(custom(cut, bytes, name="fix"), lambda octets: b"10=%03d\x01" % (sum(octets) % 256), size=7)
service = Service(mapped(summed, read, write), state=dict[str, int])


@service.reply
def handle(message: Message, session: Session) -> Message | ReplyAndClose[Message] | None:
    kind = message[35]
    if not session.state and kind != "A":
        session.close()  # who has not logged on is told nothing
        return None
    session.state["sent"] = session.state.get("sent", 0) + 1
    header = {35: kind, 49: message[56], 56: message[49], 34: str(session.state["sent"]), 52: message[52]}
    match kind:
        case "A":  # logon
            return header | {98: "0", 108: message[108]}
        case "1":  # test request
            return header | {35: "0", 112: message[112]}
        case "D":  # an order: filled at once
            return header | {35: "8", 11: message[11], 39: "2", 14: message[38], 55: message[55]}
        case "5":  # logout
            return reply_and_close(header)
    return header | {35: "3", 45: message[34], 58: "unknown type"}  # reject


@service.unmapped
def ignore(_message: Unmapped, _connection: Connection) -> None:
    """What FIX asks for: a garbled message is ignored, and a gap in the numbers is seen later."""
