"""Options: declared once, checked when they are made, read from text by what is declared."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fourtuple.errors import OptionError
from fourtuple.options import FAMILIES, Deadlines, Declared, Limits, Options, Reconnect, Sockets, declared, parse_size
from fourtuple.options.checking import kind_of

EVERYTHING = [each for family in (*FAMILIES, Reconnect) for each in declared(family)]


def named(name: str) -> Declared:
    return next(each for each in EVERYTHING if each.name == name)


# -- what is declared -------------------------------------------------------------------------------------


@pytest.mark.parametrize("each", EVERYTHING, ids=lambda each: each.name)
def test_every_option_says_what_it_is_and_why_its_default(each: Declared) -> None:
    assert each.help
    assert each.reason
    assert each.unit or kind_of(each.annotation) in ("bool", "str") or each.name.endswith("jitter")


def test_names_are_unique() -> None:
    names = [each.name for each in EVERYTHING]
    assert len(names) == len(set(names))


def test_flags_and_variables() -> None:
    each = named("max_connections")
    assert (each.flag, each.variable) == ("--max-connections", "FOURTUPLE_MAX_CONNECTIONS")
    assert (each.family, each.optional) == ("Limits", True)


@pytest.mark.parametrize("family", [*FAMILIES, Reconnect])
def test_defaults_survive_a_round_through_text(family: type[Options]) -> None:
    values = {each.name: each.convert(str(each.default) or "none") for each in declared(family)}
    assert family(**values) == family()


# -- ranges -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "name", "value", "text"),
    [
        (Limits, "read_size", 0, "read_size: expected at least 1, got 0 octets"),
        (Limits, "read_size", 1.5, "read_size: expected a whole number of octets, got 1.5"),
        (Limits, "read_size", True, "read_size: expected a whole number of octets, got True"),
        (Limits, "read_size", None, "read_size: expected a whole number of octets, got None"),
        (Limits, "max_connections", -1, "max_connections: expected at least 1, got -1 connections"),
        (Deadlines, "idle_timeout", 0, "idle_timeout: expected more than 0, got 0 seconds"),
        (Deadlines, "idle_timeout", math.nan, "idle_timeout: expected a finite number of seconds or None, got nan"),
        (Deadlines, "idle_timeout", "1", "idle_timeout: expected a number of seconds or None, got '1'"),
        (Sockets, "nodelay", 1, "nodelay: expected True or False, got 1"),
        (Sockets, "congestion", 1, "congestion: expected text or None, got 1"),
        (Sockets, "backlog", -1, "backlog: expected at least 0, got -1 connections"),
        (Reconnect, "attempts", 0, "attempts: expected at least 1, got 0 attempts"),
        (Reconnect, "jitter", 1.5, "jitter: expected a share, at most 1, got 1.5"),
    ],
)
def test_impossible_values_are_refused_with_what_is_needed(
    family: type[Options], name: str, value: Any, text: str
) -> None:
    with pytest.raises(OptionError) as caught:
        family(**{name: value})
    assert str(caught.value) == text


def test_the_low_mark_is_below_the_high_one() -> None:
    with pytest.raises(OptionError, match=r"low_water: expected less than high_water \(10\), got 10 octets"):
        Limits(low_water=10, high_water=10)


def test_a_sender_that_waits_at_the_high_mark_is_not_refused() -> None:
    with pytest.raises(OptionError, match=r"max_outbox: expected at least high_water \(65536\), got 10 octets"):
        Limits(max_outbox=10)
    with pytest.raises(
        OptionError, match=r"max_outbox: expected at least high_water \(33554432\), got 16777216 octets"
    ):
        Limits(high_water=32 << 20)
    assert Limits(max_outbox=10, high_water=10, low_water=0).max_outbox == 10


def test_a_copy_is_checked_again() -> None:
    assert Limits().replace(read_size=1).read_size == 1
    with pytest.raises(OptionError):
        Limits().replace(read_size=0)


def test_whole_numbers_are_seconds_too() -> None:
    assert Deadlines(idle_timeout=5).idle_timeout == 5
    assert Deadlines.public().idle_timeout == 60


# -- from text --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("max_connections", "100", 100),
        ("max_connections", "None", None),
        ("max_connections", "unlimited", None),
        ("read_size", "64k", 65536),
        ("idle_timeout", "1.5", 1.5),
        ("idle_timeout", "never", None),
        ("nodelay", "off", False),
        ("nodelay", "Yes", True),
        ("congestion", "bbr", "bbr"),
        ("congestion", "none", None),
    ],
)
def test_a_text_becomes_the_value_of_its_option(name: str, text: str, value: Any) -> None:
    assert named(name).convert(text) == value


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("max_connections", "many", "cannot read 'many' as a whole number of connections or none"),
        ("read_size", "64q", "cannot read '64q' as a whole number of octets .64k, 1m."),
        ("read_size", "none", "cannot read 'none' as a whole number of octets"),
        ("idle_timeout", "soon", "idle_timeout: cannot read 'soon' as a number of seconds or none"),
        ("nodelay", "maybe", "nodelay: cannot read 'maybe' as on or off"),
    ],
)
def test_not_to_be_converted(name: str, text: str, expected: str) -> None:
    with pytest.raises(OptionError, match=expected):
        named(name).convert(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("65536", 65536),
        ("64k", 65536),
        ("64KiB", 65536),
        ("1 m", 1 << 20),
        ("2g", 2 << 30),
        ("3kb", 3072),
        ("9" * 30, 10**30 - 1),
    ],
)
def test_a_size_may_have_a_unit(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "k", "-1", "1.5k", "1t", "k1", "9" * 5000])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="as a number of octets"):
        parse_size(text)


# -- the pauses of Reconnect ------------------------------------------------------------------------------


def test_pauses_double_up_to_the_longest() -> None:
    reconnect = Reconnect(delay=0.1, max_delay=1.0, jitter=0.0)
    assert [reconnect.pause(attempt, 0.9) for attempt in range(1, 7)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


@given(st.integers(1, 1_000_000), st.floats(0, 1, exclude_max=True))
def test_pauses_are_bounded(attempt: int, chance: float) -> None:
    assert 0 <= Reconnect(jitter=1.0).pause(attempt, chance) <= 10.0
