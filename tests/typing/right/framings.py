"""Framings say what comes out of them and what goes in."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, assert_type

from fourtuple.framing import (
    JSON_MAPPING,
    TEXT_MAPPING,
    UNTIL_TRAILER,
    BufferedDecoder,
    ContentLength,
    Custom,
    Decoder,
    Delimited,
    Duplex,
    Escaped,
    Fixed,
    Framing,
    Headed,
    Json,
    Length,
    Line,
    Mapped,
    Mapping,
    Octets,
    Parser,
    Resp,
    Switch,
    Syslog,
    Unmapped,
    checked,
    custom,
    decoder_of,
    duplex,
    event_parser,
    feed_parser,
    headed,
    mapped,
    msgspec_mapping,
    parse_framing,
    struct_mapping,
    u16,
)


@dataclass
class Point:
    x: int
    y: int


def read_point(message: bytes) -> Point:
    x, y = message.split(b",")
    return Point(int(x), int(y))


def write_point(point: Point) -> bytes:
    return b"%d,%d" % (point.x, point.y)


fixed: Framing[bytes, Octets] = Fixed(16)
narrower_in_what_it_takes: Framing[bytes, bytes] = Fixed(16)
wider_in_what_it_gives: Framing[object, bytes] = Fixed(16)
anything: Framing = Fixed(16)

assert_type(Fixed(16).decoder(), Decoder[bytes])
assert_type(u16().decoder().feed(b"\0\1x"), list[bytes])
assert_type(Line(resync=True).decoder(), Decoder[bytes | Unmapped])
Fixed(2).encode(b"ab")
Fixed(2).encode(bytearray(b"ab"))
Fixed(2).encode(memoryview(b"ab"))
Line().encode_many([b"a", b"b"])

points = mapped(Line(), read_point, write_point)
assert_type(points, Mapped[Point, Point])
assert_type(points.decoder().feed(b"1,2\n"), list[Point | Unmapped])
assert_type(decoder_of(points), Decoder[Point | Unmapped])
points.encode(Point(1, 2))
sums = mapped(points, lambda point: point.x + point.y, lambda point: point)
different = mapped(Line(), bytes.decode, write_point)  # what comes in is text, what goes out is a point
assert_type(different, Mapped[str, Point])

text = Mapped(Line(), TEXT_MAPPING)
assert_type(text, Mapped[str, str])
values = Mapped(Json(), JSON_MAPPING)
assert_type(values, Mapped[Any, Any])
assert_type(msgspec_mapping(Point), Mapping[Point, Any, bytes, bytes])
points_for_numbers: Mapping[Point, int] = msgspec_mapping(Point)
assert_type(msgspec_mapping(), Mapping[Any, Any, bytes, bytes])
either: Mapping[int | str, int | str] = msgspec_mapping(int | str)
Mapped(Fixed(6), struct_mapping(">HI")).encode((1, 2))

assert_type(parse_framing("line"), Framing[Any, Any])
assert_type(parse_framing(points), Framing[Point, Point])
assert_type(Switch(((b"$", Line()), (b"\1", Length(2)))).decoder(), BufferedDecoder[bytes | Unmapped])
assert_type(Switch({b"$": Line()}).decoder(), BufferedDecoder[bytes | Unmapped])
Switch({b"$": Line(), b"\1": Length(2)}, otherwise=Fixed(3)).encode(b"$octets")
Switch([(b"$", Line())])
assert_type(Delimited(b"#").delimiters, tuple[bytes, ...])
Delimited([b"#", b";"], last=True)
assert_type(Syslog(trailer=b"\0").trailer, tuple[bytes, ...])
Syslog("trailer", [b"\0", b"\n"], drop_empty=True)
assert_type(ContentLength(content_types=b"a/b").content_types, tuple[bytes, ...])
Escaped(table=[b"}]", b"~^"])
assert_type(Resp().protocol, Literal[2, 3])
Resp(3).encode({"key": [1, 2.5, None]})


def cut(buffer: bytearray, seen: int) -> tuple[bytearray, int] | None:
    end = buffer.find(b";", seen)
    return None if end < 0 else (buffer[:end], end + 1)


def angle(buffer: bytearray, seen: int) -> tuple[bytes, int] | int | None:
    end = buffer.find(b">", seen)
    return (bytes(buffer[1:end]), end + 1) if end >= 0 else None


def angled(message: bytes) -> bytes:
    return b"<" + message + b">"


def cut_number(buffer: bytearray, seen: int) -> tuple[int, int] | None:
    end = buffer.find(b";", seen)
    return None if end < 0 else (int(buffer[:end]), end + 1)


def cut_or_refuse(buffer: bytearray, seen: int) -> tuple[int | Unmapped, int] | None:
    end = buffer.find(b";", seen)
    if end < 0:
        return None
    octets = bytes(buffer[:end])
    return (int(octets) if octets.isdigit() else Unmapped(octets, ValueError("no number"))), end + 1


def write_number(number: int) -> bytes:
    return b"%d;" % number


assert_type(custom(cut, lambda message: b"%b;" % message).decoder().feed(b"1;"), list[bytes | Unmapped])
assert_type(checked(Fixed(16), "crc16-modbus"), Mapped[bytes, Octets])
sealed = checked(custom(cut, lambda message: b"%b;" % message), "crc16-modbus")
assert_type(sealed, Mapped[bytes, Octets])
own_sums = checked(custom(angle, angled), lambda octets: octets[:1], size=1)
assert_type(custom(cut_or_refuse, write_number), Custom[int, int])  # an Unmapped is not a message of the type
numbers = custom(cut_number, write_number)
numbers.encode(3)
assert_type(numbers.decoder().feed(b"1;2;"), list[int | Unmapped])


class Reader:
    """A parser of the kind that hiredis has."""

    def feed(self, octets: bytes, start: int = 0) -> None: ...
    def gets(self) -> bytes | None: ...


class Events:
    """A parser of the kind that h11 has."""

    def receive_data(self, data: bytes) -> None: ...
    def next_event(self) -> str | None: ...
    def start_next_cycle(self) -> None: ...


assert_type(feed_parser(Reader, write_number, incomplete=None), Parser[Any, int])
feed_parser(lambda: Reader(), write_number).encode(3)
assert_type(event_parser(Events, write_number, need_data=(None,), resume=Events.start_next_cycle), Parser[Any, int])
event_parser(Events, need_data=(None,), paused="PAUSED", resume=lambda parser: parser.start_next_cycle())


def look(message: bytes, allowed: int | None) -> None: ...


assert_type(Mapping(read_point, write_point, look=look), Mapping[Point, Point, bytes, bytes])


class Semicolons(Framing[str, str]):
    """A framing of one's own."""

    word = "semicolons"

    def decoder(self) -> Decoder[str]:
        raise NotImplementedError

    def encode(self, message: str) -> bytes:
        return message.encode() + b";"


def either_of(framings: Iterable[Framing[bytes, bytes]]) -> list[bytes]:
    return [framing.encode(b"x") for framing in framings]


either_of([Fixed(1), Line(), Delimited((b"#",))])


# A head is what its framing makes of it; a body is octets, or None where the head announces none.
def size_of_body(head: bytes) -> int | None:
    return int(head) if head else None


stored: Headed[bytes, Octets] = headed(Line("crlf"), size_of_body, b"\r\n")
as_a_framing: Framing[tuple[bytes, bytes | None], tuple[bytes, bytes]] = stored
assert_type(headed(u16(), lambda head: len(head)).decoder().feed(b""), list[tuple[bytes, bytes | None] | Unmapped])
headed(Line(), lambda head: UNTIL_TRAILER if head else None, b"\0").encode((b"head", None))
headed(mapped(Line(), read_point, write_point), lambda head: head.x + head.y).encode((Point(1, 2), bytearray(b"abc")))
headed("line", "last").encode((b"head 1", b"x"))

# What comes in has the type of the one framing, what goes out that of the other.
turned = duplex(mapped(Line(), read_point, write_point), u16())
receives_points: Framing[Point, Octets] = turned
sends_points: Framing[bytes, Point] = turned.mirror()
assert_type(turned.decoder().feed(b""), list[Point | Unmapped])
assert_type(turned.mirror().mirror(), Duplex[Point, Octets, Point, bytes])
receives_octets: Framing[bytes, str] = duplex(Line(), Mapped(Line(), TEXT_MAPPING))
assert_type(duplex("line", "u16").mirror(), Duplex[Any, Any, Any, Any])
Mapped(Fixed(6), struct_mapping(">HI")).encode([1, 2])
