"""TLS with peers that know nothing of us: openssl, curl, socat, in every direction; Python's ssl is everywhere else."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

import pytest

from certificates import Files, tls_of
from fourtuple import Service, Tls, events, serve_in_thread
from fourtuple.blocking import connect
from fourtuple.errors import EndOfFile, TlsAlert, TlsCertificateRefused, TlsError, TlsNoAgreement
from fourtuple.framing import Line
from rig import Seen, echo

pytestmark = pytest.mark.peers

VERSIONS = ["1.2", "1.3"]
Require = Callable[[str], str]


@contextmanager
def program(*command: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    with subprocess.Popen(command, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def converse(process: subprocess.Popen[bytes], message: bytes) -> bytes:
    """Say a line, and hear the next one that is an answer."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(message)
    process.stdin.flush()
    return process.stdout.readline()


def named() -> Service:
    """Answers with what it knows of TLS."""
    service = Service(Line())

    @service.reply
    def reply(_message: bytes, connection: Any) -> bytes:
        tls = connection.tls
        return f"{tls.version}, {tls.alpn}, {tls.sni}, {tls.subject}".encode()

    return service


# --- other people's clients -----------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_openssl_s_client(files: Files, readiness: Any, require_program: Require, version: str) -> None:
    command = [require_program("openssl"), "s_client", "-quiet", "-verify_return_error", "-CAfile", files.ca]
    command += [f"-tls{version.replace('.', '_')}", "-alpn", "echo/1", "-servername", "localhost"]
    heard = Seen()
    device = Files(files.folder, "device-7")
    tls = tls_of(files, alpn="echo/1", ca=files.ca, verify="optional")
    with serve_in_thread(named(), tls=tls, readiness=readiness, observer=heard) as server:
        command += ["-connect", f"127.0.0.1:{server.port}"]
        with program(*command) as client:
            assert converse(client, b"?\n") == f"TLSv{version}, echo/1, localhost, None\n".encode()
        with program(*command, "-cert", device.certificate, "-key", device.key) as client:
            answer = converse(client, b"?\n")
            assert answer.startswith(f"TLSv{version}, echo/1, localhost, CN=device-7,".encode())
    assert len(heard.of(events.TlsStarted)) == 2


def test_openssl_s_client_ends_politely(files: Files, readiness: Any, require_program: Require) -> None:
    command = [require_program("openssl"), "s_client", "-quiet", "-no_ign_eof", "-CAfile", files.ca]
    heard = Seen()
    with (
        serve_in_thread(echo(), tls=tls_of(files), readiness=readiness, observer=heard) as server,
        program(*command, "-connect", f"127.0.0.1:{server.port}") as client,
    ):
        assert converse(client, b"one\n") == b"one\n"
        assert client.stdin is not None
        client.stdin.close()
        client.wait(timeout=100)
    assert heard.of(events.TlsFailed) == []
    assert heard.of(events.Closed)[0].statistics.messages_in == 1


@pytest.mark.parametrize("command", [b"K", b"k"])
def test_openssl_s_client_updates_its_keys(
    files: Files, readiness: Any, require_program: Require, command: bytes
) -> None:
    """``K`` asks for our new keys, too (RFC 8446, 4.6.3). The record goes out with the next message."""
    client_of = [require_program("openssl"), "s_client", "-msg", "-CAfile", files.ca]
    heard = Seen()
    with (
        serve_in_thread(echo(), tls=tls_of(files), readiness=readiness, observer=heard) as server,
        program(*client_of, "-connect", f"127.0.0.1:{server.port}") as client,
    ):
        say(client, b"one\n")
        hear(client.stdout, b"one\n")
        say(client, command + b"\n")
        hear(client.stderr, b"KEYUPDATE\n")
        say(client, b"two\n")
        if command == b"K":
            hear(client.stdout, b"<<< TLS 1.3, Handshake [length 0005], KeyUpdate\n")
        hear(client.stdout, b"two\n")
        say(client, b"three\n")
        hear(client.stdout, b"three\n")
    assert heard.of(events.TlsFailed) == []
    assert heard.of(events.Closed)[0].statistics.messages_in == 3


def test_openssl_s_client_begins_another_handshake(files: Files, readiness: Any, require_program: Require) -> None:
    """Its record has no octets of the conversation; the refusal leaves at once (RFC 5246, 7.2.2)."""
    command = [require_program("openssl"), "s_client", "-tls1_2", "-CAfile", files.ca]
    heard = Seen()
    with (
        serve_in_thread(echo(), tls=tls_of(files), readiness=readiness, observer=heard) as server,
        program(*command, "-connect", f"127.0.0.1:{server.port}") as client,
    ):
        say(client, b"one\n")
        hear(client.stdout, b"one\n")
        say(client, b"R\n")
        assert b"no renegotiation" in client.communicate(timeout=100)[1]
    assert heard.of(events.Closed)[0].statistics.messages_in == 1


def say(process: subprocess.Popen[bytes], message: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(message)
    process.stdin.flush()


def hear(pipe: IO[bytes] | None, wanted: bytes) -> None:
    """Hear this line, among others."""
    assert pipe is not None
    while (line := pipe.readline()) != wanted:
        assert line, f"{wanted!r} did not come"


def test_openssl_s_client_that_is_too_old(files: Files, readiness: Any, require_program: Require) -> None:
    command = [require_program("openssl"), "s_client", "-quiet", "-tls1_2", "-CAfile", files.ca]
    heard = Seen()
    with (
        serve_in_thread(echo(), tls=tls_of(files, minimum="1.3"), readiness=readiness, observer=heard) as server,
        program(*command, "-connect", f"127.0.0.1:{server.port}") as client,
    ):
        assert b"protocol version" in client.communicate(timeout=100)[1]
    assert isinstance(heard.of(events.TlsFailed)[0].error, TlsNoAgreement)


def test_openssl_s_client_that_does_not_trust_us(files: Files, readiness: Any, require_program: Require) -> None:
    command = [require_program("openssl"), "s_client", "-quiet", "-verify_return_error"]
    heard = Seen()
    with (
        serve_in_thread(echo(), tls=tls_of(files), readiness=readiness, observer=heard) as server,
        program(*command, "-connect", f"127.0.0.1:{server.port}") as client,
    ):
        assert b"unable to get local issuer certificate" in client.communicate(timeout=100)[1]
    assert isinstance(heard.of(events.TlsFailed)[0].error, TlsAlert)


@pytest.mark.parametrize("version", VERSIONS)
def test_curl_talks_tls_with_every_version(
    files: Files, readiness: Any, require_program: Require, version: str
) -> None:
    service = Service(Line("crlf"))

    @service.conversation
    async def serve(connection: Any) -> None:
        while (await connection.receive()).strip():
            pass
        body = b"over " + connection.tls.version.encode()
        head = [b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), b"Connection: close", b""]
        await connection.send_many([*head, body])

    command = [require_program("curl"), "-sS", "--cacert", files.ca, "--tls-max", version, f"--tlsv{version}"]
    heard = Seen()
    with serve_in_thread(service, tls=tls_of(files), readiness=readiness, observer=heard) as server:
        command += ["--resolve", f"localhost:{server.port}:127.0.0.1", f"https://localhost:{server.port}/"]
        done = subprocess.run(command, capture_output=True, timeout=100, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"over TLSv{version}".encode(), b"")
    assert heard.of(events.TlsFailed) == []
    assert heard.of(events.HandlerRaised) == []


def mail_server() -> tuple[Service, list[bytes]]:
    """As much of SMTP (RFC 5321, RFC 3207) as a real client needs to send one mail over STARTTLS."""
    service = Service(Line("crlf"))
    seen: list[bytes] = []

    async def data(connection: Any) -> None:
        async for line in connection:
            if line.rstrip(b"") == b".":
                return
            seen.append(line)

    @service.conversation
    async def talk(connection: Any) -> None:
        await connection.send(b"220 mail.example ready")
        async for line in connection:
            word = line.split(b" ")[0].strip().upper()
            if word == b"EHLO":
                offers = [b"250-mail.example", b"250 SIZE" if connection.tls else b"250 STARTTLS"]
                await connection.send_many(offers)
            elif word == b"STARTTLS":
                await connection.send(b"220 go ahead")
                await connection.start_tls()
                seen.append(connection.tls.version.encode())
            elif word == b"DATA":
                await connection.send(b"354 go on")
                await data(connection)
                await connection.send(b"250 taken")
            elif word == b"QUIT":
                await connection.send(b"221 bye")
                return
            else:
                await connection.send(b"250 fine")

    return service, seen


def test_curl_sends_mail_over_starttls(files: Files, readiness: Any, require_program: Require) -> None:
    service, seen = mail_server()
    mail = files.folder / "mail"
    mail.write_bytes(b"Subject: hello\r\n\r\nover STARTTLS\r\n")
    command = [require_program("curl"), "-sS", "--ssl-reqd", "--cacert", files.ca, "-T", str(mail)]
    command += ["--mail-from", "a@example", "--mail-rcpt", "b@example"]
    heard = Seen()
    tls = tls_of(files, mode="starttls")
    with serve_in_thread(service, tls=tls, readiness=readiness, observer=heard) as server:
        command += ["--resolve", f"localhost:{server.port}:127.0.0.1", f"smtp://localhost:{server.port}"]
        done = subprocess.run(command, capture_output=True, timeout=100, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
    assert seen[0] == b"TLSv1.3"
    assert b"over STARTTLS" in seen[-1]
    assert heard.of(events.HandlerRaised) == []


def test_openssl_s_client_over_starttls(files: Files, readiness: Any, require_program: Require) -> None:
    service, seen = mail_server()
    command = [require_program("openssl"), "s_client", "-quiet", "-starttls", "smtp", "-CAfile", files.ca]
    tls = tls_of(files, mode="starttls")
    with (
        serve_in_thread(service, tls=tls, readiness=readiness) as server,
        program(*command, "-connect", f"127.0.0.1:{server.port}") as client,
    ):
        assert converse(client, b"NOOP\r\n") == b"250 fine\r\n"
        assert converse(client, b"QUIT\r\n") == b"221 bye\r\n"
    assert seen == [b"TLSv1.3"]


@pytest.mark.parametrize("version", VERSIONS)
def test_socat_as_the_client(files: Files, readiness: Any, require_program: Require, version: str) -> None:
    heard = Seen()
    with serve_in_thread(echo(), tls=tls_of(files), readiness=readiness, observer=heard) as server:
        target = f"OPENSSL:127.0.0.1:{server.port},cafile={files.ca},commonname=localhost"
        target += f",openssl-max-proto-version=TLS{version},openssl-min-proto-version=TLS{version}"
        with program(require_program("socat"), "-t", "10", "-", target) as client:
            # Its input ends, it half-closes, and still waits for the last answer.
            out, err = client.communicate(b"one\n" + b"x" * 60_000 + b"\ntwo\n", timeout=100)
            # Newer socats warn that they look at no list of revoked certificates.
            complaints = [line for line in err.splitlines() if not line.endswith(b"does not check CRLs")]
            assert (out, complaints) == (b"one\n" + b"x" * 60_000 + b"\ntwo\n", [])
    assert heard.of(events.Closed)[0].statistics.messages_in == 3


# --- other people's servers -----------------------------------------------------------------------


@contextmanager
def s_server(openssl: str, files: Files, *words: str) -> Iterator[int]:
    """`openssl s_server -rev`: it answers each line with the line turned round."""
    command = [openssl, "s_server", "-rev", "-accept", "127.0.0.1:0", "-cert", files.certificate, "-key", files.key]
    with program(*command, *words) as server:
        assert server.stdout is not None
        for line in server.stdout:
            found = re.match(rb"ACCEPT .*:(\d+)", line)
            if found:
                yield int(found[1])
                return
        raise AssertionError(server.communicate())


@pytest.mark.parametrize("version", VERSIONS)
def test_openssl_s_server(files: Files, require_program: Require, version: str) -> None:
    words = [f"-tls{version.replace('.', '_')}", "-alpn", "echo/1"]
    with s_server(require_program("openssl"), files, *words) as port:
        with connect(f"localhost:{port}", "line", tls=Tls(ca=files.ca, alpn="echo/1")) as connection:
            assert connection.tls is not None
            assert (connection.tls.version, connection.tls.alpn) == (f"TLSv{version}", "echo/1")
            assert connection.request(b"hello", timeout=10) == b"olleh"
            assert connection.request(b"x" * 5000 + b"y", timeout=10) == b"y" + b"x" * 5000
        with pytest.raises(TlsCertificateRefused):
            connect(f"localhost:{port}", "line", tls=True)


def test_openssl_s_server_with_another_protocol(files: Files, require_program: Require) -> None:
    with s_server(require_program("openssl"), files, "-alpn", "bar") as port, pytest.raises(TlsAlert) as failed:
        connect(f"localhost:{port}", "line", tls=Tls(ca=files.ca, alpn="foo"))
    assert failed.value.alert == "no application protocol"


def test_openssl_s_server_asks_for_a_certificate(files: Files, require_program: Require) -> None:
    device = Files(files.folder, "device-7")
    words = ["-Verify", "1", "-verify_return_error", "-CAfile", files.ca, "-tls1_2"]
    with s_server(require_program("openssl"), files, *words) as port:
        shown = Tls(ca=files.ca, certificate=device.certificate, key=device.key)
        with connect(f"localhost:{port}", "line", tls=shown) as connection:
            assert connection.request(b"hello", timeout=10) == b"olleh"
        with pytest.raises(TlsError, match="with a TLS alert: handshake failure"):
            connect(f"localhost:{port}", "line", tls=Tls(ca=files.ca))


@pytest.mark.parametrize("version", VERSIONS)
def test_socat_as_the_server(files: Files, require_program: Require, version: str) -> None:
    listen = f"OPENSSL-LISTEN:0,bind=127.0.0.1,cert={files.both},cafile={files.ca},verify=0"
    listen += f",openssl-max-proto-version=TLS{version},openssl-min-proto-version=TLS{version}"
    with program(require_program("socat"), "-d", "-d", "-t", "10", listen, "EXEC:cat") as server:
        assert server.stderr is not None
        port = next(int(found[1]) for line in server.stderr if (found := re.search(rb"listening on .*:(\d+)", line)))
        connection = connect(f"localhost:{port}", "line", tls=Tls(ca=files.ca))
        assert connection.request(b"hello", timeout=10) == b"hello"
        connection.send(b"last")
        connection.send_eof()
        assert connection.receive(timeout=10) == b"last"
        with pytest.raises((EndOfFile, TlsError)):
            connection.receive(timeout=100)
        connection.close()
        server.communicate(timeout=100)


def test_the_throw_away_certificate_serves(readiness: Any, require_program: Require) -> None:
    openssl = require_program("openssl")
    with serve_in_thread(echo(), tls=Tls(dev=True), readiness=readiness) as server:
        with program(openssl, "s_client", "-quiet", "-connect", f"127.0.0.1:{server.port}") as client:
            assert converse(client, b"hello\n") == b"hello\n"
        with connect(server.address, "line", tls=Tls(verify="none")) as connection:
            assert connection.request(b"hello", timeout=10) == b"hello"
        with pytest.raises(TlsCertificateRefused, match="self-signed certificate"):
            connect(server.address, "line", tls=True)
