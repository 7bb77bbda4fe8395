"""Behind a real HAProxy and a real nginx: what they send is what we read."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from certificates import Files, trusting
from conftest import absent
from fourtuple import Proxy, Service, Tls, events
from fourtuple.framing import Line
from fourtuple.proxy import CRC32C
from fourtuple.server import Server
from rig import Seen, until
from serving.support import says

pytestmark = pytest.mark.peers

REQUIRED = Proxy(protocol="required")
NGINX_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")


def who() -> Service:
    service = Service(Line())

    @service.reply
    def reply(_message: bytes, connection: Any) -> bytes:
        header = connection.proxy_header
        secure = header.ssl
        told = [
            f"version {header.version}",
            f"local {header.local}",
            f"remote {connection.name.remote_port}",
            f"checksum {header.tlv(CRC32C) is not None}",
            f"id {(header.unique_id or b'').decode()}",
            f"authority {header.authority}",
            f"alpn {header.alpn}",
            f"tls {secure and (secure.version, secure.common_name, secure.verified)}",
            f"own tls {connection.tls and connection.tls.version}",
        ]
        return ", ".join(told).encode()

    return service


@contextmanager
def inherited() -> Iterator[tuple[int, int]]:
    """A passive socket for a program to inherit, and its port: nobody guesses ports, and it answers at once."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        os.set_inheritable(sock.fileno(), True)
        yield sock.fileno(), sock.getsockname()[1]


@contextmanager
def running(command: list[str], fd: int, **environment: str) -> Iterator[None]:
    with subprocess.Popen(
        command, pass_fds=[fd], env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        try:
            yield
        finally:
            process.terminate()
            said = process.communicate(timeout=100)[1]
            assert b"[emerg]" not in said, said
            assert b"ALERT" not in said, said


@contextmanager
def haproxy(program: str, folder: Path, backend: int, server: str, bind: str = "", front: str = "") -> Iterator[int]:
    """HAProxy in front of a port, by these words of its configuration; yields its own port."""
    with inherited() as (fd, port):
        configuration = folder / "haproxy.cfg"
        configuration.write_text(
            f"""
defaults
    mode tcp
    timeout connect 10s
    timeout client 10s
    timeout server 10s
frontend front
    bind fd@{fd} {bind}
    {front}
    default_backend back
backend back
    server one 127.0.0.1:{backend} {server}
"""
        )
        with running([program, "-db", "-f", str(configuration)], fd):
            yield port


@contextmanager
def nginx(program: str, folder: Path, backend: int) -> Iterator[int]:
    """An nginx stream proxy in front of a port; yields its own port.

    With its master process: a single one dies of a segmentation fault when it inherits sockets (1.22).
    """
    with inherited() as (fd, port):
        configuration = folder / "nginx.conf"
        configuration.write_text(
            f"""
load_module {NGINX_MODULE};
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr;
events {{ }}
stream {{
    server {{
        listen 127.0.0.1:{port};
        proxy_pass 127.0.0.1:{backend};
        proxy_protocol on;
    }}
}}
"""
        )
        # Its own way to hand sockets to a new process: descriptors, each with a semicolon behind it.
        with running([program, "-c", str(configuration), "-p", str(folder)], fd, NGINX=f"{fd};"):
            yield port


async def asked(port: int, **options: Any) -> tuple[str, int]:
    """The answer through a balancer, and the port that we came from."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, **options)
    try:
        answer = await says((reader, writer), b"?\n")
        return answer.decode(), writer.get_extra_info("sockname")[1]
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("send-proxy", "version 1, local False, remote {port}, checksum False, id , authority None"),
        ("send-proxy-v2", "version 2, local False, remote {port}, checksum False, id , authority None"),
        (
            "send-proxy-v2 proxy-v2-options crc32c,unique-id",
            "version 2, local False, remote {port}, checksum True, id number-{port}, authority None",
        ),
    ],
)
def test_the_header_of_haproxy_is_read(
    run_async: Any, readiness: Any, tmp_path: Path, require_program: Callable[[str], str], words: str, told: str
) -> None:
    program = require_program("haproxy")

    async def main() -> None:
        heard = Seen()
        async with Server(who(), proxy=REQUIRED, readiness=readiness, observer=heard) as server:
            with haproxy(program, tmp_path, server.port, words, front="unique-id-format number-%cp") as port:
                answer, ours = await asked(port)
                assert answer.startswith(told.format(port=ours))
                (accepted,) = heard.of(events.Accepted)
                assert accepted.name.remote_port == ours
                assert accepted.name.local_port == port
                assert accepted.transport is not None

    run_async(main())


def test_haproxy_that_ends_tls_tells_of_it(
    run_async: Any, readiness: Any, tmp_path: Path, require_program: Callable[[str], str]
) -> None:
    program, files = require_program("haproxy"), Files(tmp_path)
    words = "send-proxy-v2 proxy-v2-options ssl,cert-cn,crc32c,authority,unique-id"
    bind = f"ssl crt {files.both} ca-file {files.ca} verify optional alpn echo/1"

    async def main() -> None:
        async with Server(who(), proxy=REQUIRED, readiness=readiness) as server:
            with haproxy(program, tmp_path, server.port, words, bind) as port:
                context = trusting("device-7")
                context.set_alpn_protocols(["echo/1"])
                answer, _ = await asked(port, ssl=context, server_hostname="localhost")
                assert "checksum True" in answer
                assert "authority localhost, alpn echo/1, tls ('TLSv1.3', 'device-7', True), own tls None" in answer
                answer, _ = await asked(port, ssl=trusting(), server_hostname="localhost")
                assert "tls ('TLSv1.3', None, False), own tls None" in answer

    run_async(main())


@pytest.mark.parametrize("words", ["send-proxy", "send-proxy-v2"])
def test_haproxy_in_front_of_our_own_tls(
    run_async: Any, readiness: Any, tmp_path: Path, require_program: Callable[[str], str], words: str
) -> None:
    program, files = require_program("haproxy"), Files(tmp_path)

    async def main() -> None:
        tls = Tls(certificate=files.certificate, key=files.key)
        async with Server(who(), proxy=REQUIRED, tls=tls, readiness=readiness) as server:
            with haproxy(program, tmp_path, server.port, words) as port:
                answer, ours = await asked(port, ssl=trusting(), server_hostname="localhost")
                assert f"remote {ours}" in answer
                assert "own tls TLSv1.3" in answer

    run_async(main())


def test_haproxys_health_checks_are_local(
    run_async: Any, readiness: Any, tmp_path: Path, require_program: Callable[[str], str]
) -> None:
    program = require_program("haproxy")

    async def main() -> None:
        heard = Seen()
        async with Server(who(), proxy=REQUIRED, readiness=readiness, observer=heard) as server:
            with haproxy(program, tmp_path, server.port, "check inter 50ms send-proxy-v2"):
                await until(lambda: len(heard.of(events.Accepted)) >= 2)
            assert all(accepted.transport is None for accepted in heard.of(events.Accepted))
            assert heard.of(events.Refused) == []

    run_async(main())


def test_the_header_of_nginx_is_read(
    run_async: Any, readiness: Any, tmp_path: Path, require_program: Callable[[str], str]
) -> None:
    program = require_program("nginx")
    if not NGINX_MODULE.exists():
        absent("nginx has no stream module")

    async def main() -> None:
        heard = Seen()
        async with Server(who(), proxy=REQUIRED, readiness=readiness, observer=heard) as server:
            with nginx(program, tmp_path, server.port) as port:
                for _ in range(3):
                    answer, ours = await asked(port)
                    assert answer.startswith(f"version 1, local False, remote {ours}, checksum False")
                assert [accepted.name.local_port for accepted in heard.of(events.Accepted)] == [port] * 3

    run_async(main())


def test_nginx_in_front_of_our_own_tls(
    run_async: Any, readiness: Any, tmp_path: Path, require_program: Callable[[str], str]
) -> None:
    program, files = require_program("nginx"), Files(tmp_path)
    if not NGINX_MODULE.exists():
        absent("nginx has no stream module")

    async def main() -> None:
        tls = Tls(certificate=files.certificate, key=files.key)
        async with Server(who(), proxy=REQUIRED, tls=tls, readiness=readiness) as server:
            with nginx(program, tmp_path, server.port) as port:
                context = trusting()
                context.maximum_version = ssl.TLSVersion.TLSv1_2
                answer, ours = await asked(port, ssl=context, server_hostname="localhost")
                assert f"remote {ours}" in answer
                assert "own tls TLSv1.2" in answer

    run_async(main())
