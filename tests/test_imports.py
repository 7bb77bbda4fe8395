"""A folder says what its code may touch: imports run one way, without a circle; those for types alone count."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from sources import READS_ALL, SOURCE, paths, tree

# The house, from the ground up. A room is a folder or a file of the package; a file that has another place than its
# folder stands by its own name. A room may import its own step and the steps below it.
LADDER = (
    "_lazy errors _version compiled _fast_path fast_path printable typevars ignored _command forking files "
    "backoff cancelling",
    "address four_tuple signals",
    "events options",
    "framing rates",
    "stream",
    "tls proxy net inspector",
    "connection.info client.options",
    "pool",
    "engine blocking probing care",
    "serving.values service connection",
    "services handlers",
    "serving observe",
    "serving.server_info serving.on_loop server serving.dialing client",
    "serving.group",
    "serving.run",
    "serving.in_thread",
    "adapters load relay",
    "config operations",
    "supervisor",
    "fourtuple testing",
    "cli __main__",
)

# Rooms that see less than their step would let them.
ONLY = {
    "events": "errors address four_tuple ignored",
    "stream": "errors fast_path four_tuple ignored events options framing rates",
    "tls": "errors files address options stream proxy",
    "tls.layer": "errors fast_path stream tls.info tls.records",
    "tls.info": "",
    "tls.records": "stream",
    "proxy": "errors four_tuple options stream",
    "signals": "errors compiled forking",
    "net": "errors forking address four_tuple options",
    "net.backlog": "",
    "net.tcpinfo": "net.backlog",
    "backoff": "",
    "inspector": "_lazy errors address four_tuple net.tcpinfo net.backlog",
    "care": "net.tcpinfo",
    "probing": "errors address four_tuple framing options stream tls proxy net inspector blocking",
    "engine": "errors forking fast_path address four_tuple events options framing rates stream net",
    "pool": "errors backoff address events options framing stream client.options printable typevars",
    "blocking": "errors forking address events options framing stream tls proxy net connection.info "
    "client.options pool printable typevars ignored _lazy",
    "serving.values": "",
    "serving.policy": "address options rates.token_bucket",
    "observe": "_lazy errors address four_tuple events stream printable",
}

# What the C of a room may include: folders, or headers of the package's own folder.
C_MAY_INCLUDE = {
    "compiled.h": "",
    "fields.h": "compiled.h",
    "framing": "compiled.h fields.h framing",
    "signals": "compiled.h",
    "stream": "fields.h stream",
    "engine": "compiled.h fields.h framing/_split/api.h stream engine",
    "serving": "engine serving",
    "_fast_path": "compiled.h framing/_split/api.h engine serving",
}
# What it may ask of Python by name, in know(). The engine knows those who consume a stream as what they are to it: one
# that replies by a plain function, one that resumes a task.
C_KNOWS = {
    "engine": "Channel PLAIN LAYERED SPECIAL TlsLayer NOT_YET Stream Engine OPEN sizes_of MessageError InlineReplies "
    "InlineGenerators InlineBatches EagerReplies ReplyAndClose Unmapped enter_task leave_task "
    "Unsendable AsyncConversation Connection EagerFuture current_task raise_thrown",
    "serving": "ConnectionTemplate FourTuple accepted closed statistics PEER_CLOSED RESET ENDED BROKEN",
}

# Octets in, messages out: these know no socket, no clock and no loop ...
PURE = (
    "events framing rates backoff stream tls.layer tls.info tls.records proxy net.tcpinfo net.backlog "
    "serving.policy pool "
    "inspector.messages inspector.diag inspector.unixdiag inspector.proctables inspector.states inspector.model "
    "inspector.joining inspector.fields inspector.values inspector.filters inspector.ordering inspector.explaining "
    "inspector.units inspector.plain inspector.portuse inspector.history care.path care.packets probing.x509 "
    "probing.result probing.verdict relay.toxics relay.flow relay.cutting relay.notation relay.recording "
    "supervisor.steering supervisor.sharing supervisor.plan supervisor.seat supervisor.numbers "
    "observe.declared observe.snapshot"
)
IMPURE = "socket ssl asyncio threading time select selectors"
# ... and TLS is pure too: an SSLObject between two memory buffers. Its socket twin is not for this room.
ALLOWED = {"tls.layer": "ssl", "tls.info": "ssl"}

# Words of the field, which a newcomer looks for in the tree.
FIRST_GUESSES = (
    "accept admission backlog backpressure deadlines drain four_tuple half_close handlers limits load_shedding observe "
    "proxy registry retries tls upgrade"
)

# What the command, the adapters and the extras need, and a program that imports fourtuple does not.
NOT_WITH_THE_PACKAGE = (
    "click rich prompt_toolkit prometheus_client h11 opentelemetry watchfiles uvloop matplotlib textual"
)


@dataclass(frozen=True)
class Import:
    importer: str  # a module, such as fourtuple.framing.fixed
    imported: str  # one of ours, or another's top package
    line: int
    typing_only: bool

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"


def modules() -> dict[str, Path]:
    found = {}
    for path in paths():
        parts = path.relative_to(SOURCE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports_of(module: str, within: ast.AST, typing_only: bool = False) -> Iterator[Import]:
    for node in ast.iter_child_nodes(within):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            for child in node.body:
                yield from imports_of(module, ast.Module([child], []), typing_only=True)
            for child in node.orelse:
                yield from imports_of(module, ast.Module([child], []), typing_only)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, ours_or_top(alias.name), node.lineno, typing_only)
        elif isinstance(node, ast.ImportFrom):
            origin = absolute(module, node)
            for alias in node.names:
                name = f"{origin}.{alias.name}"  # a module, or a name in one?
                imported = name if name in MODULES else ours_or_top(origin)
                yield Import(module, imported, node.lineno, typing_only)
        else:
            yield from imports_of(module, node, typing_only)


def absolute(module: str, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    is_package = MODULES[module].name == "__init__.py"
    parts = module.split(".")
    base = parts[: len(parts) - node.level + is_package]
    return ".".join([*base, *filter(None, [node.module])])


def ours_or_top(name: str) -> str:
    return name if name.split(".")[0] == "fourtuple" else name.split(".")[0]


KNOWN = {name for rooms in LADDER for name in rooms.split()}


def room(module: str, known: Collection[str] = KNOWN) -> str:
    """fourtuple.framing.fixed lives in framing, unless it has a place of its own; fourtuple itself is a room too."""
    own = module.split(".")[1:]
    names = [".".join(own[:size]) for size in range(len(own), 0, -1)]
    return next((name for name in names if name in known), own[0] if own else module)


@cache  # not when the file is imported, which every worker of the run does
def imports() -> list[Import]:
    return [found for module, path in MODULES.items() for found in imports_of(module, tree(path))]


def is_ours(name: str) -> bool:
    return name.split(".")[0] == "fourtuple"


def step(name: str) -> int:
    """A room without a place stands above all others: nobody may import it until it has one."""
    return next((number for number, rooms in enumerate(LADDER) if name in rooms.split()), len(LADDER))


def may_import(importer: str, imported: str) -> bool:
    """Both are modules. What limits a file alone comes before what limits its folder."""
    here, there = room(importer), room(imported)
    limited = room(importer, {*ONLY, *KNOWN})
    if here == there and limited == here:
        return True
    if limited in ONLY:
        return within(imported, [limited, *ONLY[limited].split()])
    return step(there) <= step(here)


def within(module: str, rooms: list[str]) -> bool:
    return any(f"{module}.".startswith(f"fourtuple.{name}.") for name in rooms)


@READS_ALL
def test_there_is_something_to_check() -> None:
    assert "fourtuple" in MODULES
    assert imports()


def test_every_room_has_its_place() -> None:
    unknown = {room(module) for module in MODULES} - KNOWN
    assert not unknown, f"give them their place in LADDER: {sorted(unknown)}"


def test_pieces_of_a_room_are_in_its_folder() -> None:
    """connection_tls.py beside connection.py is a piece of it."""
    names = {path.stem for path in (SOURCE / "fourtuple").iterdir() if path.suffix == ".py" or path.is_dir()}
    pieces = [f"{room}_{rest}" for room, _, rest in (name.partition("_") for name in names) if rest and room in names]
    assert not pieces, f"make a folder of the room: {sorted(pieces)}"


@pytest.mark.parametrize("word", FIRST_GUESSES.split())
def test_a_word_of_the_field_names_its_file(word: str) -> None:
    assert word in {path.stem for path in (SOURCE / "fourtuple").rglob("*") if path.suffix in ("", ".py")}


@READS_ALL
def test_no_circles() -> None:
    graph: dict[str, set[str]] = {module: set() for module in MODULES}
    for found in imports():
        if found.imported in graph:
            graph[found.importer].add(found.imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("imports run in a circle: " + " <- ".join(error.args[1]))


@READS_ALL
def test_imports_run_one_way() -> None:
    wrong = [
        str(found) for found in imports() if is_ours(found.imported) and not may_import(found.importer, found.imported)
    ]
    assert not wrong, "against the order of the house:\n" + "\n".join(wrong)


C_FILES = {
    path.relative_to(SOURCE / "fourtuple").as_posix(): path.read_text() for path in SOURCE.glob("fourtuple/**/*.[ch]")
}


@READS_ALL
def test_the_page_of_the_architecture_lists_the_rooms_from_the_ground_up() -> None:
    """A line of it imports only from the lines above. Files with a place of their own are named below the list."""
    page = (SOURCE.parent / "docs" / "explanation" / "architecture.md").read_text()
    rooms = re.findall(r"^([a-z_]+)(?:/|\.py) ", page.partition("```text\n")[2].partition("```")[0], re.MULTILINE)
    places = {name: place for place, name in enumerate(rooms)}
    unlisted = KNOWN - set(rooms) - {name for name in KNOWN if "." in name}
    assert unlisted == {"fourtuple", "__main__", "_version", "_fast_path"}
    wrong = {
        f"{here} imports {there}"
        for found in imports()
        if is_ours(found.imported)
        and (here := room(found.importer)) in places
        and (there := room(found.imported)) in places
        and places[there] > places[here]
    }
    assert not wrong


def test_c_includes_what_its_room_may_know() -> None:
    assert {name.split("/")[0] for name in C_FILES} == set(C_MAY_INCLUDE)
    wrong = [
        f"{name} includes {header}"
        for name, text in C_FILES.items()
        for header in re.findall(r'^#include "(.*)"', text, re.MULTILINE)
        if not any(header == may or header.startswith(f"{may}/") for may in C_MAY_INCLUDE[name.split("/")[0]].split())
    ]
    assert not wrong, "against the order of the house:\n" + "\n".join(wrong)


def test_c_knows_the_classes_of_its_room() -> None:
    known: dict[str, set[str]] = {room: set() for room in C_KNOWS}
    for name, text in C_FILES.items():
        asked = set(re.findall(r"\bK\((\w+), ", text))
        if asked:
            known[name.split("/")[0]] |= asked
    assert known == {room: set(names.split()) for room, names in C_KNOWS.items()}


@READS_ALL
def test_no_module_imports_the_command() -> None:
    wrong = [
        str(found)
        for found in imports()
        if is_ours(found.imported) and room(found.imported) == "cli" and room(found.importer) not in ("cli", "__main__")
    ]
    assert not wrong, "\n".join(wrong)


@READS_ALL
def test_the_pure_half_is_pure() -> None:
    wrong = [
        str(found)
        for found in imports()
        if not found.typing_only
        and within(found.importer, PURE.split())
        and found.imported in IMPURE.split()
        and found.imported not in ALLOWED.get(found.importer.removeprefix("fourtuple."), "").split()
    ]
    # TLS may say ssl.SSLObject, not wrap a socket.
    layer = MODULES.get("fourtuple.tls.layer")
    if layer is not None and "wrap_socket" in layer.read_text():
        wrong.append("fourtuple.tls.layer wraps a socket")
    assert not wrong, "no I/O and no clock here:\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    ("package", "without"),
    [
        ("fourtuple", f"{NOT_WITH_THE_PACKAGE} fourtuple.testing"),
        ("fourtuple.testing", f"{NOT_WITH_THE_PACKAGE} pytest hypothesis"),
    ],
)
def test_importing_the_package_is_light(package: str, without: str) -> None:
    # A fresh interpreter: this one has imported what the tests need.
    code = f"import sys, {package}; print(*sorted(set({without.split()}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")


def imported_by(code: str, *arguments: str) -> set[str]:
    """The modules that a fresh interpreter has after it ran ``code``, beyond those of asyncio and ssl."""
    program = f"import asyncio, ssl, sys; before = set(sys.modules)\n{code}\nprint(*sys.modules.keys() - before)"
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return set(done.stdout.splitlines()[-1].split())


def test_importing_fourtuple_imports_nothing_else() -> None:
    assert {name for name in imported_by("import fourtuple") if is_ours(name)} == {
        *("fourtuple", "fourtuple._command", "fourtuple._lazy", "fourtuple._version")
    }


SERVER_ALONE = "fourtuple.server fourtuple.service.service fourtuple.serving.accept fourtuple.handlers"


@pytest.mark.parametrize(
    ("code", "without"),
    [
        ("from fourtuple import Address, Limits", "fourtuple.framing fourtuple.stream fourtuple.engine"),
        ("from fourtuple.framing import Fixed", "fourtuple.framing.resp fourtuple.framing.text json fourtuple.stream"),
        ("from fourtuple.framing import parse_framing; parse_framing('line')", "fourtuple.framing.resp json"),
        (
            "from fourtuple.blocking import connect, wait",
            f"{SERVER_ALONE} fourtuple.engine fourtuple.connection.connection",
        ),
        ("from fourtuple import connect", f"{SERVER_ALONE} fourtuple.blocking fourtuple.framing.resp json"),
        (
            "from fourtuple import Server, Service",
            "fourtuple.client fourtuple.load fourtuple.framing.resp fourtuple.blocking fourtuple.proxy "
            "fourtuple.net.tcpinfo fourtuple.net.connecting fourtuple.options.client fourtuple.handlers.program "
            "json tempfile pathlib hashlib",
        ),
    ],
)
def test_what_is_asked_for_is_imported_and_no_more(code: str, without: str) -> None:
    assert not imported_by(code) & set(without.split())


# What only rare options, errors, clients and other commands need.
NOT_IN_A_SERVER = (
    "fourtuple.blocking fourtuple.client fourtuple.load fourtuple.relay fourtuple.inspector fourtuple.probing "
    "fourtuple.care fourtuple.adapters fourtuple.testing fourtuple.proxy fourtuple.net.connecting "
    "fourtuple.options.client fourtuple.framing.resp "
    "importlib.metadata importlib.resources csv email.message zipfile difflib hashlib ctypes multiprocessing html "
    f"{NOT_WITH_THE_PACKAGE}"
)
SERVED = """
from fourtuple import Service
from fourtuple.framing import Fixed

service = Service(Fixed(16))


@service.reply
def loud(message: bytes) -> bytes:
    return message.upper()
"""
# At its end the process prints what it imported. The first signal stops it, so there is nothing of an abort in it.
TELLING = "import atexit, sys; atexit.register(lambda: print('\\n' + ' '.join(sys.modules)))\n"
PROGRAM = """
import runpy, fourtuple
service = runpy.run_path(sys.argv[1])["service"]
fourtuple.run(service, "127.0.0.1:0", on_start=lambda server: print("Listening", flush=True))
"""
COMMAND = """
sys.argv = ["fourtuple", "serve", sys.argv[1], "--bind", "127.0.0.1:0", "--loop", "asyncio"]
from fourtuple.cli.entry import main
main()
"""


@pytest.mark.parametrize(
    ("code", "may_have"),
    [
        (PROGRAM, ""),
        (COMMAND, "click"),
    ],
)
def test_a_plain_server_imports_what_it_needs_and_no_more(code: str, may_have: str, tmp_path: Path) -> None:
    target = tmp_path / "loud.py"
    target.write_text(SERVED)
    with subprocess.Popen(
        [sys.executable, "-c", TELLING + code, str(target)],
        stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Listening")
        process.terminate()
        said = process.stdout.read()
    modules = set(said.splitlines()[-1].split())
    assert "fourtuple.server" in modules
    assert sorted(modules & set(NOT_IN_A_SERVER.split())) == may_have.split()


@pytest.mark.parametrize(
    ("command", "needs"),
    [
        ("serve --help", "fourtuple.config"),
        ("serve", "fourtuple.config"),  # a mistake: it says what is missing
        ("connect --help", "fourtuple.cli.client_tls"),
        ("bench --help", "fourtuple.load.options"),
        ("framings", "fourtuple.framing.resp"),
        ("sockets --limit 1", "fourtuple.inspector.reading"),
        ("ports 1", "fourtuple.inspector.portuse"),
        ("probe --help", "fourtuple.cli.client_tls"),
    ],
)
def test_a_command_that_moves_no_octet_imports_neither_loop_nor_tls(command: str, needs: str) -> None:
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print('\\n' + ' '.join(sys.modules)))\n"
        f"sys.argv = ['fourtuple', *{command.split()}]\n"
        "from fourtuple.cli.entry import main\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    modules = done.stdout.splitlines()[-1].split()
    assert needs in modules
    assert not {*["asyncio", "ssl", "rich", "fourtuple.stream", "fourtuple.engine", "fourtuple.server"]} & set(modules)


LAZY = tuple(
    f"fourtuple{room}"
    for room in (
        *("", ".blocking", ".client", ".connection", ".framing", ".inspector", ".load", ".observe", ".operations"),
        ".service",
    )
)


@pytest.mark.parametrize("package", LAZY)
def test_a_name_that_is_imported_when_asked_for_is_the_one_that_type_checkers_see(package: str) -> None:
    module = importlib.import_module(package)
    seen_by_checkers = {
        alias.name: node.module
        for node in ast.walk(ast.parse(MODULES[package].read_bytes()))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("fourtuple.")
        for alias in node.names
        if alias.name != "lazily" and alias.asname is None  # "as" itself: for the rooms above
    }
    assert set(module.__all__) == seen_by_checkers.keys() | ({"__version__"} if package == "fourtuple" else set())
    assert set(module.__all__) <= set(dir(module))
    for name, origin in seen_by_checkers.items():
        assert getattr(module, name) is getattr(importlib.import_module(origin), name)
    with pytest.raises(AttributeError, match="no attribute 'nothing_of_ours'"):
        module.nothing_of_ours  # noqa: B018  # the look-up is what is tested
