"""Texts in plain English: the words of the old private dialect do not come back, in the package, its docs and examples.

Each word has a replacement. Things are not persons; a sentence says what happens.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

INSTEAD = {
    r"nobody|no-one": "no one; better: say which thing does not do it",
    r"whoever|whomever": "any client, the reader, code that ...",
    r"somebody|anybody|everybody": "another task, another thread, all clients",
    r"of other people|somebody else's": "third-party",
    r"for good(?! messages)": "say what really happens",
    r"usual|usually": "on the fast path; by default; normally",
    r"settles?|settled|settling": "say what really happens",
    r"mould|roster|doorstep|crew": "template, registry, preamble, run",
    r"(?-i:that is none)": "invalid",
    r"cannot be meant": "is invalid",
    r"wanted (?:is|are)": "expected ...",
    r", also (?:if|while|when|after|those|one|at|from)": "even if, even while, including those",
    r"nevertheless": "anyway; still",
    r"who (?:reads|waits|speaks|sends|comes)": "the peer that reads ..., connections that wait",
}
TELLTALES = {re.compile(rf"\b(?:{words})\b", re.IGNORECASE): advice for words, advice in INSTEAD.items()}

# The name of a method of decoders, which C calls, too.
ALLOWED = re.compile(r"\bsettle\(|`settle`|^settle$")

PYTHON = [*sorted((ROOT / "src").glob("fourtuple/**/*.py")), *sorted((ROOT / "examples").glob("**/*.py"))]
PAGES = [*sorted((ROOT / "docs").glob("**/*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a page; the strings, docstrings and comments of a module."""
    source = path.read_text()
    if path.suffix == ".md":
        yield from enumerate(source.splitlines(), 1)
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from enumerate(node.value.splitlines(), node.lineno)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def found(text: str) -> str | None:
    """What to write instead, if a telltale word is in the text."""
    text = ALLOWED.sub("", text)
    return next((advice for telltale, advice in TELLTALES.items() if telltale.search(text)), None)


@pytest.mark.parametrize("path", [*PYTHON, *PAGES], ids=lambda path: str(path.relative_to(ROOT)))
def test_plain_english(path: Path) -> None:
    wrong = [
        f"{path}:{line}: {text.strip()}\n    write: {advice}" for line, text in texts(path) if (advice := found(text))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "text", ["a broadcast waits for nobody", "accepts who waits", "JSON that is none", "the usual way", "it is settled"]
)
def test_the_dialect_is_noticed(text: str) -> None:
    assert found(text)


@pytest.mark.parametrize("text", ["until :meth:`settle`, those", "for good messages", "decoder.settle()"])
def test_plain_words_pass(text: str) -> None:
    assert not found(text)


def test_there_is_something_to_read() -> None:
    assert len(PYTHON) > 200
    assert len(PAGES) > 30
