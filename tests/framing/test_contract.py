"""Every framing keeps the contract: on what is known, on what hypothesis finds, on what chance makes of it."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fourtuple.framing import parse_framing
from fourtuple.testing import check_framing, drive, strategies
from fourtuple.testing.fuzz import fuzz
from framing.selection import few_by_default
from framing.vectors import KNOWN

pytestmark = pytest.mark.slow  # a sweep over all framings; CI runs it on each version

#: Set FOURTUPLE_FUZZ_CASES=1000000 to run that many.
CASES = int(os.environ.get("FOURTUPLE_FUZZ_CASES", "200"))
#: There are many framings, and each is tried: where no more cases are asked for, a tenth of the examples is plenty.
EXAMPLES = settings().max_examples // (1 if "FOURTUPLE_FUZZ_CASES" in os.environ else 10)

every_framing = pytest.mark.parametrize("text", few_by_default(sorted(KNOWN)))


@every_framing
def test_known_octets_keep_the_contract(text: str) -> None:
    check_framing(parse_framing(text), KNOWN[text])


@every_framing
@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_every_way_of_cutting(text: str, data: st.DataObject) -> None:
    framing = parse_framing(text)
    corpus = st.sampled_from([vector.octets for vector in KNOWN[text]])
    stream = b"".join(data.draw(st.lists(corpus | strategies.octets(), max_size=4), "stream"))
    gaps = framing.gap_timeout is not None
    whole = drive(framing, [stream], gaps=False)
    limit = data.draw(st.none() | st.integers(1, 3), "limit")
    assert drive(framing, data.draw(strategies.pieces(stream), "pieces"), limit) == whole
    assert gaps or drive(framing, [stream[:0], stream], 1) == whole


@every_framing
def test_random_octets_keep_the_contract(text: str) -> None:
    fuzz(parse_framing(text), [vector.octets for vector in KNOWN[text]], CASES)
