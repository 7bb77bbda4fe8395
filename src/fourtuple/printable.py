"""Text in which peers had a hand, made fit for a line of a log: escaped, and cut to a bound.

Every observer that comes with fourtuple, and every command, prints such text through this module: exception texts,
names in certificates, what a client asked for in its TLS handshake, paths. Nothing here does I/O.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator
from traceback import FrameSummary
from types import TracebackType

#: Characters of one text: more than any text of ours, and no more than a screen.
MOST = 1000
#: Lines of one traceback.
MOST_LINES = 200
#: Of one exception.
MOST_FRAMES = 100
MOST_NOTES = 10
#: Exceptions one behind the other, groups inside of each other, and exceptions in all of one traceback.
MOST_CAUSES = 10
MOST_NESTED = 5
MOST_ERRORS = 50

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


def shortened(text: str, most: int = MOST) -> str:
    """Text as it is, at most ``most`` characters of it, and then how long it was."""
    return text if len(text) <= most else f"{text[:most]}... ({len(text)} characters)"


def text_of(value: object) -> str:
    """The text of a value, an exception most often, as it is. Never raises, although the value's ``__str__`` may."""
    try:
        return "".join((str(value),))  # a text of a class of its own becomes a plain one
    except KeyboardInterrupt:
        raise
    except BaseException:
        return f"<{class_of(value)} without a text: its __str__ failed>"


def repr_of(value: object, most: int = MOST) -> str:
    """As :func:`text_of`, of the value's ``__repr__``, at most ``most`` characters of it."""
    try:
        return shortened("".join((repr(value),)), most)
    except KeyboardInterrupt:
        raise
    except BaseException:
        return f"<{class_of(value)} without a text: its __repr__ failed>"


def class_of(value: object) -> str:
    """The name of a value's class, whatever that class says of itself."""
    return str(type.__dict__["__name__"].__get__(type(value)))


def error_text(error: BaseException) -> str:
    """An exception's class and text for the text of another one: as they are, at most :data:`MOST` characters."""
    return f"{class_of(error)}: {shortened(text_of(error))}"


def traceback_of(error: BaseException) -> list[str]:
    """The lines of a traceback, with its causes and the exceptions of a group, escaped; at most :data:`MOST_LINES`.

    As :mod:`traceback` has it, but an exception's text takes one line, whatever is in it. Whatever hangs together in
    the exception, the work has a bound: :data:`MOST_FRAMES` of one exception, :data:`MOST_CAUSES` one behind the
    other, :data:`MOST_NESTED` groups inside of each other, :data:`MOST_ERRORS` in all.
    """
    return told_of(error, lambda: _Traceback().lines(error))


def told_of(error: BaseException, lines: Callable[[], Iterable[str]]) -> list[str]:
    """The lines about an exception, at most :data:`MOST_LINES`. Never raises, although its attributes may."""
    try:
        return cut(list(lines()))
    except Exception as failed:
        return [f"<{class_of(error)} without a traceback: looking at it raised {class_of(failed)}>"]


def cut(lines: list[str]) -> list[str]:
    """The first and the last of too many lines."""
    if len(lines) <= MOST_LINES:
        return lines
    half = MOST_LINES // 2
    return [*lines[:half], f"... ({len(lines) - 2 * half} lines)", *lines[-half:]]


class _Traceback:
    """The lines of one exception and of those that hang together with it, each told once."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def lines(self, error: BaseException, depth: int = 0) -> Iterator[str]:
        chain = self._chain(error)
        further = _before(chain[-1])
        if further is not None and id(further) not in self._seen:
            yield from ("... (earlier exceptions)", "")
        for each, later in zip(reversed(chain), [*reversed(chain[:-1]), None], strict=True):
            yield from self._one(each, depth)
            if later is not None:
                yield from ("", _CAUSE if later.__cause__ is not None else _CONTEXT, "")

    def _chain(self, error: BaseException) -> list[BaseException]:
        """The exception, and the nearest of those before it."""
        chain: list[BaseException] = []
        each: BaseException | None = error
        while each is not None and id(each) not in self._seen and len(chain) < MOST_CAUSES:
            self._seen.add(id(each))
            chain.append(each)
            each = _before(each)
        return chain

    def _one(self, error: BaseException, depth: int) -> Iterator[str]:
        if error.__traceback__ is not None:
            yield "Traceback (most recent call last):"
            first, left_out, last = ends_of(error.__traceback__)
            yield from frame_lines(first)
            if left_out:
                yield f"  ... ({left_out} calls)"
                yield from frame_lines(last)
        yield from last_lines(error)
        if isinstance(error, BaseExceptionGroup):
            yield from (f"  | {line}" for line in self._inside(error, depth + 1))

    def _inside(self, group: BaseExceptionGroup[BaseException], depth: int) -> Iterator[str]:
        for told, each in enumerate(group.exceptions):
            if depth > MOST_NESTED or len(self._seen) >= MOST_ERRORS:
                yield f"... ({len(group.exceptions) - told} exceptions)"
                return
            if id(each) not in self._seen:
                yield from self.lines(each, depth)


def _before(error: BaseException) -> BaseException | None:
    """The exception that an exception came from."""
    return error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def ends_of(trace: TracebackType) -> tuple[list[FrameSummary], int, list[FrameSummary]]:
    """The first frames of a traceback, how many are left out, and the last ones; all are among the first where few."""
    places = [trace]
    while places[-1].tb_next is not None:
        places.append(places[-1].tb_next)
    if len(places) <= MOST_FRAMES:
        return list(traceback.extract_tb(trace)), 0, []
    half = MOST_FRAMES // 2
    first = traceback.extract_tb(trace, limit=half)
    return list(first), len(places) - 2 * half, list(traceback.extract_tb(places[-half]))


def frame_lines(frames: Iterable[FrameSummary]) -> Iterator[str]:
    """The lines of frames, each with its source."""
    for entry in traceback.format_list(list(frames)):
        yield from map(printable, entry.rstrip("\n").split("\n"))


def last_lines(error: BaseException) -> Iterator[str]:
    """The lines behind a traceback's frames: the exception's class, its text, and its notes."""
    kind, alone = type(error), _alone(error)
    if alone is not None:
        for entry in traceback.TracebackException(type(alone), alone, None).format_exception_only():
            yield printable(entry.rstrip("\n"))
    else:
        module = text_of(getattr(kind, "__module__", ""))
        name = text_of(getattr(kind, "__qualname__", ""))
        where = "" if module in ("builtins", "__main__") else f"{module}."
        text = text_of(error)
        yield printable(f"{where}{name}: {text}" if text else f"{where}{name}")
    notes = getattr(error, "__notes__", None)
    if isinstance(notes, list | tuple):
        yield from (printable(text_of(each)) for each in notes[:MOST_NOTES])
        if len(notes) > MOST_NOTES:
            yield f"... ({len(notes) - MOST_NOTES} notes)"


def _alone(error: BaseException) -> BaseException | None:
    """A copy, without causes, of those exceptions of Python's own of which :mod:`traceback` tells more than a text.

    It would work through all that hangs together with the original, in the square of its depth.
    """
    kind = type(error)
    if kind in (SyntaxError, IndentationError, TabError):
        return kind(*error.args)
    if isinstance(error, AttributeError) and kind is AttributeError:
        return AttributeError(text_of(error), name=error.name, obj=error.obj)
    if isinstance(error, ImportError) and kind in (ImportError, ModuleNotFoundError):
        return kind(text_of(error), name=error.name, path=error.path)
    return None
