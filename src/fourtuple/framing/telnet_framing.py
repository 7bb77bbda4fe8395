r"""Lines of telnet: ``telnet``.

::

    ff fd 03   o p e n   0d 0a   q u i t   0d 00
    |------|   |-----|           |-----|             a command, and two lines
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

from fourtuple.errors import EncodeError, MessageTooLong, OptionError
from fourtuple.framing.base import Framing, Octets
from fourtuple.framing.buffered import BufferedDecoder
from fourtuple.framing.checks import check_bounds, check_outside, check_size, octets_of
from fourtuple.options import DEFAULT_MAX_MESSAGE

_IAC, _SB, _SE, _WILL, _WONT, _DO, _DONT = 255, 250, 240, 251, 252, 253, 254
_LF, _CR = 10, 13
_EVENT = re.compile(rb"[\r\n\xff]")
_END = re.compile(rb"\xff\xf0|\xff\xff")
_COMMAND = re.compile(rb"\xff(?:[\xfb-\xfe].|\xfa(?:[^\xff]|\xff[^\xf0])*+\xff\xf0|[^\xfa-\xff])", re.DOTALL)


@dataclass(frozen=True)
class TelnetCommand:
    """A command of telnet (RFC 854): IAC (0xff) and what follows, as in ``b"\\xff\\xfd\\x03"`` (IAC DO 3).

    ``octets`` are those of the whole command, in the stream's form.
    """

    octets: bytes

    @property
    def verb(self) -> int:
        """The octet after IAC: 251 is WILL, 252 WON'T, 253 DO, 254 DON'T, 250 the beginning of a subnegotiation."""
        return self.octets[1]

    @property
    def option(self) -> int | None:
        """The option that is negotiated, or ``None``."""
        return self.octets[2] if len(self.octets) > 2 else None

    def refusal(self) -> TelnetCommand | None:
        """The answer of a program that has no options: DON'T to WILL, WON'T to DO, ``None`` to everything else."""
        verb = {_WILL: _DONT, _DO: _WONT}.get(self.verb)
        return None if verb is None else TelnetCommand(bytes((_IAC, verb)) + self.octets[2:3])


Message: TypeAlias = bytes | TelnetCommand
Sent: TypeAlias = Octets | TelnetCommand


@dataclass(frozen=True)
class Telnet(Framing[Message, Sent]):
    """Lines that end with CR LF, CR NUL, CR or LF, without the commands of telnet (RFC 854).

    A command is a message of its own, a :class:`TelnetCommand`, and a handler answers it: ``return command.refusal()``.
    One inside a line is taken out of the line and comes before it, however the stream is cut. An 0xff in a line is
    doubled in the stream. The octet behind a CR tells what it is, so a lone CR ends its line when the next octet comes.

    The encoder writes lines with CR LF. ``max_message`` counts the octets of a line as they come, and a command
    together with the octets of the line before it. More raise :class:`~fourtuple.errors.MessageTooLong`.

    ``max_sent`` bounds a sent message, in octets. By default there is no bound, because your own program makes these
    messages.
    """

    max_message: int | None = DEFAULT_MAX_MESSAGE
    max_sent: int | None = field(default=None, kw_only=True)

    word: ClassVar[str] = "telnet"

    def __post_init__(self) -> None:
        check_bounds(self)
        if self.max_message is not None and self.max_message < 3:
            raise OptionError(f"telnet: max_message is {self.max_message}, a command alone has 3 octets")

    def _overhead(self) -> int:
        return 2

    @property
    def stateful(self) -> bool:
        return True

    @property
    def interleaves(self) -> bool:
        return True

    def decoder(self) -> BufferedDecoder[Message]:
        return _TelnetDecoder(self)

    def encode(self, message: Sent) -> bytes:
        if isinstance(message, TelnetCommand):
            if not _COMMAND.fullmatch(message.octets):
                raise EncodeError(f"{self}: {message.octets!r} is not a command: IAC, a verb, and an option for some")
            check_size(self, len(message.octets))
            return message.octets
        octets = octets_of(self, message)
        for ending in (b"\r", b"\n"):
            check_outside(self, octets, ending, "a line ending")
        check_size(self, len(octets))
        return octets.replace(b"\xff", b"\xff\xff") + b"\r\n"


class _TelnetDecoder(BufferedDecoder):
    """Reads lines and commands; ``_seen`` is how far, and always between two parts of a line.

    A command inside a line is delivered at once. The octets of the line before it move into ``_line``, so that those
    in front of ``_start`` are always done with::

        o p  ff fd 03  e n 0d 0a         _line        the buffer
        |-|  |------|  |--------|        o p          e n 0d 0a
    """

    __slots__ = ("_ended", "_line", "_line_before", "_max", "_seen", "_size_before", "_within")

    def __init__(self, framing: Telnet) -> None:
        self._max = framing.max_message
        super().__init__(framing)

    def _reset(self) -> None:
        super()._reset()
        self._ended = False
        #: The octets of the unfinished line that stood before its commands, with each 0xff doubled.
        self._line: bytes | bytearray = b""
        self._begin()
        self._mark()

    def _mark(self) -> None:
        """Note what ``_line`` is at ``_base``, where the latest batch begins: from then on it only grows."""
        self._line_before, self._size_before = self._line, len(self._line)

    def _begin(self) -> None:
        #: The number of octets after ``_start`` already read.
        self._seen = 0
        #: How far a subnegotiation was searched for its end, relative to ``_start``; 0 if none has begun.
        self._within = 0

    def _see_end(self) -> None:
        self._ended = True
        self._need = min(self._need, max(1, super().buffered))

    def feed(self, data: Octets, limit: int | None = None) -> list[Message]:
        self._mark()
        return super().feed(data, limit)

    def settle(self) -> None:
        super().settle()
        self._mark()

    @property
    def buffered(self) -> int:
        return len(self._line) + super().buffered

    def take(self, undelivered: int = 0) -> bytes:
        before = b""  # with a part of the batch delivered, the decoder that reads it again has it
        if not undelivered:
            before = bytes(self._line)
        elif undelivered == self._given:
            before = self._at_base()
        return before + super().take(undelivered)

    def _seed(self, other: BufferedDecoder) -> None:
        assert isinstance(other, _TelnetDecoder)
        other._line = self._grown(self._at_base())

    def _at_base(self) -> bytes:
        return bytes(self._line_before[: self._size_before])

    def _split(self, limit: int | None) -> list[Any]:
        messages: list[Any] = []
        self._need = 1
        while (limit is None or len(messages) < limit) and self._error is None:
            found = self._read_one()
            if found is None:
                break
            message, end = found
            messages.append(message)
            self._start = end
            self._begin()
        return messages

    def _read_one(self) -> tuple[Any, int] | None:
        """A message and where it ends; None while it is unfinished, or after an error."""
        while True:
            start = self._start
            event = self._search(_EVENT, self._buffer, start + self._seen)
            at = event.start() if event else len(self._buffer)
            if self._is_too_long(at):
                return None
            self._seen = at - start
            if event is None:
                self._wait()
                return None
            octet = self._buffer[at]
            if octet != _IAC:
                end = at + 1 if octet == _LF else self._after_cr(at)
                if end < 0:
                    self._wait()
                    return None
                return self._take_line(at), end
            end = self._command(at)
            if end < 0 or self._is_too_long(end):
                self._wait()
                return None
            if self._buffer[at + 1] != _IAC:
                self._keep(at)
                return TelnetCommand(bytes(self._buffer[at:end])), end
            self._seen = end - start

    def _wait(self) -> None:
        self._need = len(self._buffer) - self._start + 1

    def _is_too_long(self, at: int) -> bool:
        if self._max is None or len(self._line) + at - self._start <= self._max:
            return False
        self._error = MessageTooLong(self._max + 1, self._max, "line", announced=False)
        return True

    def _after_cr(self, at: int) -> int:
        """Where a line ends that has a CR at ``at``; -1 while the octet behind the CR is missing."""
        if at + 1 == len(self._buffer):
            return at + 1 if self._ended else -1
        return at + 1 + (self._buffer[at + 1] in (_LF, 0))

    def _command(self, at: int) -> int:
        """Where the command ends that begins at ``at``, or the doubled 0xff; -1 while it is unfinished."""
        held = len(self._buffer)
        if at + 1 == held:
            return -1
        verb = self._buffer[at + 1]
        if verb != _SB:
            end = at + (3 if _WILL <= verb <= _DONT else 2)
            return end if end <= held else -1
        place = max(self._start + self._within, at + 2)
        while found := self._search(_END, self._buffer, place):
            if found[0][1] == _SE:
                return found.end()
            place = found.end()
        # An 0xff at the end may be the first half of what is looked for.
        place = max(place, held - (self._buffer[held - 1] == _IAC))
        self._within = place - self._start
        self._is_too_long(place)
        return -1

    def _keep(self, end: int) -> None:
        """Keep the octets of an unfinished line up to ``end``, where a command begins."""
        if self._line:
            self._line += self._buffer[self._start : end]
        elif end > self._start:
            self._line = self._grown(memoryview(self._buffer)[self._start : end])

    def _take_line(self, end: int) -> bytes:
        """The octets of a line that ends at ``end``, with each doubled 0xff as one."""
        octets = self._buffer[self._start : end]
        if self._line:
            octets, self._line = self._join((self._line, octets)), b""
        return bytes(octets.replace(b"\xff\xff", b"\xff"))
