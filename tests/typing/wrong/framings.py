"""Each line that is marked is to be reported, and no other one."""

from fourtuple.framing import (
    TEXT_MAPPING,
    ContentLength,
    Decoder,
    Delimited,
    Escaped,
    Fixed,
    Framing,
    Length,
    Line,
    Mapped,
    Mapping,
    Mllp,
    Resp,
    Switch,
    Syslog,
    custom,
    duplex,
    event_parser,
    feed_parser,
    headed,
    mapped,
    msgspec_mapping,
    struct_mapping,
)
from fourtuple.framing.base import Octets


def size_of(message: bytes) -> int:
    return len(message)


def write_size(size: int) -> bytes:
    return bytes(size)


def shout(message: str) -> str:
    return message.upper()


def cut(buffer: bytearray, seen: int) -> bytes | None:
    return bytes(buffer)


def cut_number(buffer: bytearray, seen: int) -> tuple[int, int] | None:
    return None


sizes = mapped(Line(), size_of, write_size)

Fixed(16).encode("text")  # wrong
Delimited("#")  # wrong
Delimited(["#"])  # wrong
Delimited({b"#"})  # wrong
Syslog(trailer="\n")  # wrong
Syslog(write="counted")  # wrong
ContentLength(content_types="text/plain")  # wrong
Switch({"$": Line()})  # wrong
Switch({b"$": "line"})  # wrong
Switch(b"$")  # wrong
Escaped(table=b"}]~^", flags=b"~")  # wrong
Resp(4)  # wrong
Resp(protocol="3")  # wrong
Line().encode_many(["text"])  # wrong
sizes.encode(b"octets")  # wrong
mapped(Line(), shout, write_size)  # wrong
mapped(Line(), size_of, shout)  # wrong
mapped(sizes, size_of, write_size)  # wrong
Mapped(Line(), TEXT_MAPPING).encode(b"octets")  # wrong
Line(endings="lf")  # wrong
Line("vt")  # wrong
custom(cut)  # wrong
custom(cut_number, write_size).encode("1")  # wrong
custom(cut_number).encode(1)  # wrong
text: Framing[str, str] = Length(2)  # wrong
every: Framing[bytes, object] = Mllp()  # wrong
decoder: Decoder[str] = Fixed(16).decoder()  # wrong
numbers: Mapping[int, int] = TEXT_MAPPING  # wrong
Fixed(16).decoder().feed("text")  # wrong


class Reader:
    def feed(self, octets: bytes) -> None: ...
    def gets(self) -> bytes | None: ...


class Events:
    def receive_data(self, data: bytes) -> None: ...
    def next_event(self) -> str | None: ...


feed_parser(Events)  # wrong
feed_parser(Reader())  # wrong
feed_parser(Reader, write_size).encode("1")  # wrong
feed_parser(Reader, shout)  # wrong
event_parser(Reader, need_data=(None,))  # wrong
event_parser(Events)  # wrong
event_parser(Events, need_data=(None,), resume=shout)  # wrong
event_parser(Events, write_size, need_data=(None,)).encode("1")  # wrong
event_parser(Events, need_data=(None,), outgoing=size_of)  # wrong
event_parser(Events, need_data=(None,), paused="paused", resumes=print)  # wrong
event_parser(Events(), need_data=(None,))  # wrong
event_parser(Events, need_data=None)  # wrong
event_parser(Events, shout, need_data=(None,))  # wrong
event_parser(Events, need_data=(None,), max_message="64k")  # wrong
feed_parser(Reader, incomplete=None, max_mesage=5)  # wrong
msgspec_mapping(int, format="xml")  # wrong
Mapping(size_of, write_size, look=size_of)  # wrong
sizes_looked_at: Mapping[str, int] = Mapping(size_of, write_size)  # wrong


class Backwards(Framing[str, str]):
    word = "backwards"

    def decoder(self) -> Decoder[bytes]:  # wrong
        raise NotImplementedError

    def encode(self, message: Octets) -> bytes:  # wrong
        return bytes(message)


headed(Line(), len).encode(b"head")  # wrong
headed(Line(), len).encode(("head", b"body"))  # wrong
headed(Line(), shout)  # wrong
headed(sizes, len)  # wrong
duplex(sizes, Line()).encode(5)  # wrong
turned: Framing[bytes, int] = duplex(sizes, Line())  # wrong
duplex(sizes, Line()).mirror().encode(b"octets")  # wrong
seen_from_there: Framing[int, int] = duplex(sizes, Line()).mirror()  # wrong
Mapped(Fixed(6), struct_mapping(">HI")).encode("text")  # wrong
