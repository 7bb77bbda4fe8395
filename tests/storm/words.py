"""What peers and handlers of the storm say to each other: messages that tell what to do, replies that can be checked.

A message is ``NUMBER COMMAND SIZE ...``, its reply ``NUMBER`` and so many octets that follow from the number. What a
handler sends beside its replies begins with a mark: ``+`` a greeting, ``*`` news of other connections, ``=`` a change
that comes now, ``!`` last words.
"""

from __future__ import annotations

from dataclasses import dataclass

from fourtuple.framing import Framing, parse_framing

GREETING, NEWS, CHANGE, LAST, UNMAPPED = b"+ hello", b"* news", b"= ", b"! sorry", b"? pardon"
MARKS = (b"+", b"*", b"=", b"!", b"?")


@dataclass(frozen=True)
class Way:
    """A framing of the storm, and the largest message that it carries."""

    text: str
    most: int = 200_000

    @property
    def framing(self) -> Framing:
        return parse_framing(self.text)

    def pack(self, octets: bytes) -> object:
        """The message of these octets: padded, or as text."""
        if self.text.startswith("fixed"):
            return octets.ljust(self.most)
        return octets.decode() if "+" in self.text else octets

    def unpack(self, message: object) -> bytes:
        octets = message.encode() if isinstance(message, str) else bytes(message)  # type: ignore[call-overload]
        return octets.rstrip() if self.text.startswith("fixed") else octets


#: Octets as they stand, in C and in Python; a binary length and what ends with a delimiter; stuffed; mapped.
WAYS = (
    *(Way("line"), Way("line:crlf"), Way("u16", 60_000), Way("u32le"), Way("netstring"), Way("delimited:#")),
    *(Way("varint"), Way("slip"), Way("cobs"), Way("hdlc:16"), Way("stx-etx"), Way("mllp"), Way("content-length")),
    *(Way("fixed:64", 64), Way("u8", 255), Way("octet-counting"), Way("syslog,write=counting")),
    *(Way("line+text"), Way("u32+json"), Way("json+json")),
)  # fmt: skip
BY_TEXT = {way.text: way for way in WAYS}


def reply(number: str, part: int, size: int) -> bytes:
    """What is replied to a message: its number, and ``size`` octets that no other reply has."""
    head = f"{number}.{part}:".encode()
    return (head * (size // len(head) + 1))[: max(size, len(head))]


@dataclass(frozen=True)
class Asked:
    """A message, read."""

    number: str
    command: str
    size: int
    rest: str


def asked(octets: bytes) -> Asked:
    """Read a message; raises ValueError for what is none: the handler fails then, as for any garbage."""
    number, command, size, *rest = octets.decode("ascii").split(" ", 3)
    return Asked(number, command, int(size), rest[0].strip() if rest else "")


def asking(number: str, command: str, size: int = 0, rest: str = "") -> bytes:
    """The octets of a message."""
    return f"{number} {command} {size} {rest}".rstrip().encode()
