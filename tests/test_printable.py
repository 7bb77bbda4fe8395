"""What peers put into texts reaches no line of a log with its effect: not in any observer, and not at any length."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import sys
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fourtuple import events
from fourtuple.cli.console import Console
from fourtuple.cli.lines import Lines
from fourtuple.errors import HandlerFailed, MalformedMessage
from fourtuple.load.meter import Meter
from fourtuple.observe.json import JsonLines
from fourtuple.observe.log import log_failures
from fourtuple.observe.raised import trimmed
from fourtuple.printable import (
    MOST,
    MOST_ERRORS,
    MOST_LINES,
    error_text,
    escaped,
    hexdump,
    printable,
    readable,
    repr_of,
    text_of,
    traceback_of,
)
from hostile import BREAKS, FORGED, HOSTILE, LONG, NAME, TANGLES, Speechless, Unspeakable, every_event, raised

TEXTS = pytest.mark.parametrize(
    "text",
    [
        pytest.param(HOSTILE, id="hostile"),
        pytest.param(LONG, id="long", marks=pytest.mark.slow),
        pytest.param(HOSTILE + LONG, id="both"),
    ],
)


def no_line_is_the_peers(lines: list[str]) -> None:
    """Every line is one that we began, can be printed, and has a bound."""
    assert lines
    for line in lines:
        assert line.isprintable(), line[:200]
        assert not line.startswith(FORGED)
        assert len(line) <= 4 * MOST


# -- the one place ----------------------------------------------------------------------------------------


def test_control_characters_are_escaped() -> None:
    assert escaped("plain text, naïve, 漢字") == "plain text, naïve, 漢字"
    assert escaped("a\nb\x00\x1b\x7f\u202e\udcff") == r"a\nb\x00\x1b\x7f\u202e\xff"
    assert readable(b"ok\ttab \xff \xe2\x82\xac \x1b") == "ok\ttab \\xff € \\x1b"


def test_a_hexdump_has_offset_octets_and_text() -> None:
    assert list(hexdump(b"")) == []
    assert list(hexdump(bytes(range(60, 79)), 32)) == [
        "00000020  3c 3d 3e 3f 40 41 42 43  44 45 46 47 48 49 4a 4b  |<=>?@ABCDEFGHIJK|",
        "00000030  4c 4d 4e                                          |LMN|",
    ]


def test_a_text_is_cut_and_says_how_long_it_was() -> None:
    assert printable("a" * MOST) == "a" * MOST
    assert printable("a" * (MOST + 1)) == "a" * MOST + f"... ({MOST + 1} characters)"
    # The bound is one of what is printed: an escape counts as it is written, and is not cut in two.
    assert printable("\x1b" * 10, 11) == r"\x1b\x1b... (10 characters)"


@given(st.text(st.characters() | st.sampled_from(BREAKS)), st.integers(0, 40))
def test_any_text_becomes_one_line(text: str, most: int) -> None:
    line = printable(text, most)
    assert line.isprintable()
    assert len(line) <= most + 30
    assert escaped(text).startswith(line.partition("... (")[0])


def test_an_exception_without_a_text_is_named() -> None:
    assert text_of(Speechless()) == "<Speechless without a text: its __str__ failed>"


def test_a_traceback_has_all_that_explains_it() -> None:
    lines = traceback_of(raised("what the peer sent"))
    told = "\n".join(lines)
    assert lines.count("Traceback (most recent call last):") == 2
    assert "direct cause" in told
    assert "raise Hostile(text)" in told  # the source
    assert "hostile.Hostile: what the peer sent" in lines
    assert "  | hostile.Hostile: what the peer sent" in lines


def test_a_traceback_has_a_bound() -> None:
    def forth(count: int) -> None:
        if not count:
            raise ValueError("the end")
        back(count - 1)

    def back(count: int) -> None:
        forth(count)

    with pytest.raises(ValueError, match="the end") as caught:
        forth(200)
    lines = traceback_of(caught.value)
    assert len(lines) == MOST_LINES + 1
    assert lines[-1] == "ValueError: the end"


def test_an_exception_with_which_nothing_can_be_done_is_named() -> None:
    error = Unspeakable()
    assert text_of(error) == error_text(error).removeprefix("Unspeakable: ")
    assert text_of(error) == "<Unspeakable without a text: its __str__ failed>"
    assert repr_of(error) == "<Unspeakable without a text: its __repr__ failed>"
    assert traceback_of(error) == ["<Unspeakable without a traceback: looking at it raised RuntimeError>"]
    assert trimmed(error) == traceback_of(error)


def test_a_text_of_a_class_of_its_own_is_a_plain_one() -> None:
    class Text(str):
        def isprintable(self) -> bool:
            raise RuntimeError

    class Says(Exception):
        def __str__(self) -> str:
            return Text("said")

    assert type(text_of(Says())) is str


@pytest.mark.parametrize("tangle", TANGLES)
def test_whatever_hangs_together_the_work_has_a_bound(tangle: str, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[BaseException] = []

    def look(error: BaseException) -> str:
        looked.append(error)
        return text_of(error)

    error = TANGLES[tangle]()
    monkeypatch.setattr("fourtuple.printable.text_of", look)
    lines = traceback_of(error)
    assert len(lines) <= MOST_LINES + 1
    assert any("..." in line for line in lines)
    assert len([each for each in looked if isinstance(each, BaseException)]) <= MOST_ERRORS + 10
    looked.clear()
    assert len(trimmed(error)) <= MOST_LINES + 1
    assert len([each for each in looked if isinstance(each, BaseException)]) <= MOST_ERRORS + 10


def test_exceptions_that_cause_each_other_are_reported_once() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert [line for line in traceback_of(one) if "ValueError" in line] == ["ValueError: other", "ValueError: one"]


def test_python_s_own_hints_are_kept() -> None:
    with pytest.raises(AttributeError) as caught:
        [].apend  # type: ignore[attr-defined]  # noqa: B018
    last = traceback_of(caught.value)[-1]
    assert last == traceback.format_exception_only(caught.value)[-1].rstrip()
    if sys.version_info >= (3, 12):  # before, the traceback module gave no hint; 3.15 goes on in other words
        assert "Did you mean" in last
        assert "append" in last
    with pytest.raises(SyntaxError) as bad:
        compile("x y", "a file", "exec")
    assert any(line.strip() == "x y" for line in traceback_of(bad.value))


# -- every observer ---------------------------------------------------------------------------------------


@TEXTS
def test_no_line_of_the_console_is_the_peers(text: str) -> None:
    out, err = io.StringIO(), io.StringIO()
    for verbose in (False, True):
        console = Console(lambda _seconds, call: call(), verbose=verbose, hold=False, lines=Lines(out, err))
        errors = raised(text), MalformedMessage(text), HandlerFailed(text), OSError(5, text), Speechless(text)
        for error in (*errors, Unspeakable()):
            for event in every_event(text, error):
                console(event)
    lines = (out.getvalue() + err.getvalue()).split("\n")
    assert lines.pop() == ""
    no_line_is_the_peers(lines)


def test_the_console_says_the_rest_of_a_line_behind_a_long_text() -> None:
    out = io.StringIO()
    console = Console(lambda _seconds, call: call(), hold=False, lines=Lines(out))
    console(events.MessageFailed(1, NAME, MalformedMessage(LONG)))
    console(next(event for event in every_event("", ValueError()) if isinstance(event, events.Closed)))
    assert "closed by the server: \\u202e" in out.getvalue()
    assert out.getvalue().endswith(f"({len(LONG)} characters)\n")


@TEXTS
def test_no_line_of_json_is_the_peers(text: str) -> None:
    out = io.StringIO()
    log = JsonLines(out)
    errors = (raised(text), MalformedMessage(text), Speechless(text), Unspeakable())
    for error in errors:
        for event in every_event(text, error):
            # Without an error, it is the same each time: its long text is escaped once, which takes a second.
            if error is errors[0] or any(getattr(event, each.name) is error for each in dataclasses.fields(event)):
                log(event)
    lines = out.getvalue().split("\n")
    assert lines.pop() == ""
    for line in lines:
        assert line.isascii()
        assert line.isprintable()
        assert json.loads(line)["event"]
        assert len(line) < 10 * 1000 * MOST_LINES


@TEXTS
def test_no_line_of_the_log_is_the_peers(text: str, caplog: pytest.LogCaptureFixture) -> None:
    for error in (raised(text), Speechless(text), Unspeakable()):
        for event in every_event(text, error):
            log_failures(event)
    lines = [line for record in caplog.records for line in logging.Formatter().format(record).split("\n")]
    no_line_is_the_peers(lines)
    assert any("hostile.Hostile: " in line for line in lines)
    # For those who collect exceptions.
    assert all(record.exc_info for record in caplog.records if " raised " in record.getMessage())


@TEXTS
def test_what_bench_quotes(text: str) -> None:
    meter = Meter()
    meter.sample(text)
    no_line_is_the_peers(meter.tally.samples)
