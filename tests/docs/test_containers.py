"""The container file of the repository: a linter has nothing to say, and it takes nothing that is not there."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fourtuple.cli.main import cli

ROOT = Path(__file__).parents[2]
FILE = ROOT / "examples" / "Containerfile"


@pytest.mark.peers
def test_a_linter_has_nothing_to_say() -> None:
    hadolint = shutil.which("hadolint", path=f"{sys.prefix}/bin{os.pathsep}{os.environ.get('PATH', '')}")
    if hadolint is None:
        reason = "hadolint is not installed (pip install --group peers)"
        pytest.fail(reason) if os.environ.get("FOURTUPLE_PEERS") == "require" else pytest.skip(reason)
    done = subprocess.run([hadolint, str(FILE)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_what_it_copies_is_in_the_repository() -> None:
    copied = [shlex.split(line)[1:-1] for line in FILE.read_text().splitlines() if re.match(r"COPY (?!--from)", line)]
    names = [name for names in copied for name in names]
    assert "src" in names
    assert [name for name in names if not (ROOT / name).exists()] == []
    # What the build of the package reads is there, too.
    assert {"pyproject.toml", "setup.py"} <= set(names)


def test_its_command_is_one_of_ours() -> None:
    (command,) = re.findall(r"^CMD (\[.*\])$", FILE.read_text(), re.MULTILINE)
    program, name, target, *flags = json.loads(command)
    assert (program, name) == ("fourtuple", "serve")
    copied = re.findall(r"^COPY (\S+) (\S+)$", FILE.read_text(), re.MULTILINE)
    assert target in [to for _, to in copied]
    serve = cli.get_command(None, "serve")  # type: ignore[arg-type]
    assert serve is not None
    known = {option for parameter in serve.params for option in parameter.opts}
    assert {flag for flag in flags if flag.startswith("--")} <= known
