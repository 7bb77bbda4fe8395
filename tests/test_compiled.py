"""Which of the optional C runs, and that the command says so."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from fourtuple import Server, compiled, fast_path
from sources import READS_ALL, paths, tree

SHOW = """
import sys, types
{before}
from fourtuple.framing import Fixed
decoder = Fixed(2).decoder()
assert decoder.feed(b"abc") == [b"ab"]
from fourtuple.cli.speed import parts
print(type(decoder).__module__, parts(), sep="|")
"""
STALE = "sys.modules['fourtuple._fast_path'] = types.SimpleNamespace(STAMP=-1)"


def run(choice: str, before: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SHOW.format(before=before)],
        env={**os.environ, "FOURTUPLE_C": choice},
        capture_output=True,
        text=True,
        timeout=50,
    )


def test_fourtuple_c_off_splits_in_python() -> None:
    module, speed = run("off").stdout.strip().split("|")
    assert module == "fourtuple.framing.fixed"
    assert speed.startswith("pure Python; splitting is switched off by FOURTUPLE_C=off")


@pytest.mark.skipif(compiled.LOCK_IS_OFF, reason="without the interpreter's lock no build is looked at")
def test_a_stale_build_is_refused() -> None:
    module, speed = run("auto", STALE).stdout.strip().split("|")
    assert module == "fourtuple.framing.fixed"
    assert f"splitting is stale (interface -1, this is {compiled.PIECES['splitting'][1]})" in speed
    done = run("require", STALE)
    assert done.returncode == 1
    assert "FOURTUPLE_C=require, and the C for splitting is stale" in done.stderr


def test_no_module_promises_more_than_the_docs() -> None:
    """docs/how-to/install.md: the C keeps the interpreter's lock. A module that says otherwise needs tests first."""
    folder = Path(__file__).parents[1] / "src"
    if not folder.is_dir():
        pytest.skip("the tests of a wheel have no sources in C beside them")
    sources = [path.read_text() for path in folder.rglob("*.c")]
    assert sources
    assert not any("Py_MOD_GIL_NOT_USED" in text for text in sources)


def test_where_it_is_built_c_splits() -> None:
    if compiled.ASKED["splitting"]:
        pytest.skip(f"the C for splitting {compiled.ASKED['splitting']}")
    module, speed = run("auto").stdout.strip().split("|")
    assert module == "fourtuple._fast_path"
    assert speed.startswith("C for: splitting")


BESIDE_ANOTHER_INTERPRETER = """
import importlib, sys
from fourtuple import Service, serve_in_thread
from fourtuple.blocking import connect

name = "_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters"
interpreters = importlib.import_module(name)
service = Service("line")
service.reply(lambda message: message.upper())
with serve_in_thread(service) as server:
    for _ in range(3):
        if sys.version_info >= (3, 13):
            other = interpreters.create("legacy")  # one GIL for all: where the turn in C could be imported
        elif sys.version_info >= (3, 12):
            other = interpreters.create(isolated=False)
        else:
            other = interpreters.create()
        failed = interpreters.run_string(other, "from fourtuple import fast_path; assert fast_path.turn is None")
        assert failed is None, failed
        with connect(server.address, "line") as connection:
            assert connection.request(b"hello", timeout=30) == b"HELLO"
        interpreters.destroy(other)
        with connect(server.address, "line") as connection:
            assert connection.request(b"hello", timeout=30) == b"HELLO"
print("served")
"""


def test_another_interpreter_leaves_the_turn_to_the_main_one() -> None:
    """Its classes would have taken the place of those that the servers of the main one are made of."""
    ran = subprocess.run(
        [sys.executable, "-c", BESIDE_ANOTHER_INTERPRETER],
        env={**os.environ, "FOURTUPLE_C": "off" if os.environ.get("FOURTUPLE_C") == "off" else "auto"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.stdout == "served\n", ran.stderr


def fields_of(kind: type) -> set[str]:
    return {name for name, value in vars(kind).items() if isinstance(value, types.MemberDescriptorType)}


def test_the_bases_in_c_have_the_fields_of_their_twins() -> None:
    """And a class that derives from one adds nothing but its own: it would hide what the C looks at."""
    assert "TemplateFields" in fast_path.TWINS, Server  # all of them are imported
    if fast_path.turn is None:
        pytest.skip(f"the turn in C {compiled.ASKED['turn']}")
    bases = {name: fields_of(kind) for name, kind in vars(fast_path.turn).items() if name.endswith("Fields")}
    assert bases == {name: set(twin.__dict__["__slots__"]) for name, twin in fast_path.TWINS.items()}
    for name, fields in bases.items():
        for kind in getattr(fast_path.turn, name).__subclasses__():
            assert not fields & set(vars(kind)), kind


STALE_TURN = """
import sys, types
sys.modules["fourtuple._fast_path"] = types.SimpleNamespace(STAMP=-1)
import fourtuple, fourtuple.stream.fields
assert fourtuple.fast_path.turn is None
assert fourtuple.stream.Stream.__mro__[-2] is fourtuple.fast_path.TWINS["StreamFields"]
print("the twins")
"""


def test_a_stale_turn_gives_no_base() -> None:
    done = subprocess.run(
        [sys.executable, "-c", STALE_TURN],
        env={**os.environ, "FOURTUPLE_C": "auto"},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.stdout == "the twins\n", done.stderr


def test_a_class_of_another_base_is_refused() -> None:
    if fast_path.turn is None:
        pytest.skip(f"the turn in C {compiled.ASKED['turn']}")

    class Stream:
        """Has no fields."""

    with pytest.raises(TypeError, match=r"which is not a subclass of fourtuple\._fast_path\.StreamFields"):
        fast_path.turn.know(Stream=Stream)
    with pytest.raises(TypeError, match="know\\(\\) asks for no 'Unknown'"):
        fast_path.turn.know(Unknown=Stream)


FRESH = """
import asyncio, socket, sys
from fourtuple import Server, Service
from fourtuple.serving.accept import Acceptor

ended = []
in_python = Acceptor.ended
Acceptor.ended = lambda self, channel: (ended.append(channel), in_python(self, channel))
service = Service("fixed:4")
service.reply(lambda message: message)

async def main():
    async with Server(service, "127.0.0.1:0") as server:
        for _ in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"ping")
            assert await reader.readexactly(4) == b"ping"
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()
        while server.statistics.closed < 3:
            await asyncio.sleep(0)
    print(len(ended))

asyncio.run(main())
"""


@pytest.mark.skipif(
    fast_path.turn is None or compiled.compiled("splitting") is None, reason="the C is not built, or off"
)
def test_a_program_that_imports_no_framing_itself_has_the_whole_fast_path() -> None:
    """The turn finds the splitters, though no framing was asked for when it was loaded: no end is left to Python."""
    done = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, timeout=60)
    assert (done.stderr, done.stdout.strip()) == ("", "0")


@READS_ALL
def test_programs_that_freeze_others_see_each_c_module() -> None:
    """PyInstaller reads the import statements in the bytecode, and Nuitka those outside of ``if TYPE_CHECKING``."""
    seen = set()
    for path in paths():
        for node in outside_of_types(tree(path)):
            if isinstance(node, ast.Import):
                seen |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                seen |= {f"{node.module}.{alias.name}" for alias in node.names}
    assert {name for name, _ in compiled.PIECES.values()} <= seen


def outside_of_types(module: ast.Module) -> Iterator[ast.AST]:
    for node in module.body:
        if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)):
            yield from ast.walk(node)
