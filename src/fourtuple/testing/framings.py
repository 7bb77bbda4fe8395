"""Prove a framing: ``check_framing(framing, vectors)``.

Every promise of the contract (:mod:`fourtuple.framing.base`) is tried with octets and messages that are known to
belong together. A broken promise is an :class:`AssertionError` that names the framing, the cut and the outcome.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from fourtuple.errors import EncodeError, IncompleteMessage, MessageError, OptionError
from fourtuple.framing.base import Framing
from fourtuple.framing.text import parse_framing
from fourtuple.testing.counting import Count, countable, counted
from fourtuple.testing.driving import Outcome, drive, same

LIMITS = (None, 1, 2)
#: A stream up to this long is cut at every place, and at every pair of places; a longer one at random.
SHORT = 24
RANDOM_CUTS = 40
#: Octets searched and copied for each octet of a stream, at most. A quadratic decoder is in the thousands.
LINEAR = 16


@dataclass(frozen=True)
class Vector:
    """Octets and the messages that they are.

    ``error`` is what is raised behind the messages, at once or at the end of file. ``canonical`` says whether
    the encoder writes these very octets; a vector with an error never is. ``final`` says that only the end of
    file ends the last message, so that nothing can follow.
    """

    octets: bytes
    messages: list[Any] = field(default_factory=list)
    error: type[MessageError] | None = None
    canonical: bool = True
    final: bool = False


def check_framing(
    framing: Framing,
    vectors: Iterable[Vector | tuple[bytes, list[Any]] | tuple[bytes, list[Any], type[MessageError]]],
    *,
    text: bool = True,
    seed: int = 0,
) -> None:
    """Check that a framing keeps every promise, on streams made of ``vectors``.

    Checked are: the messages, and the error at the same message, however the stream is cut and however few
    messages are asked for at a time; that errors repeat; that ``buffered`` and ``take`` tell the truth at every
    place and every message of a batch; that no more than ``max_buffered`` is held; that the octets searched and
    copied are linear in those that came; that the encoder writes what the decoder reads; and, unless ``text`` is
    off, that the text form reads back.

    Each vector is a :class:`Vector` or its ``(octets, messages[, error])``. ``seed`` seeds the random cuts.
    """
    known = [each if isinstance(each, Vector) else Vector(*each) for each in vectors]
    assert known, "no vectors: nothing would be checked"
    dice = random.Random(seed)
    if text:
        _check_text(framing)
    good = [each for each in known if each.error is None]
    lead = [each for each in good if not each.final]
    for vector in known:
        _check_stream(framing, [vector], dice)
        if lead and len(known) > 1 and not framing.ends_stream:
            _check_stream(framing, [*lead, vector], dice)
    for vector in good:
        _check_encoder(framing, vector)
        _check_truncated(framing, vector)
    if lead:
        _check_linear(framing, lead)
    _check_bound(framing, known)


# -- one promise each -------------------------------------------------------------------------------------


def _check_text(framing: Framing) -> None:
    read = parse_framing(str(framing))
    assert read == framing, f"the text form {str(framing)!r} reads back as {read!r}, not {framing!r}"
    assert hash(read) == hash(framing)


def _check_stream(framing: Framing, vectors: Sequence[Vector], dice: random.Random) -> None:
    """The messages and the error, however the stream is cut; ``buffered`` and ``take`` at each place."""
    if framing.gap_timeout is not None:
        # Silence is the cut: the one framing for which the pieces matter.
        pieces = [each.octets for each in vectors]
        _check_cut(framing, vectors, drive(framing, pieces, gaps=True), [pieces])
        return
    stream = b"".join(each.octets for each in vectors)
    whole = drive(framing, [stream])
    _check_cut(framing, vectors, whole, [[stream]])
    _check_cut(framing, vectors, whole, cuts(stream, dice), LIMITS)
    _check_takes(framing, stream, whole, dice)


def _check_cut(
    framing: Framing,
    vectors: Sequence[Vector],
    whole: Outcome,
    ways: Iterable[list[bytes]],
    limits: Sequence[int | None] = (None,),
) -> None:
    expected = [message for each in vectors for message in each.messages]
    error = vectors[-1].error
    for pieces in ways:
        for limit in limits:
            got = drive(framing, pieces, limit, gaps=framing.gap_timeout is not None)
            told = f"{framing}: {shown(pieces)} with limit {limit} gave {got}"
            assert same(got.messages, expected), f"{told}, expected the messages {expected}"
            assert type(got.error) is (error or type(None)), f"{told}, expected the error {error}"
            assert got == whole, f"{told}, and the whole stream at once {whole}"


def _check_takes(framing: Framing, stream: bytes, whole: Outcome, dice: random.Random) -> None:
    """Whatever is taken, at any place and any message of a batch, decodes to all that was not delivered."""
    places = range(len(stream) + 1) if len(stream) <= SHORT else sorted(dice.sample(range(len(stream)), SHORT))
    for place in places:
        for fed in ([stream[:place]], list(single(stream[:place]))):
            _check_take(framing, fed, stream[place:], whole)


def _check_take(framing: Framing, fed: list[bytes], rest: bytes, whole: Outcome) -> None:
    undelivered = 0
    while True:
        decoder = framing.decoder()
        messages: list[Any] = []
        latest: list[Any] = []
        try:
            for piece in fed:
                messages += latest
                latest = decoder.feed(piece)
        except MessageError:
            return
        held = decoder.buffered
        octets = decoder.take(undelivered)
        told = f"{framing}: after {shown(fed)}, take({undelivered}) gave {octets!r}"
        assert type(octets) is bytes and b"".join(fed).endswith(octets), f"{told}, which is not what came"
        if not undelivered:
            assert len(octets) == held, f"{told}, but {held} octets were said to be buffered"
        assert decoder.buffered == 0, f"{told}, and {decoder.buffered} are still buffered"
        delivered = messages + latest[: len(latest) - undelivered]
        again = drive(framing, [octets, rest], decoder=decoder)
        again.messages[:0] = delivered
        assert again == whole, f"{told}; with the rest {again}, expected {whole}"
        undelivered += 1
        if undelivered > len(latest):
            return


def _check_encoder(framing: Framing, vector: Vector) -> None:
    try:
        encoded = framing.encode_many(vector.messages)
    except EncodeError as error:
        if not vector.canonical:
            return
        raise AssertionError(f"{framing}: refuses to encode {vector.messages}: {error}") from error
    assert type(encoded) is bytes, f"{framing}: encodes to {type(encoded).__name__}, not bytes"
    if vector.canonical:
        assert encoded == vector.octets, f"{framing}: wrote {encoded!r}, expected {vector.octets!r}"
    gaps = framing.gap_timeout is not None
    pieces = [framing.encode(each) for each in vector.messages] if gaps else [encoded]
    got = drive(framing, pieces, gaps=gaps)
    assert same(got.messages, vector.messages) and got.error is None, f"{framing}: {encoded!r} reads back as {got}"


def _check_truncated(framing: Framing, vector: Vector) -> None:
    """An end of file at any place ends a message or is an error of the named sort; nothing is invented."""
    for place in range(min(len(vector.octets), SHORT)):
        if framing.gap_timeout is not None:
            return
        got = drive(framing, [vector.octets[:place]])
        assert got.error is None or isinstance(got.error, IncompleteMessage), (
            f"{framing}: the end of file after {vector.octets[:place]!r} gave {got}"
        )
        if isinstance(got.error, IncompleteMessage):
            wanted = got.error.expected
            assert 0 < got.error.received <= place and (wanted is None or wanted > got.error.received), (
                f"{framing}: the end of file after {vector.octets[:place]!r} gave {got}, whose numbers are wrong"
            )


def _check_linear(framing: Framing, good: Sequence[Vector]) -> None:
    if framing.gap_timeout is not None or framing.ends_stream:
        repeated = [good[0].octets]
    else:
        one = b"".join(each.octets for each in good)
        repeated = [one * (6000 // max(1, len(one)) + 1)]
        repeated += [octets for octets in [large(framing)] if octets]
    for stream in repeated:
        for name, pieces, limit in (
            ("octet by octet", single(stream), None),
            ("in pieces of 7", (stream[at : at + 7] for at in range(0, len(stream), 7)), None),
            ("one message at a time", iter([stream]), 1),
        ):
            count = _work(framing, pieces, limit)
            most = LINEAR * len(stream) + 1000
            assert count.searched <= most and count.copied <= most, (
                f"{framing}: {len(stream)} octets {name}: {count.searched} searched and {count.copied} copied"
            )


def _work(framing: Framing, pieces: Iterable[bytes], limit: int | None) -> Count:
    with counted() as count:
        drive(framing, map(countable, pieces), limit)
    return count


def large(framing: Framing) -> bytes:
    """The encoding of one large message, or nothing where the framing has no message like it."""
    for filler in (b"x", b"1", b'"'):
        for size in (4096, 1024, 256):
            try:
                return framing.encode(filler * size)
            except (EncodeError, TypeError, ValueError):
                continue
    return b""


def _check_bound(framing: Framing, vectors: Sequence[Vector]) -> None:
    """A peer that never ends its message: no more is held than ``max_buffered`` and the latest read."""
    fields = {each.name for each in dataclasses.fields(framing)}
    small = framing
    if "max_message" in fields and (framing.max_buffered or 1 << 30) > 4096:
        try:
            small = dataclasses.replace(framing, max_message=64)  # type: ignore[call-arg]
        except OptionError:
            return
    bound = small.max_buffered
    if bound is None or bound > 1 << 16:
        return
    beginnings = {each.octets[:place] for each in vectors for place in (0, 1, 2, len(each.octets) // 2)}
    for beginning in sorted(beginnings):
        for filler in (b"\0", b"0", b"1", b"x", b" ", b"\n", b"\r", b"\x7f", b"\xff", b"{", b'"', b"*1\r\n"):
            decoder = small.decoder()
            try:
                for piece in [beginning, *[filler * (32 // len(filler))] * (bound // 8 + 4)]:
                    decoder.feed(piece)
                    decoder.settle()
                    assert decoder.buffered <= bound + len(piece), (
                        f"{small}: holds {decoder.buffered} octets of {beginning!r} and then {filler!r} "
                        f"for ever, {bound} and one read is the bound"
                    )
            except MessageError:
                pass


# -- ways of cutting --------------------------------------------------------------------------------------


def single(stream: bytes) -> Iterator[bytes]:
    """Octet by octet."""
    return (stream[at : at + 1] for at in range(len(stream)))


def cut(stream: bytes, places: Iterable[int]) -> list[bytes]:
    """The stream in pieces, cut at ``places``."""
    edges = [0, *sorted(places), len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


def cuts(stream: bytes, dice: random.Random) -> Iterator[list[bytes]]:
    """Octet by octet; a short stream at every place and pair of places, a long one at random places."""
    yield list(single(stream))
    size = len(stream)
    if size <= SHORT:
        for first in range(1, size):
            yield cut(stream, [first])
            for second in range(first + 1, size):
                yield cut(stream, [first, second])
    for _ in range(RANDOM_CUTS):
        yield cut(stream, {dice.randrange(size + 1) for _ in range(dice.choice((1, 2, 5, size // 3 + 1)))})


def shown(pieces: Sequence[bytes]) -> str:
    """Pieces for a message of failure: all of a few, the sizes of many."""
    if sum(map(len, pieces)) <= 200:
        return " ".join(map(repr, pieces))
    return f"{sum(map(len, pieces))} octets in pieces of {[len(each) for each in pieces][:20]}"
