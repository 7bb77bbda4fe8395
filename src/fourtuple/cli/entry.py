"""Where the command ``fourtuple`` starts, before its modules are imported."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import NoReturn

from fourtuple.cli.standard_files import open_standard_files
from fourtuple.compiled import chosen

#: What the extra ``fourtuple[cli]`` brings.
_NEEDED = ("click", "rich")


def main() -> NoReturn:
    """Run the command and exit.

    The standard files come first: an import may open a file of its own (libffi does, for ctypes), and it would get the
    number of a standard file that is closed. Exit code 2 without click and rich, which the library does not need,
    and for a FOURTUPLE_C that means nothing.
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
        print(f"fourtuple: {error}", file=sys.stderr)
        sys.exit(2)
    from fourtuple.cli.main import main as run  # only now: it imports click

    run()
