"""Signals that stop a server: counted together, whatever the loop does; and what is back at the end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from fourtuple import Server, Service, run
from fourtuple.compiled import ASKED
from fourtuple.errors import ServiceError
from fourtuple.operations import Operator
from fourtuple.services.upper import service as upper
from fourtuple.serving.group import Group
from fourtuple.serving.run import serve_until_stopped
from fourtuple.signals import stop_signals, stopping
from rig import PATIENT, Peer, until

BOTH = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture(params=["c", "python"])
def twin(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Who counts."""
    if request.param == "python":
        monkeypatch.setattr(stopping, "native", None)
    elif ASKED["signals"]:
        pytest.skip(f"the C for signals {ASKED['signals']}")
    return str(request.param)


@pytest.fixture(autouse=True)
def handlers_as_before() -> Iterator[None]:
    before = [signal.getsignal(number) for number in BOTH]
    yield
    assert [signal.getsignal(number) for number in BOTH] == before


def test_both_signals_count_together_and_wake_the_listener(twin: str) -> None:
    woken: list[int] = []
    with stop_signals() as signals:
        assert (signals.count, signals.first) == (0, None)
        with signals.heard_by(lambda: woken.append(signals.count)):
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)
        assert (signals.count, signals.first) == (2, signal.SIGTERM)
    assert woken == [1, 2]


def test_each_block_counts_from_the_beginning(twin: str) -> None:
    for _ in range(2):
        with stop_signals() as signals:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            assert signals.count == 2


def test_a_block_within_the_block_shares_the_count(twin: str) -> None:
    with stop_signals() as outer:
        signal.raise_signal(signal.SIGINT)
        with stop_signals() as inner:
            assert inner is outer
            signal.raise_signal(signal.SIGINT)
        assert outer.count == 2


def test_what_a_listener_raises_does_not_reach_what_runs(twin: str) -> None:
    def fails() -> None:
        raise RuntimeError("the loop is closed")

    with stop_signals() as signals, signals.heard_by(fails):
        signal.raise_signal(signal.SIGINT)
        assert signals.count == 1


def test_an_ignored_signal_stays_ignored(twin: str) -> None:
    """A shell starts its background jobs so: a Ctrl-C is not for them."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stop_signals() as signals:
            signal.raise_signal(signal.SIGINT)
            assert signals.count == 0
            signal.raise_signal(signal.SIGTERM)
            assert signals.count == 1
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_handler_that_was_put_in_the_place_of_ours_stays(twin: str) -> None:
    heard: list[int] = []
    before = signal.getsignal(signal.SIGTERM)
    try:
        with stop_signals() as signals:
            signal.signal(signal.SIGTERM, lambda number, _frame: heard.append(number))
            signal.raise_signal(signal.SIGTERM)
            assert signals.count == 0
        signal.raise_signal(signal.SIGTERM)
        assert heard == [signal.SIGTERM] * 2
    finally:
        signal.signal(signal.SIGTERM, before)


def test_other_threads_have_no_signals() -> None:
    raised: list[BaseException] = []

    def work() -> None:
        try:
            run(Service("line").with_framing("line"))
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=work, name="another")
    thread.start()
    thread.join()
    (error,) = raised
    assert isinstance(error, ServiceError)
    assert (
        "signals are delivered to the main thread, this is 'another'; serve_in_thread() works without signals"
        in str(error)
    )


@pytest.mark.parametrize("operated", [False, True])
def test_a_running_loop_is_refused_before_anything_starts(operated: bool) -> None:
    operator = Operator()
    operator.server(upper, "127.0.0.1:0")

    async def main() -> None:
        if operated:
            operator.run()
        else:
            run(upper, "127.0.0.1:0")

    with pytest.raises(ServiceError, match="starts an event loop, and one runs here already; write: async with"):
        asyncio.run(main())


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_is_ended_as_it_would_have_been_before(twin: str) -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with stop_signals() as signals:
            child = os.fork()
            if not child:
                signal.raise_signal(signal.SIGTERM)
                os._exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
            assert signals.count == 0
            signal.raise_signal(signal.SIGTERM)
            assert signals.count == 1
    finally:
        signal.signal(signal.SIGTERM, before)


THIRD = """
import signal
from fourtuple.signals import stop_signals

with stop_signals() as signals:
    signals.say(", the tear-down not finished", {living})
    for number in (signal.SIGTERM, signal.SIGINT, signal.{last}):
        print(signals.count, flush=True)
        signal.raise_signal(number)
    print("never said")
"""


@pytest.mark.parametrize("choice", ["auto", "off"])
@pytest.mark.parametrize(
    ("living", "cut"),
    [("{}", ", 0 connections cut"), ("{1: 2}", ", 1 connection cut"), ("{1: 2, 3: 4}", ", 2 connections cut"),
     ("None", "")],
)  # fmt: skip
@pytest.mark.parametrize("last", ["SIGINT", "SIGTERM"])
def test_the_third_ends_the_process_and_says_what_it_cut(choice: str, living: str, cut: str, last: str) -> None:
    done = third(THIRD.format(living=living, last=last), FOURTUPLE_C=choice)
    assert done.returncode == 128 + signal.Signals[last]
    assert done.stdout == "0\n1\n2\n"
    assert done.stderr == f"fourtuple: third signal ({last}): ended at once{cut}, the tear-down not finished\n"


def third(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, timeout=60
    )


ENDPOINTS = """
import signal, socket
from fourtuple import Endpoint, Limits, Service, run

service = Service("line")
peers = []

@service.conversation
def waits(connection):
    connection.receive()
    connection.receive()

def connect(server):
    peers.extend(socket.create_connection(("127.0.0.1", address.port)) for address in server.addresses)
    peers[0].sendall(b"lent to a thread\\n")
    look(server)

def look(server):
    if len(server.connections) < 3:
        server.loop.call_later(0.01, look, server)
        return
    for _ in range(3):
        signal.raise_signal(signal.SIGTERM)

places = ["127.0.0.1:0", Endpoint("127.0.0.1:0", limits=Limits()), Endpoint("127.0.0.1:0", limits=Limits())]
run(service, *places, on_start=connect)
"""


@pytest.mark.parametrize("choice", ["auto", "off"])
def test_the_third_counts_the_connections_of_all_endpoints(choice: str) -> None:
    done = third(ENDPOINTS, FOURTUPLE_C=choice)
    assert done.returncode == 128 + signal.SIGTERM, done.stderr
    told = "third signal (SIGTERM): ended at once, 3 connections cut, the tear-down not finished"
    assert done.stderr == f"fourtuple: {told}\n"


@pytest.mark.parametrize("choice", ["auto", "off"])
def test_the_third_ends_a_process_whose_standard_error_is_not_read(choice: str) -> None:
    """The line would wait for a reader of the full pipe forever."""
    ours, theirs = os.pipe()
    try:
        os.set_blocking(theirs, False)
        with suppress(BlockingIOError):
            while True:
                os.write(theirs, b"x" * 4096)
        os.set_blocking(theirs, True)
        done = subprocess.run(
            [sys.executable, "-c", THIRD.format(living="{}", last="SIGTERM")],
            env={**os.environ, "FOURTUPLE_C": choice}, stdout=subprocess.PIPE, stderr=theirs, timeout=60,
        )  # fmt: skip
        assert done.returncode == 128 + signal.SIGTERM
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_signal_counts_that_the_loop_has_not_heard_of(run_async: Any, twin: str) -> None:
    """Of several that came while a call kept the interpreter's lock, it is told once: the second aborts, too."""
    service = Service("line")
    service.reply(lambda message: message)

    async def main() -> None:
        listening = asyncio.Event()
        server = Server(service, deadlines=PATIENT)
        with stop_signals() as signals:
            serving = asyncio.ensure_future(serve_until_stopped(Group([server]), signals, listening.set))
            await listening.wait()
            with await Peer.connect(server) as peer:
                await peer.send(b"half a line")
                await until(lambda: server.statistics.octets_in)
                listeners, signals._listeners = signals._listeners, []
                signal.raise_signal(signal.SIGTERM)
                signals._listeners = listeners
                signal.raise_signal(signal.SIGTERM)
                await serving
                with pytest.raises(ConnectionResetError):
                    await peer.receive_all()
        assert server.statistics.aborted == 1

    run_async(main())
