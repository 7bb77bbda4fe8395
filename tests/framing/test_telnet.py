"""Telnet: commands, and what a program without options answers. And the mistakes of a table of escapes."""

from __future__ import annotations

from typing import Any

import pytest

from fourtuple import Service
from fourtuple.errors import EncodeError, OptionError
from fourtuple.framing import Escaped, Telnet, TelnetCommand
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
    with pytest.raises(EncodeError, match="is no command"):
        Telnet().encode(TelnetCommand(octets))


def test_commands_inside_a_line_are_counted() -> None:
    decoder = Telnet().decoder()
    assert decoder.feed(b"a\xff\xf1b\xff\xffc\xff\xfd\1\r\n") == [b"ab\xffc"]
    assert decoder.skipped == 5


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
