"""The names of connections: parse, print, unpack."""

from __future__ import annotations

import socket

import pytest

from fourtuple.address import Address
from fourtuple.errors import AddressError
from fourtuple.four_tuple import FourTuple, UnixName


def test_a_four_tuple_is_read_as_it_is_printed() -> None:
    name = FourTuple("127.0.0.1", 9999, "::1", 40000)
    assert str(name) == "127.0.0.1:9999 <- [::1]:40000"
    assert FourTuple.parse(str(name)) == name
    assert FourTuple.parse("127.0.0.1:9999 [::1]:40000") == name
    assert (name.local, name.remote) == (Address("127.0.0.1", 9999), Address("::1", 40000))
    assert name.reversed == FourTuple("::1", 40000, "127.0.0.1", 9999)
    assert name.reversed.reversed == name
    assert FourTuple.parse("127.0.0.1:1 <- [::ffff:10.0.0.1]:2").remote_ip == "10.0.0.1"


@pytest.mark.parametrize("text", ["127.0.0.1:1", "a:1 b:2 c:3", "", "/a <- /b", "127.0.0.1:1 <- x"])
def test_not_a_four_tuple(text: str) -> None:
    with pytest.raises(AddressError):
        FourTuple.parse(text)


def test_a_unix_name_has_path_pid_and_uid() -> None:
    assert str(UnixName("/run/x", 42, 1000)) == "unix:/run/x <- pid 42 uid 1000"
    assert UnixName("/run/x", 42, 1000).local == Address(path="/run/x")


@pytest.mark.parametrize(
    ("octets", "name"),
    [
        ("7f000001 270f c0000201 9c40", ("127.0.0.1", 9999, "192.0.2.1", 40000)),
        (f"{'0' * 31}1 0007 20010db8{'0' * 23}2 ffff", ("::1", 7, "2001:db8::2", 65535)),
        (f"{'0' * 20}ffffc0000201 0001 {'0' * 20}ffff0a000001 0002", ("192.0.2.1", 1, "10.0.0.1", 2)),
    ],
)
def test_a_packed_name(octets: str, name: tuple[str, int, str, int]) -> None:
    assert FourTuple.unpacked(bytes.fromhex(octets)) == name


@pytest.mark.parametrize("text", ["::102:304", "::1:2", "::2", "1:0:0:2::", "2001:db8:0:1:0:0:0:1"])
def test_a_packed_name_has_the_texts_that_sockets_have(text: str) -> None:
    octets = socket.inet_pton(socket.AF_INET6, text)
    name = FourTuple.unpacked(2 * (octets + b"\x00\x07"))
    assert name.local_ip == name.remote_ip == socket.inet_ntop(socket.AF_INET6, octets)


@pytest.mark.parametrize("name", [FourTuple("fe80::1%\x1b[2J", 1, "fe80::2%\r\n", 2), UnixName("/run/\x1b[2J\n", 1, 2)])
def test_a_name_holds_nothing_that_a_terminal_obeys(name: FourTuple | UnixName) -> None:
    assert str(name).isprintable()


@pytest.mark.parametrize(
    "name",
    [
        FourTuple("127.0.0.1", 9999, "192.0.2.7", 40000),
        FourTuple("2001:db8::1", 80, "::1", 65535),
        FourTuple("::", 0, "2001:db8:0:1::", 1),
    ],
)
def test_a_name_is_packed_and_unpacked_again(name: FourTuple) -> None:
    packed = name.packed()
    assert packed is not None
    assert FourTuple.unpacked(packed) == name


def test_a_name_with_a_scope_is_not_packed() -> None:
    assert FourTuple("fe80::1%eth0", 80, "fe80::2%eth0", 40000).packed() is None
    assert FourTuple("127.0.0.1", 80, "::1", 40000).packed() is None
