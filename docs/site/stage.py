"""Lay the sources of the site out in one folder for Sphinx: pages, examples, and the code that pages link to.

The Markdown in docs/ is the source, and it is written to be read where it stands. Here a link to a file outside of
docs/ becomes a link to a page that shows the file, and the comments for the tests are left out.
"""

from __future__ import annotations

import os
import re
import shutil
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: Pages that stand at another place on the site.
MOVED = {
    "README.md": "index.md",
    "docs/README.md": "contents.md",
    "examples/README.md": "examples/index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
#: By the ending of a file's name, or by the whole name of one without.
LANGUAGES = {
    ".py": "python", ".c": "c", ".h": "c", ".toml": "toml", ".sh": "sh", ".lua": "lua", ".yaml": "yaml",
    "Containerfile": "docker",
}  # fmt: skip

#: Where the README's absolute links lead.
HOME = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Source"] + "/blob/main/"
#: A link, in place or by its definition; not those to other sites.
LINK = re.compile(r"(?:(?<=\]\()|(?<=\]: ))(?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?(?=\)|$)", re.MULTILINE)
COMMENT = re.compile(r"^<!--(?!\s*site:).*?-->\n(?:\n(?=\n))?", re.MULTILINE | re.DOTALL)
FENCE = re.compile(r"^(```.*?^```$)", re.MULTILINE | re.DOTALL)


def stage(target: Path, toctrees: Path) -> None:
    """Fill ``target`` with the sources of the site; what ``toctrees`` says goes to the end of the landing page."""
    shutil.rmtree(target, ignore_errors=True)
    pages = [
        *sorted((ROOT / "docs").rglob("*.md")),
        *(ROOT / name for name in MOVED if not name.startswith("docs/")),
    ]
    for folder in ("examples", "pictures"):
        (target / folder).mkdir(parents=True)
    for picture in (ROOT / "docs" / "pictures").iterdir():
        shutil.copy(picture, target / "pictures")
    shown: set[Path] = set(files_of_examples())
    for page in pages:
        text = staged_text(page, shown)
        write(target / place(page), text + (with_the_rest(toctrees.read_text()) if page == ROOT / "README.md" else ""))
    for file in sorted(shown):
        write(target / place(file), file_page(file))


def with_the_rest(toctrees: str) -> str:
    """A line ``how-to/*`` stands for the pages of that folder that no line names: a new page needs no edit."""
    named = set(toctrees.split())

    def rest(found: re.Match[str]) -> str:
        pages = sorted(path.stem for path in (ROOT / "docs" / found[1]).glob("*.md"))
        return "".join(f"{found[1]}/{page}\n" for page in pages if f"{found[1]}/{page}" not in named)

    return re.sub(r"^([\w-]+)/\*\n", rest, toctrees, flags=re.MULTILINE)


def files_of_examples() -> list[Path]:
    """Every example is shown."""
    return [path for path in (ROOT / "examples").rglob("*") if language(path)]


def language(path: Path) -> str | None:
    """What a file is shown as; None for one that is not shown."""
    return LANGUAGES.get(path.suffix or path.name)


def place(path: Path) -> str:
    """Where a file of the repository stands on the site, as the path of a page."""
    name = path.relative_to(ROOT).as_posix()
    if name in MOVED:
        return MOVED[name]
    if language(path):
        return (name if name.startswith("examples/") else f"source/{name}") + ".md"
    return name.removeprefix("docs/")


def staged_text(page: Path, shown: set[Path]) -> str:
    """The page with links as the site has them. Files that it links to are added to ``shown``."""
    root = os.path.relpath(ROOT, page.parent)
    parts = FENCE.split(page.read_text().replace(HOME, f"{root}/"))
    return "".join(part if part.startswith("```") else with_links(COMMENT.sub("", part), page, shown) for part in parts)


def with_links(text: str, page: Path, shown: set[Path]) -> str:
    """Prose whose relative links lead to places of the site."""
    here = Path(place(page)).parent

    def moved(found: re.Match[str]) -> str:
        path = Path(os.path.normpath(page.parent / found[1]))
        if language(path) and path.is_file():
            shown.add(path)
        return os.path.relpath(place(path), here) + (found[2] or "")

    return LINK.sub(moved, text)


def file_page(path: Path) -> str:
    """A page that shows a file of code."""
    name = path.relative_to(ROOT).as_posix()
    return f"---\norphan: true\n---\n\n# {name}\n\n``````{language(path)}\n{path.read_text().rstrip()}\n``````\n"


def write(path: Path, text: str) -> None:
    """Write a file in a folder that may be new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
