"""How messages are typed and printed: the forms that ``fourtuple connect`` reads and writes.

==============  =====================================  ==================================================
framing         read                                   written
==============  =====================================  ==================================================
raw             octets as they come                    octets as they come
eof             all of the input is one message        the message
any other       each line is a message                 each message, then a newline
with +json      each line is a JSON text               each value as a JSON text, then a newline
with +text      each line is a text                    each text, then a newline
any, --hex      each line, in hexadecimal              each message in hexadecimal, then a newline
==============  =====================================  ==================================================

On a terminal, octets that it might obey are written escaped.
"""

from __future__ import annotations

import codecs
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from fourtuple.cli.types import from_hex
from fourtuple.framing import Eof, Framing, Raw
from fourtuple.printable import escaped, readable


class Reader(ABC):
    """Makes messages of the octets of standard input."""

    @abstractmethod
    def feed(self, octets: bytes) -> list[bytes]:
        """Return the whole pieces so far; :meth:`message` makes a message of each."""

    @abstractmethod
    def finish(self) -> list[bytes]:
        """Return the piece that the end of the input completes, if any."""

    def message(self, typed: bytes) -> bytes:
        """Return the message of a piece. Raises :class:`ValueError` if it is invalid."""
        return typed


class Chunks(Reader):
    """Each read of the input is a message."""

    def feed(self, octets: bytes) -> list[bytes]:
        return [octets]

    def finish(self) -> list[bytes]:
        return []


class Lines(Reader):
    """Each line is a message, without its newline; so are octets after the last newline."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def feed(self, octets: bytes) -> list[bytes]:
        first, *others = octets.split(b"\n")
        self._parts.append(first)
        if not others:
            return []
        lines = [b"".join(self._parts), *others]
        self._parts = [lines.pop()]
        return lines

    def finish(self) -> list[bytes]:
        rest, self._parts = b"".join(self._parts), []
        return [rest] if rest else []


class HexLines(Lines):
    """Each line is a message in hexadecimal."""

    def message(self, typed: bytes) -> bytes:
        return from_hex(typed.decode("ascii", "backslashreplace"))


class Whole(Lines):
    """All of the input is one message."""

    def feed(self, octets: bytes) -> list[bytes]:
        self._parts.append(octets)
        return []

    def finish(self) -> list[bytes]:
        return [b"".join(self._parts)]


def reader(framing: Framing, *, hexadecimal: bool) -> Reader:
    """The reader for a framing: see the table of this module."""
    if hexadecimal:
        return HexLines()
    if isinstance(framing, Raw):
        return Chunks()
    return Whole() if isinstance(framing, Eof) else Lines()


class Writer:
    """Makes octets for standard output from messages."""

    def __init__(self, framing: Framing, *, hexadecimal: bool, terminal: bool) -> None:
        self._hexadecimal = hexadecimal
        self._terminal = terminal
        self._whole = isinstance(framing, Raw | Eof) and not hexadecimal
        # Half a character at the end of a read is kept until its other half comes.
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")

    def write(self, messages: Iterable[Any]) -> bytes:
        """Return the octets to print for messages."""
        if self._whole:
            octets = b"".join(messages)
            return self._harmless(self._decoder.decode(octets)) if self._terminal else octets
        return b"".join(self._line(message) + b"\n" for message in messages)

    def _line(self, message: Any) -> bytes:
        if not isinstance(message, bytes):  # a mapped value, or an Unmapped
            return escaped(str(message)).encode()
        if self._hexadecimal:
            return message.hex(" ").encode()
        return readable(message).encode() if self._terminal else message

    @staticmethod
    def _harmless(text: str) -> bytes:
        """Return the octets of lines: each ends with one newline, whatever ended it."""
        lines = text.replace("\r\n", "\n").split("\n")
        return "\n".join("\t".join(map(escaped, line.split("\t"))) for line in lines).encode()
