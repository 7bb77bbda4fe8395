"""Text in which peers had a hand, made fit for a line of a log: escaped, and cut to a bound.

Every observer that comes with fourtuple, and every command, prints such text through this module: exception texts,
names in certificates, what a client asked for in its TLS handshake, paths. Nothing here does I/O.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator

#: Characters of one text: more than any text of ours, and no more than a screen.
MOST = 1000
#: Lines of one traceback.
MOST_LINES = 200

_CAUSE = "The above exception was the direct cause of the following exception:"
_CONTEXT = "During handling of the above exception, another exception occurred:"


def printable(text: str, most: int = MOST) -> str:
    r"""Text as part of one line: :func:`escaped`, at most ``most`` characters of that, and then how long it was."""
    if len(text) <= most and text.isprintable():
        return text
    parts, left = [], most
    for each in text[:most]:
        part = each if each.isprintable() else _escape(each)
        left -= len(part)
        if left < 0:
            break
        parts.append(part)
    told = "".join(parts)
    return told if len(parts) == len(text) else f"{told}... ({len(text)} characters)"


def escaped(text: str) -> str:
    r"""Text with everything that is no printable character escaped: ``\x1b[2J`` clears no screen."""
    return text if text.isprintable() else "".join(each if each.isprintable() else _escape(each) for each in text)


def _escape(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # an octet that was not UTF-8, see surrogateescape
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def readable(octets: bytes) -> str:
    """Octets as text for a terminal, all of them: UTF-8 where it is, all else escaped, tabs kept."""
    return "\t".join(map(escaped, octets.decode("utf-8", "surrogateescape").split("\t")))


def hexdump(octets: bytes, offset: int = 0) -> Iterator[str]:
    """Lines of sixteen octets: the offset of the first, hexadecimal, ASCII."""
    for at in range(0, len(octets), 16):
        row = octets[at : at + 16]
        ascii_ = "".join(chr(each) if 32 <= each < 127 else "." for each in row)
        yield f"{offset + at:08x}  {row[:8].hex(' '):23}  {row[8:].hex(' '):23}  |{ascii_}|"


def text_of(value: object) -> str:
    """The text of a value, an exception most often, as it is. Never raises, although the value's ``__str__`` may."""
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__} without a text: its __str__ failed>"


def traceback_of(error: BaseException) -> list[str]:
    """The lines of a traceback, with its causes and the exceptions of a group, escaped; at most :data:`MOST_LINES`.

    As :mod:`traceback` has it, but an exception's text takes one line, whatever is in it.
    """
    return cut(list(_told(error, set())))


def cut(lines: list[str]) -> list[str]:
    """The first and the last of too many lines."""
    if len(lines) <= MOST_LINES:
        return lines
    half = MOST_LINES // 2
    return [*lines[:half], f"... ({len(lines) - 2 * half} lines)", *lines[-half:]]


def _told(error: BaseException, seen: set[int]) -> Iterator[str]:
    seen.add(id(error))
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None and id(before) not in seen:
        yield from _told(before, seen)
        yield from ("", _CAUSE if error.__cause__ is not None else _CONTEXT, "")
    if error.__traceback__ is not None:
        yield "Traceback (most recent call last):"
        yield from frame_lines(traceback.extract_tb(error.__traceback__))
    yield from last_lines(error)
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            if id(each) not in seen:
                yield from (f"  | {line}" for line in _told(each, seen))


def frame_lines(frames: Iterable[traceback.FrameSummary]) -> Iterator[str]:
    """The lines of frames, each with its source."""
    for entry in traceback.format_list(list(frames)):
        yield from map(printable, entry.rstrip("\n").split("\n"))


def last_lines(error: BaseException) -> Iterator[str]:
    """The lines behind a traceback's frames: the exception's class, its text, and its notes."""
    for entry in traceback.TracebackException(type(error), error, None).format_exception_only():
        yield printable(entry.rstrip("\n"))
