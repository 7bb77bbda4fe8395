"""What the comparison says of us, and of others, is checked again (in the environment of ``make docs``)."""

from __future__ import annotations

import asyncio
import asyncio.streams
import inspect
import re
import socketserver
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from importlib.metadata import metadata, version
from pathlib import Path
from typing import Any

import pytest

from docs.packages import require_package
from fourtuple import Deadlines
from fourtuple.framing.text import framing_class, known_words
from fourtuple.options import DEFAULT_MAX_MESSAGE

PAGE = (Path(__file__).parents[2] / "docs" / "explanation" / "when-not.md").read_text()
#: A parameter with such a name would be a limit of connections, or a timeout for a peer.
LIMITS = re.compile(r"max_(?!recv)|limit|idle|(?<!ssl_handshake_)(?<!ssl_shutdown_)timeout")


def cells(row: str) -> dict[str, str]:
    """A row of the comparison, by the names in its head."""
    lines = [line.split("|")[1:-1] for line in PAGE.splitlines() if line.startswith("|")]
    head = next(line for line in lines if line[1].strip() == "fourtuple")
    found = next(line for line in lines if line[0].strip() == row)
    return {name.strip(): cell.strip() for name, cell in zip(head, found, strict=True)}


def column(name: str) -> dict[str, str]:
    """A column of the comparison, by the names of its rows."""
    lines = [line.split("|")[1:-1] for line in PAGE.splitlines() if line.startswith("|")]
    start = next(number for number, line in enumerate(lines) if line[1].strip() == "fourtuple")
    at = [cell.strip() for cell in lines[start]].index(name)
    return {line[0].strip(): line[at].strip() for line in lines[start + 2 :]}


def parameters(*functions: Callable[..., Any]) -> set[str]:
    return {name for function in functions for name in inspect.signature(function).parameters}


def limits(*functions: Callable[..., Any]) -> list[str]:
    return [name for name in parameters(*functions) if LIMITS.search(name)]


def said(package: str, text: str) -> list[str]:
    """The files of a package in which a text stands, in their names or in their sources."""
    folder = Path(str(import_module(package).__file__)).parent
    pattern = re.compile(text, re.IGNORECASE)
    return [str(path) for path in folder.rglob("*.py") if pattern.search(path.name) or pattern.search(path.read_text())]


def modules(package: str, text: str) -> list[str]:
    return [path.name for path in Path(str(import_module(package).__file__)).parent.rglob(f"*{text}*")]


def of(name: str, package: str) -> dict[str, str]:
    """The column of an installed package, in the version that the page names."""
    require_package(package)
    told = re.search(rf"\*\*{name}\*\* ([\d.]+)", PAGE)
    assert told
    installed = version(package)
    assert installed.split(".")[0] == told[1].split(".")[0], (
        f"{name} {installed}: read it again, the page has {told[1]}"
    )
    return column(name)


def kinds() -> set[type]:
    """The framings that have a word of their own: others are short forms."""
    found = set()
    for word in known_words():
        with suppress(KeyError):
            found.add(framing_class(word))
    return found


def test_our_own_cells() -> None:
    assert cells("messages cut from the stream")["fourtuple"] == f"{len(kinds())} framings, and yours"
    assert cells("default bound of a message")["fourtuple"] == f"{DEFAULT_MAX_MESSAGE >> 20} MiB"
    assert cells("stop that waits for work, in bounded time")["fourtuple"] == f"yes, {Deadlines().drain_timeout:g} s"
    silent = cells("default timeout for a silent peer")["fourtuple"]
    assert f"{Deadlines().first_message_timeout:g} s" in silent
    assert Deadlines().message_timeout == Deadlines().first_message_timeout


def test_the_standard_library() -> None:
    limit = inspect.signature(asyncio.start_server).parameters["limit"].default
    assert cells("default bound of a message")["asyncio"] == f"{limit >> 10} KiB"
    assert not limits(asyncio.AbstractEventLoop.create_server)
    assert (
        f"{socketserver.ForkingMixIn.max_children} processes" in cells("default limit of connections")["socketserver"]
    )
    assert socketserver.StreamRequestHandler.timeout is None
    assert socketserver.ThreadingMixIn.block_on_close
    assert asyncio.AbstractEventLoop.create_datagram_endpoint
    assert socketserver.UDPServer
    assert cells("UDP")["asyncio"] == cells("UDP")["socketserver"] == "yes"


@pytest.mark.filterwarnings("ignore")
def test_the_column_of_anyio_is_true() -> None:
    column = of("anyio", "anyio")
    import anyio
    from anyio.abc import SocketListener
    from anyio.streams.buffered import BufferedByteReceiveStream

    receive = {name for name in vars(BufferedByteReceiveStream) if name.startswith("receive_")}
    assert receive == {"receive_exactly", "receive_until"}
    assert column["messages cut from the stream"] == "separator, number of octets"
    until = inspect.signature(BufferedByteReceiveStream.receive_until).parameters
    assert until["max_bytes"].default is inspect.Parameter.empty
    assert column["default bound of a message"] == "you say it in each call"
    assert not limits(anyio.create_tcp_listener, SocketListener.serve)
    assert column["default limit of connections"] == column["default timeout for a silent peer"] == "none"
    assert not said("anyio", "haproxy|proxy.?protocol|reconnect")
    assert column["PROXY protocol"] == column["client that connects again"] == "no"
    assert column["stop that waits for work, in bounded time"] == "you"
    assert anyio.create_udp_socket
    assert column["UDP"] == "yes"
    assert not modules("anyio", "http")
    assert column["HTTP"] == "no"
    assert said("anyio", "win32")
    assert column["Windows"] == "yes"


@pytest.mark.filterwarnings("ignore")
def test_the_column_of_twisted_is_true() -> None:
    column = of("Twisted", "twisted")
    from twisted.application.internet import ClientService
    from twisted.internet.tcp import Port
    from twisted.protocols import basic, policies

    assert basic.LineReceiver
    assert basic.IntNStringReceiver
    assert column["messages cut from the stream"] == "line, netstring, length prefix"
    bounds = f"{basic.LineReceiver.MAX_LENGTH:,} or {basic.NetstringReceiver.MAX_LENGTH:,} octets"
    assert column["default bound of a message"] == bounds
    assert basic.Int32StringReceiver.MAX_LENGTH == basic.NetstringReceiver.MAX_LENGTH
    assert policies.LimitTotalConnectionsFactory
    assert not limits(Port)
    assert column["default limit of connections"] == "none; a wrapping factory"
    assert policies.TimeoutMixin.timeOut is None
    assert column["default timeout for a silent peer"] == "none; a mixin"
    assert not limits(Port.stopListening)
    assert column["stop that waits for work, in bounded time"] == "you"
    assert import_module("twisted.protocols.haproxy")
    assert column["PROXY protocol"] == "yes"
    assert ClientService
    assert column["client that connects again"] == "yes"
    assert import_module("twisted.internet.udp")
    assert column["UDP"] == "yes"
    assert modules("twisted", "iocpreactor")
    assert column["Windows"] == "yes"
    assert import_module("twisted.web.http")
    assert column["HTTP"] == "yes"


@pytest.mark.filterwarnings("ignore")
def test_the_column_of_easynetwork_is_true() -> None:
    column = of("EasyNetwork", "easynetwork")
    from easynetwork import serializers, servers
    from easynetwork.lowlevel.constants import DEFAULT_SERIALIZER_LIMIT

    for name in ("StringLineSerializer", "JSONSerializer", "StructSerializer", "CBORSerializer"):
        assert hasattr(serializers, name)
    assert column["messages cut from the stream"] == "line, JSON, struct, CBOR, and others"
    assert column["default bound of a message"] == f"{DEFAULT_SERIALIZER_LIMIT >> 10} KiB"
    assert not limits(servers.AsyncTCPNetworkServer.__init__)
    assert column["default limit of connections"] == "none"
    assert column["default timeout for a silent peer"] == "none; in each receive"
    assert not limits(servers.AsyncTCPNetworkServer.shutdown)
    assert "cancel()" in inspect.getsource(servers.AsyncTCPNetworkServer.shutdown)
    assert column["stop that waits for work, in bounded time"] == "you"
    assert not said("easynetwork", "haproxy|proxy.?protocol|reconnect")
    assert column["PROXY protocol"] == column["client that connects again"] == "no"
    assert servers.AsyncUDPNetworkServer
    assert column["UDP"] == "yes"
    assert "Operating System :: Microsoft :: Windows" in metadata("easynetwork").get_all("Classifier", [])
    assert column["Windows"] == "yes"
    assert not modules("easynetwork", "http")
    assert column["HTTP"] == "no"
