"""Driving a decoder in the same way as a connection: piece by piece, batch by batch, to the end of file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from fourtuple.errors import MessageError, OptionError
from fourtuple.framing.base import Decoder, Framing
from fourtuple.framing.text import parse_framing
from fourtuple.framing.unmapped import Unmapped
from fourtuple.options import by_keyword, check_whole, refuse, seen
from fourtuple.testing.cutting import shown
from fourtuple.testing.failures import ERRORS, LIMIT, broken
from fourtuple.typevars import Generic, M


@dataclass
class Outcome(Generic[M]):
    """The outcome of a stream: its messages, and the error after the last of them, or None."""

    messages: list[M] = field(default_factory=list)
    error: MessageError | None = None

    @property
    def cause(self) -> BaseException | None:
        """The error that explains an unexpected outcome: that of the stream, or of the first unmapped message."""
        unmapped = (each.error for each in self.messages if isinstance(each, Unmapped))
        return self.error or next(unmapped, None)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Outcome):
            return NotImplemented
        mine, its = (repr(each.error) for each in (self, other))
        return same(self.messages, other.messages) and mine == its


def same(one: Any, other: Any) -> bool:
    """Equal in value and type, recursively: ``b"1"`` is not ``bytearray(b"1")``, ``1`` not ``True``."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and one != one:
        return bool(other != other)
    return bool(one == other)


@by_keyword()
def drive(
    framing: Framing[M, Any],
    pieces: Iterable[bytes],
    limit: int | None = None,
    *,
    gaps: bool = False,
    end: bool = True,
    decoder: Decoder[M | Unmapped] | None = None,
) -> Outcome[M | Unmapped]:
    """Feed a decoder of ``framing`` a stream cut into ``pieces``, and return the outcome.

    It asks for at most ``limit`` messages at a time. With ``gaps``, the decoder is told of a silence after each piece;
    with ``end``, the end of file follows. A MessageError ends the stream. Raises :class:`AssertionError` if the decoder
    does not repeat this error at later calls, if it returns more than ``limit`` messages, or if it raises any other
    exception, and :class:`~fourtuple.errors.OptionError` for an argument of another type.
    """
    framing = parse_framing(framing)
    check_pieces("pieces", pieces)
    if limit is not None:
        check_whole("limit", limit, 1, "messages")
    decoder = framing.decoder() if decoder is None else decoder
    outcome: Outcome[M | Unmapped] = Outcome()
    try:
        for batch in _batches(decoder, pieces, limit, gaps, end):
            if limit is not None and len(batch) > limit:
                broken(framing, f"asked for at most {limit} messages, got {len(batch)}", LIMIT)
            outcome.messages += batch
            decoder.settle()
    except MessageError as error:
        outcome.error = error
        _check_sticky(framing, decoder, error)
    except AssertionError:
        raise
    except Exception as error:
        pieces = [*pieces] if isinstance(pieces, Sequence) else []
        raised = f"{shown(pieces)} made the decoder raise {error!r}"
        raise AssertionError(f"{framing}: {raised}, which is not a MessageError\n  {ERRORS}") from error
    return outcome


def check_pieces(name: str, pieces: object) -> None:
    """Raise OptionError for octets alone, which would be taken as a series of numbers, and for what is no series."""
    if isinstance(pieces, bytes | bytearray | memoryview):
        raise OptionError(f"{name}: expected several pieces of octets, got {seen(pieces)}; write [{seen(pieces)}]")
    if isinstance(pieces, str) or not isinstance(pieces, Iterable):
        refuse(name, pieces, "several pieces of octets, as in [b'one', b'two']")
    for piece in pieces if isinstance(pieces, list | tuple) else ():
        if not isinstance(piece, bytes | bytearray | memoryview):
            refuse(name, piece, "octets in each piece")


def _batches(
    decoder: Decoder[M], pieces: Iterable[bytes], limit: int | None, gaps: bool, end: bool
) -> Iterator[list[M]]:
    for piece in pieces:
        batch = decoder.feed(piece, limit)
        while batch:
            yield batch
            batch = decoder.feed(b"", limit) if limit is not None else []
        if gaps:
            yield decoder.gap()
    while end and (batch := decoder.finish()):
        # finish() has no limit: it returns all remaining messages at once.
        for message in batch:
            yield [message]


def _check_sticky(framing: Framing, decoder: Decoder, error: MessageError) -> None:
    for data in (b"", b"more", None):
        try:
            given: object = decoder.finish() if data is None else decoder.feed(data)
        except MessageError as again:
            given = again
        if repr(given) != repr(error):
            broken(framing, f"raised {error!r} first, and then gave {given!r}", ERRORS)
