"""The buffer that all decoders of contiguous octets share."""

from __future__ import annotations

import re
from abc import abstractmethod
from typing import Any

from fourtuple.errors import IncompleteMessage, MessageError
from fourtuple.errors.base import interrupts
from fourtuple.framing.base import Decoder, Framing, Octets
from fourtuple.framing.usercode import mistake, raised
from fourtuple.typevars import In_co


class BufferedDecoder(Decoder[In_co]):
    """What ``decoder()`` of most framings returns: the octets of unfinished messages are in one buffer.

    To write a decoder use :func:`custom`: the methods that a framing adds here may change without notice.

    ``_buffer[_base:]`` begins with the octets of the latest batch, ``_buffer[_start:]`` is not decoded yet::

        0          _base                 _start          len(_buffer)
        | delivered | the latest batch    | not decoded   |

    - If nothing is left over, the next read *becomes* the buffer: nothing is copied until a message is cut out.
    - A read at least as large as the left-over octets is joined with them: each octet is copied at most twice.
    - A smaller read is appended to a bytearray. CPython removes octets from its front without moving the rest.

    A decoder stores all positions in an unfinished message relative to ``_start``: the buffer moves between two
    calls of :meth:`_split`, and a framing made of framings lends its buffer to another decoder (:meth:`_lend`).
    """

    __slots__ = ("_base", "_buffer", "_error", "_framing", "_given", "_need", "_start", "skipped", "whole")

    # The functions that gather and search octets, besides the methods of the buffer. The test kit counts their work.
    _grown = bytearray
    _join = b"".join

    @staticmethod
    def _search(pattern: re.Pattern[bytes], buffer: Octets, at: int) -> re.Match[bytes] | None:
        return pattern.search(buffer, at)

    def __init__(self, framing: Framing) -> None:
        self._framing = framing
        self.skipped: int = 0
        self.whole: int = 0
        self._reset()

    def _reset(self) -> None:
        """Return to the initial state. A decoder with more state extends this."""
        self._buffer: bytes | bytearray = b""
        self._base = 0
        self._start = 0
        self._given = 0
        #: With fewer octets than this after ``_start``, no message is complete and ``_split`` is not called.
        self._need = 1
        self._error: MessageError | None = None

    def forget_error(self) -> None:
        self._error = None

    @abstractmethod
    def _split(self, limit: int | None) -> list[Any]:
        """Cut messages from ``_buffer[_start:]``, at most ``limit`` (at least 1).

        Moves ``_start`` to the end of the last one and sets ``_need`` for the rest. If a broken message follows the
        good ones, stores its error in ``_error`` and leaves ``_start`` at the first octet of that message.
        Slices of the buffer may be returned as they are; octets inside a larger value must be bytes.
        """

    def feed(self, data: Octets, limit: int | None = None) -> list[In_co]:
        if self._error is not None:
            self._base, self._given = self._start, 0
            raise self._error
        if data:
            if self._start == len(self._buffer):
                self._buffer = data if isinstance(data, bytes) else bytes(data)
                self._start = 0
            else:
                self._append(data)
        self._base = self._start
        if len(self._buffer) - self._start < self._need:
            self._given = 0
            return []
        # Most buffers are bytes. A slice of bytes is already a message.
        messages = self._split(limit) if self._buffer.__class__ is bytes else self._cut(limit)
        self._given = len(messages)
        if not messages and self._error is not None:
            raise self._error
        return messages

    def _append(self, data: Octets) -> None:
        """Append a read to the left-over octets. Each octet is copied a fixed number of times."""
        left = len(self._buffer) - self._start
        if len(data) >= left:
            self._buffer = self._join((memoryview(self._buffer)[self._start :], data))
        else:
            if isinstance(self._buffer, bytearray):
                del self._buffer[: self._start]
            else:
                self._buffer = self._grown(memoryview(self._buffer)[self._start :])
            self._buffer += data
        self._start = 0

    def _cut(self, limit: int | None) -> list[Any]:
        """Call :meth:`_split` and return messages as bytes: a slice of a bytearray is a bytearray."""
        messages = self._split(limit)
        if messages and isinstance(self._buffer, bytearray):
            return [bytes(each) if isinstance(each, bytearray) else each for each in messages]
        return messages

    def _lend(self, inner: BufferedDecoder, start: int, place: int) -> list[Any]:
        """Let another framing's decoder cut a message from this buffer at ``start``, without a copy.

        ``place`` is the position of ``start`` in the stream, in octets. Afterwards ``inner`` has the values of
        ``_start``, ``_need`` and ``_error`` that the caller must take over.
        """
        inner._buffer, inner._start = self._buffer, start
        inner._base = start
        try:
            inner._stand_at(place)
            messages = inner._cut(1)
        except MessageError as error:
            inner._error = error
            return []
        except BaseException as error:
            if interrupts(error):
                raise
            inner._error = raised(inner._framing, f"{type(inner).__qualname__}._split", error)
            return []
        finally:
            inner._buffer = b""
        if type(messages) is not list or len(messages) > 1:
            inner._error = mistake(
                inner._framing, f"{type(inner).__qualname__}._split", messages, "a list of one or none"
            )
            return []
        inner._given = len(messages)
        return messages

    def _stand_at(self, place: int) -> None:
        """Tell a decoder with a lent buffer the position in the stream, in octets, of the octet at ``_start``.

        For decoders that keep octets besides the buffer: other decoders may have cut messages since the last call.
        """

    def finish(self) -> list[In_co]:
        self._see_end()
        messages = self.feed(b"")
        if not messages and self.buffered:
            self._error = self._incomplete()
            raise self._error
        return messages

    def _see_end(self) -> None:
        """Note the end of file. For decoders that end a message with it."""

    def _incomplete(self) -> MessageError:
        """The error for an end of file now, with octets left over."""
        return IncompleteMessage(self.buffered, None)

    @property
    def buffered(self) -> int:
        return len(self._buffer) - self._start

    @property
    def held(self) -> int:
        return self.buffered + self._values

    @property
    def _values(self) -> int:
        """The memory charge of the values held, in octets, for decoders that make values."""
        return 0

    def take(self, undelivered: int = 0) -> bytes:
        if undelivered > self._given:
            self._framing._undeliverable(self._given, undelivered)
        if not undelivered:
            octets = bytes(self._buffer[self._start :])
            self._reset()
            return octets
        # Decode again instead of storing positions: this is rarely needed, and other batches pay nothing for it.
        octets = bytes(self._buffer[self._base :])
        again = self._framing.reference()
        assert isinstance(again, BufferedDecoder)
        self._seed(again)
        delivered = self._given - undelivered
        if delivered:
            again.feed(octets, delivered)
            octets = again.take()
        self._reset()
        self._inherit(again)
        return octets

    def _seed(self, other: BufferedDecoder) -> None:
        """Give ``other`` the state of this decoder at ``_base``. For decoders that keep state between messages."""

    def _inherit(self, other: BufferedDecoder) -> None:
        """Take over the state of ``other``, with nothing buffered. For decoders that keep state between messages."""

    def settle(self) -> None:
        if self._start == len(self._buffer):
            self._buffer = b""
            self._start = self._base = self._given = 0
            return
        if isinstance(self._buffer, bytearray):
            del self._buffer[: self._start]
            self._start = 0
        elif self._start > len(self._buffer) // 2:
            # Not sooner: with a batch taken in small portions, each portion would copy all of the rest.
            self._buffer = self._join((memoryview(self._buffer)[self._start :],))
            self._start = 0
        self._base = self._start
        self._given = 0
