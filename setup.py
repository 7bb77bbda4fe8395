"""The optional C, and nothing else: all that can be said without code stands in pyproject.toml.

Each piece of C does what a Python twin beside it does, only faster, so a machine without a compiler loses
speed and nothing more. One environment variable decides what a failed build means:

    FOURTUPLE_C=auto      build it if that works, carry on in Python if not (the default)
    FOURTUPLE_C=require   a failed build fails the installation
    FOURTUPLE_C=off       do not build it
"""

import gzip
import os
import sys
import tarfile
from pathlib import Path
from typing import Any

from setuptools import Extension, setup
from setuptools.command.sdist import sdist

#: The pieces, and the folders of their sources: a piece may have some in every room that it works in.
SLOTS = {
    "fourtuple._fast_path": ["_fast_path", "framing/_split", "stream/_fields", "engine/_turn", "serving/_accept"],
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
            # An edit of what a source includes builds it again, and belongs to the source distribution.
            depends=sorted(header.as_posix() for header in Path(INCLUDES).rglob("*.h")),
            extra_compile_args=FLAGS,
            libraries=LIBRARIES.get(name, []),
            optional=choice == "auto",
        )
        for name, files in sources.items()
        if files
    ]


class ReproducibleSdist(sdist):
    """The archive without what differs between two builds of one commit: times, owners, modes, the order of files.

    Wheels need nothing of the kind: setuptools takes their times from SOURCE_DATE_EPOCH.
    """

    def make_archive(self, base_name: str, format: str, *arguments: Any, **options: Any) -> str:
        epoch = os.environ.get("SOURCE_DATE_EPOCH")
        if format != "gztar" or epoch is None:
            return str(super().make_archive(base_name, format, *arguments, **options))

        def same(member: tarfile.TarInfo) -> tarfile.TarInfo:
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.mtime = int(epoch)
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            return member

        name = f"{base_name}.tar.gz"
        with (
            open(name, "wb") as file,
            gzip.GzipFile("", "wb", fileobj=file, mtime=int(epoch)) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            folder = Path(options["base_dir"])
            for path in (folder, *sorted(folder.rglob("*"))):
                archive.add(path, recursive=False, filter=same)
        return name


setup(ext_modules=extensions(chosen()), cmdclass={"sdist": ReproducibleSdist})
