"""Ways to cut a stream, and to corrupt it."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

#: A stream of at most this many octets is cut at every place and every pair of places, a longer one at random.
SHORT = 24
RANDOM_CUTS = 40
#: Octets with a meaning in some framing.
SPICE = b'\0\1\x02\x03\x04\x0b\x1c\r\n$*:,#<>{}[]"\\ 0123456789+-\x7d\x7e\x80\xc0\xdb\xdc\xdd\xff'


def single(stream: bytes) -> Iterator[bytes]:
    """The stream cut octet by octet."""
    return (stream[at : at + 1] for at in range(len(stream)))


def cut(stream: bytes, places: Iterable[int]) -> list[bytes]:
    """The stream in pieces, cut at ``places``."""
    edges = [0, *sorted(places), len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


def cuts(stream: bytes, dice: random.Random) -> Iterator[list[bytes]]:
    """Ways to cut: octet by octet; a short stream at every place and pair of places; a long one at random places."""
    yield list(single(stream))
    size = len(stream)
    if size <= SHORT:
        for first in range(1, size):
            yield cut(stream, [first])
            for second in range(first + 1, size):
                yield cut(stream, [first, second])
    for _ in range(RANDOM_CUTS):
        yield cut(stream, {dice.randrange(size + 1) for _ in range(dice.choice((1, 2, 5, size // 3 + 1)))})


def spoiled(known: Sequence[bytes], dice: random.Random) -> bytes:
    """Join up to four of the ``known`` octets, then make up to three changes: replace, flip, insert, delete, splice."""
    stream = bytearray().join(dice.choice(known) for _ in range(dice.choice((1, 1, 2, 4))))
    for _ in range(dice.choice((0, 1, 1, 2, 3))):
        size = len(stream)
        at = int(dice.random() * (size + 1))
        match int(dice.random() * 5):
            case 0 if at < size:
                stream[at] = dice.choice(SPICE)
            case 1 if at < size:
                stream[at] ^= 1 << int(dice.random() * 8)
            case 2:
                stream.insert(at, dice.choice(SPICE))
            case 3:
                del stream[at : at + dice.choice((1, 1, 2, 5))]
            case _:
                other = dice.choice(known)
                stream[at:at] = other[: int(dice.random() * (len(other) + 1))]
    return bytes(stream)


def shown(pieces: Sequence[bytes]) -> str:
    """Pieces for a failure message: all octets if they are few, otherwise the sizes."""
    if sum(map(len, pieces)) <= 200:
        return " ".join(map(repr, pieces)) or "nothing"
    return f"{sum(map(len, pieces))} octets in pieces of {[len(each) for each in pieces][:20]}"
