"""Our clients over TLS, async and blocking, and STARTTLS on both sides."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from certificates import Files, serving_context, tls_of, trusting
from fourtuple import Client, Deadlines, Limits, Service, Tls, blocking, events, serve_in_thread
from fourtuple import connect as connect_async
from fourtuple.blocking import BlockingConnection, connect
from fourtuple.blocking.connection import is_receiving
from fourtuple.errors import (
    ConnectionBusy,
    DeadlinePassed,
    EndOfFile,
    OptionError,
    TlsAlert,
    TlsCertificateRefused,
    TlsError,
    TlsExpected,
    TlsTruncated,
)
from fourtuple.four_tuple import UnixName
from fourtuple.framing import Line
from fourtuple.serving.group import Group
from fourtuple.serving.run import hearing_hangup
from fourtuple.stream import Stream
from fourtuple.tls import TlsInfo
from rig import echo, until
from serving.support import client, says, serving


def mail(kind: str = "conversation") -> Service:
    """A protocol with STARTTLS, in every kind of handler."""
    service = Service(Line())
    if kind == "reply":

        @service.reply
        def reply(message: bytes, connection: Any) -> bytes | None:
            if message == b"STARTTLS":
                connection.send(b"220 go ahead")
                connection.start_tls()
                return None
            return message + (b" secure" if connection.tls else b" plain")

    elif kind == "async":

        @service.reply
        async def reply_async(message: bytes, connection: Any) -> bytes | None:
            if message == b"STARTTLS":
                connection.send(b"220 go ahead")
                await connection.start_tls()
                return None
            return message + (b" secure" if connection.tls else b" plain")

    elif kind == "conversation":

        @service.conversation
        async def converse(connection: Any) -> None:
            async for message in connection:
                if message == b"STARTTLS":
                    await connection.send(b"220 go ahead")
                    await connection.start_tls()
                else:
                    await connection.send(message + (b" secure" if connection.tls else b" plain"))

    else:

        @service.conversation
        def converse_blocking(connection: Any) -> None:
            for message in connection:
                if message == b"STARTTLS":
                    connection.send(b"220 go ahead")
                    connection.start_tls()
                else:
                    connection.send(message + (b" secure" if connection.tls else b" plain"))

    return service


KINDS = ["reply", "async", "conversation", "blocking"]


# --- connecting -----------------------------------------------------------------------------------


def test_the_async_client(run_async: Any, readiness: Any, files: Files) -> None:
    async def main() -> None:
        async with serving(echo(), tls=tls_of(files, alpn="echo/1"), readiness=readiness) as (server, _):
            tls = Tls(ca=files.ca, alpn="echo/1")
            address = f"localhost:{server.port}"
            async with connect_async(address, "line", tls=tls) as connection:
                assert connection.tls is not None
                assert (connection.tls.version, connection.tls.alpn) == ("TLSv1.3", "echo/1")
                assert connection.tls.sni == "localhost"
                assert "DNS:localhost" in connection.tls.names
                assert await connection.request(b"hello", timeout=10) == b"hello"
                await connection.send(b"x" * 60_000)
                connection.send_eof()
                assert await connection.receive(timeout=10) == b"x" * 60_000
                with pytest.raises(EndOfFile):
                    await connection.receive(timeout=10)

    run_async(main())


def test_the_blocking_client(files: Files) -> None:
    with serve_in_thread(echo(), tls=tls_of(files)) as server:
        for context in (Tls(ca=files.ca), trusting()):
            with connect(f"localhost:{server.port}", "line", tls=context) as connection:
                assert connection.tls is not None
                assert connection.tls.version == "TLSv1.3"
                assert connection.request(b"hello", timeout=10) == b"hello"
                connection.send(b"x" * 60_000)
                connection.send_eof()
                assert connection.receive(timeout=10) == b"x" * 60_000
                with pytest.raises(EndOfFile):
                    connection.receive(timeout=10)
    assert server.statistics.tls_failures == 0
    assert server.statistics.handshakes == 2


def test_many_requests_of_the_blocking_client(files: Files) -> None:
    with (
        serve_in_thread(echo(), tls=tls_of(files)) as server,
        connect(f"localhost:{server.port}", "line", tls=trusting()) as connection,
    ):
        messages = [b"%d" % number * 50 for number in range(5000)]
        assert connection.request_many(messages, timeout=30) == messages


def test_two_threads_over_one_tls_connection(files: Files) -> None:
    with (
        serve_in_thread(echo(), tls=tls_of(files)) as server,
        connect(f"localhost:{server.port}", "line", tls=trusting()) as connection,
    ):
        messages = [b"%d" % number * 30 for number in range(3000)]

        def send() -> None:
            for message in messages:
                connection.send(message, timeout=30)
            connection.send_eof(timeout=30)

        sender = threading.Thread(target=send)
        sender.start()
        assert [message for message in connection] == messages  # noqa: C416
        sender.join()


def test_a_server_that_is_not_trusted(run_async: Any, readiness: Any, files: Files) -> None:
    async def main() -> None:
        async with serving(echo(), tls=tls_of(files), readiness=readiness) as (server, heard):
            address = f"localhost:{server.port}"
            with pytest.raises(TlsCertificateRefused, match="unable to get local issuer certificate"):
                await connect_async(address, "line", tls=True)
            with pytest.raises(TlsCertificateRefused, match="not valid for 'other'"):
                await connect_async(address, "line", tls=Tls(ca=files.ca), server_hostname="other")
            with pytest.raises(TlsCertificateRefused, match="unable to get local issuer certificate"):
                await asyncio.to_thread(connect, address, "line", tls=True)
            async with connect_async(address, "line", tls=Tls(verify="none")) as connection:
                assert await connection.request(b"x", timeout=10) == b"x"
            await until(lambda: len(heard.of(events.Closed)) == 4)
            assert len(heard.of(events.TlsFailed)) == 3

    run_async(main())


def test_a_server_that_speaks_plainly(run_async: Any, readiness: Any) -> None:
    service = echo()
    service.opened(lambda _connection: b"220 plain.example")

    async def main() -> None:
        async with serving(service, readiness=readiness) as (server, _):
            with pytest.raises(TlsExpected, match=r"the peer began with b'220 plain\.exampl'"):
                await connect_async(server.address, "line", tls=True)
            with pytest.raises(TlsExpected):
                await asyncio.to_thread(connect, server.address, "line", tls=True)

    run_async(main())


@contextmanager
def silent_port() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield f"127.0.0.1:{sock.getsockname()[1]}"


def test_the_handshake_is_bounded(run_async: Any) -> None:
    deadlines = Deadlines(handshake_timeout=0.1)

    async def main(address: str) -> None:
        with pytest.raises(DeadlinePassed, match=r"handshake_timeout deadline of 0\.1 s passed"):
            await connect_async(address, "line", tls=True, deadlines=deadlines)

    with silent_port() as address:
        run_async(main(address))
        with pytest.raises(DeadlinePassed, match=r"handshake_timeout deadline of 0\.1 s passed"):
            connect(address, "line", tls=True, deadlines=deadlines)


def test_the_time_of_a_blocking_handshake_begins_when_what_was_sent_before_has_left() -> None:
    moment = 0.0
    ours, theirs = socket.socketpair()
    theirs.settimeout(30)
    stream = Stream(Line(max_message=1 << 21), UnixName("", 1, 0), Limits(), moment)
    connection: BlockingConnection[bytes, bytes] = BlockingConnection(
        ours, stream, owned=True, deadlines=Deadlines(write_timeout=None), clock=lambda: moment
    )
    agreed: list[TlsInfo] = []
    with closing(theirs), connection:
        with pytest.raises(DeadlinePassed):
            connection.send(b"x" * (1 << 20), timeout=0.0)
        thread = threading.Thread(
            target=lambda: agreed.append(connection.start_tls(trusting(), server_hostname="localhost"))
        )
        thread.start()
        while not is_receiving(connection):
            os.sched_yield()
        moment = 1000.0  # as long as the peer does not read
        left = (1 << 20) + 1
        while left:
            left -= len(theirs.recv(min(left, 1 << 16)))
        with serving_context().wrap_socket(theirs, server_side=True) as secure:
            thread.join()
            secure.sendall(b"hello\n")
            assert connection.receive() == b"hello"
    assert agreed[0].version.startswith("TLS")


def test_a_port_without_tls_is_reported(run_async: Any) -> None:
    """It hangs up, or waits for the rest of the message that it takes the handshake for."""
    text = "end of file during the TLS handshake; perhaps it does not use TLS at this port"
    late = "handshake_timeout .*; perhaps it does not use TLS at this port"
    soon = Deadlines(handshake_timeout=0.1)

    async def main(hangs_up: str, waits: str) -> None:
        with pytest.raises(TlsError, match=text):
            await connect_async(hangs_up, "line", tls=True)
        with pytest.raises(DeadlinePassed, match=late):
            await connect_async(waits, "line", tls=True, deadlines=soon)

    service = Service("fixed:1")
    service.reply(lambda message, connection: connection.close())
    with serve_in_thread(service) as server, silent_port() as silent:
        run_async(main(server.address, silent))
        with pytest.raises(TlsError, match=text):
            connect(server.address, "line", tls=True)
        with pytest.raises(DeadlinePassed, match=late):
            connect(silent, "line", tls=True, deadlines=soon)


def test_a_port_with_tls_is_reported_to_a_client_without(run_async: Any, files: Files) -> None:
    text = "sent end of file and nothing before it; perhaps it uses TLS at this port, or a framing other than line,"

    async def main(address: str) -> None:
        async with await connect_async(address, "line") as connection:
            with pytest.raises(EndOfFile, match=text):
                await connection.request(b"hello")
        async with Client(address, "line") as client:
            with pytest.raises(EndOfFile, match=text):
                await client.request(b"hello")

    service = Service("line")
    service.reply(lambda message: message)
    with serve_in_thread(service, tls=tls_of(files)) as server:
        run_async(main(server.address))
        with connect(server.address, "line") as connection, pytest.raises(EndOfFile, match=text):
            connection.request(b"hello")
        with blocking.Client(server.address, "line") as client, pytest.raises(EndOfFile, match=text):
            client.request(b"hello")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_peer_with_another_framing_is_reported_over_tls(run_async: Any, version: ssl.TLSVersion) -> None:
    """Only what the peer sent itself counts, and not the octets of TLS."""
    text = "sent end of file and nothing before it; perhaps it uses a framing other than line, or gives no answer"
    context = serving_context()
    context.maximum_version = version

    async def main(address: str) -> None:
        async with connect_async(address, "line", tls=trusting()) as connection:
            with pytest.raises(EndOfFile, match=text):
                await connection.request(b"hello, is anyone there?")
        async with Client(address, "line", tls=trusting()) as client:
            with pytest.raises(EndOfFile, match=text):
                await client.request(b"hello, is anyone there?")

    def mute(message: bytes, connection: Any) -> bytes | None:
        return connection.close() if message == b"bye" else message

    service, other = Service("length:4,max_message=16"), Service("line")
    service.reply(lambda message: message)
    other.reply(mute)
    with serve_in_thread(service, tls=context) as server, serve_in_thread(other, tls=context) as spoken:
        address = f"localhost:{server.port}"
        run_async(main(address))
        with connect(address, "line", tls=trusting()) as connection, pytest.raises(EndOfFile, match=text):
            connection.request(b"hello, is anyone there?")
        with blocking.Client(address, "line", tls=trusting()) as client, pytest.raises(EndOfFile, match=text):
            client.request(b"hello, is anyone there?")
        with connect(f"localhost:{spoken.port}", "line", tls=trusting()) as connection:
            assert connection.request(b"hello") == b"hello"
            with pytest.raises(EndOfFile, match=r"sent end of file$"):
                connection.request(b"bye")


def test_the_timeout_bounds_the_handshake_too(run_async: Any) -> None:
    text = r"connect deadline of 0\.1 s passed on .*: the peer did not finish its TLS handshake; perhaps it does not"

    async def main(address: str) -> None:
        with pytest.raises(DeadlinePassed, match=text):
            await connect_async(address, "line", tls=True, timeout=0.1)

    with silent_port() as address:
        run_async(main(address))
        with pytest.raises(DeadlinePassed, match=text):
            connect(address, "line", tls=True, timeout=0.1)


def test_a_connect_that_is_cancelled_in_the_handshake_leaves_nothing(run_async: Any) -> None:
    async def main(address: str) -> None:
        task = asyncio.ensure_future(connect_async(address, "line", tls=True))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(task, 0.05)

    with silent_port() as address:
        run_async(main(address))


def test_what_cannot_work_is_reported_before_a_socket_is_opened(run_async: Any) -> None:
    nowhere = "127.0.0.1:1"
    with pytest.raises(OptionError, match="tls_ca: cannot read /nowhere"):
        connect(nowhere, "line", tls=Tls(ca="/nowhere"))
    with pytest.raises(OptionError, match="tls_ca: cannot read /nowhere"):
        run_async(connect_async(nowhere, "line", tls=Tls(ca="/nowhere")))


def test_a_context_for_the_other_side(files: Files) -> None:
    with serve_in_thread(echo()) as server, pytest.raises(OptionError, match=r"expected a context for a client, "):
        connect(server.address, "line", tls=serving_context())


@contextmanager
def leaving(octets: bytes) -> Iterator[str]:
    """A server that says something over TLS, and leaves without close_notify."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            sock, _ = listener.accept()
            secure = serving_context().wrap_socket(sock, server_side=True)
            secure.sendall(octets)
            os.close(secure.detach())

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"localhost:{listener.getsockname()[1]}"
        thread.join()


@pytest.mark.parametrize(
    ("framing", "octets", "found", "end"),
    [
        ("line", b"one\ntwo\n", [b"one", b"two"], EndOfFile),
        ("line", b"one\nha", [b"one"], TlsTruncated),
        ("u8", b"\3one", [b"one"], EndOfFile),
        ("u8", b"\3one\3ha", [b"one"], TlsTruncated),
        ("eof", b"all of it?", [], TlsTruncated),
    ],
)
def test_a_server_that_leaves_without_close_notify(
    run_async: Any, files: Files, framing: str, octets: bytes, found: list[bytes], end: type[Exception]
) -> None:
    async def awaited(address: str) -> None:
        async with connect_async(address, framing, tls=trusting()) as connection:
            for message in found:
                assert await connection.receive(timeout=10) == message
            with pytest.raises(end):
                await connection.receive(timeout=10)

    with leaving(octets) as address, connect(address, framing, tls=trusting()) as connection:
        for message in found:
            assert connection.receive(timeout=10) == message
        with pytest.raises(end):
            connection.receive(timeout=10)
    with leaving(octets) as address:
        run_async(awaited(address))


def test_a_peer_that_goes_in_mid_message(files: Files) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def serve() -> None:
            sock, _ = listener.accept()
            secure = serving_context().wrap_socket(sock, server_side=True)
            secure.sendall(b"half\nof a")
            os.close(secure.detach())

        thread = threading.Thread(target=serve)
        thread.start()
        with connect(f"localhost:{port}", "line", tls=trusting()) as connection:
            assert connection.receive(timeout=10) == b"half"
            with pytest.raises(TlsTruncated, match="end of file without close_notify"):
                connection.receive(timeout=10)
        thread.join()


def test_a_server_that_half_closes_and_goes_on_reading(files: Files) -> None:
    service = Service(Line())

    @service.conversation
    async def converse(connection: Any) -> None:
        await connection.send(b"all I have to say")
        connection.send_eof()
        got = [message async for message in connection]
        connection.state = got
        heard.append(got)

    heard: list[Any] = []
    with serve_in_thread(service, tls=tls_of(files)) as server:
        connection = connect(f"localhost:{server.port}", "line", tls=trusting())
        connection.send(b"0")
        assert connection.receive(timeout=10) == b"all I have to say"
        with pytest.raises(EndOfFile):
            connection.receive(timeout=10)
        for number in range(100):
            connection.send(b"%d" % number)
        connection.close()
    assert heard == [[b"0"] + [b"%d" % number for number in range(100)]]


# --- STARTTLS -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_starttls_in_every_kind_of_handler(run_async: Any, readiness: Any, files: Files, kind: str) -> None:
    async def main() -> None:
        tls = tls_of(files, mode="starttls")
        async with serving(mail(kind), tls=tls, readiness=readiness) as (server, heard):
            address = f"localhost:{server.port}"
            async with connect_async(address, "line") as connection:
                assert await connection.request(b"EHLO", timeout=10) == b"EHLO plain"
                assert await connection.request(b"STARTTLS", timeout=10) == b"220 go ahead"
                info = await connection.start_tls(trusting())
                assert info is connection.tls
                assert await connection.request(b"EHLO", timeout=10) == b"EHLO secure"
            await until(lambda: heard.of(events.Closed))
            assert heard.of(events.HandlerRaised) == []
            assert heard.of(events.TlsFailed) == []
            assert [started.version for started in heard.of(events.TlsStarted)] == ["TLSv1.3"]

    run_async(main())


def test_starttls_of_the_blocking_client(files: Files) -> None:
    with (
        serve_in_thread(mail(), tls=tls_of(files, mode="starttls")) as server,
        connect(f"localhost:{server.port}", "line") as connection,
    ):
        assert connection.request(b"STARTTLS", timeout=10) == b"220 go ahead"
        assert connection.start_tls(trusting()).version == "TLSv1.3"
        assert connection.request(b"EHLO", timeout=10) == b"EHLO secure"
        with pytest.raises(ConnectionBusy, match="TLS has begun already"):
            connection.start_tls(trusting())


def test_starttls_expects_the_name_that_was_given_to_connect(run_async: Any, files: Files) -> None:
    """Also in ``greet`` of a client, which has no other place for it."""

    async def greet(connection: Any) -> None:
        assert await connection.request(b"STARTTLS", timeout=10) == b"220 go ahead"
        await connection.start_tls(trusting())

    async def main(address: str) -> None:
        async with connect_async(address, "line", server_hostname="localhost") as connection:
            await greet(connection)
        async with Client(address, "line", server_hostname="localhost", greet=greet) as client:
            assert await client.request(b"EHLO") == b"EHLO secure"
        async with connect_async(address, "line") as connection:
            with pytest.raises(TlsCertificateRefused):
                await greet(connection)

    with serve_in_thread(mail(), "127.0.0.1:0", tls=tls_of(files, mode="starttls")) as server:
        run_async(main(server.address))
        with connect(server.address, "line", server_hostname="localhost") as connection:
            assert connection.request(b"STARTTLS", timeout=10) == b"220 go ahead"
            connection.start_tls(trusting())
            assert connection.request(b"EHLO", timeout=10) == b"EHLO secure"


@pytest.mark.parametrize("kind", KINDS)
def test_commands_injected_before_starttls_are_discarded(
    run_async: Any, readiness: Any, files: Files, kind: str
) -> None:
    async def main() -> None:
        async with serving(mail(kind), tls=tls_of(files, mode="starttls"), readiness=readiness) as (server, heard):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"STARTTLS\nRCPT TO:<evil>\nDA")
            assert await reader.readline() == b"220 go ahead\n"
            await writer.start_tls(trusting(), server_hostname="localhost")
            writer.write(b"EHLO\n")
            assert await reader.readline() == b"EHLO secure\n"
            writer.close()
            await until(lambda: heard.of(events.Closed))
            (closed,) = heard.of(events.Closed)
            assert closed.statistics.discarded == len(b"RCPT TO:<evil>\nDA")
            assert closed.statistics.messages_in == 2

    run_async(main())


@pytest.mark.parametrize("kind", KINDS)
def test_starttls_that_fails_costs_the_connection_and_is_no_fault_of_the_handler(
    run_async: Any, readiness: Any, files: Files, kind: str
) -> None:
    async def main() -> None:
        async with serving(mail(kind), tls=tls_of(files, mode="starttls"), readiness=readiness) as (server, heard):
            async with client(server) as talk:
                assert await says(talk, b"STARTTLS\n") == b"220 go ahead\n"
                assert await says(talk, b"no, I will not\n") == b""
            await until(lambda: heard.of(events.Closed))
            assert heard.of(events.HandlerRaised) == []
            assert isinstance(heard.of(events.TlsFailed)[0].error, TlsExpected)

    run_async(main())


def test_starttls_without_a_certificate(run_async: Any, readiness: Any) -> None:
    async def main() -> None:
        async with serving(mail(), readiness=readiness) as (server, heard):
            async with client(server) as talk:
                assert await says(talk, b"STARTTLS\n") == b"220 go ahead\n"
            await until(lambda: heard.of(events.Closed))
            (raised,) = heard.of(events.HandlerRaised)
            assert isinstance(raised.error, OptionError)
            assert "the server has no certificate" in str(raised.error)

    run_async(main())


def test_starttls_with_requests_outstanding(run_async: Any, readiness: Any) -> None:
    async def main() -> None:
        async with serving(mail(), readiness=readiness) as (server, _):
            async with connect_async(server.address, "line") as connection:
                task = asyncio.create_task(connection.request(b"x", timeout=10))
                await asyncio.sleep(0)
                with pytest.raises(ConnectionBusy):
                    connection.start_tls(trusting())
                await task
            assert server.statistics.handshakes == 0

    run_async(main())


def test_a_client_whose_starttls_is_refused_by_its_peer(run_async: Any, readiness: Any, files: Files) -> None:
    async def main() -> None:
        async with serving(mail(), tls=tls_of(files, mode="starttls"), readiness=readiness) as (server, _):
            connection = await connect_async(server.address, "line")
            assert await connection.request(b"STARTTLS", timeout=10) == b"220 go ahead"
            with pytest.raises(TlsCertificateRefused):
                await connection.start_tls()
            with pytest.raises(TlsError):
                connection.send(b"x")
            with pytest.raises(TlsError):
                await connection.receive(timeout=10)
            await connection.close()

    run_async(main())


# --- signals --------------------------------------------------------------------------------------


def test_sighup_reads_the_certificates_again(run_async: Any, readiness: Any, files: Files) -> None:
    async def main() -> None:
        async with serving(echo(), tls=tls_of(files), readiness=readiness) as (server, heard):
            with hearing_hangup(Group([server])):
                os.kill(os.getpid(), signal.SIGHUP)
                await until(lambda: heard.of(events.CertificatesRead))
                Path(files.key).write_text("broken")
                os.kill(os.getpid(), signal.SIGHUP)
                await until(lambda: heard.of(events.CertificatesFailed))
            async with client(server, ssl=trusting(), server_hostname="localhost") as talk:
                assert await says(talk, b"x\n") == b"x\n"

    run_async(main())


def test_verification_is_on_by_default() -> None:
    assert trusting().verify_mode is ssl.CERT_REQUIRED


# RFC 8446, 6 and B.2; those marked reserved are from older versions of TLS.
ALERTS = {
    10: "unexpected message",
    20: "bad record mac",
    21: "decryption failed",
    22: "record overflow",
    30: "decompression failure",
    40: "handshake failure",
    41: "no certificate",
    42: "bad certificate",
    43: "unsupported certificate",
    44: "certificate revoked",
    45: "certificate expired",
    46: "certificate unknown",
    47: "illegal parameter",
    48: "unknown ca",
    49: "access denied",
    50: "decode error",
    51: "decrypt error",
    60: "export restriction",
    70: "protocol version",
    71: "insufficient security",
    80: "internal error",
    86: "inappropriate fallback",
    90: "user canceled",
    100: "no renegotiation",
    109: "missing extension",
    110: "unsupported extension",
    111: "certificate unobtainable",
    112: "unrecognized name",
    113: "bad certificate status response",
    114: "bad certificate hash value",
    115: "unknown psk identity",
    116: "certificate required",
    120: "no application protocol",
}


@contextmanager
def refusing_with(numbers: list[int]) -> Iterator[int]:
    """A server that answers each ClientHello with the next fatal alert. Yields its port."""

    def serve() -> None:
        for number in numbers:
            sock, _ = passive.accept()
            with sock, suppress(OSError):  # the client closes at once, perhaps before we do
                sock.recv(5, socket.MSG_WAITALL)
                sock.sendall(bytes((0x15, 3, 3, 0, 2, 2, number)))
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(4096):
                    pass

    with socket.create_server(("127.0.0.1", 0)) as passive:
        passive.settimeout(20)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield passive.getsockname()[1]
        finally:
            thread.join(20)


def as_told(failed: Any, number: int) -> None:
    error = failed.value
    assert (type(error), error.alert) == (TlsAlert, ALERTS[number]), (number, error)
    assert str(error).endswith(f"the peer refused with a TLS alert: {ALERTS[number]}")
    assert error.reason, "OpenSSL's name, also where Python has none"


def test_every_fatal_alert_has_its_name_blocking() -> None:
    with refusing_with(list(ALERTS)) as port:
        for number in ALERTS:
            with pytest.raises(TlsError) as failed:
                connect(f"127.0.0.1:{port}", "line", tls=True, timeout=10)
            as_told(failed, number)


def test_every_fatal_alert_has_its_name_async(run_async: Any) -> None:
    async def main(port: int) -> None:
        for number in ALERTS:
            with pytest.raises(TlsError) as failed:
                await connect_async(f"127.0.0.1:{port}", "line", tls=True)
            as_told(failed, number)

    with refusing_with(list(ALERTS)) as port:
        run_async(main(port))


def test_a_failure_that_is_no_alert_stays_a_tls_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as passive:

        def serve() -> None:
            sock, _ = passive.accept()
            with sock:
                sock.sendall(bytes((0x16, 3, 3, 0, 6, 2, 0, 0, 2, 3, 3)))  # a ServerHello that is a version alone
                while sock.recv(4096):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(TlsError) as failed:
            connect(f"127.0.0.1:{passive.getsockname()[1]}", "line", tls=True)
        thread.join(20)
    assert type(failed.value) is TlsError
