"""What pages say about the program in passing is so: names, flags, defaults, quoted texts, and the sums of containers.

The code that pages show is run by test_documents.py; this is about their prose.
"""

from __future__ import annotations

import ast
import errno
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest

from fourtuple import Deadlines, Service, serve_in_thread
from fourtuple.blocking import connect
from fourtuple.cli.main import _SUBCOMMANDS, cli
from fourtuple.errors import EndOfFile
from fourtuple.events import Event
from fourtuple.options import Options
from sources import READS_ALL, paths, tree

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "fourtuple"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
CONTAINERS = (ROOT / "docs" / "how-to" / "containers.md").read_text()

#: Names of other programs that look as ours do: their flags, settings and packages.
OTHERS_FLAGS = {"--ulimit", "--disable-gil", "--text", "--kill-whom", "--data", "--loose", "--octet-count", "--server"}
OTHERS_FLAGS |= {"--tcp", "--listen", "--cases", "--upgrade", "--stop-timeout"}
OTHERS_NAMES = {"tcp-reset", "check-ssl", "kafka-python", "nats-py", "pyvisa-py"}


def test_the_picture_of_the_house_has_every_room() -> None:
    page = (ROOT / "docs" / "explanation" / "architecture.md").read_text()
    picture = re.search(r"```text\n(.*?)```", page, re.DOTALL)
    assert picture is not None
    rooms = {
        path.stem
        for path in SOURCE.iterdir()
        if (path.suffix == ".py" or (path / "__init__.py").exists()) and not path.name.startswith(("__", "_version"))
    }
    assert rooms - set(re.findall(r"\w+", picture[1])) == set()


def test_the_files_that_the_architecture_names_are_there() -> None:
    page = (ROOT / "docs" / "explanation" / "architecture.md").read_text()
    named = set(re.findall(r"`(\w+/[\w/]*(?:\.py)?)`", page))
    assert len(named) > 30
    assert {name for name in named if not ((SOURCE / name).exists() or (ROOT / name).exists())} == set()


def prose(path: Path) -> str:
    """The page without its code and its comments."""
    return re.sub(r"^```.*?^```$|<!--.*?-->", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)


def quoted(path: Path) -> Iterator[str]:
    """What stands in the prose as code, on one line."""
    for found in re.finditer(r"(?<!`)`([^`]+)`(?!`)", prose(path)):
        yield " ".join(found[1].split())


def where(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def source() -> str:
    return "\n".join(path.read_text() for path in sorted(SOURCE.rglob("*.py")))


def test_names_with_a_hyphen_are_ours_or_of_others() -> None:
    """An event, a reason, a word for a framing: what a reader searches for in a log is written as the log has it."""
    kinds = {kind.kind for kind in Event.__subclasses__()}
    assert "message-failed" in kinds
    ours = set(re.findall(r"[\w-]+", source()))
    unknown = [
        (where(path), name)
        for path in PAGES
        for name in quoted(path)
        if re.fullmatch(r"[a-z]+(-[a-z]+)+", name) and name not in kinds | OTHERS_NAMES and name not in ours
    ]
    assert unknown == []


def flags_of(command: click.Command) -> Iterator[str]:
    yield "--help"
    for parameter in command.params:
        yield from parameter.opts
        yield from parameter.secondary_opts
    for each in getattr(command, "commands", {}).values():
        yield from flags_of(each)


def test_flags_exist() -> None:
    context = click.Context(cli)
    known = {*flags_of(cli)}
    for name in _SUBCOMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        known |= {*flags_of(command)}
    scripts = "".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))  # options of pytest and of scripts
    unknown = [
        (where(path), flag)
        for path in PAGES
        for flag in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*[a-z0-9](?![\w-])", path.read_text())
        if flag not in known | OTHERS_FLAGS and f'"{flag}"' not in scripts + source()
    ]
    assert unknown == []


UNITS = {"s": 1.0, "octets": 1.0, "KiB": 1024.0, "MiB": 1024.0**2}


def families(base: type[Any] = Options) -> Iterator[type[Any]]:
    for family in base.__subclasses__():
        yield family
        yield from families(family)


def defaults() -> dict[str, set[Any]]:
    """The default of each option; two families may have options of one name."""
    found: dict[str, set[Any]] = {}
    for family in families():
        for field in fields(family):
            if field.default is not MISSING and not isinstance(field.default, list | dict | set):
                found.setdefault(field.name, set()).add(field.default)
    return found


def test_defaults_in_brackets_are_those_of_the_options() -> None:
    """As in: after `drain_timeout` (8 s)."""
    known = defaults()
    seen, wrong = 0, []
    for path in PAGES:
        for name, number, unit in re.findall(r"`(\w+)`\s+\(([\d.,]+)\s+(s|octets|KiB|MiB)\b", prose(path)):
            if name in known:
                seen += 1
                if float(number.replace(",", "")) * UNITS[unit] not in known[name]:
                    wrong.append((where(path), name, number, unit))
    assert seen > 5
    assert wrong == []


# --- texts that pages quote ------------------------------------------------------------------------------------------


@cache
def texts() -> list[re.Pattern[str]]:
    """The texts that the code can print: its strings, with anything where a value is put in."""
    found = set()
    for path in paths():
        for node in ast.walk(tree(path)):
            parts: list[str] = []
            if isinstance(node, ast.JoinedStr):
                parts = [re.escape(part.value) if isinstance(part, ast.Constant) else ".*" for part in node.values]
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                parts = [re.sub(r"%[a-z]|\\\{\w*\\\}", ".*", re.escape(node.value))]
            pattern = "".join(parts)
            if len(pattern.replace(".*", "")) >= 12:
                found.add(pattern)
    return [re.compile(pattern, re.DOTALL) for pattern in sorted(found)]


def is_text(words: str) -> bool:
    """Whether it reads like a text that a program prints, and not like code, a command or data."""
    return bool(re.match(r"[a-z]+ [a-z]+( [a-z]+)*[:,] \S", words)) and not re.search(r"[=(){}$|;/]|--|^import ", words)


QUOTED = [
    pytest.param(words, id=f"{where(path)}-{number}")
    for path in PAGES
    for number, words in enumerate(quoted(path))
    if is_text(words)
]


def test_quoted_texts_are_found() -> None:
    assert len(QUOTED) >= 2


def test_symptoms_are_named_as_the_system_names_them() -> None:
    page = (ROOT / "docs" / "explanation" / "troubleshooting.md").read_text()
    named = re.findall(r'^## .*"([^"]+)"$', page, re.MULTILINE)
    system = {os.strerror(code).lower() for code in errno.errorcode}
    assert len(named) >= 5
    assert [name for name in named if name.lower() not in system] == []


@READS_ALL
@pytest.mark.parametrize("words", QUOTED)
def test_a_quoted_text_is_the_programs_own(words: str) -> None:
    whole = [found[0] for pattern in texts() for found in [pattern.search(words)] if found]
    assert any(len(found) > len(words) / 2 for found in whole), f"no text of the source is like {words!r}"


def test_the_error_in_the_readme_is_what_comes() -> None:
    """Its numbers, too."""
    (shown,) = [words for words in quoted(ROOT / "README.md") if words.startswith("end of file inside a message: ")]
    service = Service("fixed:16")
    seen: list[BaseException] = []
    service.failed(lambda error, connection: seen.append(error))
    service.reply(lambda message: message)
    with serve_in_thread(service) as server, connect(server.address, "raw") as connection:
        connection.send(b"Hi th")
        connection.send_eof()
        with pytest.raises(EndOfFile):
            connection.receive()
    (error,) = seen
    ports = re.compile(r":\d+")
    assert ports.sub(":N", str(error)) == ports.sub(":N", shown)


# --- containers ------------------------------------------------------------------------------------------------------


def grace_periods() -> dict[str, float]:
    """The table of platforms."""
    rows = re.findall(r"^\| ([\w, ]+) \| (\d+) s", CONTAINERS, re.MULTILINE)
    return {name: float(seconds) for name, seconds in rows}


def test_the_defaults_fit_where_the_page_says_so() -> None:
    periods = grace_periods()
    assert set(periods) == {"Docker, Podman", "Kubernetes", "systemd"}
    drain = Deadlines().drain_timeout
    for name, left in re.findall(r"^\| ([\w, ]+) \| \d+ s[^|]*\| (.*default fits) \|$", CONTAINERS, re.MULTILINE):
        assert drain < periods[name], left
    docker = re.search(r"(\d+) s of drain and (\d+) s for your tear-down", CONTAINERS)
    assert docker
    assert float(docker[1]) == drain
    assert drain + float(docker[2]) == periods["Docker, Podman"]


def test_the_sum_for_kubernetes_is_below_its_grace_period() -> None:
    row = re.search(r"with (\d+) s, for example `--drain-timeout (\d+)`, which leaves (\d+) s", CONTAINERS)
    assert row
    sleep, drain, left = map(float, row.groups())
    assert sleep + drain + left == grace_periods()["Kubernetes"]
    manifest = re.search(r"^spec:\n.*?^```$", CONTAINERS, re.MULTILINE | re.DOTALL)
    assert manifest
    assert f"terminationGracePeriodSeconds: {grace_periods()['Kubernetes']:g}" in manifest[0]
    assert f'"--drain-timeout", "{drain:g}"' in manifest[0]
    assert f'["sleep", "{sleep:g}"]' in manifest[0]


COMMANDS = re.findall(r'^(?:CMD|    args:) \["fourtuple", (.*)\]$', CONTAINERS, re.MULTILINE)


@pytest.mark.peers
@pytest.mark.parametrize("shown", COMMANDS)
def test_the_command_of_a_container_ends_on_sigterm_as_process_1(
    shown: str, tmp_path: Path, require_program: Callable[[str], str]
) -> None:
    """In a namespace of processes of its own, in which it is process 1 as in a container."""
    unshare = require_program("unshare")
    isolated = [unshare, "--map-root-user", "--pid", "--fork", "--kill-child"]
    if subprocess.run([*isolated, "true"], capture_output=True, check=False).returncode:
        pytest.skip("namespaces cannot be made here")
    (tmp_path / "app.py").write_text(
        re.findall(r"<!-- file: app.py -->\n```python\n(.*?)```", CONTAINERS, re.DOTALL)[0]
    )
    words = [each.strip().strip('"') for each in shown.split(",")]
    words = [{"/srv/app.py": str(tmp_path / "app.py"), "*:9999": "127.0.0.1:0"}.get(word, word) for word in words]
    program = "import os, sys; assert os.getpid() == 1; os.execv(sys.executable, sys.argv[1:])"
    command = [sys.executable, "-c", program, sys.executable, "-m", "fourtuple", *words]
    with subprocess.Popen([*isolated, *command], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Listening at 127.0.0.1:")
        (child,) = map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())
        os.kill(child, signal.SIGTERM)
        assert process.wait(30) == 0
    assert len(COMMANDS) == 2


@pytest.mark.parametrize(("replies", "code"), [(True, 0), (False, 4)])
def test_an_exec_probe_waits_for_an_answer(replies: bool, code: int) -> None:
    """Where a kernel accepts and no program answers, a tcpSocket probe would be content."""
    shown = re.search(r"`fourtuple (probe 127\.0\.0\.1:9999 [^`]*)`\s+as an `exec` probe", CONTAINERS)
    assert shown
    service = Service("line")
    service.reply(lambda message: message)
    with socket.create_server(("127.0.0.1", 0)) as silent, serve_in_thread(service) as server:
        port = str(server.address.port) if replies else str(silent.getsockname()[1])
        words = shown[1].replace("9999", port).split()
        done = subprocess.run(
            [sys.executable, "-m", "fourtuple", *words, "--wait", "30" if replies else "0.2"],
            capture_output=True,
            check=False,
        )
    assert done.returncode == code, done.stdout
