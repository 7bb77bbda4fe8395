"""TLS and the PROXY header from the command line: flags, variables, the file, and the exit codes of what fails."""

from __future__ import annotations

import signal

from certificates import Files
from cli.conftest import Run, Serve

HELLO = ("--framing", "fixed:16", "--send", "Hi there, server")


def test_serve_and_connect(run: Run, serve: Serve, files: Files) -> None:
    server = serve("sixteen", "--tls-certificate", files.certificate, "--tls-key", files.key, "--tls-alpn", "a/1")
    address = server.address.replace("127.0.0.1", "localhost")
    done = run("connect", address, *HELLO, "--tls-ca", files.ca, "--verbose")
    assert (done.code, done.out) == (0, b"Farewell, client\n")
    assert "tls: TLSv1.3" in done.err
    done = run("connect", server.address, *HELLO, "--tls-ca", files.ca, "--server-name", "localhost")
    assert (done.code, done.out) == (0, b"Farewell, client\n")
    done = run("connect", server.address, *HELLO, "--tls-verify", "none", "--tls-minimum", "1.3")
    assert (done.code, done.out) == (0, b"Farewell, client\n")


def test_a_name_that_no_certificate_has_is_called_by_its_flag(run: Run) -> None:
    for command, flag in (
        (("connect", "127.0.0.1:1", "--send", "x", "--tls"), "--server-name"),
        (("bench", "127.0.0.1:1", "--tls"), "--server-name"),
        (("relay", "127.0.0.1:0", "127.0.0.1:1", "--target-tls"), "--target-server-name"),
    ):
        done = run(*command, flag, ".example")
        assert done.code == 2
        assert f"fourtuple: {flag}: expected the name in the server's certificate, got '.example'" in done.err


def test_what_fails_has_its_exit_code(run: Run, serve: Serve, files: Files) -> None:
    server = serve("sixteen", "--tls-certificate", files.both)
    done = run("connect", server.address, *HELLO, "--tls")
    assert done.code == 3
    assert "the peer's certificate does not verify" in done.err
    done = run("connect", server.address, *HELLO, "--tls-ca", "/nowhere")
    assert (done.code, done.err) == (2, "fourtuple: --tls-ca: cannot read /nowhere: No such file or directory\n")
    done = run("serve", "sixteen", "--tls-certificate", "/nowhere")
    assert (done.code, done.err) == (
        2,
        "fourtuple: --tls-certificate: cannot read /nowhere: No such file or directory\n",
    )
    done = run("serve", "sixteen", "--tls-mode", "sometimes")
    assert done.code == 2
    assert "expected one of always, detect, starttls, got 'sometimes'" in done.err


def test_the_throw_away_certificate_and_sighup(run: Run, serve: Serve) -> None:
    server = serve("--tls-dev", "sixteen")
    done = run("connect", server.address, *HELLO, "--tls-verify", "none")
    assert (done.code, done.out) == (0, b"Farewell, client\n")
    server.process.send_signal(signal.SIGHUP)
    done = run("connect", server.address, *HELLO, "--tls-verify", "none")
    assert (done.code, done.out) == (0, b"Farewell, client\n")


def test_a_proxy_header(run: Run, serve: Serve) -> None:
    server = serve("sixteen", "--proxy-protocol", "required")
    for version in ("1", "2"):
        done = run("connect", server.address, *HELLO, "--proxy-header", version)
        assert (done.code, done.out) == (0, b"Farewell, client\n")
    done = run("connect", server.address, *HELLO)
    assert (done.code, done.out) == (1, b"")
    assert "0 of 1 replies came, then end of file" in done.err
