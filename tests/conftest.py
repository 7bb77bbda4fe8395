"""Shared parts of all tests: the matrix (readiness, loop), third-party programs, and the leak check."""

from __future__ import annotations

import asyncio
import ctypes  # noqa: F401  # importing it opens a file of libffi once: this is not a leak of a test
import gc
import os
import re
import shutil
import signal
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from importlib import import_module
from importlib.metadata import requires
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn, Protocol, TypeVar

import hypothesis
import pytest

# Compare every read of a stream's path with the long form, also in processes of tests: see stream/checking.py.
os.environ["FOURTUPLE_CHECKS"] = "on"

# The tests start hundreds of interpreters. They use compiled code from __pycache__: otherwise each of them would
# compile the package, which takes longer than most of these tests.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# nohup(1) has SIGHUP ignored, which processes inherit: those of tests that send it would ignore it, too.
if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

T = TypeVar("T")

HERE = Path(__file__).parent

pytest_plugins = ["fourtuple.testing.plugin"]

# No deadline: the duration of an example depends on the machine, not on the code.
hypothesis.settings.register_profile("fourtuple", deadline=None, print_blob=True)
hypothesis.settings.register_profile("fuzz", deadline=None, print_blob=True, max_examples=10_000)
hypothesis.settings.load_profile("fourtuple")


# --- the matrix: the engine's readiness, and its host loop ----------------------------------------


#: Folders whose tests run with both kinds of readiness, unless --readiness is given.
BOTH = {"engine", "tls", "proxy"}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fourtuple")
    group.addoption(
        "--readiness",
        choices=("nested", "portable", "both"),
        help="how the engine waits for its sockets (default: both in tests/engine, tls and proxy; nested elsewhere)",
    )
    group.addoption("--loop", choices=("asyncio", "uvloop"), default="asyncio", help="the host loop (default: asyncio)")


def pytest_configure() -> None:
    """Restore SIGINT. A background process of a shell ignores it, and the children of the tests would inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "readiness" not in metafunc.fixturenames:
        return
    both = metafunc.definition.path.relative_to(HERE).parts[0] in BOTH
    chosen = metafunc.config.getoption("readiness") or ("both" if both else "nested")
    metafunc.parametrize("readiness", ("nested", "portable") if chosen == "both" else (chosen,))


@pytest.fixture(scope="session")
def loop(pytestconfig: pytest.Config) -> str:
    """The host loop's name, "asyncio" or "uvloop"."""
    name: str = pytestconfig.getoption("loop")
    if name == "uvloop" and not find_spec("uvloop"):
        absent("uvloop is not installed")
    return name


class RunAsync(Protocol):
    def __call__(self, main: Coroutine[Any, Any, T]) -> T: ...


@pytest.fixture
def run_async(loop: str) -> RunAsync:
    """`run_async(main())` runs a coroutine to its end on the chosen loop and returns what it returned."""

    def run_async(main: Coroutine[Any, Any, T]) -> T:
        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            return runner.run(leaving_no_task(main))

    return run_async


async def leaving_no_task(main: Coroutine[Any, Any, T]) -> T:
    """Check for remaining tasks before asyncio.Runner silently cancels them."""
    result = await main
    await asyncio.sleep(0)  # one iteration, in which a task that was cancelled last ends
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"the test left tasks behind: {sorted(map(repr, left))}"
    return result


def uvloop_loop() -> asyncio.AbstractEventLoop:
    import uvloop  # imported only if it is chosen

    return uvloop.new_event_loop()


LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.SelectorEventLoop,
    "uvloop": uvloop_loop,
}


# --- the duration of a run ------------------------------------------------------------------------


def pytest_collection_finish() -> None:
    out_of_sight()


@pytest.fixture(scope="module", autouse=True)
def what_was_imported() -> None:
    out_of_sight()


def out_of_sight() -> None:
    """Let the garbage collector overlook the tests, and what the tests of the files before have imported and kept.

    There are thousands of tests. Many of them collect garbage, and each collection would look at all of it again.
    """
    gc.collect()
    gc.freeze()


# Tests that wait for a peer or a child leave a core idle, so there is one worker more for every two cores.
@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    cores = len(os.sched_getaffinity(0))
    return cores + cores // 2


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    if config.getvalue("dist") != "loadgroup":
        return None
    from scheduling import NeighboursScheduling  # it needs pytest-xdist, and a run with -p no:xdist does not

    return NeighboursScheduling(config, log)


# --- a crash --------------------------------------------------------------------------------------

CRASHED = pytest.StashKey[bool]()


@pytest.hookimpl(optionalhook=True)
def pytest_handlecrashitem(sched: Any) -> None:
    sched.config.stash[CRASHED] = True


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A crash of the interpreter is never one failure among others: `.ci/again` must not run its test once more."""
    if session.config.stash.get(CRASHED, False):
        session.exitstatus = pytest.ExitCode.INTERNAL_ERROR


# --- a test that hangs ----------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> Iterator[Any]:
    """Repeat the alarm of pytest-timeout every 10 s.

    Its exception may be raised in a callback of a loop, which reports it and continues. The run would then hang
    forever, as it once did.
    """
    result = yield
    if signal.getitimer(signal.ITIMER_REAL)[0]:
        signal.setitimer(signal.ITIMER_REAL, settings.timeout, 10.0)
    return result  # type: ignore[return-value]


# --- third-party programs -------------------------------------------------------------------------


def absent(reason: str) -> NoReturn:
    """Skip the test with a reason. In CI, fail instead: there, a skip would be an unnoticed gap."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}, and CI must have it", pytrace=False)
    pytest.skip(reason)


@pytest.fixture
def closed_port() -> Iterator[str]:
    """An address at which connections are refused: the port is bound, so nobody else has it, and not listening."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture
def require_program() -> Callable[[str], str]:
    """`require_program("nc")` returns the program's path, or skips the test if it is missing."""

    def require_program(name: str) -> str:
        return shutil.which(name) or absent(f"the program {name} is not installed")

    return require_program


@pytest.fixture(scope="session")
def require_package() -> Callable[[str], Any]:
    """`require_package("paho.mqtt.client")` imports a third-party module, or skips the test.

    In CI, a missing package of the extra `test` fails the test; one of the group `peers` only in the stage that
    installs this group (FOURTUPLE_PEERS=require).
    """

    def require_package(module: str) -> Any:
        try:
            return import_module(module)
        except ModuleNotFoundError:
            if module.partition(".")[0].replace("_", "-") in of_the_extra_test():
                absent(f"the module {module} is not installed (pip install '.[test]')")
            reason = f"the module {module} is not installed (pip install --group peers)"
            # A stage of CI of their own installs these clients; the README's command does not.
            pytest.fail(reason) if os.environ.get("FOURTUPLE_PEERS") == "require" else pytest.skip(reason)

    return require_package


def of_the_extra_test() -> set[str]:
    """The names of packages that the README's command for tests installs: those of all extras."""
    return {re.split(r"[^\w-]", each)[0] for each in requires("fourtuple") or () if "extra ==" in each}


# --- the leak check -------------------------------------------------------------------------------


@pytest.fixture(scope="session", autouse=True)
def opened_once() -> None:
    """Let libuv open its two permanent descriptors before the first count."""
    if find_spec("uvloop"):
        uvloop_loop().close()


@pytest.fixture(autouse=True)
def nothing_left_behind(opened_once: None, request: pytest.FixtureRequest) -> Iterator[None]:
    """Check after each test that it left no descriptors, threads or children.

    A failed test is not checked: its traceback keeps the objects of its frames alive.
    """
    before = held()
    yield
    if request.node.stash.get(FAILED, False):
        return
    left = held() - before
    if left:
        for thread in threading.enumerate():
            if f"thread {thread.name}" not in before:
                thread.join(1)  # it has given its result, and has not quite ended
        # An object in a reference cycle is closed late, and emits a ResourceWarning then. Threads keep theirs alive.
        gc.collect()
        left = held() - before
    assert not left, f"the test left behind: {', '.join(sorted(left))}"


def held() -> set[str]:
    return {*descriptors(), *children(), *(f"thread {t.name}" for t in threading.enumerate())}


def descriptors() -> Iterator[str]:
    # 0 to 2 are left out: pytest's capturing redirects them between the phases of a test.
    for number in sorted(set(map(int, os.listdir("/proc/self/fd"))) - {0, 1, 2}):
        try:
            yield f"descriptor {number} ({os.readlink(f'/proc/self/fd/{number}')})"
        except FileNotFoundError:
            continue  # the descriptor that listed the folder


def children() -> Iterator[str]:
    """The children of all threads of this process. A zombie counts, because a test must wait for its children."""
    for task in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{task}/children") as file:
                numbers = file.read().split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # the thread ended meanwhile
        for number in numbers:
            yield f"child process {number} ({command(number)})"


def command(number: str) -> str:
    try:
        return Path(f"/proc/{number}/cmdline").read_text().replace("\0", " ").strip() or "a zombie"
    except FileNotFoundError:
        return "gone"


FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report
