"""The examples of WebSocket and telnet, and clients that we did not write."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from examples.conftest import Served

Protocol = Callable[..., "Served"]
Package = Callable[[str], Any]

pytestmark = pytest.mark.peers


def test_websocket(protocol: Protocol, require_package: Package) -> None:
    require_package("wsproto")
    client_of, exceptions = require_package("websockets.sync.client"), require_package("websockets.exceptions")
    url = f"ws://127.0.0.1:{protocol('websocket_server').port}/"
    options = {"open_timeout": 20, "close_timeout": 20, "proxy": None}
    with client_of.connect(url, **options) as alice, client_of.connect(url, **options) as bob:
        assert alice.ping().wait(20)
        assert bob.ping().wait(20)
        alice.send("hello")
        assert [alice.recv(20), bob.recv(20)] == ["hello", "hello"]
        bob.send(["in ", "three ", "fragments"])
        assert alice.recv(20) == "in three fragments"
        alice.send("x" * 65_536)
        assert alice.recv(20) == "x" * 65_536
        alice.send("x" * 65_537)
        with pytest.raises(exceptions.ConnectionClosedError) as closed:
            alice.recv(20)
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1009, "at most 65536 characters")
        assert [bob.recv(20)[:5] for _ in range(2)] == ["in th", "xxxxx"]
        bob.send(b"octets")
        with pytest.raises(exceptions.ConnectionClosedError, match="text only"):
            bob.recv(20)


def test_telnet(protocol: Protocol, require_program: Callable[[str], str]) -> None:
    telnet, port = require_program("telnet"), protocol("telnet_server").port
    command = [telnet, "-E", "-8", "127.0.0.1", str(port)]  # it negotiates BINARY both ways, and is refused
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        said = b""
        while b"TEXT, quit\n" not in said:
            said += client.stdout.read(1000)
        client.stdin.write(b"echo \xff hello\ndate\nnonsense\nquit\n")
        said += client.stdout.read()
        client.wait(30)
    lines = said.splitlines()  # the client writes line feeds
    greeting = next(number for number, line in enumerate(lines) if line.endswith(b"TEXT, quit"))
    assert lines[greeting + 1] == b"\xff hello"
    assert lines[greeting + 3 : greeting + 5] == [b"there are date, echo and quit", b"goodbye"]
