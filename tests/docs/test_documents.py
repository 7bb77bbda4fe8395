"""Every piece of code that the README and the documents show is run."""

from __future__ import annotations

import re
import socket
import tomllib
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from docs.documents import Document, needs_of
from docs.packages import require_package

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "SECURITY.md")),
    *sorted((ROOT / "docs").glob("**/*.md")),
    *sorted((ROOT / "examples").glob("*.md")),
]

#: Pages without code of ours to run.
OTHERS = [*(ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md")), *sorted((ROOT / "benchmarks").glob("*.md"))]

#: Pages that start many programs: two thirds of what all pages take. By default the README, the tutorial, a page for
#: those who migrate, and the other pages run. CI runs all of them.
SLOW = {
    *("docs/explanation/troubleshooting.md", "docs/reference/command-line.md"),
    *(f"docs/migrate/{name}.md" for name in ("asyncio-protocol", "asyncore", "sockets", "socketserver")),
    *(
        f"docs/how-to/{name}.md"
        for name in (
            *("addresses", "benchmark", "clients", "existing-code", "limits", "operate", "operate-a-program"),
            *("programs", "prove-a-framing", "relay", "several-services", "sockets", "stay-connected"),
            *("test-a-service", "threads-and-tests", "tls"),
            *("connect-fails", "logs-and-captures", "many-processes", "mutual-tls", "peers", "running-limits"),
        )
    ),
}

HOME = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Homepage"]


def slow(path: Path) -> list[pytest.MarkDecorator]:
    return [pytest.mark.slow] if str(path.relative_to(ROOT)) in SLOW else []


def parameter(path: Path, *more: pytest.MarkDecorator) -> object:
    programs = {need for need in needs_of(path.read_text()) if not need.startswith("python:")} - {"IPv6"}
    marks = [pytest.mark.peers] if programs else []
    return pytest.param(path, id=str(path.relative_to(ROOT)), marks=[*marks, *more])


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.timeout(180)  # the tutorial starts twenty programs
@pytest.mark.parametrize("path", [parameter(each, *slow(each)) for each in DOCUMENTS])
def test_its_code_runs(path: Path, tmp_path: Path, require_program: Callable[[str], str]) -> None:
    for need in needs_of(path.read_text()):
        if need.startswith("python:"):
            require_package(need.removeprefix("python:"))
        elif need != "IPv6":
            require_program(need)
        elif not has_ipv6():
            pytest.skip("this machine has no IPv6")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    with ExitStack() as stack:
        Document(path, tmp_path, stack).run()


def anchors_of(path: Path) -> set[str]:
    """The headings of a page as links name them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", [*map(parameter, [*DOCUMENTS, *OTHERS])])
def test_its_links_lead_somewhere(path: Path) -> None:
    missing = []
    # The README is also shown where its neighbours are not, so it links to them by their address.
    text = path.read_text().replace(f"{HOME}/blob/main/", f"{ROOT}/")
    text = re.sub(r"^\[([^]]+)\]: (.*)$", r"[\1](\2)", text, flags=re.MULTILINE)
    for link, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text):
        target = path.parent / link if link else path
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            missing.append(f"{link}#{anchor}")
    assert not missing


def test_the_readme_has_no_link_that_works_only_beside_its_neighbours() -> None:
    assert re.findall(r"\]\((?!https?:|#)[^)]*\)", (ROOT / "README.md").read_text()) == []


def test_the_slow_pages_are_there() -> None:
    assert {str(path.relative_to(ROOT)) for path in DOCUMENTS} >= SLOW


def test_documents_use_the_words_of_the_glossary() -> None:
    """A unit that a framing yields is a message, and nothing else."""
    found = [
        f"{path.relative_to(ROOT)}: {word[0]}"
        for path in DOCUMENTS
        for word in re.finditer(r"\b(packets?|frame)\b", path.read_text(), re.IGNORECASE)
        if path.parent.name != "reference"  # where IP's packets and other people's protocols are named
    ]
    assert not found
