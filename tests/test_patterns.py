"""No regular expression of the package costs more than its input is long: each is found in the source, and decided."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ambiguity import Unsupported, ambiguity
from fourtuple.framing import Delimited, Escaped, Netstring, OctetCounting, syslog_resync
from sources import READS_ALL, paths, tree
from sources import SOURCE as SOURCES

SOURCE = SOURCES / "fourtuple"
FUNCTIONS = ("compile", "match", "search", "fullmatch", "sub", "subn", "split", "findall", "finditer")
ANCHORED = ("match", "fullmatch")
NAMED = re.compile(r"\bre\s*\.")


def delimiters() -> list[Any]:
    framings = (Delimited((b"#", b"\r\n|", b"(a+)+")), Delimited((b"aab", b"aac")), Delimited((b"*", b".")))
    return [framing.reference()._pattern for framing in framings]  # type: ignore[attr-defined]


def lengths() -> list[Any]:
    framings = (Netstring(), Netstring(max_message=None), OctetCounting(), OctetCounting(max_message=9))
    return [framing.reference()._pattern for framing in framings]  # type: ignore[attr-defined]


def counts() -> list[Any]:
    return [syslog_resync._DIGITS]


def escaped() -> list[Any]:
    return [Escaped()._escaped, Escaped(flag=b"]", escape=b"^", table=(b"^a", b"]b", b"-c", b"\\d"))._escaped]


def escapes() -> list[Any]:
    return [Escaped()._escapes, Escaped(flag=b"]", escape=b".", table=(b".a", b"]b"))._escapes]


#: Patterns that are made of something else: where they stand, and examples of what they come to.
MADE: dict[tuple[str, str], Callable[[], list[Any]]] = {
    ("framing/delimited.py", "b'|'.join(map(re.escape, delimiters))"): delimiters,
    ("framing/decimal.py", "b'(%b[1-9][0-9]{0,%d})%b' % (zero, MOST_DIGITS - 1, colon)"): lengths,
    ("framing/syslog_resync.py", "b'[1-9][0-9]{0,%d}' % MOST_DIGITS"): counts,
    ("framing/escaped.py", "b'[%b]' % re.escape(b''.join((each[:1] for each in self.table)))"): escaped,
    ("framing/escaped.py", "re.escape(self.escape) + b'(.?)'"): escapes,
    # What a person types at their own load generator, for replies of the server that they are trying.
    ("load/patterns.py", "rest.encode()"): list,
}


@dataclass(frozen=True)
class Pattern:
    file: str
    line: int
    text: str | bytes | None  # None for one that is made of something else, and stands not in MADE
    flags: int
    searched: bool

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.text!r}"


def calls(module: ast.Module) -> Iterator[tuple[ast.Call, str]]:
    """The calls of functions of ``re``."""
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and (function := function_of_re(node.func)):
            yield node, function


def function_of_re(node: ast.AST) -> str:
    """Its name behind ``re.``, or nothing."""
    ours = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "re"
    return node.attr if ours and node.attr in FUNCTIONS else ""


def is_searched(module: ast.Module, call: ast.Call, function: str) -> bool:
    """Whether a match may begin anywhere; of a compiled pattern, all that is done with its name tells."""
    if function != "compile":
        return function not in ANCHORED
    names = {
        ast.unparse(target)
        for node in ast.walk(module)
        if isinstance(node, ast.Assign) and node.value is call
        for target in node.targets
    }
    used = anchored = 0
    for node in ast.walk(module):
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
            used += ast.unparse(node) in names
            anchored += isinstance(node, ast.Attribute) and node.attr in ANCHORED and ast.unparse(node.value) in names
    return not used or used != anchored


def patterns(path: Path) -> Iterator[Pattern]:
    file, module = path.relative_to(SOURCE).as_posix(), tree(path)
    for call, function in calls(module):
        given = {each.arg: each.value for each in call.keywords}
        position = {"compile": 1, "sub": 4, "subn": 4, "split": 3}.get(function, 2)
        flags = given.get("flags") or (call.args[position] if len(call.args) > position else None)
        number = 0 if flags is None else int(eval(ast.unparse(flags), {"re": re}))
        searched = is_searched(module, call, function)
        if isinstance(call.args[0], ast.Constant):
            yield Pattern(file, call.lineno, call.args[0].value, number, searched)
            continue
        made = MADE.get((file, ast.unparse(call.args[0])))
        if made is None:
            yield Pattern(file, call.lineno, None, number, searched)
            continue
        for each in made():
            yield Pattern(file, call.lineno, each.pattern, number, searched)


#: Few files: what every worker of the run does when it imports this one is to take no time.
FILES = [path for path in paths() if NAMED.search(path.read_text())]


@READS_ALL
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_patterns_are_linear(path: Path) -> None:
    wrong = []
    for pattern in patterns(path):
        if pattern.text is None:
            wrong.append(f"{pattern.file}:{pattern.line}: write it out, or add what it comes to to MADE")
        elif told := ambiguity(pattern.text, pattern.flags, searched=pattern.searched):
            wrong.append(f"{pattern}: {told}; make the first of them possessive, or two patterns of one")
    assert not wrong, "\n".join(wrong)


@READS_ALL
def test_no_pattern_is_overlooked() -> None:
    """Patterns come from ``re`` by its name, and no other package makes any."""
    assert sum(1 for path in FILES for _ in patterns(path)) > 20
    assert any(each.file == "framing/header.py" for path in FILES for each in patterns(path))
    for path in paths():
        module, named = tree(path), 0
        for node in ast.walk(module):
            if isinstance(node, ast.ImportFrom):
                assert node.module not in ("re", "fnmatch", "glob", "regex"), path
            elif isinstance(node, ast.Import):
                assert all(each.asname is None for each in node.names if each.name == "re"), path
                assert not {"fnmatch", "regex"} & {each.name for each in node.names}, path
            named += bool(function_of_re(node))
        assert named == len(list(calls(module))), f"{path}: a function of re is handed on, not called"


#: Quadratic and worse; among them what this package had.
SLOW = [
    rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*",
    *(rb"a*a*", rb"a*?a*", rb"(a*)*", rb"(a+)+b", rb"(?:ax?|a)*", rb"(?:a|ab|b)*c", rb".*x.*", rb"\s*[^x]*y"),
    *(rb"(a?b?)*(ab)*", rb"a+(?:b?a)*c", rb"(?:[^x]*,)*", rb"(?>a*a*)b", rb"a*(?>a*)b", rb"(?:a*b)*+b*a*a*"),
    *(rb"[0-9]{0,4000}[0-9]{0,4000}x", rb"(?:x{2,})*y"),
]
SEARCHED = [rb"\s+$", rb"[^x]*x", rb"(?m)^\s*x\s*$"]
LINEAR = [
    *(rb"a*b*", rb"a*ba*", rb"(?:ab)*a", rb"(?:a|b)*c", rb"\s*x\s*", rb"a*+a*", rb"(?>a*)a", rb"(?:(?>a+))+b"),
    *(rb'"(?:[^"\\]|\\.)*"', rb"[0-9]{1,20}(?:\.[0-9]+)?", rb"a?a?a?b", rb"(?:a++b?)*", rb"(?:[^x,]*,)*"),
    rb"0?[0-9]{0,4}",
]


@pytest.mark.parametrize("pattern", SLOW)
def test_a_slow_pattern_is_found(pattern: bytes) -> None:
    assert ambiguity(pattern)


@pytest.mark.parametrize("pattern", SEARCHED)
def test_a_pattern_that_is_slow_to_search_for_is_found(pattern: bytes) -> None:
    assert ambiguity(pattern, searched=True)
    assert not ambiguity(pattern.replace(b"(?m)", b""))


@pytest.mark.parametrize("pattern", LINEAR)
def test_a_linear_pattern_is_not_reported(pattern: bytes) -> None:
    assert ambiguity(pattern) is None


def test_what_cannot_be_decided_is_said() -> None:
    for pattern in (rb"(a+)\1", rb"(?=a*)b"):
        with pytest.raises(Unsupported):
            ambiguity(pattern)
