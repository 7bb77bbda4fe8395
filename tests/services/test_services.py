"""The services that come with fourtuple, each over a connection."""

from __future__ import annotations

import importlib
import itertools
import struct
import time

import pytest

from fourtuple import Service, serve_in_thread
from fourtuple.blocking import connect
from fourtuple.errors import EndOfFile
from fourtuple.framing import Framing


def service_of(name: str) -> Service[bytes, bytes]:
    service: Service[bytes, bytes] = importlib.import_module(f"fourtuple.services.{name}").service
    assert service.name == name
    return service


@pytest.mark.parametrize(
    ("name", "message", "reply"),
    [
        ("echo", b"any octets\x00\xff", b"any octets\x00\xff"),
        ("upper", b"a line", b"A LINE"),
        ("sixteen", b"Hi there, server", b"Farewell, client"),
    ],
)
def test_a_service_that_answers(name: str, message: bytes, reply: bytes) -> None:
    service = service_of(name)
    with serve_in_thread(service) as server, connect(server.address, service.framing) as connection:
        assert connection.request(message, timeout=5) == reply


def test_discard_answers_nothing() -> None:
    service = service_of("discard")
    with serve_in_thread(service) as server, connect(server.address, service.framing) as connection:
        connection.send(b"octets")
        connection.send_eof()
        with pytest.raises(EndOfFile):
            connection.receive(timeout=5)


def spoken(name: str, framing: Framing[bytes, bytes] | str) -> bytes:
    """What a service says by itself, before it closes."""
    with serve_in_thread(service_of(name)) as server, connect(server.address, framing) as connection:
        message = connection.receive(timeout=5)
        with pytest.raises(EndOfFile):
            connection.receive(timeout=5)
    return message


def test_daytime_is_a_line_with_the_date() -> None:
    assert time.strftime("%Y").encode() in spoken("daytime", "line:crlf")  # RFC 867 leaves the format open


def test_time_is_the_seconds_since_1900() -> None:
    (seconds,) = struct.unpack("!I", spoken("time", "fixed:4"))
    assert (seconds - 2_208_988_800 - int(time.time()) + 10) % 2**32 <= 10  # RFC 868; a few seconds ago


def test_a_quote_has_at_most_512_characters() -> None:
    quote = spoken("qotd", "eof")
    assert 0 < len(quote) <= 512  # RFC 865
    assert quote.endswith(b"\r\n")


def test_chargen_rotates_its_lines_until_the_peer_closes() -> None:
    service = service_of("chargen")
    with serve_in_thread(service) as server, connect(server.address, "line:crlf") as connection:
        lines = [connection.receive(timeout=5) for _ in range(96)]
    assert {len(line) for line in lines} == {72}
    assert all(later[:-1] == earlier[1:] for earlier, later in itertools.pairwise(lines))  # RFC 864
    assert lines[95] == lines[0]
