"""mypy --strict and pyright report every line that is marked ``# wrong``, and no other one, examples included.

They run once each over all files. ``make types`` runs this; the default tests leave it out, as slow.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
WRONG = sorted(HERE.glob("wrong/*.py"))
RIGHT = [*sorted(HERE.glob("right/*.py")), *sorted(ROOT.glob("examples/**/*.py"))]

Lines = dict[Path, dict[int, str]]
_MYPY = re.compile(r"(?P<file>[^:]+):(?P<line>[0-9]+): error: (?P<text>.*)")


def run(*command: str) -> str:
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr  # 2: it could not run
    return done.stdout


def by_mypy() -> Lines:
    # Files of one name in two folders: each is named from the root.
    paths = map(str, (*WRONG, *RIGHT))
    found: Lines = {}
    for line in run("mypy", "--strict", "--explicit-package-bases", "--no-pretty", *paths).splitlines():
        if match := _MYPY.match(line):
            found.setdefault(ROOT / match["file"], {})[int(match["line"])] = match["text"]
    return found


def by_pyright() -> Lines:
    found: Lines = {}
    arguments = ("--project", str(HERE / "pyright.json"), "--pythonpath", sys.executable, "--outputjson")
    for each in json.loads(run("pyright", *arguments))["generalDiagnostics"]:
        if each["severity"] == "error":
            found.setdefault(Path(each["file"]), {})[each["range"]["start"]["line"] + 1] = each["message"]
    return found


CHECKERS = {"mypy": by_mypy, "pyright": by_pyright}


@pytest.fixture(scope="module", params=CHECKERS)
def reported(request: pytest.FixtureRequest) -> Lines:
    if find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed: pip install --group dev")
    return CHECKERS[request.param]()


def marked(path: Path) -> set[int]:
    return {number for number, line in enumerate(path.read_text().splitlines(), 1) if line.endswith("# wrong")}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.xdist_group("checkers")
def test_each_wrong_line_is_reported_and_no_right_one(reported: Lines) -> None:
    assert sum(len(marked(path)) for path in WRONG) > 100
    told = []
    for path in (*WRONG, *RIGHT):
        lines, wrong = reported.get(path, {}), marked(path)
        told += [f"{path}:{number} is wrong, and was passed" for number in sorted(wrong - set(lines))]
        told += [f"{path}:{number} is right: {lines[number]}" for number in sorted(set(lines) - wrong)]
    assert not told, "\n".join(told)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.xdist_group("checkers")
@pytest.mark.parametrize(
    ("file", "handler"), [("services", "gives_text"), ("handlers", "gives_one_text"), ("handlers", "gives_a_set")]
)
def test_a_handler_that_returns_a_wrong_type_is_told_so(reported: Lines, file: str, handler: str) -> None:
    path = HERE / "wrong" / f"{file}.py"
    after = next(number for number, line in enumerate(path.read_text().splitlines()) if f"def {handler}(" in line)
    told = reported[path][after]
    assert re.search(r'"(str|set\[str\])"|-> (str|set\[str\])|\], (str|set\[str\])\]', told)
    assert "positional parameter" not in told.partition(" is incompatible with ")[0]
