"""Any number of random cases for a framing: ``python -m fourtuple.testing.fuzz line:crlf --cases 1000000``.

A case is a stream of spliced, flipped, cut and repeated pieces of octets that the framing knows. It is decoded whole
and in random pieces: the outcomes must be the same, and every error must be a documented one. Cases are not shrunk,
because speed matters more; the seed and the number of a failing case reproduce it.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterable, Sequence

from fourtuple.errors import FourTupleError, IncompleteMessage, MalformedMessage, MessageError, MessageTooLong
from fourtuple.framing.base import Framing
from fourtuple.framing.text import parse_framing
from fourtuple.options import by_keyword, check_type, check_whole
from fourtuple.testing.cutting import SPICE, cut, shown, spoiled
from fourtuple.testing.driving import Outcome, check_pieces, drive

__all__ = ["fuzz"]

#: The only errors that ``feed`` and ``finish`` may raise, for any octets.
DOCUMENTED = (MessageTooLong, MalformedMessage, IncompleteMessage)


@by_keyword()
def fuzz(framing: Framing, corpus: Iterable[bytes], cases: int, seed: int = 0) -> int:
    """Run ``cases`` random cases; return how many of their streams ended in an error.

    ``corpus`` holds octets that the framing knows, ``seed`` seeds the cases (default: 0). Raises
    :class:`AssertionError` if an outcome depends on the cut, or if an error is not documented, and
    :class:`~fourtuple.errors.OptionError` for an argument of another type.
    """
    framing = parse_framing(framing)
    check_pieces("corpus", corpus)
    check_whole("cases", cases, 0)
    check_type("seed", seed, int, optional=False)
    known = [octets for octets in corpus if octets] or [SPICE]
    dice = random.Random(seed)
    errors = 0
    for case in range(cases):
        stream = spoiled(known, dice)
        try:
            errors += _case(framing, stream, dice)
        except Exception as error:
            raise AssertionError(f"{framing}: case {case} of seed {seed}, {stream!r}: {error!r}") from error
    return errors


def _case(framing: Framing, stream: bytes, dice: random.Random) -> bool:
    if framing.gap_timeout is not None:
        _silent_case(framing, stream, dice)
    whole = drive(framing, [stream])
    size = len(stream)
    pieces = cut(stream, {int(dice.random() * (size + 1)) for _ in range(dice.choice((1, 2, 4, size)))})
    parts = drive(framing, pieces, dice.choice((None, 1, 3)))
    assert parts == whole, f"{shown(pieces)} gave {parts}, the whole {whole}"
    error = whole.error
    assert error is None or type(error) in DOCUMENTED, f"raised {error!r}, which is not documented"
    return error is not None


def _silent_case(framing: Framing, stream: bytes, dice: random.Random) -> None:
    """Check a stream with silences: how the octets between two silences are cut must not matter."""
    spans = cut(stream, {int(dice.random() * (len(stream) + 1)) for _ in range(dice.choice((1, 2, 4)))})
    whole = drive(framing, spans, gaps=True)
    decoder, parts = framing.decoder(), Outcome()
    try:
        for span in spans:
            for piece in cut(span, {int(dice.random() * (len(span) + 1)) for _ in range(dice.choice((1, 2, 4)))}):
                parts.messages += decoder.feed(piece)
            parts.messages += decoder.gap()
        parts.messages += decoder.finish()
    except MessageError as error:
        parts.error = error
    assert parts == whole, f"{shown(spans)} with silences between gave {parts}, uncut {whole}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0 if every case passed."""
    parser = argparse.ArgumentParser(prog="python -m fourtuple.testing.fuzz", description=__doc__)
    parser.add_argument("framing", help="its text form, such as u16 or line:crlf,max_message=64")
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    framing = parse_framing(given.framing)
    corpus = []
    for message in (b"", b"x", b"Hi there, server", bytes(range(64)), b"1" * 20):
        try:
            corpus.append(framing.encode(message))
        except (FourTupleError, TypeError):
            continue
    errors = fuzz(framing, corpus, given.cases, given.seed)
    print(f"{framing}: {given.cases} cases, {errors} of them ended in an error, all as documented")
    return 0


if __name__ == "__main__":
    sys.exit(main())
