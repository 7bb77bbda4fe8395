"""asyncio's protocols and streams on our engine: real sockets, both loops, both kinds of readiness."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from certificates import Files, serving_context, trusting
from fourtuple import Deadlines, Limits, Proxy, Server, Service, Tls, adapters, events
from fourtuple.errors import OutboxFull, ServiceError
from rig import PATIENT, Peer, until


class Recorder(asyncio.Protocol):
    """A protocol that notes its calls."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.transport: Any = None
        self.keep_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.calls.append("made")

    def data_received(self, data: bytes) -> None:
        self.calls.append(data)

    def eof_received(self) -> bool:
        self.calls.append("eof")
        return self.keep_open

    def connection_lost(self, exc: BaseException | None) -> None:
        self.calls.append(exc if exc is None else type(exc))

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")


class Told(list[events.Event]):
    def kinds(self, kind: type[events.Event]) -> list[Any]:
        return [event for event in self if isinstance(event, kind)]


@asynccontextmanager
async def serving(
    factory: Callable[[], Any], readiness: Any, **options: Any
) -> AsyncIterator[tuple[Server, list[Any], Told]]:
    made: list[Any] = []
    told = Told()

    def make() -> Any:
        made.append(factory())
        return made[-1]

    options = {"deadlines": PATIENT, "observer": told.append, **options}
    async with Server(adapters.protocol(make), readiness=readiness, **options) as server:
        yield server, made, told


def test_the_calls_of_a_connection(run_async: Any, readiness: Any) -> None:
    async def main() -> None:
        async with serving(Recorder, readiness) as (server, made, _):
            with await Peer.connect(server) as peer:
                await peer.send(b"one")
                await until(lambda: made and b"one" in made[0].calls)
                transport = made[0].transport
                assert transport.get_extra_info("peername") == peer.socket.getsockname()
                assert transport.get_extra_info("sockname") == ("127.0.0.1", server.port)
                assert transport.get_extra_info("socket").fileno() > 0
                assert transport.get_extra_info("ssl_object") is None
                assert transport.get_extra_info("nothing", 3) == 3
                transport.writelines([b"a", bytearray(b"b"), memoryview(b"c")])
                peer.finish()
                assert await peer.receive_all() == b"abc"
                await until(lambda: None in made[0].calls)
                transport.write(b"after the end")
                transport.close()
                transport.abort()
                assert transport.is_closing()
            assert made[0].calls == ["made", b"one", "eof", None]
            await until(lambda: not server.connections)
            assert server.statistics.aborted == 0

    run_async(main())


@pytest.mark.parametrize(
    "method", ["connection_made", "data_received", "eof_received", "connection_lost", "factory", "pause_writing"]
)
def test_a_method_that_raises_costs_its_own_connection(run_async: Any, readiness: Any, method: str) -> None:
    def fail(*_: Any) -> Any:
        raise LookupError("mine")

    async def main() -> None:
        def factory() -> Any:
            if method == "factory" and not broken:
                broken.append(1)
                fail()
            recorder = Recorder()
            if not broken:
                broken.append(1)
                setattr(recorder, method, fail)
                if method == "pause_writing":
                    recorder.connection_made = lambda transport: transport.write(bytes(1 << 24))  # type: ignore
            return recorder

        broken: list[int] = []
        told = Told()
        async with Server(adapters.protocol(factory), readiness=readiness, observer=told.append) as server:
            with await Peer.connect(server) as peer:
                if method != "pause_writing":
                    await peer.send(b"x")
                    peer.finish()
                    await peer.receive_all()
                    await until(lambda: told.kinds(events.HandlerRaised))
                    assert [type(event.error) for event in told.kinds(events.HandlerRaised)] == [LookupError]
                else:
                    assert len(await peer.receive(1 << 24)) == 1 << 24  # asyncio goes on, too
            with await Peer.connect(server) as peer:
                await peer.send(b"x")
                peer.finish()
                assert await peer.receive_all() == b""
            await until(lambda: not server.connections)

    async def quietly() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        await main()

    run_async(quietly())


def test_abort_in_connection_made(run_async: Any, readiness: Any) -> None:
    class Aborting(Recorder):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            transport.abort()
            transport.write(b"never")

    async def main() -> None:
        async with serving(Aborting, readiness) as (server, made, _):
            with await Peer.connect(server) as peer:
                assert await peer.receive_all() == b""
            await until(lambda: not server.connections and made[0].calls == ["made", None])

    run_async(main())


def test_pause_reading_before_anything(run_async: Any, readiness: Any) -> None:
    class Paused(Recorder):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            transport.pause_reading()
            assert not transport.is_reading()

    async def main() -> None:
        async with serving(Paused, readiness) as (server, made, _):
            with await Peer.connect(server) as peer:
                await peer.send(b"x")
                peer.finish()
                await until(lambda: server.statistics.octets_in == 1)
                for _ in range(20):
                    await asyncio.sleep(0)
                assert made[0].calls == ["made"]
                made[0].transport.resume_reading()
                await peer.receive_all()
                await until(lambda: made[0].calls == ["made", b"x", "eof", None])

    run_async(main())


def test_a_buffered_protocol_takes_over_in_data_received(run_async: Any, readiness: Any) -> None:
    class Buffered(asyncio.BufferedProtocol):
        def __init__(self) -> None:
            self.buffer, self.got = bytearray(3), b""
            self.lost: list[Any] = []

        def get_buffer(self, sizehint: int) -> bytearray:
            return self.buffer

        def buffer_updated(self, nbytes: int) -> None:
            self.got += self.buffer[:nbytes]

        def connection_lost(self, exc: BaseException | None) -> None:
            self.lost.append(exc)

    second = Buffered()

    class First(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.set_protocol(second)
            self.transport.write(b"go")

    async def main() -> None:
        async with serving(First, readiness) as (server, made, _):
            with await Peer.connect(server) as peer:
                await peer.send(b"hello")
                assert await peer.receive(2) == b"go"
                await peer.send(b"0123456789")
                peer.finish()
                assert await peer.receive_all() == b""
                await until(lambda: second.lost)
            assert (made[0].calls, second.got, second.lost) == (["made", b"hello"], b"0123456789", [None])
            assert made[0].transport.get_protocol() is second

    run_async(main())


def test_eof_received_that_keeps_open_and_half_close(run_async: Any, readiness: Any) -> None:
    async def main() -> None:
        async with serving(Recorder, readiness) as (server, made, _):
            with await Peer.connect(server) as peer:
                await until(lambda: made and made[0].calls)
                made[0].keep_open = True
                peer.finish()
                await until(lambda: "eof" in made[0].calls)
                made[0].transport.write(b"later")
                made[0].transport.write_eof()
                made[0].transport.write_eof()
                with pytest.raises(RuntimeError, match="after write_eof"):
                    made[0].transport.write(b"x")
                assert await peer.receive_all() == b"later"

    run_async(main())


def test_a_peer_that_never_reads_pauses_the_protocol(run_async: Any, readiness: Any) -> None:
    async def main() -> None:
        async with serving(Recorder, readiness) as (server, made, _):
            with await Peer.connect(server, receive_buffer=4096) as peer:
                await until(lambda: made and made[0].calls)
                recorder = made[0]
                recorder.transport.set_write_buffer_limits(high=1000, low=100)
                assert recorder.transport.get_write_buffer_limits() == (100, 1000)
                size = 1 << 23
                recorder.transport.write(bytes(size))
                assert recorder.calls == ["made", "pause"]
                assert recorder.transport.get_write_buffer_size() > 1000
                assert len(await peer.receive(size)) == size
                await until(lambda: recorder.calls == ["made", "pause", "resume"])
                recorder.transport.write(b"y" * size)
                recorder.transport.close()
                assert await peer.receive_all() == b"y" * size
                await until(lambda: recorder.calls[-1] is None)

    run_async(main())


def test_a_protocol_that_never_pauses_is_ended_at_max_outbox(run_async: Any, readiness: Any) -> None:
    async def main() -> None:
        limits = Limits(max_outbox=1 << 20)
        async with serving(Recorder, readiness, limits=limits) as (server, made, told):
            with await Peer.connect(server, receive_buffer=4096):
                await until(lambda: made and made[0].calls)
                for _ in range(100):
                    made[0].transport.write(bytes(1 << 20))
                await until(lambda: made[0].calls[-1] is OutboxFull)
                await until(lambda: not server.connections)
            assert [event.reason.value for event in told.kinds(events.Closed)] == ["limit"]

    run_async(main())


def test_a_reset_is_the_error_of_connection_lost(run_async: Any, readiness: Any) -> None:
    async def main() -> None:
        async with serving(Recorder, readiness) as (server, made, _):
            peer = await Peer.connect(server)
            await until(lambda: made and made[0].calls)
            peer.reset()
            await until(lambda: not server.connections and len(made[0].calls) == 2)
            assert issubclass(made[0].calls[-1], ConnectionResetError)

    run_async(main())


class Echo(Recorder):
    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.transport.write(data)


def test_tls_with_a_client_certificate(run_async: Any, readiness: Any, tmp_path: Path) -> None:
    files = Files(tmp_path)
    tls = Tls(certificate=files.certificate, key=files.key, verify="required", ca=files.ca)

    async def main() -> None:
        async with serving(Echo, readiness, tls=tls) as (server, made, _):
            options = {"ssl": trusting("device-7"), "server_hostname": "localhost"}
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port, **options)
            writer.write(b"secret")
            assert await reader.readexactly(6) == b"secret"
            transport = made[0].transport
            assert ("commonName", "device-7") in [
                pair for part in transport.get_extra_info("peercert")["subject"] for pair in part
            ]
            assert transport.get_extra_info("ssl_object").version() == "TLSv1.3"
            assert transport.get_extra_info("cipher")
            assert isinstance(transport.get_extra_info("sslcontext"), ssl.SSLContext)
            assert not transport.can_write_eof()
            with pytest.raises(NotImplementedError):
                transport.write_eof()
            writer.close()
            await writer.wait_closed()
            await until(lambda: made[0].calls[-2:] == ["eof", None])

    run_async(main())


def test_start_tls_in_mid_life(run_async: Any, readiness: Any) -> None:
    async def callback(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readline() == b"STARTTLS\n"
        writer.write(b"go\n")
        await writer.start_tls(serving_context())
        writer.write(b"got " + await reader.readline())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def main() -> None:
        async with Server(adapters.streams(callback), readiness=readiness, deadlines=PATIENT) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"STARTTLS\n")
            assert await reader.readline() == b"go\n"
            await writer.start_tls(trusting(), server_hostname="localhost")
            writer.write(b"secret\n")
            assert await reader.readline() == b"got secret\n"
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()
            await until(lambda: not server.connections)

    run_async(main())


def test_a_proxy_header_names_the_peer(run_async: Any, readiness: Any) -> None:
    async def main() -> None:
        proxy = Proxy(protocol="required", trusted="127.0.0.0/8")
        async with serving(Echo, readiness, proxy=proxy) as (server, made, _):
            with await Peer.connect(server) as peer:
                await peer.send(b"PROXY TCP4 192.0.2.7 192.0.2.8 5 6\r\nhello")
                assert await peer.receive(5) == b"hello"
                assert made[0].transport.get_extra_info("peername") == ("192.0.2.7", 5)

    run_async(main())


def test_a_drain_lets_a_callback_send_its_last_reply(run_async: Any, readiness: Any) -> None:
    async def main() -> None:
        working, go_on = asyncio.Event(), asyncio.Event()

        async def callback(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while line := await reader.readline():
                working.set()
                await go_on.wait()
                writer.write(line.upper())
                await writer.drain()
            writer.close()
            await writer.wait_closed()

        deadlines = Deadlines(drain_idle_timeout=0.0)
        server = Server(adapters.streams(callback), readiness=readiness, deadlines=deadlines)
        await server.start()
        with await Peer.connect(server) as peer, await Peer.connect(server) as idle:
            await idle.send(b"")
            await peer.send(b"in the middle\n")
            await working.wait()
            draining = asyncio.ensure_future(server.drain())
            await server.draining.wait()
            await asyncio.sleep(0.2)  # three looks of the drain at the busy connection
            assert len(server.connections) >= 1
            go_on.set()
            assert await peer.receive_all() == b"IN THE MIDDLE\n"
            peer.close()
            assert await draining == 0
        assert server.statistics.aborted == 0

    run_async(main())


def test_a_callback_that_raises(run_async: Any, readiness: Any) -> None:
    async def callback(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"before")
        raise LookupError("mine")

    async def main() -> None:
        told = Told()
        async with Server(adapters.streams(callback), readiness=readiness, observer=told.append) as server:
            with await Peer.connect(server) as peer:
                assert await peer.receive_all() == b"before"
            await until(lambda: not server.connections)
        assert [type(event.error) for event in told.kinds(events.HandlerRaised)] == [LookupError]

    run_async(main())


def test_five_hundred_connections(run_async: Any, readiness: Any) -> None:
    async def main() -> None:
        async with serving(Echo, readiness) as (server, made, _):
            peers = [await Peer.connect(server) for _ in range(500)]
            for peer in peers:
                await peer.send(b"12345678")
            for peer in peers:
                assert await peer.receive(8) == b"12345678"
                peer.close()
            await until(lambda: not server.connections and all(each.calls[-1] is None for each in made))
            assert server.statistics.octets_out == 4000

    run_async(main())


def test_what_cannot_be_adapted() -> None:
    with pytest.raises(ServiceError, match="reader, writer"):
        adapters.streams(lambda: None)  # type: ignore[arg-type, misc]
    with pytest.raises(ServiceError, match="protocol"):
        adapters.protocol(lambda a: Recorder())  # type: ignore[arg-type, misc]
    assert isinstance(adapters.protocol(Recorder), Service)


def test_a_callback_that_writes_for_ever_ends_with_its_client(run_async: Any, readiness: str) -> None:
    """A write finds the loss before the loop does: drain() raises then, and does not go round without the loop."""
    begun, gone = threading.Event(), threading.Event()
    told: list[BaseException | str] = []

    async def write(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begun.set()
        assert gone.wait(20)  # the RST is there, and the loop has not seen it
        try:
            for _ in range(10_000):
                writer.write(b"x" * 65536)
                await writer.drain()
            told.append("went on")
        except ConnectionError as error:
            told.append(error)
            raise

    def leave(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            assert begun.wait(20)
        gone.set()

    async def main() -> None:
        async with Server(adapters.streams(write), readiness=readiness) as server:
            leaving = asyncio.get_running_loop().run_in_executor(None, leave, server.port)
            await until(lambda: told)
            await leaving
        assert isinstance(told[0], ConnectionError)

    run_async(main())


@pytest.mark.parametrize("again", [False, True], ids=["paused once", "paused at each"])
def test_octets_that_wait_for_a_paused_protocol_are_delivered_when_the_connection_is_lost(
    run_async: Any, readiness: Any, again: bool
) -> None:
    class Pausing(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if again or len(self.calls) == 2:
                self.transport.pause_reading()

    async def main() -> None:
        async with serving(Pausing, readiness) as (server, made, told):
            with await Peer.connect(server) as peer:
                await peer.send(b"one")
                await until(lambda: made and b"one" in made[0].calls)
                stream = next(iter(server.connections.values()))._stream
                await peer.send(b"two")
                await until(lambda: stream.inbox)  # one more read, and it waits
                assert made[0].calls == ["made", b"one"]
                peer.reset()
            await until(lambda: told.kinds(events.Closed))
            await until(lambda: len(made[0].calls) > 3)
            assert made[0].calls[:3] == ["made", b"one", b"two"]
            assert issubclass(made[0].calls[3], ConnectionResetError)

    run_async(main())
