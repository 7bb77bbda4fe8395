"""Who may come in: networks, numbers and rates, with a clock that the test holds."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fourtuple.errors import OptionError
from fourtuple.options import Limits
from fourtuple.rates.token_bucket import MAX_REMEMBERED, SHARED_ENTRIES
from fourtuple.serving.policy import AdmissionPolicy, Bucket


def admission(**limits: Any) -> AdmissionPolicy:
    return AdmissionPolicy(Limits(**limits))


def refused(door: AdmissionPolicy, ip: str | None, now: float = 0.0) -> str | None:
    refusal = door.admit(ip, now)
    return refusal.limit if refusal else None


def test_without_limits_every_connection_is_accepted() -> None:
    door = admission()
    assert [refused(door, "192.0.2.1") for _ in range(100)] == [None] * 100
    assert door.count("192.0.2.1") == 100


def test_connections_of_one_address_are_counted_and_refused() -> None:
    door = admission(max_connections_per_address=2)
    assert [refused(door, "192.0.2.1") for _ in range(3)] == [None, None, "max_connections_per_address"]
    assert refused(door, "192.0.2.2") is None
    door.leave("192.0.2.1")
    assert refused(door, "192.0.2.1") is None
    refusal = door.admit("192.0.2.1", 0)
    assert refusal is not None
    assert refusal.text == "192.0.2.1 has 2 connections, no more than 2 are allowed"


def test_connections_of_one_network_are_counted_and_refused() -> None:
    door = admission(max_connections_per_network=1)
    assert refused(door, "192.0.2.1") is None
    refusal = door.admit("192.0.2.254", 0)
    assert refusal is not None
    assert (refusal.limit, refusal.text) == (
        "max_connections_per_network",
        "192.0.2.0/24 has 1 connections, no more than 1 are allowed",
    )
    assert refused(door, "192.0.3.1") is None
    assert refused(door, "2001:db8::1") is None
    assert refused(door, "2001:db8::ffff:1%eth0") == "max_connections_per_network"
    assert refused(door, "2001:db8:0:1::1") is None
    door.leave("192.0.2.1")
    assert refused(door, "192.0.2.254") is None


def test_allow_and_deny() -> None:
    door = admission(allow="10.0.0.0/8, 2001:db8::/32", deny="10.9.0.0/16")
    assert refused(door, "10.1.2.3") is None
    assert refused(door, "2001:db8::1") is None
    refusal = door.admit("10.9.0.1", 0)
    assert refusal is not None
    assert (refusal.limit, refusal.text) == ("deny", "10.9.0.1 is in 10.9.0.0/16, which is denied")
    refusal = door.admit("192.0.2.1", 0)
    assert refusal is not None
    assert (refusal.limit, refusal.text) == ("allow", "192.0.2.1 is not in the 2 networks that are allowed")
    assert refused(door, None) is None, "the peer of a Unix socket is on this machine"


def test_rate_per_address() -> None:
    door = admission(accept_rate_per_address=2.0)
    assert [refused(door, "192.0.2.1") for _ in range(3)] == [None, None, "accept_rate_per_address"]
    assert refused(door, "192.0.2.2") is None
    assert refused(door, "192.0.2.1", 0.4) == "accept_rate_per_address"
    assert refused(door, "192.0.2.1", 0.5) is None
    assert refused(door, "192.0.2.1", 0.6) == "accept_rate_per_address"


def test_an_ipv6_network_is_one_address_to_the_rate() -> None:
    door = admission(accept_rate_per_address=2.0)
    assert refused(door, "2001:db8::1") is None
    assert refused(door, "2001:db8::ffff:1%eth0") is None
    assert refused(door, "2001:db8:0:0:7::1") == "accept_rate_per_address"
    assert refused(door, "2001:db8:0:1::1") is None
    wider = admission(accept_rate_per_address=1.0, network_prefix_v6=48)
    assert refused(wider, "2001:db8::1") is None
    assert refused(wider, "2001:db8:0:1::1") == "accept_rate_per_address"


def test_many_addresses_do_not_evict_an_address_that_counts() -> None:
    door = admission(accept_rate_per_address=1.0)
    for number in range(MAX_REMEMBERED + 1000):
        door.admit(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 0.0)
    assert refused(door, "10.0.0.0") == "accept_rate_per_address", "the first of all is remembered still"
    refusals = [refused(door, f"192.0.2.{number}") for number in range(256)]
    assert refusals.count(None) <= SHARED_ENTRIES, "strangers share what is left"
    assert refused(door, "198.51.100.1", 1.5) is None, "and those who were quiet for a second make room"


def test_overall_rate_is_a_wait_not_a_refusal() -> None:
    door = admission(accept_rate=10.0)
    for _ in range(10):
        assert door.wait(0.0) == 0
        door.accepted(0.0)
    assert door.wait(0.0) == pytest.approx(0.1)
    assert door.wait(0.1) == 0
    assert admission().wait(0.0) == 0


def test_changed_limits_count_connections_already_here() -> None:
    door = admission()
    for host in range(5):
        door.admit(f"192.0.2.{host}", 0)
    door.change(Limits(max_connections_per_network=5))
    assert refused(door, "192.0.2.99") == "max_connections_per_network"
    for host in range(5):
        door.leave(f"192.0.2.{host}")
    assert refused(door, "192.0.2.99") is None
    with pytest.raises(OptionError, match="deny: cannot read address 'x': not a network"):
        door.change(Limits(deny="x"))


@given(
    st.lists(st.tuples(st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.1.1", "::1", "::2"]), st.booleans())),
    st.integers(1, 4),
    st.integers(1, 6),
)
def test_no_count_exceeds_its_limit_and_all_return_to_zero(
    steps: list[tuple[str, bool]], address: int, network: int
) -> None:
    door = admission(max_connections_per_address=address, max_connections_per_network=network)
    here: Counter[str] = Counter()
    for ip, comes in steps:
        if comes:
            here[ip] += door.admit(ip, 0) is None
        elif here[ip]:
            door.leave(ip)
            here[ip] -= 1
        assert here[ip] <= address
        assert here["10.0.0.1"] + here["10.0.0.2"] <= network
        assert door.count(ip) == here[ip]
    for ip in here.elements():
        door.leave(ip)
    assert not door.by_address
    assert not door._by_network


@given(st.floats(0.5, 1000), st.lists(st.floats(0, 5), max_size=50))
def test_a_bucket_never_gives_more_than_its_rate_and_burst(rate: float, pauses: list[float]) -> None:
    bucket, now, taken = Bucket(rate, rate, 0.0), 0.0, 0
    for pause in pauses:
        now += pause
        while not bucket.wait(now):
            bucket.take(now)
            taken += 1
        assert taken <= max(1.0, rate) + now * rate + 1e-6
    assert bucket.full(now + max(1.0, rate) / rate + 1)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"allow": "10.0.0.1/8"}, "allow: cannot read address '10.0.0.1/8': not a network: .*host bits set"),
        ({"deny": "all"}, "deny: cannot read address 'all': not a network"),
        ({"network_prefix_v4": 33}, "network_prefix_v4: expected no more than 32, got 33 bits"),
        ({"network_prefix_v6": 129}, "network_prefix_v6: expected no more than 128, got 129 bits"),
        ({"accept_rate": 0.0}, "accept_rate: expected at least 0.001, got 0.0 connections a second"),
    ],
)
def test_what_cannot_be(given: dict[str, Any], text: str) -> None:
    with pytest.raises(OptionError, match=text):
        Limits(**given)
