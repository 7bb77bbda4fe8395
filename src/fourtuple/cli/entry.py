"""The start of the command ``fourtuple``, before its modules are imported."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import NoReturn

from fourtuple.cli.standard_files import open_standard_files
from fourtuple.compiled import MissingC, chosen

#: The packages of the extra ``fourtuple[cli]``.
_NEEDED = ("click", "rich")


def main() -> NoReturn:
    """Run the command and exit.

    The standard files are opened first: an import may open a file (libffi does, for ctypes), which would get the
    number of a standard file that is closed. The exit code is 2 if click or rich is missing, for an invalid
    FOURTUPLE_C, and for FOURTUPLE_C=require without the C.
    """
    open_standard_files()
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        print(
            f"fourtuple: the command needs {' and '.join(missing)}: pip install 'fourtuple[cli]'",
            file=sys.stderr,
        )
        sys.exit(2)
    try:
        chosen()
    except ImportError as error:
        _refuse(error)
    from fourtuple.cli.main import main as run  # imported only now: it imports click

    try:
        run()
    except MissingC as error:  # each command imports the modules that it needs
        _refuse(error)


def _refuse(error: ImportError) -> NoReturn:
    print(f"fourtuple: {error}", file=sys.stderr)
    sys.exit(2)
