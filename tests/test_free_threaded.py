"""A free-threaded Python: without its lock fourtuple is Python alone, with it the C (docs/how-to/install.md).

What is decided from the lock is tested on every Python. The rest needs a free-threaded one: .ci/free-threaded makes it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import pytest

from fourtuple import Connection, Service, serve_in_thread
from fourtuple.blocking import connect
from fourtuple.compiled import PIECES

free_threaded = pytest.mark.skipif(
    not sysconfig.get_config_var("Py_GIL_DISABLED"),
    reason="this Python is not free-threaded; .ci/free-threaded builds one",
)
LOCK_OFF = "import sys; sys._is_gil_enabled = lambda: False\n"
STATE = """
import fourtuple, sys
from fourtuple.cli.speed import parts, tell_if_slow
print(sys._is_gil_enabled(), parts(), sep="|")
tell_if_slow()
"""


def run(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={name: value for name, value in os.environ.items() if name != "PYTHON_GIL"} | environment,
        capture_output=True,
        text=True,
        timeout=50,
    )


def test_without_the_lock_the_c_is_left_alone() -> None:
    done = run(LOCK_OFF + STATE, FOURTUPLE_C="auto")
    off, speed = done.stdout.strip().split("|")
    assert off == "False"
    why_not = "is not loaded (it needs the interpreter's lock, the GIL, which is off)"
    assert speed == "; ".join(["pure Python", *(f"{what} {why_not}" for what in PIECES)])
    assert done.stderr.startswith("fourtuple: slower than it could be: without C for splitting, turn, signals ")
    assert "PYTHON_GIL=1" in done.stderr
    assert "compiler" not in done.stderr  # it would not help


def test_without_the_lock_requiring_the_c_names_the_setting() -> None:
    done = run(LOCK_OFF + STATE, FOURTUPLE_C="require")
    assert done.returncode == 1
    said = done.stderr.splitlines()[-1]
    assert said.startswith("fourtuple.compiled.MissingC: FOURTUPLE_C=require, and the C for ")
    assert said.endswith(
        " is not loaded (it needs the interpreter's lock, the GIL, which is off); switch the lock on with PYTHON_GIL=1"
    )


def test_without_the_lock_switched_off_is_switched_off() -> None:
    done = run(LOCK_OFF + STATE, FOURTUPLE_C="off")
    assert "splitting is switched off by FOURTUPLE_C=off" in done.stdout
    assert done.stderr == ""


@free_threaded
def test_an_import_leaves_the_lock_as_it_is() -> None:
    """The C would switch it on, with a RuntimeWarning."""
    done = run(STATE, PYTHON_GIL="", FOURTUPLE_C="auto")
    assert done.stdout.startswith("False|pure Python; "), done.stderr


@free_threaded
def test_with_the_lock_the_c_runs() -> None:
    done = run(STATE, PYTHON_GIL="1", FOURTUPLE_C="auto")
    if "it was not built" in done.stdout:
        pytest.skip("the C is not built")
    assert done.stdout == "True|C for: splitting, turn, signals\n", done.stderr


# --- one server for each thread --------------------------------------------------------------------------------------


def plain(service: Service) -> None:
    @service.reply
    def answer(message: bytes) -> bytes:
        return message.upper()


def awaiting(service: Service) -> None:
    @service.reply
    async def answer(message: bytes) -> bytes:
        return message.upper()


def generating(service: Service) -> None:
    @service.reply
    def answer(message: bytes) -> Iterator[bytes]:
        yield message.upper()


def generating_async(service: Service) -> None:
    @service.reply
    async def answer(message: bytes) -> AsyncIterator[bytes]:
        yield message.upper()


def in_threads(service: Service) -> None:
    @service.reply(threads=True)
    def answer(message: bytes) -> bytes:
        return message.upper()


def conversing(service: Service) -> None:
    @service.conversation
    async def talk(connection: Connection) -> None:
        async for message in connection:
            await connection.send(message.upper())


KINDS = (plain, awaiting, generating, generating_async, in_threads, conversing)
CONNECTIONS, REQUESTS = 20, 30


def test_a_server_for_each_thread() -> None:
    """Each has clients of its own, all at once. They share only the numbers of connections: none is given twice."""
    ids: list[int] = []
    wrong: list[object] = []
    together = threading.Barrier(len(KINDS))

    def use(address: str, name: str) -> None:
        try:
            together.wait(30)
            for number in range(CONNECTIONS):
                with connect(address, "line") as connection:
                    ids.append(connection.id)
                    messages = [b"%s %d %d" % (name.encode(), number, each) for each in range(REQUESTS)]
                    connection.send_many(messages)
                    replies = [connection.receive(timeout=30) for _ in messages]
                    if replies != [message.upper() for message in messages]:
                        wrong.append((name, replies))
        except BaseException as error:
            wrong.append((name, error))

    with ExitStack() as stack:
        servers = []
        for kind in KINDS:
            service = Service("line")
            service.opened(lambda connection: ids.append(connection.id))
            kind(service)
            servers.append(stack.enter_context(serve_in_thread(service)))
        users = [
            threading.Thread(target=use, args=(server.address, kind.__name__))
            for server, kind in zip(servers, KINDS, strict=True)
        ]
        for user in users:
            user.start()
        for user in users:
            user.join()
    assert not wrong
    assert [server.statistics.accepted for server in servers] == [CONNECTIONS] * len(KINDS)
    assert len(ids) == len({*ids}) == 2 * CONNECTIONS * len(KINDS)
