"""The site is built without a warning, works in a browser, and axe finds nothing in it.

Slow, and only with the dependency group ``docs`` and Chromium. ``make docs`` runs it, with the site that it has built.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[2]
BUILT = os.environ.get("FOURTUPLE_SITE", "")
NEEDED = ("sphinx", "myst_parser", "furo", "sphinx_copybutton", "playwright", "axe_playwright_python")
SCHEMES = ("light", "dark")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    # The driver of the browser is a process and a loop of its own, which ends with the session.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


#: The worker that has the rest.
OTHERS = pytest.mark.xdist_group("site 1")


def absent(reason: str) -> None:
    """Skip; where the site is what is tested, fail."""
    (pytest.fail if BUILT else pytest.skip)(reason)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built pages."""
    for name in NEEDED:
        if importlib.util.find_spec(name) is None:
            absent(f"the package {name} is not installed: python -m pip install --group docs")
    if BUILT:
        return Path(BUILT)
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "site" / "build.py"), str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder / "html"


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and prints nothing."""

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Where the pages are served."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser(site: Path) -> Iterator[Any]:
    """Debian's Chromium."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        absent("the program chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@pytest.fixture
def open_page(browser: Any, address: str) -> Iterator[Callable[..., Any]]:
    """``open_page("index.html", color_scheme="dark")``; a request to another host or an error of a script fails."""
    contexts: list[Any] = []
    wrong: list[str] = []

    def open_it(path: str, **options: Any) -> Any:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: request.url.startswith((address, "data:")) or wrong.append(request.url))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "response", lambda response: response.status < 400 or wrong.append(f"{response.status}: {response.url}")
        )
        page.goto(f"{address}/{path}")
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert not wrong


def pages_of(site: Path) -> list[str]:
    return sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))


class Links(HTMLParser):
    """The addresses that a page links to or loads, and the places in it that links can name."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.places = {""}
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src") and value is not None:
                self.links.add(value)
            elif name in ("id", "name") and value is not None:
                self.places.add(value)


@OTHERS
def test_every_link_leads_to_a_place(site: Path) -> None:
    pages = {path.resolve(): Links(path) for path in site.rglob("*.html")}
    broken = []
    for page, found in pages.items():
        for link in found.links:
            parts = urlsplit(link)
            if parts.scheme or link.startswith("data:"):
                continue  # another site: test_links.py
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            known = pages[target].places if target in pages else {""}
            if not target.exists() or unquote(parts.fragment) not in known:
                broken.append((page.relative_to(site.resolve()).as_posix(), link))
    assert len(pages) > 100
    assert broken == []


@OTHERS
def test_search_finds(open_page: Callable[..., Any]) -> None:
    page = open_page("index.html")
    page.locator("input.sidebar-search:visible").fill("accept queue")
    page.keyboard.press("Enter")
    page.wait_for_selector("ul.search li a")
    assert page.locator("ul.search li a").count() > 3
    page.locator("ul.search li a", has_text="states").first.click()
    page.wait_for_selector("h1")
    assert "states" in page.locator("h1").inner_text()


@OTHERS
def test_code_is_copied_without_its_prompts(open_page: Callable[..., Any]) -> None:
    page = open_page("index.html", permissions=["clipboard-read", "clipboard-write"])
    block = page.locator("div.highlight-console", has_text="fourtuple connect").first
    block.hover()
    block.locator("button.copybtn").click()
    page.wait_for_selector("button.copybtn.success")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("fourtuple connect 127.0.0.1:9999")
    assert "Farewell" not in copied


@OTHERS
def test_the_scheme_follows_the_system_and_can_be_switched(open_page: Callable[..., Any]) -> None:
    def ground(page: Any) -> str:
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    light, dark = (open_page("index.html", color_scheme=scheme) for scheme in SCHEMES)
    assert ground(light) != ground(dark)
    begun = ground(light)
    button = light.locator("button.theme-toggle:visible").first
    for _ in range(3):  # auto, light, dark
        button.click()
        if ground(light) != begun:
            break
    assert ground(light) == ground(dark)


@OTHERS
def test_no_page_is_wider_than_a_narrow_screen(site: Path, open_page: Callable[..., Any]) -> None:
    page = open_page("index.html")
    base = page.url.rpartition("/")[0]
    wide = {}
    for path in pages_of(site):
        page.goto(f"{base}/{path}", wait_until="domcontentloaded")
        for width in (768, 390, 320):
            page.set_viewport_size({"width": width, "height": 700})
            seen = page.evaluate("document.documentElement.scrollWidth")
            if seen > width:
                wide[path] = (seen, width)
    assert not wide


#: The words of elements that stand on more than one line.
BROKEN = """
selector => [...document.querySelectorAll(selector)].flatMap(element => {
    const broken = [], walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        for (const word of walker.currentNode.data.matchAll(/\\w+/g)) {
            const range = document.createRange();
            range.setStart(walker.currentNode, word.index);
            range.setEnd(walker.currentNode, word.index + word[0].length);
            if (new Set([...range.getClientRects()].map(box => Math.round(box.bottom))).size > 1) broken.push(word[0]);
        }
    }
    return broken;
})
"""


@OTHERS
def test_no_word_of_a_heading_or_of_a_name_in_a_table_is_broken(site: Path, open_page: Callable[..., Any]) -> None:
    page = open_page("index.html")
    base = page.url.rpartition("/")[0]
    broken = {}
    for path in pages_of(site):
        page.goto(f"{base}/{path}", wait_until="domcontentloaded")
        for width, selector in ((1280, "th code, td:first-child code"), (390, "h1")):
            page.set_viewport_size({"width": width, "height": 700})
            words = page.evaluate(BROKEN, selector)
            if words:
                broken[path, width] = words
    assert broken == {}


@OTHERS
def test_the_menu_of_a_narrow_screen_opens(open_page: Callable[..., Any]) -> None:
    page = open_page("index.html", viewport={"width": 390, "height": 700})
    link = page.get_by_role("link", name="Encrypt with TLS").first
    assert not link.is_visible() or link.bounding_box()["x"] < 0
    page.locator("label[for=__navigation]:visible").first.click()
    page.wait_for_function("document.querySelector('.sidebar-drawer').getBoundingClientRect().left >= 0")
    assert link.is_visible()


@pytest.mark.parametrize("half", [pytest.param(half, marks=pytest.mark.xdist_group(f"site {half}")) for half in (0, 1)])
def test_axe_finds_nothing_on_any_page(site: Path, open_page: Callable[..., Any], half: int) -> None:
    """Two workers look at every second page each: it takes a second for a page."""
    import axe_playwright_python

    axe = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
    page = open_page("index.html")
    base = page.url.rpartition("/")[0]
    # The schemes differ in nothing but their colours, and the sidebar's are the same on every page.
    rules = "axe.run({resultTypes: ['violations'], rules: {'color-contrast': {enabled: false}}})"
    colours = "axe.run(%s, {resultTypes: ['violations'], runOnly: ['color-contrast']})"
    found = {}
    for path in pages_of(site)[half::2]:
        page.goto(f"{base}/{path}", wait_until="domcontentloaded")
        page.evaluate(axe)
        for scheme in ("rules", *SCHEMES):
            if scheme != "rules":
                page.emulate_media(color_scheme=scheme)
            run = rules if scheme == "rules" else colours % ("document" if path == "index.html" else "'article'")
            broken = page.evaluate(f"{run}.then(result => result.violations)")
            if broken:
                seen = [(rule["id"], rule["nodes"][0]["html"][:200], len(rule["nodes"])) for rule in broken]
                found[path, scheme] = seen
    assert not found
