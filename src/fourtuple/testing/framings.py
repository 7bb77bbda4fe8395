"""Check a framing: ``check_framing(framing, vectors)``.

Every promise of the contract (:mod:`fourtuple.framing.base`) is checked with vectors, which are octets and their
messages. A broken promise raises :class:`AssertionError`, which names the framing, the cut and the outcome, and says
how to fix it.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Never

from fourtuple.errors import EncodeError, FramingTextError, IncompleteMessage, MessageError
from fourtuple.framing.base import Framing
from fourtuple.framing.custom_framing import Custom
from fourtuple.framing.duplex_framing import Duplex
from fourtuple.framing.text import parse_framing
from fourtuple.framing.unmapped import Unmapped
from fourtuple.options import by_keyword, check_flag, check_type, refuse, seen
from fourtuple.testing.cost import check_bound, check_linear, check_linear_when_attacked, check_sent, unbounded
from fourtuple.testing.cutting import SHORT, SPICE, cut, cuts, shown, single, spoiled
from fourtuple.testing.driving import Outcome, drive, same
from fourtuple.testing.failures import CUT, ENCODE, END, ERRORS, HASH, TAKE, TEXT, broken
from fourtuple.typevars import Generic, M

LIMITS = (None, 1, 2)
#: The number of garbage streams to check.
SPOILED = 200
#: The number of good vectors that are put before each vector.
NEIGHBOURS = 3


@by_keyword()
@dataclass(frozen=True)
class Vector(Generic[M]):
    """Octets and the messages that they encode.

    ``error`` is the type of the error after the messages, raised at once or at the end of file. ``canonical`` says
    whether the encoder writes exactly these octets; the encoder is not checked for a vector with an error. ``final``
    says that only the end of file ends the last message, so that nothing can follow.

    Raises :class:`~fourtuple.errors.OptionError` for an argument of another type.
    """

    octets: bytes
    messages: Sequence[M | Unmapped] = field(default_factory=list)
    error: type[MessageError] | None = None
    canonical: bool = True
    final: bool = False

    def __post_init__(self) -> None:
        check_type("octets", self.octets, bytes, optional=False)
        if isinstance(self.messages, bytes | str) or not isinstance(self.messages, Sequence):
            refuse("messages", self.messages, f"a list of messages, as in [{seen(self.messages)}]")
        error = self.error
        if error is not None and not (isinstance(error, type) and issubclass(error, MessageError)):
            refuse("error", error, "a class of MessageError or None")
        check_flag("canonical", self.canonical)
        check_flag("final", self.final)


@by_keyword()
def check_framing(
    framing: Framing[M, M] | Custom[M, Never] | Duplex[M, Any, M, Any],
    vectors: Iterable[
        Vector[M] | tuple[bytes, Sequence[M | Unmapped]] | tuple[bytes, Sequence[M | Unmapped], type[MessageError]]
    ],
    *,
    text: bool = True,
    garbage: bool = True,
    seed: int = 0,
) -> None:
    """Check that a framing keeps every promise, on streams made of ``vectors``.

    - The messages, and an error at the same message, are the same however the stream is cut (whole, octet by
      octet, at every place) and however few messages are asked for at a time. Errors repeat.
    - The same holds for garbage after good messages. The good messages come first, and every error is a
      MessageError.
    - If octets of an unfinished message follow good ones, the end of file raises
      :class:`~fourtuple.errors.IncompleteMessage` with correct numbers. No message is invented or lost.
    - ``buffered`` and ``take`` are correct at every place of the stream and every message of a batch.
    - No more than ``max_buffered`` octets are held, and no delivered message. The octets searched and copied grow
      linearly with the octets received, for good messages and for endless repetition
      (:mod:`fourtuple.testing.counting` describes what is counted).
    - The encoder writes octets that the decoder reads back, or raises :class:`~fourtuple.errors.EncodeError`.
      ``max_sent``, if the framing has it, bounds the encoder; ``max_message`` does not.
    - The text form reads back. Framings of your own have none: give ``text=False``.

    A framing with two directions (:func:`~fourtuple.framing.duplex`) is checked in the direction that it receives: the
    vectors are what the other end writes. Check ``framing.mirror()`` for the other direction.

    ``garbage=False`` skips the garbage, for third-party parsers, which may treat garbage as they like. Each vector is a
    :class:`Vector` or a tuple ``(octets, messages[, error])``. ``seed`` seeds the random cuts and the garbage; its
    default is 0. Raises :class:`AssertionError`, which says which promise was broken and how to fix it, and
    :class:`~fourtuple.errors.OptionError` for an argument of another type.
    """
    parse_framing(framing)  # raises for what is no framing
    check_flag("text", text)
    check_flag("garbage", garbage)
    check_type("seed", seed, int, optional=False)
    check_type("vectors", vectors, Iterable, optional=False, hint="[(b'one\\n', [b'one'])]")
    known: list[Vector[M]] = [_vector(each) for each in vectors]
    assert known, "no vectors: nothing would be checked"
    dice = random.Random(seed)
    if text:
        _check_text(framing)
    if isinstance(framing, Duplex):
        framing = framing.receives
    good = [each for each in known if each.error is None]
    lead = [each for each in good if not each.final and not framing.ends_stream]
    for number, vector in enumerate(known):
        _check_stream(framing, [vector], dice)
        if lead and len(known) > 1:
            _check_stream(framing, [*_neighbours(lead, number), vector], dice)
    for number, vector in enumerate(good):
        _check_encoder(framing, vector)
        _check_truncated(framing, _neighbours(lead, number), vector)
    if len(lead) > NEIGHBOURS:
        _check_stream(framing, lead, dice)
    _check_refusals(framing, known)
    if garbage:
        _check_garbage(framing, known, lead, dice)
    if good:
        check_linear(framing, [each.octets for each in lead or good])
        check_sent(framing, [message for each in good if each.canonical for message in each.messages])
    if garbage:
        check_linear_when_attacked(framing, [each.octets for each in known])
    check_bound(framing, [each.octets for each in known], [each.octets for each in lead])


def _vector(given: Any) -> Vector:
    if isinstance(given, Vector):
        return given
    if not isinstance(given, tuple) or not 2 <= len(given) <= 3:
        refuse("vectors", given, "a Vector or a tuple (octets, messages[, error]) in each place")
    return Vector(*given)


def _neighbours(lead: Sequence[Vector], number: int) -> list[Vector]:
    """A few vectors to put before another one: in turn, so that the work is not quadratic."""
    return [lead[(number + step) % len(lead)] for step in range(min(NEIGHBOURS, len(lead)))]


# -- one promise each -------------------------------------------------------------------------------------


def _check_text(framing: Framing) -> None:
    text = str(framing)
    try:
        read = parse_framing(text)
    except FramingTextError as error:
        broken(framing, f"its text form {text!r} does not read back: {error.why}", TEXT)
    if read != framing:
        broken(framing, f"its text form {text!r} reads back as {read!r}, not {framing!r}", TEXT)
    if hash(read) != hash(framing):
        broken(framing, f"it equals {read!r}, which its text form {text!r} reads back as, and the hashes differ", HASH)


def _check_stream(framing: Framing, vectors: Sequence[Vector], dice: random.Random) -> None:
    """Check the messages and the error for all cuts of the stream, and ``buffered`` and ``take`` at each place."""
    if framing.gap_timeout is not None:
        # Silences end messages, so the pieces matter for this framing.
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
        fix = CUT if len(pieces) > 1 else "Fed all at once, without cuts: the decoder or the vector is wrong."
        for limit in limits:
            got = drive(framing, pieces, limit, gaps=framing.gap_timeout is not None)
            told = f"{shown(pieces)} with limit {limit} gave {got}"
            if not same(got.messages, expected):
                broken(framing, f"{told}, expected the messages {expected}", fix, got.cause)
            if type(got.error) is not (error or type(None)):
                expected_error = error.__name__ if error else "no error"
                broken(framing, f"{told}, expected {expected_error} behind them", fix, got.cause)
            if got != whole:
                broken(framing, f"{told}, and the whole stream at once {whole}", fix, got.cause)


def _check_takes(framing: Framing, stream: bytes, whole: Outcome, dice: random.Random) -> None:
    """Check that octets from ``take``, at any place and message of a batch, decode to all undelivered messages."""
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
        told = f"after {shown(fed)}, take({undelivered}) gave {octets!r}"
        if type(octets) is not bytes or not _is_rest(framing, octets, b"".join(fed)):
            broken(framing, f"{told}, which are not the octets received", TAKE)
        if not undelivered and len(octets) != held:
            broken(framing, f"{told}, but {held} octets were reported as buffered", TAKE)
        if decoder.buffered:
            broken(framing, f"{told}, and {decoder.buffered} are still buffered", TAKE)
        delivered = messages + latest[: len(latest) - undelivered]
        again = drive(framing, [octets, rest], decoder=decoder)
        again.messages[:0] = delivered
        if again != whole:
            broken(framing, f"{told}; with the rest {again}, expected {whole}", TAKE)
        undelivered += 1
        if undelivered > len(latest):
            return


def _is_rest(framing: Framing, octets: bytes, stream: bytes) -> bool:
    """Whether ``octets`` may be what ``take`` returns of a stream: its end, or what is left of it in its order."""
    if stream.endswith(octets):
        return True
    left = iter(stream)
    return framing.interleaves and all(octet in left for octet in octets)


def _check_encoder(framing: Framing, vector: Vector) -> None:
    try:
        encoded = framing.encode_many(vector.messages)
    except EncodeError as error:
        if not vector.canonical:
            return
        raise AssertionError(f"{framing}: refuses to encode {vector.messages}: {error}") from error
    if type(encoded) is not bytes:
        broken(framing, f"encodes to {type(encoded).__name__}, not bytes", ENCODE)
    if vector.canonical and encoded != vector.octets:
        fix = f"{ENCODE} Where these octets can be read and are never written: Vector(..., canonical=False)."
        broken(framing, f"wrote {encoded!r}, expected {vector.octets!r}", fix)
    gaps = framing.gap_timeout is not None
    pieces = [framing.encode(each) for each in vector.messages] if gaps else [encoded]
    got = drive(framing, pieces, gaps=gaps)
    if not same(got.messages, vector.messages) or got.error is not None:
        broken(framing, f"{encoded!r} reads back as {got}", ENCODE)


def _check_refusals(framing: Framing, vectors: Sequence[Vector]) -> None:
    """Check messages made of octets with a meaning in the framing: each reads back, or is refused."""
    if framing.gap_timeout is not None or not all(type(m) is bytes for v in vectors for m in v.messages):
        return
    reader = unbounded(framing)  # max_message bounds received messages only
    for message in sorted({each.octets[start:] for each in vectors for start in (0, 1)} | {SPICE, b"x" + SPICE}):
        try:
            encoded = framing.encode(message)
        except EncodeError:
            continue
        got = drive(reader, [encoded])
        if not same(got.messages, [message]) or got.error is not None:
            broken(framing, f"the message {message!r} was written as {encoded!r}, which reads as {got}", ENCODE)


def _check_truncated(framing: Framing, lead: Sequence[Vector], vector: Vector) -> None:
    """Check that an end of file at any place ends a message or raises IncompleteMessage, and invents no message."""
    if framing.gap_timeout is not None:
        return
    final = vector.final or framing.ends_stream
    before = b"".join(each.octets for each in lead)
    given = [message for each in lead for message in each.messages]
    own = list(vector.messages)
    for place in range(min(len(vector.octets), SHORT)):
        _check_end(framing, vector.octets[:place], None if final else own, vector.octets)
        if before:
            expected = None if final else given + own
            _check_end(framing, before + vector.octets[:place], expected, before + vector.octets, len(given))


def _check_end(framing: Framing, octets: bytes, messages: list[Any] | None, whole: bytes, least: int = 0) -> None:
    """Check the end of file after ``octets``, a prefix of those of ``messages`` (None: a message may end anywhere)."""
    decoder = framing.decoder()
    got = drive(framing, [octets], decoder=decoder, end=False)
    held = decoder.buffered
    if got.error is None:
        rest = drive(framing, [], decoder=decoder)
        got = Outcome(got.messages + rest.messages, rest.error)
    told = f"the end of file after {octets!r} gave {got}"
    if messages is not None and not same(got.messages, messages[: len(got.messages)]):
        fix = f"{END} A message that only the end of file ends is a Vector(..., final=True)."
        broken(framing, f"{told}, where the messages are {messages}: one of them was not sent", fix)
    if len(got.messages) < least:
        broken(framing, f"{told}, and {least} whole messages came before it", END)
    error = got.error
    if error is None:
        if held and messages is not None and len(got.messages) <= least and decoder.buffered:
            broken(framing, f"{told}: {held} octets of an unfinished message were ignored silently", END)
        return
    if not isinstance(error, IncompleteMessage):
        broken(framing, told, END)
    if error.received != held:
        broken(framing, f"{told}, whose numbers are wrong: {held} octets were buffered", END)
    expected = error.expected
    if expected is not None and not held < expected <= held + len(whole) - len(octets):
        missing = len(whole) - len(octets)
        broken(framing, f"{told}, whose numbers are wrong: {held} octets came and at most {missing} are missing", END)


def _check_garbage(framing: Framing, vectors: Sequence[Vector], lead: Sequence[Vector], dice: random.Random) -> None:
    """Check garbage, alone and after good messages: all cuts have the same outcome, and good messages come first."""
    if framing.gap_timeout is not None:
        return
    known = [each.octets for each in vectors if each.octets] or [SPICE]
    before = b"".join(each.octets for each in lead)
    expected = [message for each in lead for message in each.messages]
    for number in range(SPOILED):
        stream = spoiled(known, dice)
        if number % 2:
            stream = before + stream
        whole = drive(framing, [stream])
        if number % 2 and not same(whole.messages[: len(expected)], expected):
            broken(framing, f"{stream!r} gave {whole}, and began with the good messages {expected}", ERRORS)
        places = {dice.randrange(len(stream) + 1) for _ in range(dice.choice((1, 2, len(stream) + 1)))}
        for pieces in (list(single(stream)), cut(stream, places)):
            limit = dice.choice(LIMITS)
            got = drive(framing, pieces, limit)
            if got != whole:
                told = f"{shown(pieces)} with limit {limit} gave {got}, the whole at once {whole}"
                broken(framing, told, CUT if same(got.messages, whole.messages) else f"{ERRORS}\n  {CUT}")
