"""The HTTP server: its pages, and what clients with bad manners cannot do."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from fourtuple import Service
from fourtuple.operations import http, pages
from fourtuple.server import core_of
from operations.support import conversation, operated, upper
from rig import Peer, until


def status_of(head: str | bytes) -> int:
    text = head if isinstance(head, str) else head.decode()
    return int(text.split(" ", 2)[1])


def test_live_and_ready(run_async: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async with operated(tmp_path) as world:
            assert await world.get("/live") == (await world.get("/live"))
            for path, body in (("/live", b"live\n"), ("/ready", b"ready\n")):
                head, found = await world.get(path)
                assert (status_of(head), found) == (200, body)
            await world.subject.suspend()
            head, _ = await world.get("/ready")
            assert head.startswith("HTTP/1.1 503 Service Unavailable")
            assert status_of((await world.get("/live"))[0]) == 200
            await world.subject.resume()
            with await Peer.connect(world.server) as peer:
                await peer.send(b"one\nhalf")
                assert await peer.receive(4) == b"ONE\n", "the half was read with it"
                await world.subject.drain(60)
                assert status_of((await world.get("/ready"))[0]) == 503
                assert await peer.talk(b"\n") == b"HALF\n"
            await world.server.serve_forever()

    run_async(main())


def test_a_head_has_the_length_and_no_body(run_async: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async with operated(tmp_path) as world:
            for path in ("/live", "/metrics", "/", "/nothing"):
                head, body = await world.get(path, method="HEAD")
                assert body == b""
                assert int(re.search(r"(?i)content-length: (\d+)", head)[1]) > 0  # type: ignore[index]
            head, body = await world.get("/events", method="HEAD")
            assert (status_of(head), body) == (200, b"")

    run_async(main())


def test_there_is_no_such_page_and_no_such_method(run_async: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async with operated(tmp_path) as world:
            for path in ("/nothing", "/metrics/", "/../etc/passwd", "//live", "/dashboard.html", "/%2e%2e/x"):
                assert status_of((await world.get(path))[0]) == 404
            assert status_of((await world.get("/live?verbose=1"))[0]) == 200
            for method in ("POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "TRACE", "BREW"):
                head, _ = await world.get("/live", method=method)
                assert status_of(head) == 405
                assert "Allow: GET, HEAD" in head

    run_async(main())


def test_without_the_dashboard_there_are_no_events(run_async: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async with operated(tmp_path, dashboard=False) as world:
            for path, status in (("/", 200), ("/events", 404), ("/dashboard.js", 404)):
                assert status_of((await world.get(path))[0]) == status

    run_async(main())


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *((host, 200) for host in ("localhost", "LOCALHOST:9101", "127.0.0.1", "10.1.2.3:80", "[::1]:9101", "[::1]")),
        *((host, 200) for host in ("known.example", "Known.Example:8080", "localhost.")),
        *((host, 421) for host in ("evil.example", "evil.example:9101", "127.0.0.1.evil.example", "localhost.evil")),
        *((host, 421) for host in ("known.example.evil", "0x7f.1", "@127.0.0.1")),
        *((host, 400) for host in ("127.0.0.1:80:80", "[::1", "::1]", "[[::1]]", "localhost:http", "[::1]x")),
    ],
)
def test_a_name_of_another_site_does_not_lead_here(run_async: Any, tmp_path: Path, host: str, status: int) -> None:
    async def main() -> None:
        async with operated(tmp_path) as world:
            for path in ("/metrics", "/", "/events"):
                with await Peer.connect(world.http.server) as peer:
                    await peer.send(f"HEAD {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
                    assert status_of(await peer.receive_all()) == status

    run_async(main())


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("http://localhost/live", 200),
        ("HTTP://127.0.0.1:9101/live?verbose=1", 200),
        ("http://known.example", 200),
        ("http://known.example?page", 200),
        ("http://localhost/nothing", 404),
        ("http://evil.example/live", 421),
        ("http://localhost.evil.example/live", 421),
        ("http://user@localhost/live", 400),
        ("http:///live", 400),
        ("http://[::1", 400),
        ("https://localhost/live", 400),
        ("ftp://localhost/live", 400),
        ("/http://localhost/live", 404),
    ],
)
def test_the_absolute_form_of_a_target_names_the_host(run_async: Any, tmp_path: Path, target: str, status: int) -> None:
    """A server accepts it, and ignores the Host beside it: RFC 9112, 3.2.2."""

    async def main() -> None:
        async with operated(tmp_path) as world:
            for host in ("evil.example", "localhost") if "://" in target and target[0] != "/" else ("localhost",):
                head, body = await world.get(target, host=host)
                assert status_of(head) == status
                assert (body == b"live\n") == (status == 200 and "/live" in target)
            # The origin of a page is held against the host of the target.
            if status == 200 and ":9101" not in target:
                name = target.partition("://")[2].partition("/")[0].partition("?")[0]
                assert status_of((await world.get(target, f"Origin: http://{name}"))[0]) == 200
                assert (
                    status_of((await world.get(target, "Origin: http://evil.example", host="evil.example"))[0]) == 403
                )

    run_async(main())


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("Origin: http://evil.example", 403),
        ("Origin: null", 403),
        ("Origin: http://localhost:1", 403),
        ("Origin: https://localhost", 403),
        ("Sec-Fetch-Site: cross-site", 403),
        ("Origin: http://localhost", 200),
        ("Sec-Fetch-Site: same-origin", 200),
        ("Sec-Fetch-Site: none", 200),
    ],
)
def test_a_page_of_another_origin_gets_nothing(run_async: Any, tmp_path: Path, line: str, status: int) -> None:
    async def main() -> None:
        async with operated(tmp_path) as world:
            head, body = await world.get("/metrics", line)
            assert status_of(head) == status
            assert (b"fourtuple_" in body) == (status == 200)
            assert "access-control" not in head.lower()

    run_async(main())


def test_every_page_tells_browsers_to_load_nothing_from_elsewhere(run_async: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async with operated(tmp_path) as world:
            for path in ("/", "/dashboard.js", "/dashboard.css", "/metrics", "/nothing"):
                head, body = await world.get(path)
                assert "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'" in head
                assert "X-Content-Type-Options: nosniff" in head
                assert "Cross-Origin-Resource-Policy: same-origin" in head
                links = re.findall(rb"(?:https?:)?//[^\s\"'<]+", body)
                assert set(links) <= {b"http://www.w3.org/2000/svg"} or path in ("/dashboard.js", "/metrics")
            html = (await world.get("/"))[1].decode()
            assert "<style" not in html
            assert not re.search(r"<script(?! src=)|\son\w+=|style=", html), "no script and no style inline"

    run_async(main())


# -- several requests on one connection -------------------------------------------------------------------

GET = b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n"
METRICS = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
LAST = b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def test_pipelined_requests_are_answered_in_order(run_async: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async with operated(tmp_path) as world:
            octets = await world.exchange(GET * 3 + LAST + GET)
            assert octets.count(b"HTTP/1.1 200") == 4
            assert re.findall(rb"\r\n\r\n(\w+)\n", octets) == [b"live"] * 3 + [b"ready"]

    run_async(main())


@pytest.mark.parametrize(
    "head",
    [
        b"GET /live HTTP/1.1\r\nHost: localhost\r\nContent-Length: 40\r\n\r\n",
        b"POST /live HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n",
        b"GET /live HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /live HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /live HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nContent-Length: 40\r\n\r\n",
        b"GET /live HTTP/1.1\r\nHost: localhost\r\nContent-Length: +40\r\n\r\n",
        b"GET /live HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: xchunked\r\n\r\n",
        b"GET /live HTTP/1.1\r\nHost: localhost\r\nContent-Length : 40\r\n\r\n",
        b"GET /live HTTP/1.1\r\nHost: localhost\r\nUpgrade: h2c\r\nConnection: Upgrade, close\r\n\r\n",
        b"GET /live HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        b"GET /live HTTP/1.1\r\n\r\n",
        b"GET /live\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /live HTTP/1.1\nHost: localhost\n\tfolded\n\n",
        b"GET /live HTTP/2.0\r\nHost: localhost\r\n\r\n",
    ],
)
def test_what_may_hide_a_second_request_ends_the_connection(run_async: Any, tmp_path: Path, head: bytes) -> None:
    async def main() -> None:
        async with operated(tmp_path) as world:
            octets = await world.exchange(head + b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n" + LAST)
            # HTTP/0.9 and nonsense get 400 or nothing; what follows is never a request of its own.
            assert octets.count(b"HTTP/1.1 ") <= 1
            assert b" 404 " not in octets
            assert b"ready" not in octets

    run_async(main())


def test_a_slow_request_ends_at_its_deadline(run_async: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "REQUEST_SECONDS", 0.2)

    async def main() -> None:
        async with operated(tmp_path) as world:
            with await Peer.connect(world.http.server) as peer:

                async def trickle() -> None:
                    await peer.send(b"GET /live HTTP/1.1\r\n")
                    while True:
                        await peer.send(b"X-Slow: 1\r\n")
                        await asyncio.sleep(0.02)

                task = asyncio.ensure_future(trickle())
                # The rest of what it sends may be answered with a reset.
                result = await asyncio.gather(peer.receive_all(), return_exceptions=True)
                assert result[0] == b"" or isinstance(result[0], ConnectionResetError)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            with await Peer.connect(world.http.server) as peer:
                assert await peer.receive_all() == b"", "it sends nothing"
            monkeypatch.setattr(http, "REQUEST_SECONDS", 60.0)
            assert status_of((await world.get("/live"))[0]) == 200

    run_async(main())


def test_a_head_without_an_end_is_refused(run_async: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async with operated(tmp_path) as world:
            for octets in (b"GET /" + b"a" * 40_000, b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 10_000):
                assert status_of(await world.exchange(octets)) == 431

    run_async(main())


@pytest.mark.parametrize(
    ("size", "status"),
    [
        pytest.param(http.MAX_HEAD, 200, marks=pytest.mark.slow),  # it waits for the end of an idle connection
        (http.MAX_HEAD + 1, 431),
        (20_000, 431),
        (40_000, 431),
    ],
)
def test_a_head_that_is_too_long_is_refused_however_it_comes(
    run_async: Any, tmp_path: Path, size: int, status: int
) -> None:
    """h11 counts only while the end has not come. What comes behind a head does not count."""
    line, end = b"GET /live HTTP/1.1\r\nHost: localhost\r\nX: ", b"\r\n\r\n"
    head = line + b"a" * (size - len(line) - len(end)) + end

    async def main() -> None:
        async with operated(tmp_path) as world:
            assert status_of(await world.exchange(head)) == status
            answers = (await world.exchange(head[:-2] + b"\r\n" + head)).decode().split("HTTP/1.1 ")[1:]
            assert [int(each[:3]) for each in answers] == ([200, 200] if status == 200 else [431])

    run_async(main())


# -- the stream of events ---------------------------------------------------------------------------------


async def event_of(peer: Peer) -> Any:
    """The next event with data."""
    octets = b""
    while not re.search(rb"data: [^\n]*\n\n", octets):
        octet = await peer.receive(1)
        assert octet
        octets += octet
    return json.loads(re.search(rb"data: ([^\n]*)\n\n", octets)[1])  # type: ignore[index]


EVENTS = b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_events_have_the_numbers(run_async: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "EVENT_SECONDS", 0.01)

    async def main() -> None:
        async with operated(tmp_path) as world:
            await conversation(world.server, b"a", b"raise")
            with await Peer.connect(world.http.server) as peer:
                await peer.send(EVENTS)
                told = await event_of(peer)
                assert told["status"]["services"][0]["totals"]["accepted"] == 1
                assert told["totals"]["received"] == 2
                assert told["totals"]["errors"] == 1
                assert told["closed"] == {"handler error": 1}
                assert sum(told["handler"]["counts"]) == 2
                assert (await event_of(peer))["now"] > told["now"]

    run_async(main())


def test_events_are_counted_and_a_place_stays_for_probes(
    run_async: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "MAX_STREAMS", 2)

    async def main() -> None:
        async with operated(tmp_path) as world:
            with await Peer.connect(world.http.server) as one, await Peer.connect(world.http.server) as two:
                for peer in (one, two):
                    await peer.send(EVENTS)
                    await event_of(peer)
                head, _ = await world.get("/events")
                assert status_of(head) == 503
                assert status_of((await world.get("/ready"))[0]) == 200
            await until(lambda: not world.http.server.connections)
            with await Peer.connect(world.http.server) as peer:
                await peer.send(EVENTS)
                await event_of(peer)

    monkeypatch.setattr(pages, "EVENT_SECONDS", 0.01)
    run_async(main())


@pytest.mark.parametrize(
    "manners", ["silent", "half a head", "between requests", "lingers", "reads nothing", "waits for pages"]
)
def test_clients_with_bad_manners_keep_no_probe_waiting(
    run_async: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, manners: str
) -> None:
    """They have no deadline here: only their places make room for the probe, which the kubelet gives a second."""
    first = {"silent": b"", "half a head": GET[:20], "between requests": GET, "lingers": LAST}
    first |= {"waits for pages": METRICS, "reads nothing": METRICS * 3}

    async def metrics(*_: Any) -> http.Response:
        if manners == "waits for pages":
            await asyncio.Event().wait()
        return http.Response(200, b"x" * 8_000_000)

    async def main() -> None:
        async with operated(tmp_path) as world, asyncio.timeout(100):
            with ExitStack() as stack:

                async def connect() -> Peer:
                    return stack.enter_context(await Peer.connect(world.http.server, receive_buffer=2048))

                streams = [await connect() for _ in range(2)]
                for peer in streams:
                    await peer.send(EVENTS)
                    await event_of(peer)
                for _ in range(200):
                    (await connect()).send_what_fits(first[manners])
                for _ in range(3):
                    assert (await world.get("/live"))[1] == b"live\n"
                    assert (await world.get("/ready"))[1] == b"ready\n"
                assert len(world.http.server.connections) <= http.MAX_WAITING + len(streams)
                for peer in streams:  # what is shown to someone goes on
                    await event_of(peer)

    for seconds in ("first_message_timeout", "idle_timeout", "write_timeout", "linger_timeout"):
        monkeypatch.setattr(http, "_DEADLINES", http._DEADLINES.replace(**{seconds: 10_000.0}))
    monkeypatch.setattr(http, "REQUEST_SECONDS", 10_000.0)
    monkeypatch.setattr(pages.Pages, "_metrics", metrics)
    monkeypatch.setattr(pages, "EVENT_SECONDS", 0.05)
    run_async(main())


def test_a_stream_that_is_not_read_costs_a_bound(
    run_async: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "EVENT_SECONDS", 0.0)

    async def main() -> None:
        async with operated(tmp_path) as world:
            with await Peer.connect(world.http.server, receive_buffer=4096) as peer:
                await peer.send(EVENTS)
                registry = core_of(world.http.server).registry
                await until(lambda: any(each.stream.crowded for each in registry.living()))
                before = world.http.server.statistics.octets_out
                for _ in range(3):
                    assert status_of((await world.get("/live"))[0]) == 200
                    assert await conversation(world.server, b"served") == [b"SERVED"]
                (stream,) = [each.stream for each in registry.living() if each.stream.crowded]
                assert stream.buffered < 256 * 1024
                assert world.http.server.statistics.octets_out >= before

    run_async(main())


def test_a_stop_ends_the_streams(run_async: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async with operated(tmp_path) as world:
            with await Peer.connect(world.http.server) as peer, await Peer.connect(world.http.server) as idle:
                await peer.send(EVENTS)
                await event_of(peer)
                await idle.send(GET)
                await idle.receive(100)
                await world.http.stop()
                assert world.http.server.stopped

    run_async(main())


def test_a_page_that_takes_too_long(run_async: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "REQUEST_SECONDS", 0.5)

    async def main() -> None:
        async with operated(tmp_path) as world:

            async def never() -> Any:
                await asyncio.Event().wait()

            monkeypatch.setattr(world.subject, "metrics", never)
            head, body = await world.get("/metrics")
            assert (status_of(head), body) == (503, b"no answer within 0.5 s\n")

    run_async(main())


def test_a_name_from_a_peer_cannot_become_html(run_async: Any, tmp_path: Path) -> None:
    service: Service[Any, Any, Any, Any] = upper("<img src=x onerror=alert(1)>\n\"'")

    async def main() -> None:
        async with operated(tmp_path, service) as world:
            assert b"<img" not in (await world.get("/"))[1]
            page = (await world.get("/metrics"))[1].decode()
            assert r'service="<img src=x onerror=alert(1)>\n\"' in page

    run_async(main())


def test_a_mistake_of_ours_is_an_answer_and_is_logged(
    run_async: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with operated(tmp_path) as world:

            async def broken() -> Any:
                raise ZeroDivisionError("a mistake of ours")

            monkeypatch.setattr(world.subject, "metrics", broken)
            head, body = await world.get("/metrics")
            assert (status_of(head), body) == (500, b"it failed; the log has the reason\n")

    run_async(main())
    assert "a mistake of ours" in caplog.text
