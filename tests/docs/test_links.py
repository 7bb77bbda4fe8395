"""Links to other sites: of a known form, and on a list. A person opens what is added: tests reach no other machine."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[2]
HOME = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Homepage"]

#: What pages, docstrings and the package's metadata name on other sites. Open an address before you add it.
ADDRESSES = {
    "https://cr.yp.to/proto/netstrings.txt",
    "https://github.com/Shopify/toxiproxy",
    "https://github.com/msgpack/msgpack/blob/master/spec.md",
    "https://hypothesis.readthedocs.io",
    "https://keepachangelog.com/en/1.1.0/",
    "https://redis.io/docs/latest/develop/reference/protocol-spec/",
    "https://semver.org/",
    "https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt",
    "https://www.tcpdump.org/linktypes.html",
}
#: Our own, besides files of the repository.
OWN = {"", "/issues", "/security/advisories/new"}
#: A name in XML, and hosts that no one can reach from outside: examples, the reader's own machine, a value put in.
NOT_LINKS = re.compile(r"https?://(www\.w3\.org/|127\.0\.0\.1|localhost|\[::1?\]|[\w.-]+\.example\b|\{)")
TEXTS = ("*.md", "*.py", "*.toml", "*.c", "*.h", "*.html", "*.js", "*.yml", "*.txt")
FOLDERS = ("docs", "examples", "src", ".github", "benchmarks")


def texts() -> Iterator[Path]:
    for pattern in TEXTS:
        yield from ROOT.glob(pattern)
        for folder in FOLDERS:
            yield from (ROOT / folder).rglob(pattern)


def links() -> Iterator[tuple[str, str]]:
    """Each address, without the punctuation of the sentence around it, and the file that has it."""
    for path in texts():
        for found in re.finditer(r"\b[a-z]+://[^\s<>\"'`|\\]+", path.read_text()):
            link = found[0].rstrip(".,;:!?*)]")
            if link.startswith("http") and not NOT_LINKS.match(link):
                yield link, path.relative_to(ROOT).as_posix()


def test_addresses_are_on_the_list() -> None:
    others = {link: path for link, path in links() if not link.startswith(HOME)}
    assert {link: path for link, path in others.items() if link not in ADDRESSES} == {}
    assert {*others} == ADDRESSES, "the list has an address that nothing names"


def test_addresses_have_the_form_that_opens() -> None:
    for link in ADDRESSES:
        parts = urlsplit(link)
        assert parts.scheme == "https"
        assert re.fullmatch(r"([a-z0-9-]+\.)+[a-z]{2,}", parts.netloc)
        assert re.fullmatch(r"(/[\w.~-]+)*/?", parts.path)
        assert not parts.query


def test_our_own_addresses_name_files_that_exist() -> None:
    seen = {link: path for link, path in links() if link.startswith(HOME)}
    missing = {}
    for link, path in seen.items():
        rest = link.removeprefix(HOME).partition("#")[0]
        if rest not in OWN and not (
            rest.startswith("/blob/main/") and (ROOT / rest.removeprefix("/blob/main/")).exists()
        ):
            missing[link] = path
    assert seen
    assert missing == {}
