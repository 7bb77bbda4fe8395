"""What stands at the edges: errors with their numbers, options that are refused, messages that are not encoded."""

from __future__ import annotations

import dataclasses
import logging
import socket
import struct
from collections.abc import AsyncIterator
from logging.handlers import SysLogHandler
from typing import Any

import pytest

from fourtuple.errors import (
    EncodeError,
    FramingMistake,
    FramingTextError,
    IncompleteMessage,
    MalformedMessage,
    MessageError,
    MessageTooLong,
    OptionError,
)
from fourtuple.framing import (
    Delimited,
    Fixed,
    Gap,
    Json,
    Length,
    Line,
    Mapped,
    Marked,
    ParserOutput,
    Raw,
    Switch,
    Unmapped,
    Varint,
    custom,
    event_parser,
    feed_parser,
    mapped,
    msgspec_mapping,
    parse_framing,
    u8,
    u16,
)
from fourtuple.testing import check_framing, drive

INCOMPLETE = "end of file inside a message: expected {} octets, received {}"


@pytest.mark.parametrize(
    ("text", "octets", "kind", "told"),
    [
        ("fixed:16", b"Hi there", IncompleteMessage, "end of file inside a message: expected 16 octets, received 8"),
        ("u16,max_message=8", b"\0\x09", MessageTooLong, "message announces 9 octets, no more than 8 are allowed"),
        ("line,max_message=4", b"12345", MessageTooLong, "line has reached 5 octets, no more than 4 are allowed"),
        ("netstring", b"5:hello;", MalformedMessage, "message of 5 octets ends with b';', not b','"),
        ("resp", b"*65537\r\n", MalformedMessage, "65537 elements announced, no more than 65536 are allowed"),
        ("json", b"[}", MalformedMessage, "'}' closes '['"),
        ("varint:2", b"\x80\x80", MalformedMessage, "the length does not end within 2 octets"),
        ("switch:a=line", b"b", MalformedMessage, "message begins with b'b', with which no case begins"),
        ("switch:a=u8\\,offset=1\\,skip=0", b"a\2x", IncompleteMessage, INCOMPLETE.format(4, 3)),
        ("mllp,skip_garbage=off", b"x", MalformedMessage, "message begins with b'x', b'\\x0b' was expected"),
    ],
)
def test_errors_have_their_numbers(text: str, octets: bytes, kind: type[MessageError], told: str) -> None:
    error = drive(parse_framing(text), [octets]).error
    assert type(error) is kind
    assert str(error) == told


NINES = b"9" * 12


@pytest.mark.parametrize(
    ("text", "octets", "told"),
    [
        ("netstring", NINES + b":", "message announces 999999999999 octets, no more than 1048576 are allowed"),
        ("octet-counting", NINES + b" ", "message announces 999999999999 octets, no more than 1048576 are allowed"),
        ("syslog", NINES + b" ", "message announces 999999999999 octets, no more than 1048576 are allowed"),
        ("netstring,max_message=8", b"10:", "message announces 10 octets, no more than 8 are allowed"),
        ("netstring", NINES * 9, "message announces 99999999999999999999... octets, no more than 1048576 are allowed"),
        ("syslog", NINES * 9, "message announces 99999999999999999999... octets, no more than 1048576 are allowed"),
        ("netstring,max_message=none", NINES * 9, "a length of more than 20 digits: 99999999999999999999..."),
        ("content-length", NINES, "message announces 999999999999 octets, no more than 1048576 are allowed"),
        ("content-length", b"000" + NINES, "message announces 999999999999 octets, no more than 1048576 are allowed"),
        ("content-length", NINES * 9, "message announces 99999999999999999999... octets"),
        ("content-length,max_message=none", NINES * 9, "a length of more than 20 digits: 99999999999999999999..."),
        ("resp", b"$" + NINES, "message announces 999999999999 octets, no more than 1048576 are allowed"),
        ("resp", b"$" + NINES * 9, "message announces 99999999999999999999... octets, no more than 1048576"),
        ("resp", b"*" + NINES, "999999999999 elements announced, no more than 65536 are allowed"),
        ("resp", b"*" + NINES * 9, "99999999999999999999... elements announced, no more than 65536 are allowed"),
        ("resp,max_message=none", b"$" + NINES * 9, "a length of more than 20 digits: 99999999999999999999..."),
        ("varint", b"\xff\xff\xff\xff\xff\xff\x7f", "message announces 562949953421311 octets"),
        ("u64", b"\xff" * 8, "message announces 18446744073709551615 octets, no more than 1048576 are allowed"),
    ],
)
def test_what_is_announced_is_reported_whole_or_marked_as_cut(text: str, octets: bytes, told: str) -> None:
    if text.startswith("content-length"):
        octets = b"Content-Length: " + octets + b"\r\n\r\n"
    elif text.startswith("resp"):
        octets += b"\r\n"
    for size in (1, 5, len(octets)):
        error = drive(parse_framing(text), [octets[at : at + size] for at in range(0, len(octets), size)]).error
        assert str(error).startswith(told)
        assert getattr(error, "cut", "..." in told) == ("..." in told)


def test_octets_in_an_error_are_marked_where_they_are_cut() -> None:
    for text, octets, told in (
        (
            "resp",
            b":" + b"x" * 41 + b"\r\n",
            "b'" + "x" * 40 + "'... is not a number of at most 19 digits, without + and leading zeros",
        ),
        (
            "resp",
            b":" + b"x" * 40 + b"\r\n",
            "b'" + "x" * 40 + "' is not a number of at most 19 digits, without + and leading zeros",
        ),
        ("content-length", b"x" * 81 + b"\r\n\r\n", "b'" + "x" * 80 + "'... is not a header"),
    ):
        assert str(drive(parse_framing(text), [octets]).error) == told


@pytest.mark.parametrize(
    "text",
    [
        *("fixed:0", "fixed", "line:vt", "line,max_message=0", "length:0", "length:9", "nonsense", "u16:3"),
        *("delimited:", "delimited:a|a", "delimited:a|ab", "delimited:b|abc", "delimited:\\n,swallow=on"),
        *("u8,max_message=256", "u16,lead=abc", "u16,skip=-1", "u8,inclusive=on,adjustment=-300", "varint:11"),
        *("varint:4,offset=1", "marked:a,end=a", "marked:a", "stx-etx:crc", "gap:0", "resp:4", "json,max_depth=0"),
        *("switch:a=line|ab=u16", "switch:a=raw", "switch:a=eof", "switch:a", "switch:a=delimited:#\\,swallow=on"),
        *("line,keep=yes", "line,keep=on,keep=on", "u32+struct:?!", "hdlc:8", "delimited:\\x0"),
    ],
)
def test_what_cannot_work_is_refused(text: str) -> None:
    with pytest.raises(FramingTextError, match="cannot read framing"):
        parse_framing(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("line,keep=on,keep=on", "keep is given twice"),
        (
            "u16le,byteorder=native",
            "'byteorder=native' is not an option of u16le; there are offset=..., ",
        ),
        ("line:max_message=3", "; an option follows a comma, as in line,max_message=3"),
        ("line:max_mesage=3", "; did you mean line,max_message?"),
        ("length:byteorder=big", "; an option follows a comma, as in length,byteorder=big"),
        ("json-lines,max=3", "cannot read framing 'json-lines,max=3': 'max=3' is not an option of line"),
        ("u16,widht=3", "'widht=3' is not an option of u16; there are byteorder=..., offset=..., adjustment=..., "),
    ],
)
def test_an_option_twice_or_against_its_word(text: str, told: str) -> None:
    with pytest.raises(FramingTextError) as caught:
        parse_framing(text)
    assert told in str(caught.value)


def test_the_order_of_octets_of_a_short_word() -> None:
    assert parse_framing("u16,byteorder=little") == parse_framing("u16le")
    assert parse_framing("u16,byteorder=native").encode(b"x") == struct.pack("=H", 1) + b"x"


def test_a_call_that_has_not_run_yet_is_no_message() -> None:
    """A plain function around an async def or a generator returns such an object."""

    async def coroutine() -> bytes:
        return b"abcd"

    async def asynchronously() -> AsyncIterator[bytes]:
        yield b"abcd"

    waiting = coroutine()
    for value, hint in (
        (waiting, "not coroutine; await it first, in an async def"),
        (asynchronously(), "not async_generator; yield its items one by one, in a generator"),
        ((octets for octets in [b"abcd"]), "not generator; yield its items one by one, in a generator"),
    ):
        for text in ("line", "fixed:4", "slip"):
            with pytest.raises(EncodeError, match=hint):
                parse_framing(text).encode(value)
    waiting.close()


def test_a_bound_that_no_length_announces() -> None:
    with pytest.raises(OptionError, match="max_message is 256, the length field cannot announce more than 255"):
        u8(max_message=256)
    assert u8().max_message == 1 << 20


@pytest.mark.parametrize(
    ("text", "message", "told"),
    [
        ("fixed:4", b"abc", "takes messages of 4 octets, this one has 3"),
        ("line", b"a\nb", "inside, at octet 1"),
        ("line", b"a\r", "which the peer would strip"),
        ("line", "text", "encode it first"),
        ("u8", bytes(256), "the length would be 256; a length of 1 octets is 0 to 255"),
        ("u16,max_sent=4", b"12345", r"5 octets, no more than 4 are allowed \(max_sent\)"),
        ("varint:4,offset=1,keep=on,max_sent=2", b"\xc0\x03abc", r"3 octets, no more than 2 are allowed \(max_sent\)"),
        ("u16,max_sent=4+json", "12345", "7 octets, no more than 4"),
        ("u16,offset=4,skip=0", b"\0\1\0\0\0\x09\1\3", "0002 is right"),
        ("u16,offset=2,skip=0", b"\0", "the length would be -3"),
        ("u16,skip=3", b"a", "skip leaves out 1 octets"),
        ("delimited:##", b"a#", "inside, at octet 1"),
        ("delimited:#,swallow=on", b"\na", "would swallow"),
        ("octet-counting", b"", "0 octets"),
        ("syslog,write=trailer", b"1 a", "take for a count"),
        ("mllp", b"a\x1c\rb", "a VT or FS"),
        ("nmea", b"GPGGA", "begins with"),
        ("slip", b"", "idle line"),
        ("hdlc", b"", "idle line"),
        ("gap", b"", "silence"),
        ("json", b"1 2", "2 JSON values"),
        ("resp", 1.5, "needs RESP3"),
        ("resp", [[]] * 65537, "65537 elements"),
        ("u16+json", float("nan"), "does not map"),
        ("switch:$=line", b"x", "none of the cases"),
        ("varint:4,offset=1,keep=on", b"\xc0\1", "its length says otherwise"),
    ],
)
def test_what_the_peer_could_not_decode_is_not_encoded(text: str, message: object, told: str) -> None:
    with pytest.raises(EncodeError, match=told):
        parse_framing(text).encode(message)


@pytest.mark.parametrize("text", ["line", "u32", "netstring", "varint", "json", "slip", "stx-etx", "content-length"])
def test_what_may_come_does_not_bound_what_is_sent(text: str) -> None:
    message = b"1" * 500
    framing = parse_framing(f"{text},max_message=9")
    octets = framing.encode(message)
    assert framing.encode_many([message, message]) == 2 * octets
    assert parse_framing(text).decoder().feed(octets + b" ") == [message]
    assert isinstance(drive(framing, [octets]).error, MessageTooLong)


@pytest.mark.parametrize("bound", [0, -1, True, 1.5, "8"])
def test_a_bound_of_sending_is_checked_as_any_other(bound: Any) -> None:
    with pytest.raises(OptionError, match=f"line: max_sent is {bound!r}, it must be None or at least 1"):
        Line(max_sent=bound)
    with pytest.raises(OptionError, match="max_sent is 256, the length field cannot announce more than 255"):
        u8(max_sent=256)
    assert Line(max_sent=1 << 62).encode_many([b"a"]) == b"a\n"


def test_raw_gives_what_a_read_brought() -> None:
    decoder = Raw(max_message=4).decoder()
    assert decoder.feed(b"abcdef") == [b"abcd", b"ef"]
    assert decoder.take(1) == b"ef"
    assert decoder.feed(b"abcdef", 1) == [b"abcd"]
    assert decoder.buffered == 2
    assert decoder.feed(b"") == [b"ef"]
    assert decoder.finish() == []


def test_skipped_octets_are_counted() -> None:
    for text, octets, skipped in (
        ("mllp", b"\r\n\x0ba\x1c\rxyz", 5),
        ("nmea", b"xx$A$B\r\n\r\n", 6),
        ("hdlc", b"\x7eab\x7d\x7e", 3),
        ("line,resync=on,max_message=2", b"1234567\nx\n", 6),
        ("switch:x=mllp,otherwise=mllp", b"zz\x0ba\x1c\r", 2),
    ):
        decoder = parse_framing(text).decoder()
        for at in range(len(octets)):
            decoder.feed(octets[at : at + 1])
        assert decoder.skipped == skipped, text
        assert decoder.buffered == 0, text


def test_what_is_skipped_is_not_taken() -> None:
    decoder = parse_framing("line,resync=on,max_message=2").decoder()
    assert len(decoder.feed(b"1234")) == 1
    assert decoder.feed(b"567\nab\n") == [b"ab"]
    assert decoder.take(1) == b"ab\n"


def test_silence_ends_a_message() -> None:
    decoder = Gap().decoder()
    assert decoder.feed(b"\1\3") == decoder.feed(b"\0") == []
    assert decoder.gap() == [b"\1\3\0"]
    assert decoder.gap() == []
    assert Line().decoder().gap() == []


def test_a_mapping_of_ones_own() -> None:
    framing = mapped(u16(), int, lambda number: b"%d" % number)
    check_framing(framing, [(b"\0\x0242", [42])], text=False)
    assert isinstance(drive(framing, [b"\0\1x"]).messages[0], Unmapped)


def test_msgspec_types_map_and_name_what_does_not(require_package: Any) -> None:
    msgspec = require_package("msgspec")
    typed = Mapped(u16(), msgspec_mapping(tuple[int, str]))
    check_framing(typed, [(b'\0\x07[1,"a"]', [(1, "a")])], text=False)
    unmapped = drive(typed, [b'\0\x07["a",1]']).messages[0]
    assert isinstance(unmapped.error, msgspec.ValidationError)
    check_framing(parse_framing("u16+msgspec-msgpack"), [(b"\0\3\x92\1\2", [[1, 2]])])


def test_custom_asks_for_what_it_needs() -> None:
    asked: list[tuple[int, int]] = []

    def decode(buffer: bytearray, seen: int) -> tuple[bytes, int] | int | None:
        asked.append((len(buffer), seen))
        size = buffer[0] + 1
        return (bytes(buffer[1:size]), size) if len(buffer) >= size else size

    framing = custom(decode, lambda message: bytes((len(message),)) + message, max_message=8)
    drive(framing, [b"\3", b"a", b"b", b"c"])
    assert asked == [(1, 0), (4, 1)]
    check_framing(framing, [(b"\3abc\0\1x", [b"abc", b"", b"x"]), (b"\7", [], IncompleteMessage)], text=False)
    assert isinstance(drive(framing, [b"\x08"]).error, MessageTooLong)
    broken = drive(custom(lambda buffer, seen: 1 // 0), [b"x"]).error
    assert isinstance(broken, MalformedMessage)


def test_custom_tells_the_size_that_is_announced() -> None:
    def sized(buffer: bytearray, seen: int) -> tuple[bytes, int] | int:
        size = 2 + buffer[1] if len(buffer) > 1 else 2
        return (bytes(buffer[2:size]), size) if len(buffer) >= size else size

    def in_two_steps(buffer: bytearray, seen: int) -> tuple[bytes, int] | int:
        first = 1 + buffer[0]
        size = first + 1 + (buffer[first] if len(buffer) > first else 0)
        return (bytes(buffer[:size]), size) if len(buffer) >= size > first + 1 else max(size, len(buffer) + 1)

    def ended(buffer: bytearray, seen: int) -> tuple[bytes, int] | None:
        end = buffer.find(b";", seen)
        return (bytes(buffer[:end]), end + 1) if end >= 0 else None

    big, steps = b"\0\xc8" + bytes(200), b"\x05abcde\x0bxxx" + bytes(100)
    for decode, octets, told in (
        (sized, big, MessageTooLong(202, 10)),
        (in_two_steps, steps, MessageTooLong(18, 10)),
        (in_two_steps, b"\x0b" + steps, MessageTooLong(13, 10)),
        (ended, b"x" * 300 + b";", MessageTooLong(11, 10, announced=False)),
    ):
        framing = custom(decode, max_message=10)
        for size in (1, 2, 3, 7, 8, 12, len(octets)):
            error = drive(framing, [octets[at : at + size] for at in range(0, len(octets), size)]).error
            assert repr(error) == repr(told)
            assert isinstance(error, MessageTooLong)
            assert (error.size, error.allowed) == (told.size, told.allowed)
        check_framing(framing, [(octets, [], MessageTooLong)], text=False)


@pytest.mark.parametrize("text", [r"syslog,trailer=\n|\0", r"syslog,trailer=\0"])
def test_the_handler_of_the_standard_library_for_syslog_over_tcp(text: str) -> None:
    """It ends its messages with NUL: in the usual form, all of them would be one unfinished message."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        handler = SysLogHandler(listener.getsockname(), socktype=socket.SOCK_STREAM)
        with listener.accept()[0] as connection:
            for each in ("one", "two"):
                handler.handle(logging.LogRecord("test", logging.INFO, __file__, 1, each, None, None))
            handler.close()
            connection.settimeout(30)
            octets = b"".join(iter(lambda: connection.recv(4096), b""))
    outcome = drive(parse_framing(text), [octets])
    assert (outcome.messages, outcome.error) == ([b"<14>one", b"<14>two"], None)
    assert isinstance(drive(parse_framing("syslog"), [octets]).error, IncompleteMessage)


class NotYet:
    """hiredis needs a word of its own: False is a value of RESP3."""


def test_hiredis_is_a_framing(require_package: Any) -> None:
    hiredis = require_package("hiredis")
    framing = feed_parser(
        lambda: hiredis.Reader(notEnoughData=NotYet),
        lambda command: hiredis.pack_command(tuple(command)),
        incomplete=NotYet,
        max_message=64,
        name="hiredis",
    )
    known = [
        (b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", [[b"GET", b"k"]]),
        (b"*1\r\n$4\r\nPING\r\n", [[b"PING"]]),
        (b"*1\r\n$4\r\nPI", [], IncompleteMessage),
        (b"*1\r\n$99\r\n" + b"x" * 70, [], MessageTooLong),
        (b"?", [], MalformedMessage),
    ]
    check_framing(framing, known, text=False)


def test_h11_is_a_framing(require_package: Any) -> None:
    h11 = require_package("h11")

    def resume(connection: Any) -> None:
        connection.send(h11.Response(status_code=204, headers=[]))
        connection.send(h11.EndOfMessage())
        connection.start_next_cycle()

    framing = event_parser(
        lambda: h11.Connection(h11.SERVER),
        need_data=(h11.NEED_DATA,),
        paused=h11.PAUSED,
        resume=resume,
        name="h11",
    )
    stream = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n"
    for pieces in ([stream], [stream[at : at + 1] for at in range(len(stream))]):
        outcome = drive(framing, pieces)
        assert [getattr(each, "target", None) for each in outcome.messages] == [b"/a", None, b"/b", None]
        assert outcome.error is None
    assert isinstance(drive(framing, [b"no HTTP\r\n\r\n"]).error, MalformedMessage)


def test_h11_with_a_body_that_comes_in_pieces(require_package: Any) -> None:
    """In the middle of a body a new parser knows nothing of what came before: it is not asked to."""
    h11 = require_package("h11")
    framing = event_parser(
        lambda: h11.Connection(h11.SERVER), need_data=(h11.NEED_DATA,), paused=h11.PAUSED, name="h11"
    )
    head = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 30000\r\n\r\n"
    body = b"no: header\r\n\r\n" * 2500
    outcome = drive(framing, [head + body[:100], body[100:20_000], body[20_000:30_000]])
    assert outcome.error is None
    assert b"".join(bytes(each.data) for each in outcome.messages if isinstance(each, h11.Data)) == body[:30_000]
    assert isinstance(outcome.messages[-1], h11.EndOfMessage)


class Closing:
    """A parser of lines that wants to send an answer to `ping`, and a last word when a line is too long."""

    def __init__(self) -> None:
        self.held, self.output = b"", b""

    def receive_data(self, octets: bytes) -> None:
        self.held += octets

    def next_event(self) -> bytes | None:
        line, ending, rest = self.held.partition(b"\n")
        if len(line) > 10:
            self.output += b"too long\n"
            raise ValueError("too long")
        if not ending:
            return None
        self.held = rest
        if line == b"ping":
            self.output += b"pong\n"
        return line

    def take_output(self) -> bytes:
        output, self.output = self.output, b""
        return output


def test_what_a_parser_wants_to_send_follows_its_events_also_before_an_error() -> None:
    framing = event_parser(
        Closing, lambda line: line + b"\n", need_data=(None,), outgoing=Closing.take_output, name="closing"
    )
    pong, last = ParserOutput(b"pong\n"), ParserOutput(b"too long\n")
    stream = b"one\nping\n" + b"x" * 20
    outcome = drive(framing, [stream])
    assert outcome.messages == [b"one", b"ping", ParserOutput(b"pong\ntoo long\n")]
    assert isinstance(outcome.error, MalformedMessage)
    outcome = drive(framing, [stream[at : at + 1] for at in range(len(stream))])
    assert outcome.messages == [b"one", b"ping", pong, last]
    assert isinstance(outcome.error, MalformedMessage)
    assert (framing.encode(last), framing.encode(b"a")) == (b"too long\n", b"a\n")
    parser = framing.decoder().parser
    assert isinstance(parser, Closing)
    wrong = event_parser(Closing, need_data=(None,), outgoing=lambda parser: "text", name="wrong")  # type: ignore[arg-type, return-value]
    assert isinstance(drive(wrong, [b"one\n"]).error, FramingMistake)


def test_what_a_parser_has_not_made_a_message_of() -> None:
    class Lines:
        """A parser that counts how much it is shown."""

        shown = 0

        def __init__(self) -> None:
            self.held = b""

        def feed(self, octets: bytes) -> None:
            Lines.shown += len(octets)
            self.held += octets

        def gets(self) -> Any:
            line, found, rest = self.held.partition(b"\n")
            if not found:
                return False
            self.held = rest
            return line

    decoder = feed_parser(Lines).decoder()
    stream = b"a line\n" * 10_000
    assert len(decoder.feed(stream + b"and more")) == 10_000
    assert decoder.buffered == 8
    assert decoder.take(2) == b"a line\na line\nand more"
    Lines.shown = 0
    assert len(decoder.feed(stream)) == 10_000
    assert decoder.buffered == 0
    assert Lines.shown < 5 * len(stream)  # a read that ends where a message does is looked at again, not by the octet


def test_values_compare_and_print() -> None:
    assert Delimited((b"#", b";")) == parse_framing("delimited:#|;")
    assert str(Delimited((b"|", b",", b"+"))) == r"delimited:\x7c|\x2c|\x2b"
    assert str(Length(2, "little", offset=4)) == "u16le,offset=4"
    assert str(Switch(((b"=", Line("crlf", max_message=8)),), Fixed(3))) == (
        r"switch:\x3d=line:crlf\,max_message=8,otherwise=fixed:3"
    )
    assert str(Marked(b"\2", b"\3")) == r"marked:\x02,end=\x03"
    assert str(parse_framing("json-lines")) == "line+json"
    assert str(Varint(max_message=None)) == "varint,max_message=none"


@dataclasses.dataclass(frozen=True)
class Shouted(Fixed):
    """Somebody's own framing: a built-in one that encodes in its own way."""

    def encode(self, message: Any) -> bytes:
        return super().encode(message.upper())


def test_an_encode_of_ones_own_is_asked_for_every_message_of_a_batch() -> None:
    assert Shouted(2).encode_many([b"ab", b"cd"]) == b"ABCD"
    assert Fixed(2).encode_many([b"ab", b"cd"]) == b"abcd"


# -- elements of an array -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rest", [b"", b",", b" , ", b"]"])
def test_an_array_without_an_end_may_end_between_two_elements(rest: bytes) -> None:
    decoder = Json(elements=True).decoder()
    assert decoder.feed(b"[1,2 " + rest) == [b"1", b"2"]
    assert decoder.finish() == []


def test_elements_taken_back_are_cut_again_where_they_stood_in_the_array() -> None:
    decoder = Json(elements=True).decoder()
    assert decoder.feed(b"[1,[2],") == [b"1", b"[2]"]
    assert decoder.feed(b"3,[4],5]") == [b"3", b"[4]", b"5"]
    octets = decoder.take(2)
    assert octets == b",[4],5]"
    assert decoder.feed(octets) == [b"[4]", b"5"]
    assert decoder.take() == b""  # the bracket is read
    assert decoder.feed(b"[[6]]") == [b"[6]"]


def test_elements_cannot_be_one_framing_of_a_switch() -> None:
    with pytest.raises(OptionError, match="keeps state between its messages"):
        Switch({b"[": Json(elements=True)})


@pytest.mark.parametrize("digits", [20, 21, 22, 30, 60])
@pytest.mark.parametrize("behind", [b"", b" ", b"$3", b"x" * 50])
@pytest.mark.parametrize("bound", ["", ",max_message=9"])
def test_the_error_about_a_count_is_the_same_for_every_cut(digits: int, behind: bytes, bound: str) -> None:
    framing = parse_framing(f"syslog,resync=on{bound}")
    octets = b"9" * digits + behind + b"\n<34>1 next\n"
    told = set()
    for size in (1, 2, 7, digits - 1, digits, digits + 1, len(octets)):
        decoder = framing.decoder()
        messages = []
        for at in range(0, len(octets), size):
            messages += decoder.feed(octets[at : at + size])
        told.add(str([(each.octets, str(each.error)) if isinstance(each, Unmapped) else each for each in messages]))
    assert len(told) == 1


@pytest.mark.parametrize("text", ["fixed:{}", "line,max_message={}", "line,max_message={}g"])
def test_a_number_that_is_too_large_is_said_to_be_that(text: str) -> None:
    with pytest.raises(FramingTextError, match="no more than"):
        parse_framing(text.format("9" * 20))
