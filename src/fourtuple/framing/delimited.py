r"""Messages that end with a delimiter: ``delimited:#``, ``delimited:\r\n|;``.

::

    +-----------+-----------+-----------+-----------+----
    | octets    | delimiter | octets    | delimiter | ...
    +-----------+-----------+-----------+-----------+----
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from fourtuple.errors import EncodeError, MessageTooLong, OptionError
from fourtuple.framing.base import Octets
from fourtuple.framing.buffered import BufferedDecoder
from fourtuple.framing.checks import check_bounds, check_marker, check_outside, check_size, normalise, octets_of
from fourtuple.framing.splitting import Split
from fourtuple.framing.unmapped import Unmapped
from fourtuple.options import DEFAULT_MAX_MESSAGE

CR, LF = 13, 10

#: A batch is split in one pass if the buffer has at most this many octets for each message of the limit.
_SPLIT_PER_MESSAGE = 64


@dataclass(frozen=True)
class Delimited(Split[bytes, Octets]):
    """A message ends with one of ``delimiters``; the encoder writes the first of them.

    With ``keep``, the delimiter is part of the message. With ``swallow``, a CR, an LF or both after a
    delimiter are discarded, even if they come in a later read: many devices send them for the sake of terminals.

    ``max_message`` counts octets without the delimiter. A longer message raises
    :class:`~fourtuple.errors.MessageTooLong`. With ``resync`` it is skipped up to its delimiter instead, and an
    :class:`~fourtuple.framing.Unmapped` takes its place as soon as it is known to be too long. With ``last``, octets
    without a delimiter before the end of file are the last message; otherwise they raise
    :class:`~fourtuple.errors.IncompleteMessage`.

    Raises :class:`~fourtuple.errors.OptionError` if there is no delimiter or an empty one, and if one delimiter
    contains another before its end: which of the two ends a message would then depend on how the stream is cut.

    ``max_sent`` bounds a sent message, in octets. By default there is no bound, because your own program makes these
    messages.
    """

    delimiters: tuple[bytes, ...]
    keep: bool = False
    swallow: bool = False
    resync: bool = False
    max_message: int | None = DEFAULT_MAX_MESSAGE
    max_sent: int | None = field(default=None, kw_only=True)
    last: bool = field(default=False, kw_only=True)

    word: ClassVar[str] = "delimited"
    argument: ClassVar[str | None] = "delimiters"

    if TYPE_CHECKING:  # one delimiter or several; the attribute is a tuple

        def __init__(
            self,
            delimiters: bytes | Sequence[bytes],
            keep: bool = False,
            swallow: bool = False,
            resync: bool = False,
            max_message: int | None = DEFAULT_MAX_MESSAGE,
            *,
            max_sent: int | None = None,
            last: bool = False,
        ) -> None: ...

    def __post_init__(self) -> None:
        normalise(self, "delimiters", "a delimiter")
        if not self.delimiters:
            raise OptionError("delimited: expected at least one delimiter, got none")
        for each in self.delimiters:
            check_marker(self, "a delimiter", each)
        for number, each in enumerate(self.delimiters):
            for other in self.delimiters[:number] + self.delimiters[number + 1 :]:
                if each == other or each in other[:-1]:
                    raise OptionError(f"delimited: {each!r} is contained in {other!r} before its end; use one of them")
        if self.swallow and any(each[0] in (CR, LF) for each in self.delimiters):
            raise OptionError("delimited: swallow would drop a delimiter that begins with CR or LF")
        check_bounds(self)

    @property
    def drops_between(self) -> bool:
        return self.swallow or self.resync

    def _overhead(self) -> int:
        return max(map(len, self.delimiters))

    def reference(self) -> BufferedDecoder[bytes | Unmapped]:
        return DelimiterDecoder(self, self.delimiters)

    def _in_c_options(self) -> dict[str, Any] | None:
        if self.last or self.drops_between or len(self.delimiters) > 1:
            return None
        return {"delimiter": self.delimiters[0], "tail": self.delimiters[0], "keep": self.keep}

    @property
    def _writes_in_c(self) -> bool:
        return not self.keep

    def encode(self, message: Octets) -> bytes:
        octets = octets_of(self, message)
        written = self.delimiters[0]
        if self.keep:
            octets, written = self._without(octets)
        check_size(self, len(octets))
        for each in self.delimiters:
            check_outside(self, octets, each, "a delimiter")
        if self.swallow and octets[:1] in (b"\r", b"\n"):
            raise EncodeError(f"{self}: the message begins with {octets[:1]!r}, which the peer would swallow")
        return octets + written

    def _without(self, octets: bytes) -> tuple[bytes, bytes]:
        for each in self.delimiters:
            if octets.endswith(each):
                return octets[: -len(each)], each
        raise EncodeError(f"{self}: with keep, a message ends with its delimiter, and this one does not")


class DelimiterDecoder(BufferedDecoder):
    """Cuts at delimiters, for :class:`Delimited` and :class:`~fourtuple.framing.Line`.

    With ``strip_cr``, a CR before the delimiter belongs to the delimiter. The last octets of an unfinished message do
    not count against ``max_message`` while they may be part of its ending.
    """

    __slots__ = (
        "_discarding",
        "_endings",
        "_keep",
        "_last",
        "_longest",
        "_max",
        "_only",
        "_pattern",
        "_resync",
        "_seen",
        "_strip_cr",
        "_swallow",
        "_swallows",
        "_what",
    )

    skipped: int

    def __init__(
        self, framing: Any, delimiters: tuple[bytes, ...], *, strip_cr: bool = False, what: str = "message"
    ) -> None:
        self._only = delimiters[0] if len(delimiters) == 1 else None
        self._pattern = re.compile(b"|".join(map(re.escape, delimiters)))
        self._longest = max(map(len, delimiters))
        self._max: int | None = framing.max_message
        self._keep: bool = getattr(framing, "keep", False)
        self._last: bool = getattr(framing, "last", False)
        self._swallows: bool = getattr(framing, "swallow", False)
        self._resync: bool = framing.resync
        self._strip_cr = strip_cr and not framing.keep
        self._endings = (*delimiters, *((b"\r\n",) if self._strip_cr else ()))
        self._what = what
        #: Inside a message that was too long: all octets up to its delimiter are skipped.
        self._discarding = False
        #: The octets that are discarded if they come next.
        self._swallow: tuple[int, ...] = ()
        super().__init__(framing)

    def _reset(self) -> None:
        super()._reset()
        #: The number of octets after ``_start`` in which no delimiter begins.
        self._seen = 0

    def _inherit(self, other: BufferedDecoder) -> None:
        assert isinstance(other, DelimiterDecoder)
        self._discarding, self._swallow = other._discarding, other._swallow

    def _split(self, limit: int | None) -> list[Any]:
        if self._swallow:
            self._swallow_next()
            self._base = self._start
        if self._only is not None and self._is_plain(limit):
            return self._split_all(self._only, -1 if limit is None else limit)
        messages: list[Any] = []
        while limit is None or len(messages) < limit:
            if not self._split_one(messages):
                break
        self._need = self._seen + 1
        return messages

    def _is_plain(self, limit: int | None) -> bool:
        """Whether a read can be split in one pass: nothing to skip, and no message can be too long."""
        if self._discarding or self._swallows or not isinstance(self._buffer, bytes):
            return False
        held = len(self._buffer) - self._start
        # Each pass also copies the octets beyond the limit: few, for that many messages.
        return (limit is None or held <= limit * _SPLIT_PER_MESSAGE) and (self._max is None or held <= self._max)

    def finish(self) -> list[Any]:
        messages = super().feed(b"")
        if self._discarding and not messages:
            # The message that was too long is already reported: its end adds nothing.
            self._discard(-1)
            self.skipped += self.buffered
            self._start, self._seen = len(self._buffer), 0
        if self._last and self.buffered and not messages:
            return [self._tail()]
        return messages or super().finish()

    def _tail(self) -> bytes:
        """The octets before the end of file, as a message, without an ending that has only begun."""
        tail = bytes(self._buffer[self._start : len(self._buffer) - self._begun()])
        self._start, self._seen, self._given = len(self._buffer), 0, 1
        return tail

    def _split_all(self, delimiter: bytes, limit: int) -> list[Any]:
        """The messages of a read in one pass: no message can be too long."""
        buffer = self._buffer
        messages: list[Any] = (buffer[self._start :] if self._start else buffer).split(delimiter, limit)
        rest = len(messages.pop())
        if self._keep:
            messages = [each + delimiter for each in messages]
        elif self._strip_cr and buffer.find(b"\r", self._start) >= 0:
            messages = [each[:-1] if each.endswith(b"\r") else each for each in messages]
        self._start = len(buffer) - rest
        # More delimiters may follow after the limit.
        self._seen = max(0, rest - self._longest + 1) if len(messages) != limit else 0
        self._need = self._seen + 1
        return messages

    def _split_one(self, messages: list[Any]) -> bool:
        """Cut the next message, or skip octets. Return ``False`` if more octets are needed, or after an error."""
        buffer, start = self._buffer, self._start
        at, end = self._find(start + self._seen)
        if self._discarding:
            self._discard(end)
            if end >= 0 and not messages:
                self._base = self._start  # the skipped octets belong to no message of this batch
            return end >= 0
        size = (at if at >= 0 else len(buffer)) - start
        if at >= 0 and self._strip_cr and size and buffer[at - 1] == CR:
            size -= 1
        if at < 0 and self._max is not None and size > self._max:
            size -= self._begun()
        if self._max is not None and size > self._max:
            # The same number whether the message came in one read or in several.
            error = MessageTooLong(self._max + 1, self._max, self._what, announced=False)
            if not self._resync:
                self._error = error
                return False
            messages.append(Unmapped(bytes(buffer[start : start + self._max]), error))
            self._start += self._max
            self._seen = max(0, self._seen - self._max)
            self._discarding = True
            return True
        if at < 0:
            # The buffer may end with the first octets of a longer delimiter.
            self._seen = max(0, len(buffer) - start - self._longest + 1)
            return False
        messages.append(buffer[start : end if self._keep else start + size])
        self._start, self._seen = end, 0
        self._begin_swallow()
        return True

    def _find(self, at: int) -> tuple[int, int]:
        """Where the next delimiter begins and ends; -1 and -1 if there is none."""
        if self._only is not None:
            found = self._buffer.find(self._only, at)
            return found, found + self._longest if found >= 0 else -1
        match = self._search(self._pattern, self._buffer, at)
        return match.span() if match else (-1, -1)

    def _begun(self) -> int:
        """How many of the last octets may be the beginning of an ending."""
        sizes = range(self._longest, 0, -1)
        return next(
            (size for size in sizes for ending in self._endings if self._buffer.endswith(ending[:size], self._start)),
            0,
        )

    def _discard(self, end: int) -> None:
        """Skip to the end of the delimiter, or all octets that cannot be part of one."""
        to = end if end >= 0 else max(self._start, len(self._buffer) - self._longest + 1)
        self.skipped += to - self._start
        self._start, self._seen = to, 0
        if end >= 0:
            self._discarding = False
            self._begin_swallow()

    def _begin_swallow(self) -> None:
        if self._swallows:
            self._swallow = (CR, LF)
            self._swallow_next()

    def _swallow_next(self) -> None:
        """Discard a CR, an LF, or a CR and an LF. Octets that have not come yet are discarded later."""
        while self._swallow and self._start < len(self._buffer):
            octet = self._buffer[self._start]
            if octet not in self._swallow:
                self._swallow = ()
                return
            self._start += 1
            self._swallow = (LF,) if octet == CR else ()
