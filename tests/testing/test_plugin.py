"""The fixtures, in a run of pytest as a user has it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fourtuple import Service, connect
from fourtuple.framing import duplex
from fourtuple.services.upper import service

CONFTEST = 'pytest_plugins = ["fourtuple.testing.plugin"]\n'
TESTS = """
import socket
import threading
import pytest
from fourtuple import Deadlines, Service, events
from fourtuple.blocking import connect
from fourtuple.framing import Line, custom, mapped
from fourtuple.services.upper import service

picky = Service("line")

@picky.reply
def divide(message):
    return b"%d" % (6 // int(message))

def test_the_fixture_serves(tcp_server, tcp_client):
    client = tcp_client(tcp_server(service))
    assert client.request(b"hello", timeout=30) == b"HELLO"

def test_clients_are_closed_before_servers_drain(tcp_client, tcp_server):
    server = tcp_server(service, deadlines=Deadlines(drain_timeout=3600, drain_idle_timeout=3600))
    tcp_client(server)
    assert tcp_client(server.address, "line").request(b"x", timeout=30) == b"X"

def test_a_forgotten_client_costs_no_time(tcp_server, request):
    forgotten = connect(tcp_server(service).address, "line")
    request.addfinalizer(forgotten.abort)
    assert forgotten.request(b"x", timeout=30) == b"X"

def test_handlers_raise(tcp_server, tcp_client):
    client = tcp_client(tcp_server(picky))
    client.send(b"0")
    with pytest.raises(EOFError):
        client.receive(timeout=30)

def test_handlers_raise_and_a_server_does_not_stop(tcp_server, tcp_client):
    async def lifespan():
        yield
        raise OSError("no database")

    ends_badly = Service("line", lifespan=lifespan)
    ends_badly.reply(lambda message: [][0])
    client = tcp_client(tcp_server(ends_badly))
    client.send(b"0")
    with pytest.raises(EOFError):
        client.receive(timeout=30)

def test_handlers_may_raise(tcp_server, tcp_client):
    seen = []
    client = tcp_client(tcp_server(picky, may_raise=ZeroDivisionError, observer=seen.append))
    assert client.request(b"3", timeout=30) == b"2"
    client.send(b"0")
    with pytest.raises(EOFError):
        client.receive(timeout=30)
    assert any(isinstance(event, events.HandlerRaised) for event in seen)

def test_handlers_may_not_raise_something_else(tcp_server, tcp_client):
    client = tcp_client(tcp_server(picky, may_raise=(ZeroDivisionError, KeyError)))
    client.send(b"six")
    with pytest.raises(EOFError):
        client.receive(timeout=30)

def cut(buffer, seen):
    if buffer[:1] == b"?":
        raise ValueError("no message begins with this")
    return (bytes(buffer[:leng]), 4) if len(buffer) >= 4 else 4

def served(framing):
    service = Service(framing)
    service.reply(lambda message: message)
    return service

def ended(server, octets):
    with socket.create_connection(("127.0.0.1", server.port), 30) as client:
        client.sendall(octets)
        assert client.recv(100) == b""

def test_a_framing_has_a_mistake(tcp_server):
    ended(tcp_server(served(custom(cut, bytes))), b"abcd")

def test_a_mapping_has_a_mistake(tcp_server):
    ended(tcp_server(served(mapped(Line(), lambda message: message.decoed(), str.encode))), b"abcd\\n")

def test_a_framing_may_have_a_mistake(tcp_server):
    ended(tcp_server(served(custom(cut, bytes)), may_raise=NameError), b"abcd")

def test_a_peer_breaks_a_framing(tcp_server):
    ended(tcp_server(served(custom(cut, bytes))), b"?bcd")

def test_an_address_has_no_framing(tcp_client):
    with pytest.raises(TypeError, match="has no framing, give one"):
        tcp_client("127.0.0.1:1")

def test_nothing_is_left():
    assert [each.name for each in threading.enumerate()] == ["MainThread"]
"""


def test_in_a_run_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_it.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "--timeout", "50"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    last = done.stdout.splitlines()
    assert "13 passed, 5 errors" in last[-1], done.stdout
    errors = [line.partition(" - ")[0] for line in last if line.startswith("ERROR ")]
    assert errors == [
        "ERROR test_it.py::test_handlers_raise",
        "ERROR test_it.py::test_handlers_raise_and_a_server_does_not_stop",
        "ERROR test_it.py::test_handlers_may_not_raise_something_else",
        "ERROR test_it.py::test_a_framing_has_a_mistake",
        "ERROR test_it.py::test_a_mapping_has_a_mistake",
    ]
    assert "ZeroDivisionError" in done.stdout
    assert "IndexError: list index out of range" in done.stdout
    assert "OSError: no database" in done.stdout
    assert "invalid literal for int()" in done.stdout
    assert "NameError: name 'leng' is not defined" in done.stdout


def test_in_an_async_test(tcp_server: Any, run_async: Any) -> None:
    async def main() -> bytes:
        async with connect(tcp_server(service).address, "line") as connection:
            reply: bytes = await connection.request(b"async", timeout=30)
            return reply

    assert run_async(main()) == b"ASYNC"


@pytest.mark.parametrize("framing", ["u16", "fixed:2"])
def test_the_framing_is_the_services_or_the_given_one(tcp_server: Any, tcp_client: Any, framing: str) -> None:
    echo = Service(framing)
    echo.reply(lambda message: message)
    server = tcp_server(echo)
    assert tcp_client(server).request(b"hi", timeout=30) == b"hi"
    raw = tcp_client(server, "raw")
    octets = echo.framing.encode(b"no")
    raw.send(octets)
    assert raw.receive_exactly(len(octets), timeout=30) == octets


def test_the_client_of_a_service_with_two_directions_has_the_other_end(tcp_server: Any, tcp_client: Any) -> None:
    service = Service(duplex("delimited:?", "delimited:."))
    service.reply(lambda question: question + b", yes")
    client = tcp_client(tcp_server(service))
    assert client.request(b"is it so", timeout=30) == b"is it so, yes"
