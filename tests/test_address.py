"""Addresses: read, written, compared."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fourtuple import Server, Service
from fourtuple.address import Address, from_sockaddr, parse_networks, unmapped
from fourtuple.blocking import connect
from fourtuple.errors import AddressError, FourTupleError


def assert_read_again(address: Address) -> None:
    """The text is read as the same address, unless something in it had to be escaped."""
    assert str(address).isprintable()
    if (address.host + address.path).isprintable():
        assert Address.parse(str(address)) == address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9999", Address("127.0.0.1", 9999)),
        ("  example.org:80\n", Address("example.org", 80)),
        ("[::1]:9999", Address("::1", 9999)),
        ("[fe80::1%eth0]:9", Address("fe80::1%eth0", 9)),
        (":9999", Address("127.0.0.1", 9999)),
        ("9999", Address("127.0.0.1", 9999)),
        ("*:0", Address("*", 0)),
        ("unix:/run/app.sock", Address(path="/run/app.sock")),
        ("unix:app.sock", Address(path="app.sock")),
        ("/run/app.sock", Address(path="/run/app.sock")),
        ("./app.sock", Address(path="./app.sock")),
        ("unix:@app", Address(path="@app")),
        ("/run/\udcff", Address(path="/run/\udcff")),
    ],
)
def test_a_text_is_read_as_its_address(text: str, address: Address) -> None:
    assert Address.parse(text) == address
    assert_read_again(address)


def test_an_address_is_read_already() -> None:
    address = Address("x", 1)
    assert Address.parse(address) is address


def test_missing_parts_of_an_address_have_defaults() -> None:
    assert Address.parse("example.org", default_port=80) == Address("example.org", 80)
    assert Address.parse("[::1]", default_port=80) == Address("::1", 80)
    assert Address.parse(":1", default_host="::") == Address("::", 1)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it is empty"),
        ("  ", "it is empty"),
        ("example.org", "the port is missing, as in example.org:9999"),
        ("example.org:", "the port is missing, as in example.org:9999"),
        ("[::1]", "the port is missing"),
        ("::1", r"an IPv6 address needs brackets, as in \[::1\]:9999"),
        ("[::1:80", "the bracket is not closed"),
        ("[::1]80", "a colon and a port are expected after the bracket"),
        ("[localhost]:80", "'localhost' is not an IPv6 address"),
        ("host:port", "'port' is not a port number"),
        ("host:-1", "'-1' is not a port number"),
        ("host:65536", "port 65536 is larger than 65535"),
        ("70000", "port 70000 is larger than 65535"),
        ("host:\N{ARABIC-INDIC DIGIT ONE}", "is not a port number"),
        ("two words:80", "'two words' is not a host name"),
        ("unix:", "the path after 'unix:' is missing"),
        ("9" * 5000, "port 99999999999999999999... is larger than 65535"),
        ("unix:/a\0b", "a path cannot contain NUL; write @ for the abstract namespace"),
        ("/\ud800", "it cannot be encoded in UTF-8"),
        ("/" + "x" * 107, "the path has 108 octets, no more than 107 are allowed"),
        ("/" + "\N{LATIN SMALL LETTER E WITH ACUTE}" * 54, "the path has 109 octets"),
    ],
)
def test_not_to_be_read(text: str, why: str) -> None:
    with pytest.raises(AddressError, match=why) as caught:
        Address.parse(text)
    assert caught.value.text == text
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, FourTupleError)


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_an_address_error(text: str) -> None:
    try:
        address = Address.parse(text)
    except AddressError:
        return
    assert_read_again(address)


@pytest.mark.parametrize(
    ("ip", "plain"),
    [
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("192.0.2.1", "192.0.2.1"),
        ("::1", "::1"),
        ("::ffff:0:1", "::ffff:0:1"),
    ],
)
def test_mapped_addresses_are_ipv4(ip: str, plain: str) -> None:
    assert unmapped(ip) == plain


@pytest.mark.parametrize(
    ("sockaddr", "address"),
    [
        (("127.0.0.1", 80), Address("127.0.0.1", 80)),
        (("::ffff:127.0.0.1", 80, 0, 0), Address("127.0.0.1", 80)),
        (("::1", 80, 0, 0), Address("::1", 80)),
        ("/run/x", Address(path="/run/x")),
        (b"\0abstract", Address(path="@abstract")),
        ("", Address(path="@")),
        (b"", Address(path="@")),
    ],
)
def test_from_the_kernel(sockaddr: object, address: Address) -> None:
    assert from_sockaddr(sockaddr) == address


def test_what_is_no_text_and_no_port() -> None:
    for what in (None, 9999, ("127.0.0.1", "9999"), b"127.0.0.1:9999"):
        with pytest.raises(AddressError, match="an address is a text, as in "):
            Address.parse(what)  # type: ignore[arg-type]
    for port in ("80", -1, 65536, None):
        with pytest.raises(AddressError, match="is not a port number, 0 to 65535"):
            Address("127.0.0.1", port)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pair", "written"),
    [
        (("127.0.0.1", 9999), "127.0.0.1:9999"),
        (("", 9999), "*:9999"),
        (("::1", 9999, 0, 0), "[::1]:9999"),
    ],
)
def test_the_error_for_a_pair_as_sockets_have_it_says_what_to_write(pair: Any, written: str) -> None:
    """Not as a list of two addresses, in which the port is missing."""
    service = Service("line")
    service.reply(lambda message: message)
    for take in (Address.parse, lambda each: Server(service, each), lambda each: connect(each, "line")):
        with pytest.raises(AddressError, match=rf"not a pair as for Python's sockets; write '{re.escape(written)}'$"):
            take(pair)


@pytest.mark.parametrize("address", [Address(path="/run/\x9b31m\n"), Address("a\x1bb", 1)])
def test_an_address_holds_nothing_that_a_terminal_obeys(address: Address) -> None:
    assert str(address).isprintable()


@pytest.mark.parametrize("text", ["[fe80::1%\x1b]:1", "[fe80::1%a\x07]:1", "a\x1bb:1", "a\x00b:1"])
def test_a_host_is_printable(text: str) -> None:
    with pytest.raises(AddressError):
        Address.parse(text)


@pytest.mark.parametrize("text", ["fe80::%eth0/64", "10.0.0.0/8, fe80::1%1"])
def test_a_network_has_no_zone(text: str) -> None:
    with pytest.raises(AddressError, match="a network has no zone"):
        parse_networks(text)
