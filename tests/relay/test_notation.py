"""Toxics as text."""

from __future__ import annotations

import math
import random

import pytest

from fourtuple.errors import OptionError
from fourtuple.relay.notation import ToxicTable, combined, parse_toxic, read_toxics
from fourtuple.relay.toxics import Toxics


@pytest.mark.parametrize(
    ("text", "toxics"),
    [
        ("latency:latency=100ms,jitter=20ms", Toxics(latency=0.1, jitter=0.02)),
        ("latency:latency=1.5s", Toxics(latency=1.5)),
        ("bandwidth:rate=100k", Toxics(bandwidth=102400)),
        ("bandwidth:rate=0.5m/s", Toxics(bandwidth=524288)),
        ("slow_close:delay=2s", Toxics(finish_delay=2)),
        ("timeout:timeout=1s", Toxics(silent=True, close_timeout=1)),
        ("timeout:timeout=0", Toxics(silent=True)),
        ("reset_peer:timeout=0", Toxics(reset_timeout=0)),
        ("reset_peer:bytes=64k", Toxics(reset_after=65536)),
        ("slicer:average_size=10,size_variation=3,delay=50ms", Toxics(slice=10, slice_variation=3, slice_delay=0.05)),
        ("limit_data:bytes=1000", Toxics(close_after=1000)),
        ("corrupt", Toxics(corrupt=1)),
        ("duplicate:probability=0.25", Toxics(duplicate=0.25)),
        ("reorder", Toxics(reorder=1)),
        ("half_close:bytes=7", Toxics(half_close_after=7)),
        ("half_open", Toxics(half_open_after=0)),
    ],
)
def test_each_toxic(text: str, toxics: Toxics) -> None:
    assert combined([parse_toxic(text)], upstream=False) == toxics
    assert combined([parse_toxic(text)], upstream=True) == Toxics(), "downstream unless given, as with toxiproxy"
    both = parse_toxic(f"{text}{',' if ':' in text else ':'}stream=both")
    assert combined([both], upstream=True) == combined([both], upstream=False) == toxics


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("latncy:latency=1ms", r"there is no toxic 'latncy'; did you mean latency\?"),
        ("latency", "latency: it needs latency=..."),
        ("latency:latency=100", "latency: expected a time with its unit, as in 100ms or 0.1s, got '100'"),
        ("latency:latency=1h", "a time with its unit"),
        (f"latency:latency={'9' * 400}s", "latency: expected no more than 4611686018427387904, got '999"),
        (f"slicer:average_size={'9' * 400}", "average_size: expected no more than 4611686018427387904, got '999"),
        ("latency:latency", "'latency' is not an attribute, write name=value"),
        ("latency:latency=1ms,latency=2ms", "latency is given twice"),
        ("latency:jiter=1ms,latency=1ms", r"latency has no attribute 'jiter'; did you mean jitter\?"),
        ("bandwidth:rate=100", "rate: expected octets a second with a unit"),
        ("bandwidth:rate=0k", "bandwidth is 0.0, it must be above 0"),
        ("corrupt:probability=2", "a probability, from 0 to 1"),
        ("corrupt:probability=x", "expected a probability, from 0 to 1, got 'x'"),
        ("reset_peer", "reset_peer: it needs timeout=... or bytes=..."),
        ("corrupt:stream=sideways", "stream is 'sideways', it is one of upstream, downstream, both"),
        ("corrupt:toxicity=-1", "a probability"),
    ],
)
def test_a_toxic_that_is_none(text: str, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        parse_toxic(text)


@pytest.mark.parametrize("name", ["latency", "bandwidth", "slice_delay", "close_after"])
def test_a_number_without_an_end(name: str) -> None:
    with pytest.raises(OptionError, match=f"{name}: expected a .*number.*, got inf"):
        Toxics(**{name: math.inf})


def test_toxicity_is_the_share_of_connections() -> None:
    table = ToxicTable([parse_toxic("half_open:toxicity=0.3"), parse_toxic("corrupt")])
    dice = random.Random(1)
    chosen = [len(table.roll(dice)) for _ in range(1000)]
    assert set(chosen) == {1, 2}
    assert 200 < chosen.count(2) < 400


def test_one_of_a_name_acts_in_one_direction() -> None:
    up, down = parse_toxic("corrupt:stream=upstream"), parse_toxic("corrupt")
    assert ToxicTable([up, down]).by_message
    with pytest.raises(OptionError, match="two toxics are named corrupt upstream"):
        ToxicTable([up, parse_toxic("corrupt:stream=both")])


def test_a_file_of_toxics() -> None:
    text = "# slow\nlatency:latency=1s  # one second\n\nlimit_data:bytes=5\n"
    assert [each.name for each in read_toxics(text)] == ["latency", "limit_data"]
    with pytest.raises(OptionError, match="line 2: there is no toxic 'nothing'"):
        read_toxics("half_open\nnothing\n")
