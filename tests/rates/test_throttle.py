"""What holds a connection, and all of one address, to their rates, with a clock that the test holds."""

from __future__ import annotations

import math
import threading
from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fourtuple.options import Limits
from fourtuple.rates.throttle import MOST_TURNS, AddressRate, AddressRates, Throttle, throttles


class Held:
    """A connection that wants messages, and is held to a rate."""

    def __init__(self, world: World, address: str | None = None, wants: int = 0) -> None:
        self.world, self.wants, self.had, self.turns = world, wants, 0, 0
        self.until: list[float] = []
        self.lent = False
        self.throttle = Throttle(world.limits, world.clock, self.until.append, self.on_turn)
        if address is not None:
            self.throttle.join(world.rates.enter(address, world.now))

    def on_turn(self) -> bool:
        self.turns += 1
        if not self.lent:
            self.go_on()
        return not self.lent

    def go_on(self) -> None:
        """As a stream does: ask, decode, pay; and ask again behind a batch."""
        while self.wants:
            allowed = self.throttle.messages(512)
            if not allowed:
                return
            got = min(allowed, self.wants)
            self.throttle.delivered(got)
            self.wants -= got
            self.had += got


class World:
    def __init__(self, max_connections: int = 10, **limits: Any) -> None:
        self.now = 0.0
        self.limits = Limits(**limits)
        self.rates = AddressRates(self.limits, max_connections, nullcontext)

    def clock(self) -> float:
        return self.now

    def look(self, seconds: float) -> None:
        self.now += seconds
        self.rates.look(self.now)


def test_a_burst_of_one_second_then_the_rate() -> None:
    world = World(max_message_rate=10.0)
    held = Held(world, wants=100)
    held.go_on()
    assert held.had == 10
    assert held.until == [pytest.approx(0.1, rel=1e-4)]
    world.now = 0.1
    held.go_on()
    assert held.had == 11
    world.now = 0.6
    held.go_on()
    assert held.had == 16
    world.now = 100.0
    held.go_on()
    assert held.had == 26, "no more than a second's worth is saved up"


def test_octets_and_messages_are_two_rates() -> None:
    held = Held(World(max_message_rate=10.0, max_octet_rate=100.0)).throttle
    assert held.octets(65536) == 100
    held.received(100)
    assert (held.octets(65536), held.thirsty) == (0, True)
    assert held.messages(512) == 10
    held.delivered(10)
    assert held.messages(512) == 0


def test_without_a_rate_of_its_kind_nothing_is_held() -> None:
    held = Held(World(max_message_rate=1.0)).throttle
    for _ in range(3):
        assert (held.octets(65536), held.thirsty) == (65536, False)
        held.received(65536)


def test_above_its_rate_until_a_second_of_quiet() -> None:
    world = World(max_octet_rate=100.0, max_message_rate=1000.0)
    held = Held(world).throttle
    held.received(100)
    assert held.over_since is None
    world.now = 1.0
    assert held.octets(1000) == 100
    held.received(100)
    assert (held.octets(1), held.over_since) == (0, 1.0)
    for world.now in (1.5, 2.0, 2.5):
        held.received(held.octets(1000))
        held.octets(1000)
        assert held.messages(512) == 512, "the other rate is kept, and forgives nothing"
        assert held.over_since == 1.0, "it was never quiet"
    world.now = 4.0
    held.octets(1)
    assert held.over_since is None


def test_messages_that_were_taken_back_unseen_come_again_for_nothing() -> None:
    world = World(max_message_rate=10.0, max_message_rate_per_address=10.0)
    held = Held(world, "a").throttle
    for undelivered in range(9, 0, -1):
        held.delivered(held.messages(512))
        held.undelivered(undelivered)
        assert held.messages(512) == undelivered


# -- all of one address -----------------------------------------------------------------------------------


def test_connections_of_one_address_share_its_rate() -> None:
    world = World(max_message_rate_per_address=10.0)
    one, two, other = Held(world, "a", 8), Held(world, "a", 8), Held(world, "b", 8)
    for each in (one, two, other):
        each.go_on()
    assert (one.had, two.had, other.had) == (8, 2, 8)
    assert two.until == [math.inf], "its turn comes, not a moment"


def test_a_returning_address_finds_the_rate_as_it_was_left() -> None:
    world = World(max_message_rate_per_address=10.0)
    had = 0
    for _ in range(100):
        held = Held(world, "a", 10)
        held.go_on()
        had += held.had
        held.throttle.join(None)
        world.look(0.01)
    assert 18 <= had <= 20


def test_a_waiting_connection_is_served_before_a_new_one() -> None:
    world = World(max_message_rate_per_address=4.0)
    flood = Held(world, "a", 1000)
    flood.go_on()
    honest = Held(world, "a", 1)
    honest.go_on()
    assert (flood.had, honest.had) == (4, 0)
    newcomers = []
    for _ in range(5):
        world.now += 0.25
        newcomers.append(Held(world, "a", 1))
        newcomers[-1].go_on()
        assert newcomers[-1].had == 0, "others wait"
        world.rates.look(world.now)
    assert honest.had == 1
    assert [each.had for each in newcomers] == [1, 1, 0, 0, 0], "in their order; the flood had two turns"


def test_waiting_connections_get_a_share_each() -> None:
    world = World(max_message_rate_per_address=100.0)
    crowd = [Held(world, "a", 1000) for _ in range(5)]
    for each in crowd:
        each.go_on()
    for _ in range(40):
        world.look(0.25)
    had = [each.had for each in crowd[1:]]
    assert max(had) - min(had) <= 5
    assert sum(each.had for each in crowd) == 100 + 1000


def test_a_waiter_without_messages_takes_no_token() -> None:
    world = World(max_connections=100, max_message_rate_per_address=100.0)
    flood = Held(world, "a", 1000)
    flood.go_on()
    partial = [Held(world, "a") for _ in range(90)]
    for each in partial:
        assert each.throttle.messages(512) == 0, "half a message: it may be a whole one"
        world.rates.look(world.now)
    for _ in range(4):
        world.look(0.25)
    assert flood.had == 200
    assert [each.turns for each in partial] == [1] * 90


def test_a_look_has_a_bound() -> None:
    world = World(max_message_rate_per_address=1e6)
    world.now = 0.0
    flood = Held(world, "a", 1_000_000)
    flood.go_on()
    crowd = [Held(world, "a", 1) for _ in range(MOST_TURNS + 10)]
    for each in crowd:
        each.go_on()
    world.look(0.25)
    assert sum(each.turns for each in (flood, *crowd)) == MOST_TURNS
    world.look(0.25)
    assert all(not each.wants for each in crowd)


def test_what_is_reserved_for_a_thread_waits_for_it() -> None:
    world = World(max_message_rate_per_address=4.0)
    flood, thread = Held(world, "a", 1000), Held(world, "a", 3)
    thread.lent = True
    flood.go_on()
    thread.go_on()
    for _ in range(6):
        world.look(0.25)
    before = flood.had
    thread.go_on()
    assert thread.had >= 1, "whatever the others took meanwhile"
    assert flood.had + thread.had <= 4 + 6
    thread.throttle.join(None)
    world.look(0.25)
    assert flood.had > before, "what it did not need is there for the others"


def test_a_connection_that_ends_leaves_the_line() -> None:
    world = World(max_message_rate_per_address=1.0)
    flood, gone, next_one = (Held(world, "a", 10) for _ in range(3))
    for each in (flood, gone, next_one):
        each.go_on()
    gone.throttle.join(None)
    world.look(1.0)
    world.look(1.0)
    assert (gone.turns, next_one.had) == (0, 1)


def test_an_address_is_forgotten_when_it_owes_nothing_and_is_not_here() -> None:
    world = World(max_message_rate_per_address=10.0)
    rate = world.rates.enter("a", 0.0)
    assert not rate.as_new(0.0)
    rate.users -= 1
    assert rate.as_new(0.0)
    held = Held(world, "a", 10)
    held.go_on()
    held.throttle.join(None)
    assert not rate.as_new(0.5)
    assert rate.as_new(1.0)
    assert AddressRate(None, None).as_new(0.0)


@given(
    st.lists(
        st.tuples(st.sampled_from(["ask", "take", "leave", "look"]), st.integers(0, 3), st.integers(0, 40)), max_size=60
    ),
    st.floats(0.5, 50),
)
def test_no_connection_gets_more_than_the_rate_and_each_gets_something(
    steps: list[tuple[str, int, int]], rate: float
) -> None:
    world = World(max_message_rate_per_address=rate)
    held = [Held(world, "a") for _ in range(4)]
    had = 0
    for what, who, number in steps:
        one = held[who]
        if what == "leave":
            had += one.had
            one.throttle.join(None)
            held[who] = Held(world, "a")
        elif what == "look":
            world.look(number / 40)
        else:
            one.wants += number
            one.lent = what == "take"
            one.go_on()
        assert had + sum(each.had for each in held) <= max(1.0, rate) + rate * world.now + 1e-3
    for one in held:
        one.lent = False
        one.go_on()
    for _ in range(10_000):
        if not any(one.wants for one in held):
            return
        world.look(1.0)
        for one in held:
            one.go_on()
    pytest.fail("somebody waits forever")


def test_threads_share_without_losing_a_token() -> None:
    limits = Limits(max_message_rate_per_address=1000.0)
    rates = AddressRates(limits, 10, threading.Lock)
    had: list[int] = []

    def work() -> None:
        throttle = Throttle(limits, lambda: 0.0, lambda _: None, lambda: False)
        throttle.join(rates.enter("a", 0.0))
        count = 0
        while throttle.messages(1):
            throttle.delivered(1)
            count += 1
        had.append(count)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert 1000 <= sum(had) <= 1003, "each may have asked before another one took"


@pytest.mark.parametrize(
    ("limits", "any_rate"),
    [
        ({}, False),
        ({"max_message_rate": 1.0}, True),
        ({"max_octet_rate": 1.0}, True),
        ({"max_message_rate_per_address": 1.0}, True),
        ({"max_octet_rate_per_address": 1.0}, True),
        ({"accept_rate_per_address": 1.0}, False),
    ],
)
def test_which_limits_throttle(limits: dict[str, float], any_rate: bool) -> None:
    assert throttles(Limits(**limits)) is any_rate
