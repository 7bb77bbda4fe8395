"""The console observer by itself: what becomes of each event, and of what peers put into it."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest

from fourtuple import events
from fourtuple.cli.console import Console
from fourtuple.cli.console_clients import client_line
from fourtuple.cli.lines import Lines
from fourtuple.cli.relay_console import RelayConsole
from fourtuple.cli.supervise_console import SuperviseConsole
from fourtuple.engine.listener import BY_REQUEST
from fourtuple.errors import (
    DeadlinePassed,
    EncodeError,
    FramingMistake,
    MalformedMessage,
    MessageError,
    PeerReset,
    TlsCertificateRefused,
    TlsError,
    UnmappedMessage,
)
from fourtuple.four_tuple import FourTuple
from fourtuple.framing import JSON_MAPPING, Framing, Line, Mapped, Unmapped, custom, mapped
from fourtuple.relay import events as relay_events
from fourtuple.stream import Reason, Statistics
from fourtuple.supervisor import events as worker_events

NAME = FourTuple("192.0.2.1", 9999, "192.0.2.2", 40000)


class Screen:
    """A console whose time passes when the test says so."""

    def __init__(self, **options: bool) -> None:
        self.out, self.err = io.StringIO(), io.StringIO()
        self.calls: list[Callable[[], None]] = []
        self.console = Console(
            lambda _seconds, call: self.calls.append(call), lines=Lines(self.out, self.err), **options
        )

    def closed(self, reason: Reason = Reason.PEER_CLOSED, octets: int = 0) -> str:
        counters = Statistics(octets, octets, 1, 1, 0, 0, 0)
        self.console(events.Closed(1, NAME, reason, counters, 0.5, not octets))
        return self.out.getvalue()


def test_the_console_knows_every_event() -> None:
    kinds = {kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, events.Event)}
    assert set(Screen().console._handlers) == kinds - {events.Event, events.Listening}


def test_the_console_of_a_supervisor_knows_every_event() -> None:
    console = SuperviseConsole(later=lambda _seconds, _call: None)
    kinds = {kind for kind in vars(worker_events).values() if isinstance(kind, type) and issubclass(kind, events.Event)}
    told = {*console._lines, *console._failures}
    assert told == kinds - {events.Event, worker_events.Supervising} | {events.Operating}


@pytest.mark.parametrize(
    ("seconds", "told"), [(None, ""), (0.0, " now"), (0.04, " now"), (0.06, " in 0.1 s"), (30.0, " in 30.0 s")]
)
def test_a_worker_that_does_not_start_is_tried_again_in_a_time_that_is_told(seconds: float | None, told: str) -> None:
    console = SuperviseConsole(later=lambda _seconds, _call: None)
    line = console._failures[worker_events.WorkerNotReady](worker_events.WorkerNotReady(1, "exit code 2", seconds))
    assert line == "worker 1 did not start: exit code 2" + (told and "; the next attempt follows" + told)


def test_each_suspension_has_its_two_lines_and_of_other_pauses_the_first_is_reported() -> None:
    for quiet in (False, True):
        screen = Screen(quiet=quiet)
        for why in (BY_REQUEST, "max_threads are busy", "max_threads are busy", BY_REQUEST):
            screen.console(events.AcceptPaused(NAME.local, why))
            screen.console(events.AcceptResumed(NAME.local))
        assert [line.split("192.0.2.1:9999")[0] for line in screen.out.getvalue().splitlines()] == [
            "accept pauses at ", "accept resumes at ",
            "accept pauses at ",
            "accept pauses at ", "accept resumes at ",
        ]  # fmt: skip


def test_the_lines_of_clients_tell_failures_and_on_demand_the_rest() -> None:
    lost = events.ClientDisconnected("127.0.0.1:1", "a -> b", "error", ConnectionResetError("reset\nforged"))
    ready = events.ClientStateChanged("127.0.0.1:1", "ready", "greeting")
    screen = Screen()
    screen.console(lost)
    screen.console(ready)
    line = "client of 127.0.0.1:1: disconnected, a -> b, error, reset"
    printed = screen.out.getvalue()
    assert line in printed
    assert printed.count("\n") == 1
    assert all(client_line(event) is None for event in (events.Draining(1, 8.0),))


@pytest.mark.parametrize("reason", Reason)
def test_the_console_says_which_side_closed(reason: Reason) -> None:
    screen = Screen(hold=False)
    line = screen.closed(reason, 16)
    assert any(who in line for who in ("by the peer", "by the server", "by the network", "with its program"))


EVENTS_OF_A_CONNECTION = [
    events.HandlerRaised(1, NAME, "handler", ValueError("no")),
    events.HandlerSlow(1, NAME, "handler", 1.0),
    events.HandlerAbandoned(1, NAME, "handler"),
    events.MessageFailed(1, NAME, FramingMistake("a mistake")),
    events.TlsStarted(1, NAME, "TLSv1.3", "", "", "", ""),
]


@pytest.mark.parametrize("event", EVENTS_OF_A_CONNECTION, ids=lambda event: event.kind)
def test_no_line_of_a_connection_comes_before_the_one_that_opens_it(event: events.Event) -> None:
    """The opening is held back for a moment, because a probe leaves no line; it comes before any other line."""
    both = io.StringIO()
    screen = Screen()
    screen.console.lines = Lines(both, both)
    screen.console._verbose = True
    screen.console(events.Accepted(1, NAME))
    assert both.getvalue() == ""
    screen.console(event)
    screen.console(events.Closed(1, NAME, Reason.HANDLER_ERROR, Statistics(5, 0, 0, 0, 0, 0, 0), 0.5, False))
    for call in screen.calls:
        call()
    lines = [line for line in both.getvalue().splitlines() if line.startswith("#1")]
    assert lines[0] == f"#1 opened {NAME}"
    assert lines[1].startswith(f"#1 {NAME}: ")
    assert lines[2].startswith(f"#1 closed {NAME}")
    assert len(lines) == 3


def test_a_connection_that_the_server_ends_is_no_probe_of_the_peer() -> None:
    assert "a probe" not in Screen(hold=False).closed(Reason.HANDLER_ERROR)


def test_the_octets_of_tls_are_named_as_such() -> None:
    screen = Screen(hold=False)
    screen.console(events.TlsStarted(1, NAME, "TLSv1.3", "", "", "", ""))
    assert ", in 1 message 654 octets of TLS, out 1 message 654 octets of TLS, " in screen.closed(octets=654)
    again = screen.closed(octets=6)
    assert again.endswith(", in 1 message 6 octets, out 1 message 6 octets, 0.500 s, closed by the peer\n")


REFUSED = TlsCertificateRefused(f"{NAME}: the peer's certificate does not verify: expired")
LATE = DeadlinePassed("receive", 1.0, str(NAME), "no message came")
ONCE = [
    (events.TlsFailed(1, NAME, REFUSED), "closed by the server: the peer's certificate does not verify: expired"),
    (events.DeadlineMissed(1, NAME, TlsError(f"{NAME}: end of file")), "closed by the server: end of file"),
    (events.HandlerRaised(1, NAME, "talk", REFUSED), "raised TlsCertificateRefused: the peer's certificate does not"),
    (events.HandlerRaised(1, NAME, "talk", LATE), "receive deadline of 1 s passed: no message came"),
    (
        events.ClientDisconnected("192.0.2.1:1", str(NAME), "error", PeerReset(f"{NAME}: reset by the peer")),
        ", error, reset by the peer",
    ),
    (relay_events.TargetFailed(1, NAME, "exec:x", TlsError(f"{NAME}: TLS failed")), f"#1 {NAME}: TLS failed"),
]


@pytest.mark.parametrize(("event", "text"), ONCE, ids=[type(event).__name__ for event, _ in ONCE])
def test_no_line_names_a_connection_twice(event: events.Event, text: str) -> None:
    """The text of an error begins with the connection's name, or has it; so does the line."""
    out, err = io.StringIO(), io.StringIO()
    console = RelayConsole(lambda *_: None, in_hex=False, hold=False, lines=Lines(out, err))
    console(event)
    console(events.Closed(1, NAME, Reason.TLS_ERROR, Statistics(5, 0, 0, 0, 0, 0, 0), 0.5, False))
    printed = out.getvalue() + err.getvalue()
    assert text in printed
    assert all(line.count(str(NAME)) <= 1 for line in printed.splitlines())


def test_without_messages_only_octets_are_counted() -> None:
    screen = Screen(hold=False)
    screen.console.cuts_messages = False
    assert f"#1 closed {NAME}, in 16 octets, out 16 octets, 0.500 s, closed by the peer\n" == screen.closed(octets=16)


def test_a_probe_that_is_gone_within_the_moment_leaves_no_line() -> None:
    screen = Screen()
    screen.console(events.Accepted(1, NAME))
    assert screen.closed() == ""
    for call in screen.calls:
        call()
    assert screen.out.getvalue() == ""


def test_a_probe_whose_opening_was_printed_is_printed_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    screen.console(events.Accepted(1, NAME))
    monkeypatch.setattr("fourtuple.cli.held_lines.HOLD_SECONDS", 0)
    monkeypatch.setattr("time.monotonic", lambda: 1e9)
    screen.calls.pop()()
    assert screen.out.getvalue() == f"#1 opened {NAME}\n"
    assert screen.closed().endswith("closed by the peer, a probe\n")


def test_what_peers_sent_is_escaped_wherever_it_is_printed() -> None:
    screen = Screen(hold=False)
    screen.console(events.MessageFailed(1, NAME, MalformedMessage("it begins with \x1b[2J\x07")))
    assert r"closed by the server: it begins with \x1b[2J\x07" in screen.closed(Reason.MESSAGE_ERROR, 16)
    screen.console(events.HandlerRaised(1, NAME, "handler", ValueError("evil \x9b1m \u202e text")))
    assert r"raised ValueError: evil \x9b1m \u202e text" in screen.err.getvalue()
    assert (screen.out.getvalue() + screen.err.getvalue()).replace("\n", "").isprintable()


def misspelled(octets: bytes | bytearray, seen: int = 0) -> Any:
    return octets + checksom  # type: ignore[name-defined] # noqa: F821


def refuses(octets: bytes | bytearray, seen: int = 0) -> Any:
    raise ValueError("not so")


def failed_by(framing: Framing[Any, Any]) -> MessageError | UnmappedMessage:
    """The error of a message that this framing cannot read, as a connection has it."""
    try:
        (message,) = framing.decoder().feed(b"abc\n")
    except MessageError as error:
        return error
    assert isinstance(message, Unmapped)
    return UnmappedMessage(message.octets, message.error, "a peer")


@pytest.mark.parametrize("verbose", [False, True])
@pytest.mark.parametrize("kind", [events.MessageFailed, events.MessageUnmapped])
@pytest.mark.parametrize(
    ("framing", "name"), [(custom(misspelled), "NameError"), (mapped(Line(), misspelled, bytes), "NameError")]
)
def test_a_mistake_in_the_framings_code_is_printed_with_its_place(
    kind: Any, framing: Framing[Any, Any], name: str, verbose: bool
) -> None:
    screen = Screen(hold=False, verbose=verbose)
    for _ in range(2):
        screen.console(kind(1, NAME, failed_by(framing)))
    line = misspelled.__code__.co_firstlineno + 1
    printed = screen.err.getvalue()
    assert printed.count(f"'checksom' is not defined, at {__file__}:{line}, in misspelled\n") == 2
    assert printed.count("Traceback") == printed.count("NameError: name 'checksom' is not defined\n") == 1 + verbose
    assert printed.count(f'File "{__file__}", line {line}, in misspelled') == 1 + verbose
    assert "custom_framing.py" not in printed
    if kind is events.MessageFailed:
        assert f"at {__file__}:{line}, in misspelled" in screen.closed(Reason.MESSAGE_ERROR, 16)


def test_a_wrong_result_is_printed_as_a_mistake() -> None:
    screen = Screen(hold=False)
    error = failed_by(custom(lambda buffer, seen: bytes(buffer)))  # type: ignore[arg-type, return-value]
    assert isinstance(error, FramingMistake)
    screen.console(events.MessageFailed(1, NAME, error))
    assert "returned b'abc\\n' (bytes); expected (message, used)" in screen.err.getvalue()


@pytest.mark.parametrize("verbose", [False, True])
@pytest.mark.parametrize("framing", [custom(refuses), mapped(Line(), refuses, bytes)])
def test_what_the_framings_code_refuses_is_the_peers_doing(framing: Framing[Any, Any], verbose: bool) -> None:
    screen = Screen(hold=False, verbose=verbose)
    screen.console(events.MessageFailed(1, NAME, failed_by(framing)))
    assert screen.err.getvalue().count("Traceback") == verbose
    assert f"not so, at {__file__}:" in screen.closed(Reason.MESSAGE_ERROR, 16)


def test_an_error_without_code_of_the_users_has_no_place() -> None:
    screen = Screen(hold=False, verbose=True)
    screen.console(events.MessageFailed(1, NAME, failed_by(Mapped(Line(), JSON_MAPPING))))
    assert not screen.err.getvalue()
    assert ", at " not in screen.closed(Reason.MESSAGE_ERROR, 16)


def test_what_an_encoder_raised_is_printed_above_the_handlers_error() -> None:
    def decode(buffer: bytearray, seen: int) -> tuple[bytes, int]:
        return bytes(buffer), len(buffer)

    for framing in (custom(decode, misspelled), mapped(Line(), bytes, misspelled)):
        screen = Screen()
        with pytest.raises(EncodeError) as caught:
            framing.encode(b"abc")
        screen.console(events.HandlerRaised(1, NAME, "handler", caught.value))
        printed = screen.err.getvalue()
        assert f'File "{__file__}", line {misspelled.__code__.co_firstlineno + 1}, in misspelled' in printed
        assert "NameError: name 'checksom' is not defined\n" in printed
        assert printed.index("NameError") < printed.index("direct cause") < printed.rindex("EncodeError")


def test_pauses_are_reported_once_unless_verbose() -> None:
    for verbose, lines in ((False, 1), (True, 4)):
        screen = Screen(verbose=verbose)
        for _ in range(2):
            screen.console(events.AcceptPaused(NAME.local, "max_connections reached: 3 connections"))
            screen.console(events.AcceptResumed(NAME.local))
        assert screen.out.getvalue().count("\n") == lines


def test_an_output_that_is_gone_does_not_stop_the_server() -> None:
    screen = Screen()
    screen.out.close()
    screen.console(events.Draining(0))
