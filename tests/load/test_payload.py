"""What is sent and what is expected: templates, filler, the words of RESP, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from fourtuple.errors import OptionError
from fourtuple.framing import ReplyError, parse_framing
from fourtuple.load import Load
from fourtuple.load.payload import Payload, Template, expectation

VALUES = {"n": 26, "connection": 3, "turn": 7, "process": 1}


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        (b"{n}", b"26"),
        (b"SET k{n:06d} {connection}/{turn}/{process}", b"SET k000026 3/7/1"),
        (b"{n:x}|{n:X}|{n:4}|", b"1a|1A|  26|"),
        (b"100% {{sure}} \xff\x00", b"100% {sure} \xff\x00"),
    ],
)
def test_a_template_is_filled_with_the_values_of_its_request(template: bytes, filled: bytes) -> None:
    assert Template.parse(template).fill(VALUES) == filled


@pytest.mark.parametrize(
    ("template", "why"),
    [
        (b"{m}", "is not one of n, connection, turn, process"),
        (b"{}", "is not one of"),
        (b"{n!r}", "is not one of"),
        (b"{n:.3f}", "not a format such as 08d"),
        (b"{n", "expected '}'"),
        (b"}", "Single '}'"),
    ],
)
def test_templates_that_mean_nothing(template: bytes, why: str) -> None:
    with pytest.raises(OptionError, match=why):
        Template.parse(template)


def sent(framing: str, load: Load, count: int = 1, **given: Any) -> list[bytes]:
    """What the wire has."""
    parsed = parse_framing(framing)
    source = Payload.of(load, parsed, **given).source(parsed)
    return [parsed.encode(source(VALUES | {"n": number})) for number in range(count)]


def test_what_is_sent_where_nothing_was_given() -> None:
    assert sent("fixed:16", Load()) == [b"abcdefghijklmnop"]
    assert len(sent("line", Load())[0]) == 64 + 1
    assert len(sent("u32", Load(size=1000))[0]) == 1000 + 4
    assert sent("u16", Load(size=0)) == [b"\0\0"]
    assert sent("resp", Load()) == [b"*1\r\n$4\r\nPING\r\n"]


def test_messages_and_templates_take_turns() -> None:
    assert sent("line", Load(), 3, messages=[b"a", b"b"]) == [b"a\n", b"b\n", b"a\n"]
    assert sent("line", Load(), 3, templates=[b"a{n}", b"b{n}"]) == [b"a0\n", b"b1\n", b"a2\n"]


def test_commands_of_resp_are_words() -> None:
    wanted = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3\r\na b\r\n"
    assert sent("resp", Load(), messages=[b"SET k 'a b'"]) == [wanted]
    assert sent("resp", Load(), 2, templates=[b"GET k{n}"])[1] == b"*2\r\n$3\r\nGET\r\n$2\r\nk1\r\n"


@pytest.mark.parametrize(
    ("framing", "load", "given", "why"),
    [
        ("fixed:4", Load(), {"messages": [b"hello"]}, "takes messages of 4 octets, this one has 5"),
        ("line", Load(), {"messages": [b"a\nb"]}, "the requests: "),
        ("line", Load(), {"messages": [b"a"], "templates": [b"b"]}, "one of them"),
        ("line", Load(size=3), {"messages": [b"a"]}, "size: 3 octets, and messages; expected one of the two"),
        ("resp", Load(), {"messages": [b"SET 'k"]}, "No closing quotation"),
        ("line", Load(), {"templates": [b"{x}"]}, "not one of n, connection"),
    ],
)
def test_payloads_that_cannot_be_sent(framing: str, load: Load, given: dict[str, Any], why: str) -> None:
    parsed = parse_framing(framing)
    with pytest.raises(OptionError, match=why):
        Payload.of(load, parsed, **given)


@pytest.mark.parametrize(
    ("text", "right", "wrong"),
    [
        ("text:OK\\r", b"OK\r", b"OK"),
        ("starts:OK", b"OK 1", b"KO"),
        ("regex:^[0-9]+$", b"2026", b"20a6"),
        ("regex:\\d\\.\\d", b"1.5", b"1x5"),
        ("size:3", b"abc", b"abcd"),
    ],
)
def test_an_expectation_tells_right_from_wrong_replies(text: str, right: bytes, wrong: bytes) -> None:
    check = expectation(text).check
    assert check is not None
    assert check(right, None)
    assert not check(wrong, None)


def test_expectations_of_each_request() -> None:
    same = expectation("same")
    assert same.same
    assert same.check is not None
    assert same.check([b"GET"], [b"GET"])
    made = expectation("template:OK {n}")
    assert made.expected is not None
    assert made.check is not None
    assert made.check(b"OK 26", made.expected(VALUES))
    assert not made.check(b"OK 27", made.expected(VALUES))
    assert expectation("any").check is None


def test_values_are_compared_by_their_text() -> None:
    check = expectation("starts:ReplyError").check
    assert check is not None
    assert check(ReplyError("ERR"), None)


@pytest.mark.parametrize(
    "text", ["", "all", "same:x", "size:many", "size:-1", "size:", "regex:(", "template:{x}", "text"]
)
def test_expectations_that_mean_nothing(text: str) -> None:
    with pytest.raises(OptionError):
        expectation(text)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"connections": 0}, "expected at least 1, got 0; only idle connections or adversaries"),
        ({"churn": 0, "rate": 10.0}, "use connect_rate"),
        ({"replies": 0, "expect": "same"}, "nothing is waited for"),
        ({"rate": 5.0, "connections": 1, "processes": 2}, "1 given for a rate in 2 processes"),
        ({"timeout": 1e5}, "no more than 7200"),
        ({"depth": 0}, "expected at least 1, got "),
        ({"close": "rst"}, "one of fin, reset"),
    ],
)
def test_loads_that_mean_nothing(options: dict[str, Any], why: str) -> None:
    with pytest.raises(OptionError, match=why):
        Load(**options)
