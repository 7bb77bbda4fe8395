"""One direction of a relay, toxic by toxic, without a clock and without sockets."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fourtuple.errors import OptionError
from fourtuple.relay.flow import OVERTAKE_SECONDS, Flow, What
from fourtuple.relay.toxics import Toxics


class Driven:
    """A flow, driven by hand: what it sends, and when."""

    def __init__(self, seed: int = 0, room: int = 65536, **toxics: object) -> None:
        self.now = 100.0
        self.flow = Flow(Toxics(**toxics), room, random.Random(seed), self.now)  # type: ignore[arg-type]
        self.sent: list[bytes] = []
        self.moments: list[float] = []
        self.end: What | None = None

    def put(self, *messages: bytes) -> Driven:
        for message in messages:
            self.flow.put(message, self.now)
        return self

    def run(self, seconds: float = 1000.0) -> Driven:
        """Do what the flow says, and let the time pass for which it waits, at most ``seconds``."""
        until = self.now + seconds
        while True:
            step = self.flow.next(self.now)
            if step.what is What.SEND:
                assert step.octets
                self.sent.append(step.octets)
                self.moments.append(self.now - 100.0)
                self.flow.sent(len(step.octets), self.now)
            elif step.what is What.WAIT:
                if step.seconds is None or self.now + step.seconds > until:
                    self.now = until if step.seconds is not None else self.now
                    return self
                self.now += step.seconds
            else:
                self.end = step.what
                if step.what is What.FINISH:
                    self.flow.finish()
                return self

    @property
    def octets(self) -> bytes:
        return b"".join(self.sent)


def test_without_toxics_octets_pass_at_once_and_so_does_their_end() -> None:
    driven = Driven().put(b"one", b"two").run()
    assert (driven.sent, driven.moments, driven.end) == ([b"one", b"two"], [0, 0], None)
    driven.flow.end(driven.now)
    assert driven.run().end is What.FINISH
    assert driven.run().end is What.OVER
    assert driven.put(b"late").run().octets == b"onetwo", "what comes behind the FIN is discarded"


def test_latency_and_jitter_keep_the_order() -> None:
    driven = Driven(latency=1.0, jitter=0.5).put(*(b"%d" % number for number in range(10))).run()
    assert driven.octets == b"0123456789"
    assert all(1.0 <= moment <= 1.5 for moment in driven.moments)
    assert driven.moments == sorted(driven.moments)


def test_bandwidth_spreads_octets_over_the_time() -> None:
    driven = Driven(bandwidth=1000).put(bytes(3000)).run()
    assert len(driven.sent) == 60
    assert driven.moments[-1] == pytest.approx(2.95)


def test_a_slicer_cuts_varies_and_pauses() -> None:
    driven = Driven(slice=10, slice_variation=5, slice_delay=0.1).put(bytes(500)).run()
    sizes = [len(piece) for piece in driven.sent[:-1]]
    assert all(5 <= size <= 15 for size in sizes)
    assert len(set(sizes)) > 3
    assert driven.moments[1] == pytest.approx(0.1)


def test_a_limit_a_timeout_and_resets_end_the_conversation() -> None:
    driven = Driven(close_after=4).put(b"0123456789").run()
    assert (driven.octets, driven.end) == (b"0123", What.CLOSE)
    driven = Driven(reset_after=4).put(b"0123456789").run()
    assert (driven.octets, driven.end) == (b"0123", What.RESET)
    driven = Driven(silent=True, close_timeout=5.0).put(b"0123").run()
    assert (driven.octets, driven.end, driven.now) == (b"", What.CLOSE, 105.0)
    driven = Driven(reset_timeout=5.0).put(b"0123").run()
    assert (driven.octets, driven.end, driven.now) == (b"0123", What.RESET, 105.0)
    assert Driven(reset_timeout=0.0).put(b"0123").run().end is What.RESET


def test_a_slow_close_delays_the_fin_alone() -> None:
    driven = Driven(finish_delay=3.0).put(b"0123").run()
    assert driven.moments == [0]
    driven.flow.end(driven.now)
    assert (driven.run().end, driven.now) == (What.FINISH, 103.0)


def test_a_half_open_direction_says_nothing_any_more_not_even_its_end() -> None:
    driven = Driven(half_open_after=4).put(b"0123456789").run()
    assert (driven.octets, driven.end, driven.flow.size) == (b"0123", None, 0)
    driven.put(b"more").run()
    driven.flow.end(driven.now)
    assert (driven.run().octets, driven.end) == (b"0123", What.OVER), "over, without a FIN"


def test_silence_gives_back_what_it_held() -> None:
    driven = Driven(silent=True).put(b"0123").run()
    assert (driven.octets, driven.flow.size) == (b"", 4)
    driven.flow.toxics = Toxics()
    assert (driven.run().octets, driven.flow.size) == (b"0123", 0)


def test_messages_are_corrupted_in_one_bit_and_duplicated() -> None:
    driven = Driven(corrupt=1.0).put(b"abc", b"def").run()
    for sent, original in zip(driven.sent, (b"abc", b"def"), strict=True):
        flipped = int.from_bytes(sent) ^ int.from_bytes(original)
        assert flipped.bit_count() == 1
        assert len(sent) == len(original)
    assert Driven(duplicate=1.0).put(b"abc", b"def").run().sent == [b"abc", b"abc", b"def", b"def"]


def test_a_message_is_overtaken_by_the_next_and_does_not_wait_for_ever() -> None:
    assert Driven(reorder=1.0).put(b"1", b"2", b"3", b"4").run().octets == b"2143"
    driven = Driven(reorder=1.0).put(b"1")
    assert driven.run().moments == [pytest.approx(OVERTAKE_SECONDS)]
    driven = Driven(reorder=1.0).put(b"1")
    driven.flow.end(driven.now)
    assert (driven.run().octets, driven.end) == (b"1", What.FINISH)


@given(
    st.lists(st.binary(min_size=1, max_size=50), max_size=20),
    st.integers(0, 1000),
    st.fixed_dictionaries(
        {},
        optional={
            "latency": st.floats(0, 2),
            "jitter": st.floats(0, 2),
            "bandwidth": st.floats(10, 1e6),
            "slice": st.integers(1, 30),
            "slice_variation": st.integers(0, 40),
            "slice_delay": st.floats(0, 0.1),
            "finish_delay": st.floats(0, 2),
        },
    ),
)
def test_what_only_delays_loses_and_changes_nothing(messages: list[bytes], seed: int, toxics: dict[str, float]) -> None:
    driven = Driven(seed, **toxics).put(*messages)
    driven.flow.end(driven.now)
    driven.run(1e6)
    assert (driven.octets, driven.end, driven.flow.size) == (b"".join(messages), What.FINISH, 0)


@given(st.lists(st.binary(min_size=1, max_size=9), max_size=30), st.integers(0, 1000))
def test_what_is_doubled_and_reordered_is_all_there(messages: list[bytes], seed: int) -> None:
    driven = Driven(seed, reorder=0.5, duplicate=0.5).put(*messages)
    driven.flow.end(driven.now)
    driven.run()
    assert driven.flow.size == 0
    assert sum(map(len, driven.sent)) >= sum(map(len, messages))
    assert all(message in driven.octets for message in messages)


def test_room_is_what_may_still_be_read() -> None:
    driven = Driven(room=10, silent=True).put(b"0123")
    assert driven.flow.room == 6
    assert driven.put(b"0123456789").flow.room < 0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"latency": -1}, "latency is -1, it must be at least 0"),
        ({"latency": float("nan")}, "latency: expected a finite number, got nan"),
        ({"slice": 0}, "slice is 0, it must be at least 1"),
        ({"bandwidth": 0}, "bandwidth is 0, it must be above 0"),
        ({"corrupt": 1.5}, "corrupt is 1.5, it must be a probability"),
        ({"half_open_after": -1}, "half_open_after is -1"),
        ({"close_timeout": -1}, "close_timeout is -1"),
    ],
)
def test_values_out_of_range(wrong: dict[str, float], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        Toxics(**wrong)  # type: ignore[arg-type]
