"""What a program prints that does not catch an error of connecting or listening: one traceback, with one message."""

from __future__ import annotations

import socket
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

import fourtuple
from certificates import Files
from conftest import RunAsync
from fourtuple import Server, Tls, blocking, serve_in_thread
from fourtuple.errors import (
    AddressError,
    ConnectRefused,
    ConnectTimeout,
    FourTupleError,
    ListenAddressInUse,
    ListenAddressUnavailable,
    ListenError,
    LocalAddressUnavailable,
    NameNotFound,
    NoSuchSocket,
    OptionError,
    PeerReset,
    TlsCertificateRefused,
)
from fourtuple.net.sockets import reset_on_close
from fourtuple.services.echo import service

Call = tuple[str, dict[str, Any]]


@contextmanager
def refusing(tmp_path: Path) -> Iterator[Call]:
    with closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{sock.getsockname()[1]}", {}


@contextmanager
def refusing_by_name(tmp_path: Path) -> Iterator[Call]:
    with refusing(tmp_path) as (address, options):
        yield address.replace("127.0.0.1", "localhost"), options


@contextmanager
def trying_again(tmp_path: Path) -> Iterator[Call]:
    with refusing(tmp_path) as (address, _):
        yield address, {"reconnect": fourtuple.Reconnect(attempts=3, delay=0.001)}


@contextmanager
def unknown(tmp_path: Path) -> Iterator[Call]:
    def fail(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", fail)
        yield "name.invalid:1", {}


@contextmanager
def no_path(tmp_path: Path) -> Iterator[Call]:
    yield f"unix:{tmp_path}/nothing", {}


@contextmanager
def elsewhere(tmp_path: Path) -> Iterator[Call]:
    yield "127.0.0.1:1", {"local_address": "192.0.2.1"}


@contextmanager
def late(tmp_path: Path) -> Iterator[Call]:
    path = f"{tmp_path}/full"
    with closing(socket.socket(socket.AF_UNIX)) as passive, closing(socket.socket(socket.AF_UNIX)) as waiting:
        passive.bind(path)
        passive.listen(0)
        waiting.connect(path)
        yield f"unix:{path}", {"timeout": 0.05}


@contextmanager
def untrusted(tmp_path: Path) -> Iterator[Call]:
    files = Files(tmp_path)
    with serve_in_thread(service, tls=Tls(certificate=files.certificate, key=files.key)) as server:
        yield str(server.address), {"tls": True}


@contextmanager
def no_authority(tmp_path: Path) -> Iterator[Call]:
    with socket.create_server(("127.0.0.1", 0)) as passive:
        yield f"127.0.0.1:{passive.getsockname()[1]}", {"tls": Tls(ca=f"{tmp_path}/nothing")}


@contextmanager
def bad_address(tmp_path: Path) -> Iterator[Call]:
    yield "[1::2::3]:1", {}


CASES: dict[Callable[[Path], Any], type[FourTupleError]] = {
    refusing: ConnectRefused,
    refusing_by_name: ConnectRefused,
    trying_again: ConnectRefused,
    unknown: NameNotFound,
    no_path: NoSuchSocket,
    elsewhere: LocalAddressUnavailable,
    late: ConnectTimeout,
    untrusted: TlsCertificateRefused,
    no_authority: OptionError,
    bad_address: AddressError,
}


def prints_one_traceback(error: BaseException) -> None:
    printed = "".join(traceback.format_exception(error))
    assert printed.count("Traceback (most recent call last)") == 1, printed
    assert printed.count(str(error)) == 1
    assert printed.endswith(f"{type(error).__module__}.{type(error).__qualname__}: {error}\n")
    for other in ("above exception", "handling of", "Error: [Errno"):
        assert other not in printed


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_client_that_cannot_connect(run_async: RunAsync, tmp_path: Path, case: Callable[[Path], Any]) -> None:
    async def connect_async(address: str, options: dict[str, Any]) -> None:
        await fourtuple.connect(address, "line", **options)

    with case(tmp_path) as (address, options):
        with pytest.raises(CASES[case]) as blocked:
            blocking.connect(address, "line", **options)
        with pytest.raises(CASES[case]) as awaited:
            run_async(connect_async(address, options))
    prints_one_traceback(blocked.value)
    prints_one_traceback(awaited.value)


def test_a_connection_that_the_peer_resets(run_async: RunAsync) -> None:
    def reset() -> None:
        peer, _ = passive.accept()
        reset_on_close(peer)
        peer.close()

    async def receive(address: str) -> None:
        connection = await fourtuple.connect(address, "line")
        reset()
        await connection.receive(timeout=10)

    with socket.create_server(("127.0.0.1", 0)) as passive:
        address = f"127.0.0.1:{passive.getsockname()[1]}"
        with blocking.connect(address, "line") as connection:
            reset()
            with pytest.raises(PeerReset) as blocked:
                connection.receive(timeout=10)
        with pytest.raises(PeerReset) as awaited:
            run_async(receive(address))
    prints_one_traceback(blocked.value)
    prints_one_traceback(awaited.value)


@pytest.mark.parametrize("kind", [ListenAddressInUse, ListenAddressUnavailable, ListenError])
def test_a_server_that_cannot_listen(run_async: RunAsync, kind: type[FourTupleError]) -> None:
    async def start(address: str) -> None:
        await Server(service, address).start()

    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = {
            ListenAddressInUse: f"127.0.0.1:{taken.getsockname()[1]}",
            ListenAddressUnavailable: "192.0.2.1:1",
            ListenError: "fd:0",
        }[kind]
        with pytest.raises(kind) as caught:
            run_async(start(address))
    prints_one_traceback(caught.value)
