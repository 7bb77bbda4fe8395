"""The optional C, and nothing else: all that can be said without code stands in pyproject.toml.

Each piece of C does what a Python twin beside it does, only faster, so a machine without a compiler loses
speed and nothing more. One environment variable decides what a failed build means:

    FOURTUPLE_C=auto      build it if that works, carry on in Python if not (the default)
    FOURTUPLE_C=require   a failed build fails the installation
    FOURTUPLE_C=off       do not build it
"""

import os
import sys
from pathlib import Path

from setuptools import Extension, setup

#: The pieces, and the folders of their sources: a piece may have some in every room that it works in.
SLOTS = {
    "fourtuple.framing._split": ["framing/_split"],
    "fourtuple._turn": ["_turn", "stream/_fields", "engine/_turn", "serving/_accept"],
    "fourtuple.signals._signals": ["signals/_signals"],
}
#: timer_create(2) was in a library of its own before glibc 2.34.
LIBRARIES = {"fourtuple.signals._signals": ["rt"]} if sys.platform == "linux" else {}
CHOICES = ("auto", "require", "off")

#: Where headers are named from: "framing/_split/api.h" says whose it is.
INCLUDES = "src/fourtuple"
#: Optimised whatever the interpreter was built with; nothing is visible but the module's own function.
#: No path of the machine gets into the objects, so that two builds of one commit are the same octets.
FLAGS = ["-std=c11", "-O3", "-fvisibility=hidden", "-Wall", "-Wextra", f"-ffile-prefix-map={Path.cwd()}=."]


def chosen() -> str:
    choice = os.environ.get("FOURTUPLE_C", "auto")
    if choice not in CHOICES:
        raise SystemExit(f"FOURTUPLE_C is {choice!r}, expected one of: {', '.join(CHOICES)}")
    return choice


def extensions(choice: str) -> list[Extension]:
    """The slots whose source is there. setuptools turns the failure of an optional one into a warning."""
    if choice == "off":
        return []
    # The paths are relative because setuptools refuses others; a build always runs in the project's folder.
    sources = {
        name: [source for folder in folders for source in sorted(Path(INCLUDES, folder).glob("*.c"))]
        for name, folders in SLOTS.items()
    }
    return [
        Extension(
            name,
            [source.as_posix() for source in files],
            include_dirs=[INCLUDES],
            # An edit of what a source includes builds it again, and belongs to the source distribution. The turn
            # includes what the splitters show it.
            depends=sorted(header.as_posix() for header in Path(INCLUDES).rglob("*.h")),
            extra_compile_args=FLAGS,
            libraries=LIBRARIES.get(name, []),
            optional=choice == "auto",
        )
        for name, files in sources.items()
        if files
    ]


setup(ext_modules=extensions(chosen()))
