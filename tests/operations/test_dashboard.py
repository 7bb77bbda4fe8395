"""The dashboard in Debian's Chromium: live numbers, light and dark, narrow screens, and no request to elsewhere."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from conftest import absent
from operations.commands import Served, served

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("chromium")]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        absent("the program chromium is not installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, "upper", "--framing", "line", "--http", "0", "--dashboard",
                "--max-connections-per-address", "3") as running:  # fmt: skip
        yield running


@pytest.fixture
def opened(browser: Any, server: Served) -> Iterator[Callable[..., Any]]:
    """``opened(color_scheme="dark")``: the page with its first numbers; anything wrong in the browser fails."""
    wrong: list[str] = []
    with ExitStack() as stack:

        def open_it(**options: Any) -> Any:
            context = browser.new_context(**options)
            stack.callback(context.close)
            page = context.new_page()
            page.on("request", lambda request: request.url.startswith(server.http) or wrong.append(request.url))
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.on("console", lambda message: message.type == "error" and wrong.append(message.text))
            page.goto(server.http)
            page.wait_for_selector("body[data-seen=yes]")
            return page

        yield open_it
        # A browser writes about a connection that ended, too.
        assert not [each for each in wrong if not each.startswith("data:") and "ERR_" not in each]


def shot(page: Any, name: str) -> None:
    """Keep a picture, where FOURTUPLE_PICTURES says, to be looked at."""
    folder = os.environ.get("PICTURES")
    if folder:
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)


def test_numbers_come_and_move(server: Served, opened: Callable[..., Any]) -> None:
    with ExitStack() as stack:
        page = opened(viewport={"width": 1100, "height": 900})
        assert page.text_content("#state") == "serving"
        assert page.text_content("#connections") == "0"
        peers = [stack.enter_context(server.connect()) for _ in range(3)]
        for peer in peers:
            peer.sendall(b"hello\n")
            assert peer.recv(100) == b"HELLO\n"
        with server.connect() as refused:
            assert refused.recv(1) == b""
        # Selectors, no functions: the page's policy forbids a browser to evaluate texts.
        for text, where in (("3", "#connections"), ("3", "#services td:nth-child(6)"), ("per_address", "#reasons td")):
            page.wait_for_selector(f"{where}:has-text('{text}')")
        assert server.address in page.inner_text("#queues")
        assert "µs" in page.text_content("#handler-told")
        assert page.evaluate("document.querySelectorAll('#handler rect').length") > 0
        shot(page, "light")


def test_light_and_dark_can_be_read(server: Served, opened: Callable[..., Any]) -> None:
    contrast = """() => {
        const shine = (text) => {
            const parts = text.match(/[0-9.]+/g).slice(0, 3).map(Number).map((c) => c / 255)
                .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
            return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
        };
        const under = (node) => {
            const own = getComputedStyle(node).backgroundColor;
            return own.endsWith(", 0)") ? under(node.parentElement) : own;
        };
        return [...document.querySelectorAll("h1, h2, p, td, th, a, span")].filter((n) => n.innerText).map((n) => {
            const [a, b] = [shine(getComputedStyle(n).color), shine(under(n))].sort((x, y) => y - x);
            return (a + 0.05) / (b + 0.05);
        });
    }"""
    grounds = []
    for scheme in ("light", "dark"):
        page = opened(color_scheme=scheme)
        assert min(page.evaluate(contrast)) >= 4.5, "WCAG 2.2, 1.4.3"
        grounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        shot(page, f"scheme-{scheme}")
    assert grounds[0] != grounds[1]


@pytest.mark.parametrize("width", [320, 480, 1600])
def test_a_narrow_screen_scrolls_in_one_direction(server: Served, opened: Callable[..., Any], width: int) -> None:
    page = opened(viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    shot(page, f"width-{width}")


@pytest.mark.parametrize("width", [320, 700, 1100, 1300])
def test_large_numbers_fit_into_their_tiles(opened: Callable[..., Any], width: int) -> None:
    page = opened(viewport={"width": width, "height": 800})
    inside = """() => [...document.querySelectorAll(".tile .big")].filter((each) => {
        each.textContent = "999 k / 99.9 M";
        return each.scrollWidth > each.clientWidth;
    }).length"""
    assert page.evaluate("document.querySelectorAll('.tile .big').length") >= 6
    assert page.evaluate(inside) == 0


def test_a_server_that_stops_is_shown(server: Served, opened: Callable[..., Any]) -> None:
    page = opened()
    server.process.terminate()
    page.wait_for_selector("#state.lost")
    server.process.wait()


def test_a_page_of_another_site_cannot_frame_or_read_it(server: Served, browser: Any, tmp_path: Path) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.route("http://other.example/", lambda route: route.fulfill(
        body=f"<iframe src='{server.http}/'></iframe>", content_type="text/html"))  # fmt: skip
    page.goto("http://other.example/")
    read = page.evaluate(f"fetch('{server.http}/metrics').then((r) => r.text(), () => 'refused')")
    assert read == "refused"
    sent = page.evaluate(f"fetch('{server.http}/metrics', {{mode: 'no-cors'}}).then((r) => r.type, () => 'refused')")
    assert sent in ("opaque", "refused")
    (frame,) = [each for each in page.frames if each is not page.main_frame]
    assert "echo" not in frame.content()
    assert frame.query_selector("#connections") is None
    context.close()


def test_a_name_that_leads_here_by_dns_is_refused(server: Served, browser: Any) -> None:
    with socket.create_connection(("127.0.0.1", server.http_port)) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: rebound.example\r\nConnection: close\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 421")
