"""Run what a document shows. Documents are read from top to bottom, in an empty folder of their own.

A fenced block says what it is by its language, and by an HTML comment above it (which readers do not see):

    ```python                       a whole program: it is run, and must end well
    ```python  beginning with >>>   a session: what it shows must come (doctest), one session for the document
    <!-- prints --> ```text         what the python block above it prints
    <!-- file: sixteen.py --> ```   saved under that name, not run
    ```console                      every line that begins with "$ " is a command; what it prints stands below it
    <!-- background --> ```console  its last command goes on running, until the next such block or the document's end
    <!-- background prints --> ```text   what the command in the background has printed since
    <!-- not run: WHY --> ```       shown only
    ```text, ```mermaid             shown only
    <!-- needs: nc IPv6 python:gevent -->   at the top: third-party programs, and packages, that the document needs

In what is printed, `...` stands for anything, on a line of its own for any lines. Ports 9990 to 9999 stand for ports
that are free, because a test never guesses one.
"""

from __future__ import annotations

import doctest
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

SHOWN_ONLY = ("text", "mermaid", "ini")
SECONDS = 100


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, the comment above it, its text, and its line in the document."""

    language: str
    comment: str
    text: str
    line: int


FENCE = re.compile(
    r"^(?:<!--\s*(?P<comment>[^\n]*?)\s*-->\n+)?^```(?P<language>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


def blocks_of(text: str) -> list[Block]:
    return [
        Block(
            found["language"].strip(), found["comment"] or "", found["text"], text.count("\n", 0, found.start("text"))
        )
        for found in FENCE.finditer(text)
    ]


def needs_of(text: str) -> list[str]:
    found = re.search(r"^<!-- needs: (.*) -->$", text, re.MULTILINE)
    return found[1].split() if found else []


@dataclass(frozen=True)
class Command:
    """A line behind "$ " in a console block, and what is shown below it."""

    line: str
    output: str


def commands_of(block: Block) -> Iterator[Command]:
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        line, _, output = part.partition("\n")
        while line.endswith("\\"):
            more, _, output = output.partition("\n")
            line += "\n" + more.removeprefix("> ")
        yield Command(line, output)


def pattern_of(shown: str, begun: bool = False) -> re.Pattern[str]:
    """What a shown output matches; ``begun``: more may follow."""
    lines = "".join(
        r"(?:.*\n)*?" if line.strip() == "..." else r"[^\n]*".join(map(re.escape, line.split("..."))) + r"[^\S\n]*\n"
        for line in shown.strip("\n").split("\n")
        if shown.strip()
    )
    return re.compile(lines if begun else lines + r"\s*\Z")


def with_port(line: str) -> str:
    """The command with its default said aloud, so that it can be another port."""
    told = re.search(r" (-b|--bind|--host|--port|--help)\b", line)
    return line if told or not line.startswith("fourtuple serve ") else f"{line} --bind 127.0.0.1:9999"


class Ports:
    """Free ports for 9990 to 9999.

    Each is kept by a socket that is bound and not passive: no other program is given it by the kernel, and
    SO_REUSEADDR lets the document's own servers have it (on Linux, because this one does not listen).
    """

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._real: dict[str, str] = {}

    def real(self, text: str) -> str:
        return re.sub(r"\b999\d\b", lambda found: self._port(found[0]), text)

    def shown(self, text: str) -> str:
        for shown, real in self._real.items():
            text = re.sub(rf"\b{real}\b", shown, text)
        return text

    def _port(self, shown: str) -> str:
        if shown not in self._real:
            keeper = self._stack.enter_context(socket.socket())
            keeper.bind(("127.0.0.1", 0))  # before SO_REUSEADDR: not a port at which connections are in TIME_WAIT
            keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._real[shown] = str(keeper.getsockname()[1])
        return self._real[shown]


class Background:
    """A command that goes on running; a thread reads what it prints."""

    def __init__(self, command: str, folder: Path, environment: dict[str, str]) -> None:
        self.command = command
        self._process = subprocess.Popen(
            ["sh", "-c", f"exec {command}"],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._printed = ""
        self._ended = False
        self._more = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._more:
                self._printed += line
                self._more.notify()
        with self._more:
            self._ended = True
            self._more.notify()

    def expect(self, shown: str, ports: Ports) -> None:
        """Wait until it has printed this; what was printed before is not looked at again."""
        wanted = pattern_of(shown, begun=True)

        def found() -> re.Match[str] | None:
            return wanted.match(ports.shown(self._printed))

        with self._more:
            self._more.wait_for(lambda: found() or self._ended, SECONDS)
            match = found()
            assert match, f"{self.command}\nshould print\n{shown}\nand printed\n{ports.shown(self._printed)}"
            self._printed = ports.shown(self._printed)[match.end() :]

    def stop(self) -> None:
        """Ctrl-C, as a reader would; our own command answers it with a drain and exit code 0."""
        self._process.send_signal(signal.SIGINT)
        try:
            code = self._process.wait(SECONDS)
        finally:
            self._process.kill()
            self._reader.join()
            self._process.stdout.close()  # type: ignore[union-attr]
        if self.command.startswith("fourtuple"):
            assert code == 0, f"{self.command} ended with exit code {code}:\n{self._printed}"


class Document:
    """A document that is being run."""

    def __init__(self, path: Path, folder: Path, stack: ExitStack) -> None:
        self.path = path
        self.folder = folder
        self.ports = Ports(stack)
        self.background: Background | None = None
        self.printed = ""
        self.session: dict[str, object] = {}
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(folder),
            "PYTHONWARNINGS": "error",
            "PYTHONUNBUFFERED": "1",
            "COLUMNS": "100",
            "NO_COLOR": "1",
        }
        stack.callback(self.stop_background)

    def run(self) -> None:
        for block in blocks_of(self.path.read_text()):
            try:
                self.run_block(block)
            except AssertionError as error:
                raise AssertionError(f"{self.path}:{block.line}: {error}") from error
        self.stop_background()

    def run_block(self, block: Block) -> None:
        kind, _, rest = block.comment.partition(":")
        if kind == "not run":
            assert rest.strip(), "say why it is not run"
        elif kind == "file":
            file = self.folder / rest.strip()
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(self.ports.real(block.text))
        elif kind == "prints":
            self.compare("the program above", block.text, self.printed)
        elif kind == "background":
            *first, last = commands_of(block)
            for command in first:
                self.run_command(command)
            self.stop_background()
            self.background = Background(self.ports.real(with_port(last.line)), self.folder, self.environment)
            self.background.expect(last.output, self.ports)
        elif kind == "background prints":
            assert self.background is not None, "nothing runs in the background"
            self.background.expect(block.text, self.ports)
        elif block.language == "console":
            for command in commands_of(block):
                self.run_command(command)
        elif block.language == "python" and block.text.startswith(">>> "):
            self.run_session(block)
        elif block.language == "python":
            self.run_program(block)
        else:
            assert block.language in SHOWN_ONLY, f"what is a block of {block.language!r} for? see {__name__}"

    def run_command(self, command: Command) -> None:
        done = self._run("sh", "-c", self.ports.real(command.line))
        self.compare(command.line, command.output, done.stdout)

    def run_program(self, block: Block) -> None:
        program = self.folder / "block.py"
        program.write_text(self.ports.real(block.text))
        done = self._run(sys.executable, str(program))
        assert done.returncode == 0, f"exit code {done.returncode}:\n{done.stdout}"
        self.printed = done.stdout

    def run_session(self, block: Block) -> None:
        text = self.ports.real(block.text)
        session = doctest.DocTestParser().get_doctest(text, self.session, str(self.path), str(self.path), block.line)
        wrong: list[str] = []
        doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(session, out=wrong.append, clear_globs=False)
        self.session.update(session.globs)
        assert not wrong, "".join(wrong)

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def compare(self, what: str, shown: str, printed: str) -> None:
        printed = self.ports.shown(printed)
        printed += "" if printed.endswith("\n") else "\n"
        assert pattern_of(shown).match(printed), f"{what}\nshould print\n{shown}\nand printed\n{printed}"

    def stop_background(self) -> None:
        if self.background is not None:
            background, self.background = self.background, None
            background.stop()
