"""The cost of a framing: the octets that it holds, searches and copies, counted without a clock."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from fourtuple.errors import EncodeError, MessageError, OptionError
from fourtuple.framing.base import Framing
from fourtuple.framing.buffered import BufferedDecoder
from fourtuple.testing.counting import Count, attributes, countable, counted, watch
from fourtuple.testing.cutting import single
from fourtuple.testing.driving import drive
from fourtuple.testing.failures import BOUND, LINEAR, SENT, broken

#: The most octets searched or copied for each octet of a stream. A quadratic decoder needs thousands.
MOST = 16
#: The octets of an attack. A quadratic decoder searches some fifty times as many.
ATTACK = 300
#: The octets of delivered messages after which a decoder must hold none of them.
MANY = 64 * 1024
#: The ``max_sent`` of the check: large messages are above it, small ones below.
_SENT = 64
_FILLERS = (b"\0", b"0", b"1", b"x", b" ", b"\n", b"\r", b"\x7f", b"\xff", b"{", b'"', b"*1\r\n")


# -- work -------------------------------------------------------------------------------------------------


def check_linear(framing: Framing, good: Sequence[bytes]) -> None:
    """Check that small pieces, and few messages at a time, cost no more per octet than large ones."""
    for stream in _repeated(framing, good):
        for name, pieces, limit in (
            ("octet by octet", single(stream), None),
            ("in pieces of 7", (stream[at : at + 7] for at in range(0, len(stream), 7)), None),
            ("one message at a time", iter([stream]), 1),
        ):
            _check_work(framing, stream, pieces, limit, f"{len(stream)} octets {name}")


def check_linear_when_attacked(framing: Framing, known: Sequence[bytes]) -> None:
    """Check that an endless run of the same octets costs no more per octet than good messages."""
    if framing.gap_timeout is not None:
        return
    beginnings = sorted({octets[:place] for octets in known for place in (0, 1, len(octets) // 2)}, key=len)
    for beginning in [*beginnings[:2], *beginnings[-2:]]:
        for filler in _FILLERS:
            stream = beginning + filler * (ATTACK // len(filler))
            for name, pieces, limit in (("octet by octet", single(stream), None), ("at once", iter([stream]), 1)):
                told = f"{beginning!r} and then {filler!r} forever, {len(stream)} octets {name}"
                _check_work(framing, stream, pieces, limit, told)


def _check_work(framing: Framing, stream: bytes, pieces: Iterable[bytes], limit: int | None, told: str) -> None:
    most = MOST * len(stream) + 1000
    count = _work(framing, pieces, limit, most)
    if count.searched > most or count.copied > most:
        told = f"{told}: {count.searched} searched and {count.copied} copied so far"
        broken(framing, f"{told}, {most} in all would be linear", LINEAR)


def _repeated(framing: Framing, good: Sequence[bytes]) -> list[bytes]:
    """A stream of many messages, and a stream of one large message."""
    if framing.gap_timeout is not None or framing.ends_stream:
        return [good[0]]
    one = b"".join(good)
    repeated = [one * (6000 // max(1, len(one)) + 1)]
    return repeated + [octets for octets in [large(framing)] if octets]


def _work(framing: Framing, pieces: Iterable[bytes], limit: int | None, most: int) -> Count:
    with counted() as count:
        decoder = framing.decoder()

        def counting() -> Iterator[bytes]:
            for piece in pieces:
                if count.searched > most or count.copied > most:
                    return  # enough to fail: a quadratic decoder would take long for the rest
                watch(decoder)
                yield countable(piece)

        drive(framing, counting(), limit, decoder=decoder)
    return count


def large(framing: Framing) -> bytes:
    """The encoding of one large message; empty if the framing cannot encode one."""
    return next((octets for _, octets in _large(framing)), b"")


def _large(framing: Framing) -> Iterator[tuple[Any, bytes]]:
    for filler in (b"x", b"1", b'"', "x", [1]):
        for size in (4096, 1024, 256):
            try:
                yield filler * size, framing.encode(filler * size)
            except Exception:  # a user's mapping may raise anything for a message that it cannot encode
                continue


def unbounded(framing: Framing) -> Framing:
    """The framing, and the framings inside it, without the bounds of their messages."""
    changes: dict[str, Any] = {}
    for each in dataclasses.fields(framing):
        value = getattr(framing, each.name)
        if each.name in ("max_message", "max_sent"):
            changes[each.name] = None
        elif isinstance(value, Framing):
            changes[each.name] = unbounded(value)
        elif each.name == "cases":
            changes[each.name] = tuple((octets, unbounded(inner)) for octets, inner in value)
    return dataclasses.replace(framing, **changes)


# -- memory -----------------------------------------------------------------------------------------------


def check_bound(framing: Framing, known: Sequence[bytes], good: Sequence[bytes]) -> None:
    """Check that of a message that never ends, no more is held than ``max_buffered`` and the latest read."""
    _check_delivered(framing, b"".join(good))
    fields = {each.name for each in dataclasses.fields(framing)}
    small = framing
    if framing.max_buffered is None and "max_message" not in fields:
        fix = "Give it a field max_message: int | None = 1 << 20, or a max_buffered of its own; None must be typed."
        broken(framing, "has no bound: max_buffered is None, although None was not given", f"{BOUND}\n  {fix}")
    if "max_message" in fields and (framing.max_buffered or 1 << 30) > 4096:
        try:
            small = dataclasses.replace(framing, max_message=64)  # type: ignore[call-arg]
        except OptionError:
            pass
    bound = small.max_buffered
    if bound is None or bound > 1 << 22:
        return
    if "max_message" in fields and framing.gap_timeout is None:
        _check_delivers_no_more(small)
    size = max(32, bound // 16)
    beginnings = sorted({octets[:place] for octets in known for place in (0, 1, 2, len(octets) // 2)})
    fillers: Sequence[bytes] = _FILLERS
    if bound > 1 << 15:
        beginnings, fillers = beginnings[:1], fillers[:4]  # a larger bound takes longer
    for beginning in beginnings:
        for filler in fillers:
            _check_filler(small, bound, beginning, filler, filler * (size // len(filler)))


def _check_filler(framing: Framing, bound: int, beginning: bytes, filler: bytes, piece: bytes) -> None:
    decoder = framing.decoder()
    ended = 0
    try:
        for latest in [beginning, *[piece] * (bound // len(piece) + 4)]:
            ended += bool(decoder.feed(latest))
            if ended > 1:
                return  # this filler ends messages repeatedly
            decoder.settle()
            if decoder.buffered > bound + len(piece):
                told = f"holds {decoder.buffered} octets of {beginning!r} and then {filler!r} forever"
                broken(framing, f"{told}, {bound} and one read is the bound", BOUND)
    except MessageError:
        return


def _check_delivers_no_more(framing: Framing) -> None:
    """Check that a message longer than ``max_message`` is not delivered."""
    most: int | None = framing.max_message  # type: ignore[attr-defined]
    octets = large(unbounded(framing))
    for message in drive(framing, [octets]).messages:
        if isinstance(message, bytes) and most is not None and len(message) > most:
            broken(framing, f"delivers a message of {len(message)} octets, max_message is {most}", BOUND)


def check_sent(framing: Framing, messages: Sequence[Any]) -> None:
    """Check that a ``max_sent``, if there is one, bounds one message and several, and rejects no smaller message."""
    if "max_sent" not in {each.name for each in dataclasses.fields(framing)}:
        return
    bounded = dataclasses.replace(framing, max_sent=_SENT)  # type: ignore[call-arg]
    message, octets = next(_large(unbounded(framing)), (None, b""))
    if octets:
        for name, argument in (("encode", message), ("encode_many", [message])):
            try:
                written = getattr(bounded, name)(argument)
            except EncodeError:
                continue
            broken(framing, f"{name} wrote {len(written)} octets with a max_sent of {_SENT}", SENT)
    for message in messages:
        octets = framing.encode(message)
        if len(octets) > _SENT:
            continue
        try:
            written = (bounded.encode(message), bounded.encode_many([message]))
        except EncodeError as error:
            broken(framing, f"refuses {message!r} with a max_sent of {_SENT}: {error}", SENT)
        if written != (octets, octets):
            broken(framing, f"wrote {message!r} as {written} with a max_sent of {_SENT}, else as {octets!r}", SENT)


def _check_delivered(framing: Framing, one: bytes) -> None:
    """Check that delivered messages are not kept."""
    if not one or framing.gap_timeout is not None or framing.ends_stream:
        return
    decoder = framing.decoder()
    piece = one * (1000 // len(one) + 1)
    for _ in range(MANY // len(piece) + 1):
        decoder.feed(bytes(bytearray(piece)))  # a copy: a decoder that keeps all of them keeps different objects
        decoder.settle()
    held = weight(decoder)
    if held > MANY // 2 + 2 * len(piece):
        told = f"holds {held} octets and entries after {MANY} octets of messages that were all delivered"
        broken(framing, told, BOUND)


def weight(decoder: Any) -> int:
    """The octets and container entries that a decoder keeps, counted through its attributes."""
    seen: set[int] = set()
    total = 0
    waiting = [value for _, value in attributes(decoder)]
    if isinstance(decoder, BufferedDecoder):
        waiting.append(getattr(decoder, "_buffer", b""))
    while waiting:
        each = waiting.pop()
        if id(each) in seen or isinstance(each, type | Framing) or callable(each):
            continue
        seen.add(id(each))
        if isinstance(each, bytes | bytearray | str | memoryview):
            total += len(each)
        elif isinstance(each, list | tuple | set | frozenset | deque):
            total += len(each)
            waiting += each
        elif isinstance(each, dict):
            total += len(each)
            waiting += [*each, *each.values()]
        else:
            waiting += [value for _, value in attributes(each)]
    return total
