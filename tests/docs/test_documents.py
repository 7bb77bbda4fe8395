"""Every piece of code that the README and the documents show is run."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from docs.documents import Document, needs_of

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md")), *sorted((ROOT / "examples").glob("*.md"))]


def parameter(path: Path) -> object:
    marks = [pytest.mark.peers] if needs_of(path.read_text()) else []
    return pytest.param(path, id=str(path.relative_to(ROOT)), marks=marks)


@pytest.mark.parametrize("path", [*map(parameter, DOCUMENTS)])
def test_its_code_runs(path: Path, tmp_path: Path, require_program: Callable[[str], str]) -> None:
    for program in needs_of(path.read_text()):
        require_program(program)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    with ExitStack() as stack:
        Document(path, tmp_path, stack).run()


@pytest.mark.parametrize("path", [*map(parameter, DOCUMENTS)])
def test_its_links_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)", path.read_text())
    missing = [link for link in links if not (path.parent / link).exists()]
    assert not missing


def test_the_words_are_the_houses() -> None:
    """A unit that a framing yields is a message, and nothing else."""
    found = [
        f"{path.relative_to(ROOT)}: {word[0]}"
        for path in DOCUMENTS
        for word in re.finditer(r"\b(packets?|frame)\b", path.read_text(), re.IGNORECASE)
        if path.parent.name != "reference"  # where IP's packets and other people's protocols are named
    ]
    assert not found
