"""Text that a peer may have influenced, made safe for a line of a log: escaped, and cut to a limit.

Every observer and every command of fourtuple prints such text through this module: exception texts, names in
certificates, the name that a client asked for in its TLS handshake, paths. This module does no I/O.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator
from traceback import FrameSummary
from types import TracebackType

#: The most characters of one text: more than any text of fourtuple has, and no more than a screen shows.
MOST = 1000
#: The most lines of one traceback.
MOST_LINES = 200
#: The most frames and notes of one exception.
MOST_FRAMES = 100
MOST_NOTES = 10
#: The most exceptions in one chain, nested groups, and exceptions in one traceback altogether.
MOST_CAUSES = 10
MOST_NESTED = 5
MOST_ERRORS = 50

CAUSE = "The above exception was the direct cause of the following exception:"
_CONTEXT = "During handling of the above exception, another exception occurred:"


def printable(text: str, most: int = MOST) -> str:
    r"""Return text for a part of one line: :func:`escaped`, cut to ``most`` characters, then with its full length."""
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
    r"""Return text with unprintable characters escaped, so that ``\x1b[2J`` does not clear the screen."""
    return text if text.isprintable() else "".join(each if each.isprintable() else _escape(each) for each in text)


def _escape(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # an octet that was not UTF-8, see surrogateescape
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def readable(octets: bytes) -> str:
    """Return all octets as text for a terminal: UTF-8 is decoded, other octets are escaped, tabs are kept."""
    return "\t".join(map(escaped, octets.decode("utf-8", "surrogateescape").split("\t")))


def hexdump(octets: bytes, offset: int = 0) -> Iterator[str]:
    """Yield lines of sixteen octets: the offset of the first, hexadecimal, ASCII."""
    for at in range(0, len(octets), 16):
        row = octets[at : at + 16]
        ascii_ = "".join(chr(each) if 32 <= each < 127 else "." for each in row)
        yield f"{offset + at:08x}  {row[:8].hex(' '):23}  {row[8:].hex(' '):23}  |{ascii_}|"


def shortened(text: str, most: int = MOST) -> str:
    """Return text unescaped, cut to ``most`` characters, then with its full length."""
    return text if len(text) <= most else f"{text[:most]}... ({len(text)} characters)"


def text_of(value: object) -> str:
    """Return the text of a value, most often an exception, unescaped. Never raises, even if its ``__str__`` does."""
    try:
        return "".join((str(value),))  # a subclass of str becomes a plain str
    except KeyboardInterrupt:
        raise
    except BaseException:
        return f"<{class_of(value)} without a text: its __str__ failed>"


def text_without(name: object, error: BaseException) -> str:
    """Return the text of an error without the name of its connection, for a line that begins with the name."""
    text, whom = text_of(error), text_of(name)
    return text.removeprefix(f"{whom}: ").replace(f" on {whom}", "", 1)


def repr_of(value: object, most: int = MOST) -> str:
    """Like :func:`text_of`, for the value's ``__repr__``, cut to ``most`` characters."""
    try:
        return shortened("".join((repr(value),)), most)
    except KeyboardInterrupt:
        raise
    except BaseException:
        return f"<{class_of(value)} without a text: its __repr__ failed>"


def class_of(value: object) -> str:
    """Return the name of a value's class, even if the class overrides its ``__name__``."""
    return str(type.__dict__["__name__"].__get__(type(value)))


def error_text(error: BaseException) -> str:
    """Return an exception's class and text for use in another text: unescaped, cut to :data:`MOST` characters."""
    return f"{class_of(error)}: {shortened(text_of(error))}"


def traceback_of(
    error: BaseException,
    frames: Callable[[TracebackType], list[str]] | None = None,
    tells: Callable[[BaseException], bool] | None = None,
) -> list[str]:
    """Return the lines of a traceback, with its causes and the exceptions of a group, escaped.

    ``frames`` returns the lines of an exception's frames (default: of all of them), and ``tells`` says whether an
    exception before another one is told at all (default: all are).

    The form is that of :mod:`traceback`, but an exception's text always takes one line. There are at most
    :data:`MOST_LINES`, and the work is also bounded: :data:`MOST_FRAMES` of one exception, :data:`MOST_CAUSES` in one
    chain, :data:`MOST_NESTED` nested groups, :data:`MOST_ERRORS` altogether.
    """
    return _told_of(error, lambda: _Traceback(frames or _all_frames, tells or _tells).lines(error))


def _told_of(error: BaseException, lines: Callable[[], Iterable[str]]) -> list[str]:
    """Return the lines about an exception, at most :data:`MOST_LINES`. Never raises, even if its attributes do."""
    try:
        return _cut(list(lines()))
    except Exception as failed:
        return [f"<{class_of(error)} without a traceback: looking at it raised {class_of(failed)}>"]


def _cut(lines: list[str]) -> list[str]:
    """Return the first and the last lines, if there are too many."""
    if len(lines) <= MOST_LINES:
        return lines
    half = MOST_LINES // 2
    return [*lines[:half], f"... ({len(lines) - 2 * half} lines)", *lines[-half:]]


class _Traceback:
    """Makes the lines of one exception and of the exceptions linked to it, each once."""

    def __init__(self, frames: Callable[[TracebackType], list[str]], tells: Callable[[BaseException], bool]) -> None:
        self._frames = frames
        self._tells = tells
        self._seen: set[int] = set()

    def lines(self, error: BaseException, depth: int = 0) -> Iterator[str]:
        chain = self._chain(error)
        further = _before(chain[-1])
        chain = [each for each in chain if each is error or self._tells(each)]
        if further is not None and id(further) not in self._seen:
            yield from ("... (earlier exceptions)", "")
        for each, later in zip(reversed(chain), [*reversed(chain[:-1]), None], strict=True):
            yield from self._one(each, depth)
            if later is not None:
                yield from ("", CAUSE if later.__cause__ is not None else _CONTEXT, "")

    def _chain(self, error: BaseException) -> list[BaseException]:
        """Return the exception and the nearest exceptions before it in its chain."""
        chain: list[BaseException] = []
        each: BaseException | None = error
        while each is not None and id(each) not in self._seen and len(chain) < MOST_CAUSES:
            self._seen.add(id(each))
            chain.append(each)
            each = _before(each)
        return chain

    def _one(self, error: BaseException, depth: int) -> Iterator[str]:
        lines = self._frames(error.__traceback__) if error.__traceback__ is not None else []
        if lines:
            yield "Traceback (most recent call last):"
            yield from lines
        yield from _last_lines(error)
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
    """Return the cause of an exception, or its context unless that is suppressed."""
    return error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _tells(_error: BaseException) -> bool:
    return True


def _all_frames(trace: TracebackType) -> list[str]:
    return lines_of_ends(*ends_of(trace))


def lines_of_ends(first: list[FrameSummary], left_out: int, last: list[FrameSummary]) -> list[str]:
    """Return the lines of what :func:`ends_of` returns."""
    return [*frame_lines(first), *([f"  ... ({left_out} calls)"] if left_out else ()), *frame_lines(last)]


def ends_of(trace: TracebackType) -> tuple[list[FrameSummary], int, list[FrameSummary]]:
    """Return the first frames of a traceback, the number left out, and the last frames; few frames are all first."""
    places = [trace]
    while places[-1].tb_next is not None:
        places.append(places[-1].tb_next)
    if len(places) <= MOST_FRAMES:
        return list(traceback.extract_tb(trace)), 0, []
    half = MOST_FRAMES // 2
    first = traceback.extract_tb(trace, limit=half)
    return list(first), len(places) - 2 * half, list(traceback.extract_tb(places[-half]))


def frame_lines(frames: Iterable[FrameSummary]) -> Iterator[str]:
    """Yield the lines of frames, each with its source."""
    for entry in traceback.format_list(list(frames)):
        yield from map(printable, entry.rstrip("\n").split("\n"))


def _last_lines(error: BaseException) -> Iterator[str]:
    """Yield the lines after a traceback's frames: the exception's class, its text, and its notes."""
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
    """Return a copy without causes of a built-in exception for which :mod:`traceback` prints more than its text.

    For the original, it would process all linked exceptions, in a time that grows with the square of their depth.
    """
    kind = type(error)
    if kind in (SyntaxError, IndentationError, TabError):
        return kind(*error.args)
    if isinstance(error, AttributeError) and kind is AttributeError:
        return AttributeError(text_of(error), name=error.name, obj=error.obj)
    if isinstance(error, ImportError) and kind in (ImportError, ModuleNotFoundError):
        return kind(text_of(error), name=error.name, path=error.path)
    return None
