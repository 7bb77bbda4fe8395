"""Telnet: commands, and what a program without options answers. And the mistakes of a table of escapes."""

from __future__ import annotations

from typing import Any

import pytest

from fourtuple import Service
from fourtuple.errors import EncodeError, OptionError
from fourtuple.framing import Escaped, Switch, Telnet, TelnetCommand, headed, parse_framing
from fourtuple.testing.counting import countable, counted
from rig import Peer, serving


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (b"\xff\xfb\x01", b"\xff\xfe\x01"),
        (b"\xff\xfd\x03", b"\xff\xfc\x03"),
        (b"\xff\xfc\x01", None),
        (b"\xff\xfe\x01", None),
        (b"\xff\xf1", None),
        (b"\xff\xfa\x18\x00\xff\xf0", None),
    ],
)
def test_what_a_program_without_options_answers(command: bytes, answer: bytes | None) -> None:
    refusal = TelnetCommand(command).refusal()
    assert refusal == (None if answer is None else TelnetCommand(answer))
    assert TelnetCommand(command).verb == command[1]
    assert TelnetCommand(command).option == (command[2] if len(command) > 2 else None)


@pytest.mark.parametrize("octets", [b"", b"x", b"\xff", b"\xff\xff", b"\xff\xfd", b"\xff\xfd\1\1", b"\xff\xfa\1\xff"])
def test_what_is_no_command_is_refused(octets: bytes) -> None:
    with pytest.raises(EncodeError, match="is not a command"):
        Telnet().encode(TelnetCommand(octets))


NOP, DO_1 = b"\xff\xf1", b"\xff\xfd\1"


def test_commands_inside_a_line_come_before_it() -> None:
    stream = b"a" + NOP + b"b\xff\xffc" + DO_1 + b"\r\nd"
    for pieces in ([stream], [stream[at : at + 1] for at in range(len(stream))]):
        decoder = Telnet().decoder()
        messages = [message for piece in pieces for message in decoder.feed(piece)]
        assert messages == [TelnetCommand(NOP), TelnetCommand(DO_1), b"ab\xffc"]
        assert decoder.buffered == 1
        assert decoder.skipped == 0


@pytest.mark.parametrize(
    ("undelivered", "rest"),
    [
        (0, b"gh"),
        (1, b"g" + NOP + b"h"),
        (2, b"bcde\r\ng" + NOP + b"h"),
        (3, b"bc" + DO_1 + b"de\r\ng" + NOP + b"h"),
        (4, b"b" + NOP + b"c" + DO_1 + b"de\r\ng" + NOP + b"h"),
    ],
)
def test_what_is_taken_back_has_no_command_that_was_delivered(undelivered: int, rest: bytes) -> None:
    decoder = Telnet().decoder()
    assert decoder.feed(b"b") == []
    given = decoder.feed(NOP + b"c" + DO_1 + b"de\r\ng" + NOP + b"h")
    assert given == [TelnetCommand(NOP), TelnetCommand(DO_1), b"bcde", TelnetCommand(NOP)]
    assert decoder.take(undelivered) == rest
    assert decoder.buffered == 0


@pytest.mark.parametrize("size", [1, 3, 100, 10_000])
@pytest.mark.parametrize("limit", [None, 1])
def test_the_work_is_linear_in_a_line_full_of_commands(size: int, limit: int | None) -> None:
    octets = (b"ab" + NOP) * 2500

    with counted() as count:
        decoder = Telnet().decoder()
        commands = 0
        for at in range(0, len(octets), size):
            more = decoder.feed(countable(octets[at : at + size]), limit)
            while more:
                commands += len(more)
                decoder.settle()
                more = decoder.feed(b"", limit)
    assert commands == 2500
    assert decoder.buffered == 5000
    assert count.searched <= 3 * len(octets)
    assert count.copied <= 6 * len(octets)


@pytest.mark.parametrize("inner", ["telnet", "telnet+text", "json,elements=on", "json,elements=on+json"])
def test_what_keeps_state_between_messages_is_not_chosen_for_one(inner: str) -> None:
    framing = parse_framing(inner)
    with pytest.raises(OptionError, match=r"switch: .* keeps state between its messages"):
        Switch(((b"a", framing),))
    with pytest.raises(OptionError, match=r"headed: .* keeps state between its messages"):
        headed(framing, "last")


def test_a_framing_changed_at_a_command_inside_a_line(run_async: Any, readiness: str) -> None:
    """The new framing gets the line whole, without the command."""
    service = Service(Telnet())

    @service.reply
    def talk(message: Any, connection: Any) -> bytes | TelnetCommand | None:
        if isinstance(message, TelnetCommand):
            connection.change_framing("line:crlf")
            return message.refusal()
        return bytes(message.upper())

    async def main() -> None:
        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                assert await peer.talk(b"one\r\ntw" + DO_1 + b"o\xff\r\n") == b"ONE\r\n\xff\xfc\1TWO\xff\r\n"

    run_async(main())


def test_a_service_answers_negotiations(run_async: Any, readiness: str) -> None:
    service = Service(Telnet())

    @service.reply
    def talk(message: bytes | TelnetCommand) -> bytes | TelnetCommand | None:
        return message.refusal() if isinstance(message, TelnetCommand) else message.upper()

    async def main() -> None:
        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                assert await peer.talk(b"\xff\xfd\x03\xff\xfb\x18hello\r\n") == b"\xff\xfc\x03\xff\xfe\x18HELLO\r\n"

    run_async(main())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"flag": b"ab"}, "they must be two octets"),
        ({"flag": b"}", "escape": b"}"}, "they must be two octets"),
        ({"table": (b"}]",)}, "which must have flag and escape"),
        ({"table": (b"}]", b"~^", b"~x")}, "each octet once"),
        ({"table": (b"}]", b"~]")}, "each octet once"),
        ({"table": (b"}~", b"~^")}, "as a code, where it would end the message"),
        ({"table": (b"}]", b"~")}, "must be an octet and its code"),
    ],
)
def test_a_table_that_cannot_work(options: Any, says: str) -> None:
    with pytest.raises(OptionError, match=says):
        Escaped(**options)


def test_an_empty_message_would_be_an_idle_line() -> None:
    with pytest.raises(EncodeError, match="an idle line"):
        Escaped().encode(b"")
