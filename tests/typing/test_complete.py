"""Every public attribute, function and class has a type that any checker reads from its annotation: 100 % for pyright.

``.ci/packages`` asks the same of the installed wheel. Here the sources stand in for it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.xdist_group("checkers")
def test_every_name_says_its_type(require_package: Any) -> None:
    require_package("pyright")
    programs = Path(sys.executable).parent  # pyright asks the first python of PATH for its packages
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", "--verifytypes", "fourtuple", "--ignoreexternal"],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "PATH": f"{programs}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    found = json.loads(done.stdout)["typeCompleteness"]
    assert found["exportedSymbolCounts"]["withKnownType"] > 7000
    assert not [
        f"{symbol['name']}: {each['message']}"
        for symbol in found["symbols"]
        for each in symbol["diagnostics"]
        if each["severity"] == "error"
    ]
    assert found["completenessScore"] == 1
