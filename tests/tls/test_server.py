"""A server over TLS, in its own loop: Python's asyncio and ssl on the other side."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from certificates import Files, issued, serving_context, tls_of, trusting
from fourtuple import Deadlines, Proxy, Service, events, fast_path
from fourtuple import connect as connect_async
from fourtuple.engine import Channel, Engine
from fourtuple.errors import (
    EndOfFile,
    OptionError,
    TlsAlert,
    TlsCertificateRefused,
    TlsError,
    TlsExpected,
    TlsTruncated,
)
from fourtuple.framing import Line
from fourtuple.options import Tls
from fourtuple.server import Server
from fourtuple.stream import Reason
from fourtuple.tls.layer import TlsLayer
from rig import FakeClock, echo, until
from serving.support import client, says, serving


def who() -> Service:
    """Answers every line with what the handler sees of TLS."""
    service = Service(Line())

    @service.reply
    def reply(message: bytes, connection: Any) -> bytes:
        tls = connection.tls
        return b"plain" if tls is None else f"{tls.version} {tls.alpn} {tls.sni} {tls.common_name}".encode()

    return service


def over(name: str = "localhost", certificate: str | None = None, **changes: Any) -> dict[str, Any]:
    context = trusting(certificate)
    for key, value in changes.items():
        setattr(context, key, value)
    return {"ssl": context, "server_hostname": name}


def test_a_message_over_tls_is_served_in_one_piece(
    run_async: Any, readiness: Any, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the handshake, one whole message that a plain function replies to does not take the general way."""
    served: list[int] = []

    async def main() -> None:
        async with (
            serving(echo(), tls=tls_of(files), readiness=readiness) as (server, _),
            client(server, **over()) as talk,
        ):
            assert await says(talk, b"hello\n") == b"hello\n"
            general = Channel._serve
            monkeypatch.setattr(Channel, "_serve", lambda self, ready: (served.append(ready), general(self, ready)))
            for size in (1, 100, 9_000):
                assert await says(talk, b"x" * size + b"\n") == b"x" * size + b"\n"
            assert served == []
            (runner,) = server._core.registry.runners.values()
            numbers = runner.stream.statistics
            assert (numbers.messages_in, numbers.messages_out) == (4, 4)
            assert numbers.octets_out > 9_109

    run_async(main())


@pytest.mark.skipif(fast_path.turn is None, reason="the C is not built, or switched off")
def test_whole_records_are_passed_in_c_and_others_in_python(
    run_async: Any, readiness: Any, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    received, written = TlsLayer.received, TlsLayer.write
    calls: list[tuple[str, int]] = []

    def receive(layer: TlsLayer, data: bytes, now: float) -> bytes:
        calls.append(("received", len(data)))
        return received(layer, data, now)

    def write(layer: TlsLayer, octets: bytes) -> None:
        calls.append(("write", len(octets)))
        written(layer, octets)

    async def main() -> None:
        async with (
            serving(echo(), tls=tls_of(files), readiness=readiness) as (server, _),
            client(server, **over()) as talk,
        ):
            assert await says(talk, b"hello\n") == b"hello\n"
            monkeypatch.setattr(TlsLayer, "received", receive)
            monkeypatch.setattr(TlsLayer, "write", write)
            for message in (b"1\n", b"x" * 9_000 + b"\n"):
                assert await says(talk, message) == message
            assert calls == []
            large = b"x" * 40_000 + b"\n"
            assert await says(talk, large) == large
            assert ("write", len(large)) in calls
            assert "received" in dict(calls)
            calls.clear()
            assert await says(talk, b"2\n") == b"2\n"
            assert calls == []

    run_async(main())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_conversation_over_tls(run_async: Any, readiness: Any, files: Files, version: ssl.TLSVersion) -> None:
    async def main() -> None:
        async with serving(echo(), tls=tls_of(files), readiness=readiness) as (server, heard):
            async with client(server, **over(minimum_version=version, maximum_version=version)) as talk:
                assert await says(talk, b"hello\n") == b"hello\n"
                assert await says(talk, b"x" * 60_000 + b"\n") == b"x" * 60_000 + b"\n"
            await until(lambda: not server.connections)
            (started,) = heard.of(events.TlsStarted)
            assert started.version == version.name.replace("v1_", "v1.")
            assert heard.of(events.TlsFailed) == []
            assert server.statistics.handshakes == 1
            (closed,) = heard.of(events.Closed)
            assert closed.statistics.messages_in == 2
            assert closed.statistics.octets_in > 60_006

    run_async(main())


def test_the_handler_sees_what_was_agreed(run_async: Any, readiness: Any, files: Files) -> None:
    async def main() -> None:
        async with serving(who(), tls=tls_of(files, alpn="b/1, a/1"), readiness=readiness) as (server, _):
            context = trusting()
            context.set_alpn_protocols(["a/1"])
            async with client(server, ssl=context, server_hostname="localhost") as talk:
                assert await says(talk, b"?\n") == b"TLSv1.3 a/1 localhost None\n"

    run_async(main())


@pytest.mark.parametrize("verify", ["auto", "optional"])
def test_a_client_certificate_is_required_or_optional(
    run_async: Any, readiness: Any, files: Files, verify: str
) -> None:
    async def main() -> None:
        tls = tls_of(files, ca=files.ca, verify=verify)
        async with serving(who(), tls=tls, readiness=readiness) as (server, heard):
            async with client(server, **over(certificate="device-7")) as talk:
                assert await says(talk, b"?\n") == b"TLSv1.3 None localhost device-7\n"
            assert "CN=device-7" in heard.of(events.TlsStarted)[0].subject
            if verify == "optional":
                async with client(server, **over()) as talk:
                    assert await says(talk, b"?\n") == b"TLSv1.3 None localhost None\n"
                return
            async with client(server, **over()) as talk:
                talk[1].write(b"?\n")
                with pytest.raises((ssl.SSLError, ConnectionError)):  # with TLS 1.3 the client learns it late
                    await talk[0].readline()
            await until(lambda: heard.of(events.TlsFailed))
            (failed,) = heard.of(events.TlsFailed)
            assert isinstance(failed.error, TlsCertificateRefused)
            assert server.statistics.tls_failures == 1

    run_async(main())


def test_names_are_routed(run_async: Any, readiness: Any, files: Files) -> None:
    other = Files(files.folder, "b.example")

    async def main() -> None:
        tls = tls_of(files, sni=f"b.example={other.certificate}:{other.key}")
        async with serving(who(), tls=tls, readiness=readiness) as (server, _):
            for name in ("localhost", "b.example"):
                async with client(server, **over(name)) as talk:
                    assert await says(talk, b"?\n") == f"TLSv1.3 None {name} None\n".encode()

    run_async(main())


def test_plain_octets_at_a_tls_port(run_async: Any, readiness: Any, files: Files) -> None:
    async def main() -> None:
        async with serving(echo(), tls=tls_of(files), readiness=readiness) as (server, heard):
            async with client(server) as talk:
                assert await says(talk, b"hello\n") == b""
            await until(lambda: heard.of(events.Closed))
            assert isinstance(heard.of(events.TlsFailed)[0].error, TlsExpected)
            (closed,) = heard.of(events.Closed)
            assert closed.reason is Reason.TLS_ERROR

    run_async(main())


def test_tls_and_plain_at_one_port(run_async: Any, readiness: Any, files: Files) -> None:
    async def main() -> None:
        async with serving(who(), tls=tls_of(files, mode="detect"), readiness=readiness) as (server, _):
            async with client(server) as talk:
                assert await says(talk, b"?\n") == b"plain\n"
            async with client(server, **over()) as talk:
                assert (await says(talk, b"?\n")).startswith(b"TLSv1.3")

    run_async(main())


def test_a_client_that_does_not_trust_us(run_async: Any, readiness: Any, files: Files) -> None:
    async def main() -> None:
        async with serving(echo(), tls=tls_of(files), readiness=readiness) as (server, heard):
            await asyncio.to_thread(distrust, server.port)
            await until(lambda: heard.of(events.Closed))
            (failed,) = heard.of(events.TlsFailed)
            assert isinstance(failed.error, TlsAlert)
            assert failed.error.alert == "unknown ca"

    run_async(main())


def distrust(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as sock, pytest.raises(ssl.SSLCertVerificationError):
        ssl.create_default_context().wrap_socket(sock, server_hostname="localhost")


def replies(service: Service) -> None:
    service.reply(lambda message: message)


def converses(service: Service) -> None:
    @service.conversation
    async def talk(connection: Any) -> None:
        async for message in connection:
            await connection.send(message)


def converses_in_a_thread(service: Service) -> None:
    @service.conversation
    def talk(connection: Any) -> None:
        for message in connection:
            connection.send(message)


EACH_KIND = pytest.mark.parametrize("kind", [replies, converses, converses_in_a_thread])


@EACH_KIND
def test_a_peer_that_goes_without_close_notify(
    run_async: Any, readiness: Any, files: Files, kind: Callable[[Service], None]
) -> None:
    """As the blocking clients of Python's ssl do: behind a whole message it is an end of file, and counted."""

    async def main() -> None:
        service = Service(Line())
        kind(service)
        async with serving(service, tls=tls_of(files), readiness=readiness) as (server, heard):
            await asyncio.to_thread(lose, server.port)
            await until(lambda: heard.of(events.Closed))
            (closed,) = heard.of(events.Closed)
            assert (closed.reason, closed.side) == (Reason.NO_CLOSE_NOTIFY, "peer")
            statistics = server.statistics
            assert (statistics.tls_without_close_notify, statistics.tls_failures) == (1, 0)
            assert heard.of(events.TlsFailed) == heard.of(events.HandlerRaised) == []

    run_async(main())


@EACH_KIND
@pytest.mark.parametrize(("framing", "rest"), [("line", b"half of a"), ("raw", b"")])
def test_a_peer_that_goes_in_mid_message(
    run_async: Any, readiness: Any, files: Files, kind: Callable[[Service], None], framing: str, rest: bytes
) -> None:
    async def main() -> None:
        service = Service(framing)
        kind(service)
        async with serving(service, tls=tls_of(files), readiness=readiness) as (server, heard):
            await asyncio.to_thread(lose, server.port, rest)
            await until(lambda: heard.of(events.Closed))
            (closed,) = heard.of(events.Closed)
            assert (closed.reason, closed.side) == (Reason.NO_CLOSE_NOTIFY, "peer")
            (failed,) = heard.of(events.TlsFailed)
            assert isinstance(failed.error, TlsTruncated)
            statistics = server.statistics
            assert (statistics.tls_without_close_notify, statistics.tls_failures) == (1, 1)
            assert heard.of(events.HandlerRaised) == []

    run_async(main())


def lose(port: int, rest: bytes = b"") -> None:
    """Say something over TLS, then end the connection below it."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        secure = trusting().wrap_socket(sock, server_hostname="localhost")
        secure.sendall(b"x\n")
        assert secure.recv(100) == b"x\n"
        if rest:
            secure.sendall(rest)
        os.close(secure.detach())


def test_requests_and_fin_without_close_notify_are_answered(run_async: Any, readiness: Any, files: Files) -> None:
    """The half-close of a client that knows no other: what it asked before is answered, and the answer arrives."""

    async def main() -> None:
        service = Service(Line())

        @service.reply
        async def reply(message: bytes) -> bytes:
            await asyncio.sleep(0)
            return message

        async with serving(service, tls=tls_of(files), readiness=readiness) as (server, _):
            assert await asyncio.to_thread(ask_and_half_close, server.port) == b"1\n2\n3\n"

    run_async(main())


def ask_and_half_close(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port)) as sock:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        secure = trusting().wrap_bio(incoming, outgoing, server_hostname="localhost")
        while True:
            try:
                secure.do_handshake()
                break
            except ssl.SSLWantReadError:
                sock.sendall(outgoing.read())
                incoming.write(sock.recv(65536))
        secure.write(b"1\n2\n3\n")
        sock.sendall(outgoing.read())
        sock.shutdown(socket.SHUT_WR)
        while data := sock.recv(65536):
            incoming.write(data)
        found = b""
        with suppress(ssl.SSLZeroReturnError):
            while chunk := secure.read(65536):
                found += chunk
        return found


def test_the_handshake_has_a_deadline_and_delays_no_other_connection(
    run_async: Any, readiness: Any, files: Files
) -> None:
    async def main() -> None:
        clock = FakeClock()
        engine = Engine(readiness=readiness, clock=clock)
        async with (
            serving(echo(), tls=tls_of(files), engine=engine) as (server, heard),
            client(server) as stalled,
            client(server, **over()) as talk,
        ):
            stalled[1].write(b"\x16\x03\x01")
            await until(lambda: server.statistics.octets_in > 500)
            assert await says(talk, b"served\n") == b"served\n"
            clock.now += 9.9
            engine.sweep()
            assert heard.of(events.DeadlineMissed) == []
            assert await says(talk, b"still\n") == b"still\n"
            clock.now += 0.2
            engine.sweep()
            assert await stalled[0].read() == b""
            (missed,) = heard.of(events.DeadlineMissed)
            assert str(missed.error).startswith("handshake_timeout deadline of 10 s passed")

    run_async(main())


def test_a_connection_in_the_handshake_is_a_probe_without_octets_and_no_connection_yet(
    run_async: Any, readiness: Any, files: Files
) -> None:
    async def main() -> None:
        async with serving(echo(), tls=tls_of(files), readiness=readiness) as (server, heard):
            async with client(server):
                await until(lambda: server.statistics.active)
                assert not server.connections
                assert server.broadcast(b"x").sent == 0
            await until(lambda: heard.of(events.Closed))
            assert heard.of(events.Closed)[0].probe
            assert heard.of(events.TlsFailed) == []

    run_async(main())


@pytest.mark.parametrize("mode", ["always", "detect"])
@pytest.mark.parametrize("header", [b"", b"PROXY TCP4 198.51.100.7 192.0.2.80 56324 443\r\n"])
def test_a_handshake_and_nothing_behind_it_is_a_probe(
    run_async: Any, readiness: Any, files: Files, mode: str, header: bytes
) -> None:
    """The health check of a balancer that looks at the certificate, too."""

    async def main() -> None:
        proxy = Proxy(protocol="required") if header else None
        async with serving(echo(), tls=tls_of(files, mode=mode), proxy=proxy, readiness=readiness) as (server, heard):
            async with client(server) as (_, writer):
                writer.write(header)
                await writer.start_tls(trusting(), server_hostname="localhost")
                await until(lambda: server.statistics.handshakes)
            await until(lambda: heard.of(events.Closed))
            (closed,) = heard.of(events.Closed)
            assert (closed.probe, closed.reason) == (True, Reason.PEER_CLOSED)
            assert (server.statistics.probes, server.statistics.tls_failures) == (1, 0)

    run_async(main())


@pytest.mark.parametrize("says_what", [b"GET / HTTP/1.1\r\n", bytes.fromhex("1603010010")])
def test_a_handshake_that_fails_is_no_probe(run_async: Any, readiness: Any, files: Files, says_what: bytes) -> None:
    async def main() -> None:
        async with serving(echo(), tls=tls_of(files), readiness=readiness) as (server, heard):
            async with client(server) as (_, writer):
                writer.write(says_what)
            await until(lambda: heard.of(events.Closed))
            assert not heard.of(events.Closed)[0].probe
            assert (server.statistics.probes, server.statistics.tls_failures) == (0, 1)

    run_async(main())


def test_a_client_greeted_over_tls_is_not_a_probe(run_async: Any, readiness: Any, files: Files) -> None:
    service = echo()
    service.opened(lambda _: b"welcome")

    async def main() -> None:
        async with serving(service, tls=tls_of(files), readiness=readiness) as (server, heard):
            async with client(server, **over()) as (reader, _):
                assert await reader.readline() == b"welcome\n"
            await until(lambda: heard.of(events.Closed))
            assert not heard.of(events.Closed)[0].probe

    run_async(main())


def test_a_service_that_speaks_first(run_async: Any, readiness: Any, files: Files) -> None:
    service = echo()
    service.opened(lambda connection: f"welcome over {connection.tls.version}".encode())

    async def main() -> None:
        async with (
            serving(service, tls=tls_of(files), readiness=readiness) as (server, _),
            client(server, **over()) as (reader, writer),
        ):
            assert await reader.readline() == b"welcome over TLSv1.3\n"
            writer.write(b"x\n")
            assert await reader.readline() == b"x\n"

    run_async(main())


def test_the_peer_half_closes_and_gets_all_replies(run_async: Any, readiness: Any, files: Files) -> None:
    async def main() -> None:
        async with serving(echo(), tls=tls_of(files), readiness=readiness) as (server, heard):
            got = await asyncio.to_thread(half_close, server.port)
            assert got == b"last words\n" * 1000
            await until(lambda: heard.of(events.Closed))
            assert heard.of(events.TlsFailed) == []
            assert heard.of(events.Closed)[0].reason is Reason.PEER_CLOSED

    run_async(main())


def half_close(port: int) -> bytes:
    """Send, say close_notify, then read to the end: with Python's SSLObject, because SSLSocket cannot."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    secure = trusting().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection(("127.0.0.1", port)) as sock:

        def through(call: Callable[[], Any]) -> Any:
            while True:
                try:
                    result = call()
                except ssl.SSLWantReadError:
                    sock.sendall(outgoing.read())
                    incoming.write(sock.recv(65536))
                    continue
                sock.sendall(outgoing.read())
                return result

        through(secure.do_handshake)
        secure.write(b"last words\n" * 1000)
        with pytest.raises(ssl.SSLWantReadError):
            secure.unwrap()
        sock.sendall(outgoing.read())
        got = b""
        try:
            while chunk := through(lambda: secure.read(65536)):
                got += chunk
        except ssl.SSLZeroReturnError:
            pass
        return got


@pytest.mark.parametrize("kind", ["async", "blocking"])
def test_a_conversation_over_tls_ends_with_close_notify(
    run_async: Any, readiness: Any, files: Files, kind: str
) -> None:
    service = Service(Line())
    if kind == "async":

        @service.conversation
        async def converse(connection: Any) -> None:
            async for message in connection:
                await connection.send(message.upper())
            await connection.send(f"bye {connection.tls.version}".encode())

    else:

        @service.conversation
        def converse_blocking(connection: Any) -> None:
            for message in connection:
                connection.send(message.upper())
            connection.send(b"bye")

    async def main() -> None:
        async with serving(service, tls=tls_of(files), readiness=readiness) as (server, heard):
            async with client(server, **over()) as talk:
                assert await says(talk, b"hello\n") == b"HELLO\n"
                assert await says(talk, b"again\n") == b"AGAIN\n"
            await until(lambda: heard.of(events.Closed))
            assert heard.of(events.HandlerRaised) == []

    run_async(main())


def test_certificates_are_read_again_without_a_dropped_connection(run_async: Any, readiness: Any, files: Files) -> None:
    async def main() -> None:
        async with serving(echo(), tls=tls_of(files), readiness=readiness) as (server, heard):
            async with client(server, **over()) as old:
                assert await says(old, b"x\n") == b"x\n"
                before = shown(old)
                # As certificate managers do it: a new file, renamed over the old one.
                Files(files.folder, "other.example")
                os.replace(files.folder / "other.example.key", files.key)
                os.replace(files.folder / "other.example.pem", files.certificate)
                server.reload_certificates()
                async with client(server, **over("other.example")) as new:
                    assert await says(new, b"y\n") == b"y\n"
                    assert shown(new) != before
                assert await says(old, b"still here\n") == b"still here\n"
                Path(files.key).write_text("broken")
                with pytest.raises(OptionError, match="there is no private key"):
                    server.reload_certificates()
                async with client(server, **over("other.example")) as new:
                    assert await says(new, b"z\n") == b"z\n"
            assert len(heard.of(events.CertificatesRead)) == 1
            assert heard.of(events.CertificatesFailed)

    run_async(main())


def shown(talk: Any) -> bytes:
    return talk[1].get_extra_info("ssl_object").getpeercert(binary_form=True)


def test_changed_files_are_noticed_at_the_next_connection(run_async: Any, readiness: Any, files: Files) -> None:
    async def main() -> None:
        clock = FakeClock()
        engine = Engine(readiness=readiness, clock=clock)
        async with serving(echo(), tls=tls_of(files), engine=engine) as (server, heard):
            async with client(server, **over()) as talk:
                assert await says(talk, b"x\n") == b"x\n"
            Files(files.folder, "other.example")
            os.replace(files.folder / "other.example.key", files.key)
            os.replace(files.folder / "other.example.pem", files.certificate)
            clock.now += 2
            async with client(server, **over("other.example")) as talk:
                assert await says(talk, b"x\n") == b"x\n"
            assert len(heard.of(events.CertificatesRead)) == 1
            Path(files.key).write_text("broken")
            clock.now += 2
            async with client(server, **over("other.example")) as talk:
                assert await says(talk, b"x\n") == b"x\n"
            assert "there is no private key" in str(heard.of(events.CertificatesFailed)[0].error)

    run_async(main())


def test_a_context_of_ones_own(run_async: Any, readiness: Any) -> None:
    async def main() -> None:
        async with (
            serving(echo(), tls=serving_context(), readiness=readiness) as (server, _),
            client(server, **over()) as talk,
        ):
            assert await says(talk, b"x\n") == b"x\n"

    run_async(main())


def test_what_cannot_work_is_reported_before_a_socket_is_opened() -> None:
    with pytest.raises(OptionError, match="cannot read /nowhere"):
        Server(echo(), tls=Tls(certificate="/nowhere"))


def test_no_tls_was_asked_for(run_async: Any, readiness: Any) -> None:
    async def main() -> None:
        async with serving(who(), tls=Tls(), readiness=readiness) as (server, _), client(server) as talk:
            assert await says(talk, b"?\n") == b"plain\n"

    run_async(main())


def test_a_drain_during_a_handshake(run_async: Any, readiness: Any, files: Files) -> None:
    async def main() -> None:
        deadlines = Deadlines(drain_timeout=0.2)
        async with (
            serving(echo(), tls=tls_of(files), readiness=readiness, deadlines=deadlines) as (server, _),
            client(server),
        ):
            await until(lambda: server.statistics.active)
            assert await server.drain() == 1

    run_async(main())


@pytest.mark.parametrize("begun", [b"", b"\x16\x03\x01\x02\x00\x01"])
def test_silence_in_a_handshake_extends_no_drain(run_async: Any, readiness: Any, files: Files, begun: bytes) -> None:
    async def main() -> None:
        deadlines = Deadlines(drain_timeout=None, drain_first_message_timeout=0.1, linger_timeout=0.1)
        async with (
            serving(echo(), tls=tls_of(files), readiness=readiness, deadlines=deadlines) as (server, _),
            client(server) as (_, writer),
        ):
            writer.write(begun)
            await until(lambda: server.statistics.octets_in == len(begun) and server.statistics.active)
            assert await server.drain() == 0

    run_async(main())


@pytest.mark.parametrize("kind", ["async", "blocking"])
def test_a_drain_sends_close_notify_to_waiting_peers(run_async: Any, readiness: Any, files: Files, kind: str) -> None:
    service = Service(Line())
    if kind == "async":

        @service.conversation
        async def converse(connection: Any) -> None:
            async for message in connection:
                await connection.send(message)

    else:

        @service.conversation
        def converse_blocking(connection: Any) -> None:
            for message in connection:
                connection.send(message)

    async def main() -> None:
        deadlines = Deadlines(drain_idle_timeout=0.0)
        async with serving(service, tls=tls_of(files), readiness=readiness, deadlines=deadlines) as (server, heard):
            connection = await connect_async(f"localhost:{server.port}", "line", tls=trusting())
            assert await connection.request(b"x", timeout=10) == b"x"
            drained = asyncio.create_task(server.drain())
            with pytest.raises(EndOfFile):
                await connection.receive(timeout=10)
            await connection.close()
            assert await drained == 0
            assert heard.of(events.TlsFailed) == []
            assert heard.of(events.Closed)[0].reason is Reason.DRAINED

    run_async(main())


def test_octets_of_noise_at_a_tls_port_are_errors_of_ours(run_async: Any, readiness: Any, files: Files) -> None:
    async def main() -> None:
        async with serving(echo(), tls=tls_of(files), readiness=readiness) as (server, heard):
            for noise in (
                b"\x16\x03\x01\xff\xff" + bytes(70_000),
                b"\x16" * 100,
                b"\x16\x03\x03\0\4\1\0\0\0",
                bytes(9),
            ):
                async with client(server) as talk:
                    talk[1].write(noise)
                    talk[1].write_eof()
                    with suppress(ConnectionError):
                        await talk[0].read()
            await until(lambda: len(heard.of(events.Closed)) == 4)
            assert all(isinstance(failed.error, TlsError) for failed in heard.of(events.TlsFailed))
            assert len(heard.of(events.TlsFailed)) == 4
            async with client(server, **over()) as talk:
                assert await says(talk, b"well\n") == b"well\n"

    run_async(main())


def test_what_is_shown_is_what_was_issued(files: Files) -> None:
    assert issued("localhost").private_key_pem.bytes() == Path(files.key).read_bytes()
