"""Commands that start behind their imports: a process that has imported ``fourtuple`` once forks for each one.

The imports cost half a second of CPU, and there are hundreds of tests of the command. From there on such a process is
one of its own: descriptors, signals, exit code. A test whose point is the start runs ``python -m fourtuple`` itself.

Run as a program, this file is the process that forks.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

#: prctl(2): orphans below this process become its children.
PR_SET_CHILD_SUBREAPER = 36
_NUMBER = 4


class Process:
    """A process with pipes at its standard files, used like a `subprocess.Popen`."""

    def __init__(self, pid: int, pipes: tuple[int, int, int], text: bool) -> None:
        self.pid = pid
        self.returncode: int | None = None
        writing, *reading = ("w", "r", "r") if text else ("wb", "rb", "rb")
        self.stdin: IO[Any] = os.fdopen(pipes[0], writing)
        self.stdout: IO[Any] = os.fdopen(pipes[1], reading[0])
        self.stderr: IO[Any] = os.fdopen(pipes[2], reading[1])
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        return self._wait(os.WNOHANG)

    def wait(self, timeout: float | None = None) -> int:
        if timeout is not None and self.poll() is None:
            ended = os.pidfd_open(self.pid)
            try:
                if not select.select([ended], [], [], timeout)[0]:
                    raise subprocess.TimeoutExpired("fourtuple", timeout)
            finally:
                os.close(ended)
        code = self._wait(0)
        assert code is not None
        return code

    def _wait(self, options: int) -> int | None:
        with self._lock:
            if self.returncode is None:
                pid, status = os.waitpid(self.pid, options)
                if pid:
                    self.returncode = os.waitstatus_to_exitcode(status)
            return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, input: Any = None) -> tuple[Any, Any]:
        """Write the input, read both outputs to their ends, and wait."""
        found: dict[str, Any] = {}

        def write() -> None:
            with suppress(BrokenPipeError):
                if input:
                    self.stdin.write(input)
                self.stdin.close()

        def read() -> None:
            found["err"] = self.stderr.read()

        threads = [threading.Thread(target=each) for each in (write, read)]
        for each in threads:
            each.start()
        out = self.stdout.read()
        for each in threads:
            each.join()
        self.stdout.close()
        self.stderr.close()
        self.wait()
        return out, found["err"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for each in (self.stdin, self.stdout, self.stderr):
            with suppress(BrokenPipeError):
                each.close()
        self.wait()


class Prefork:
    """Starts ``python -m fourtuple`` without its imports."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=environment,
            )
        self._adopt: Callable[..., int] = ctypes.CDLL(None).prctl
        assert self._socket.recv(1), "the imports have failed"

    def close(self) -> None:
        self._socket.close()
        self._server.wait()

    def start(self, arguments: list[str], cwd: Path, environment: Mapping[str, str], *, text: bool = False) -> Process:
        """Start the command, in this folder, with this environment and no other."""
        wanted = json.dumps([arguments, str(cwd), dict(environment)]).encode()
        stdin, stdout, stderr = os.pipe(), os.pipe(), os.pipe()
        theirs = [stdin[0], stdout[1], stderr[1]]
        # The new process has an orphan's fate, because the one that forked it ends at once: it becomes our child.
        self._adopt(PR_SET_CHILD_SUBREAPER, 1)
        try:
            socket.send_fds(self._socket, [len(wanted).to_bytes(_NUMBER, "big") + wanted], theirs)
            pid = int.from_bytes(self._socket.recv(_NUMBER, socket.MSG_WAITALL), "big")
            ready = self._socket.recv(1)
        finally:
            self._adopt(PR_SET_CHILD_SUBREAPER, 0)
            for each in theirs:
                os.close(each)
        assert ready, "the process that forks has ended"
        return Process(pid, (stdin[1], stdout[0], stderr[0]), text)


# --- the other end ----------------------------------------------------------------------------------------


def fork_for_each(sock: socket.socket) -> tuple[Any, list[int]]:
    """Fork for each request; return what was asked for, in the new process."""
    while True:
        found, fds, _, _ = socket.recv_fds(sock, 1 << 16, 3)
        if not found:
            sys.exit()
        while len(found) < _NUMBER + int.from_bytes(found[:_NUMBER], "big"):
            found += sock.recv(1 << 16)
        between = os.fork()
        if between == 0:
            forked = os.fork()
            if forked == 0:
                sock.close()
                return json.loads(found[_NUMBER:]), fds
            sock.sendall(forked.to_bytes(_NUMBER, "big"))
            os._exit(0)
        os.waitpid(between, 0)
        for fd in fds:
            os.close(fd)
        sock.sendall(b"!")


def become(arguments: list[str], cwd: str, environment: dict[str, str], fds: list[int]) -> None:
    """Look like a process of the command that has just begun."""
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
        os.close(fd)
    # As the interpreter opens them: what they are opened for decides whether they seek, and how they buffer.
    sys.stdin = sys.__stdin__ = os.fdopen(0, closefd=False)
    sys.stdout = sys.__stdout__ = os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.__stderr__ = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[0] = cwd
    sys.argv[:] = ["fourtuple", *arguments]
    sys.orig_argv[:] = [sys.executable, "-m", "fourtuple", *arguments]  # with which it starts processes of its own


def main() -> None:
    import difflib  # noqa: F401  # for the names that a mistake is near to
    import encodings.idna  # noqa: F401  # for the names of hosts

    import fourtuple.cli.bench
    import fourtuple.cli.bench_table
    import fourtuple.cli.check
    import fourtuple.cli.connect
    import fourtuple.cli.entry
    import fourtuple.cli.main
    import fourtuple.cli.opening
    import fourtuple.cli.serve
    import fourtuple.cli.serve_run
    import fourtuple.cli.sockets
    import fourtuple.cli.sockets_show
    import fourtuple.cli.talk
    import fourtuple.cli.targets
    import fourtuple.client
    import fourtuple.net.connecting  # noqa: F401
    from fourtuple._command import end_by_interrupts

    # What is imported here is not looked at by the collector of each new process, which would copy its pages.
    gc.collect()
    gc.freeze()
    sock = socket.socket(fileno=int(sys.argv[1]))
    sock.sendall(b"!")
    (arguments, cwd, environment), fds = fork_for_each(sock)
    become(arguments, cwd, environment, fds)
    end_by_interrupts()
    runpy.run_module("fourtuple", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
