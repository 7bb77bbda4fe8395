"""The examples of instruments, chats and logs, and clients that we did not write."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from examples.conftest import Served

Protocol = Callable[[str], "Served"]
Package = Callable[[str], Any]

pytestmark = pytest.mark.peers


def test_scpi(protocol: Protocol, require_package: Package) -> None:
    pyvisa = require_package("pyvisa")
    require_package("pyvisa_py")
    address = f"TCPIP::127.0.0.1::{protocol('scpi_server').port}::SOCKET"
    with closing(pyvisa.ResourceManager("@py")) as resources:
        ends = {"read_termination": "\n", "write_termination": "\n", "timeout": 20_000}
        with closing(resources.open_resource(address, **ends)) as meter:
            assert meter.query("*IDN?") == "fourtuple,meter,0,1.0"
            assert float(meter.query("meas:volt?")) == 4.2
            assert meter.query_binary_values("CURV?", datatype="h", is_big_endian=True) == [10, -10, 2570, 0]
            values = list(range(-1000, 1000))
            meter.write_binary_values("CURV ", values, datatype="h", is_big_endian=True)
            assert meter.query_binary_values("CURV?", datatype="h", is_big_endian=True) == values
            meter.write_raw(b"CURV #0\0\7\0\x08\n")  # a block without a length ends with its line
            assert meter.query_binary_values("CURV?", datatype="h", is_big_endian=True) == [7, 8]
            meter.write("NONSENSE")
            assert meter.query("*IDN?").startswith("fourtuple")


def test_irc(protocol: Protocol, require_package: Package) -> None:
    irc = require_package("irc.client")
    said: list[tuple[str, ...]] = []
    port, reactor = protocol("irc_server").port, irc.Reactor()

    def keep(_connection: Any, event: Any) -> None:
        said.append((event.type, event.target, *event.arguments))

    def until(wanted: Callable[[], bool]) -> None:
        while not wanted():
            reactor.process_once(timeout=20)

    for kind in ("welcome", "join", "pubmsg", "privmsg", "pong", "nicknameinuse", "quit"):
        reactor.add_global_handler(kind, keep)
    alice = reactor.server().connect("127.0.0.1", port, "alice")
    bob = reactor.server().connect("127.0.0.1", port, "bob")
    until(lambda: len(said) == 2)
    assert said == [("welcome", name, f"Welcome to fourtuple, {name}") for name in ("alice", "bob")]
    said.clear()
    alice.join("#tea")
    until(lambda: said == [("join", "#tea")])
    bob.join("#tea")
    until(lambda: said == 3 * [("join", "#tea")])
    said.clear()
    bob.privmsg("#tea", "hello: all")
    until(lambda: said == [("pubmsg", "#tea", "hello: all")])
    alice.privmsg("bob", "psst")
    until(lambda: said[1:] == [("privmsg", "bob", "psst")])
    bob.nick("alice")
    until(lambda: said[2:] == [("nicknameinuse", "bob", "alice", "Nickname is already in use")])
    bob.disconnect("bye")
    until(lambda: said[-1][0] == "quit")
    alice.disconnect()


def test_gelf(protocol: Protocol, require_package: Package) -> None:
    graypy = require_package("graypy")
    served = protocol("gelf_server")
    logger = logging.Logger("of this test")
    with closing(graypy.GELFTCPHandler("127.0.0.1", served.port, extra_fields=True)) as handler:
        logger.addHandler(handler)
        logger.warning("it is getting %s", "late", extra={"room": "kitchen\n"})
        logger.error("too late")
        line = served.line()
        assert line.startswith("warning: 'it is getting late' {")
        assert r"'_room': 'kitchen\n'" in line
        assert served.line().startswith("error: 'too late'")
    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as client:
        client.sendall(b'no JSON\0{"short_message": "JSON"}\0')
        assert [served.line(), served.line()] == ["no GELF: b'no JSON'", "alert: 'JSON' {}"]
