"""A program of one's own with what `fourtuple serve` has: pages, the control socket, the pidfile, a registry."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
from prometheus_client.registry import CollectorRegistry

from conftest import RunAsync
from fourtuple import Server, Service, connect, events
from fourtuple.blocking import connect as connect_blocking
from fourtuple.errors import ListenAddressInUse, OperationError, OptionError, ServiceError
from fourtuple.operations import Operations, Operator, exposition
from fourtuple.operations.control_client import called
from operations.support import upper
from rig import Peer


async def page(operator: Operator, path: str) -> str:
    assert operator.http_address is not None
    with await Peer.connect(operator.http_address) as peer:
        await peer.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        return (await peer.receive_all()).decode()


def ours(registry: CollectorRegistry) -> list[str]:
    lines = prometheus_client.generate_latest(registry).decode().splitlines()
    return [line for line in lines if line.startswith("fourtuple_messages_received_total{")]


def test_two_servers_with_everything(run_async: RunAsync, tmp_path: Path) -> None:
    """They start and stop together, and are told apart by their names; each event reaches its own observer."""
    seen: list[events.Event] = []
    other: list[events.Event] = []
    pidfile, control = tmp_path / "pid", str(tmp_path / "control")

    async def main() -> None:
        operations = Operations(http="127.0.0.1:0", control=control, pidfile=str(pidfile), dashboard=True)
        operator = Operator(operations)
        first = operator.server(upper("first"), "127.0.0.1:0", observer=seen.append)
        second = operator.server(upper("second"), "127.0.0.1:0", "127.0.0.1:0", observer=other.append)
        assert operator.servers == (first, second)
        async with operator:
            assert pidfile.read_text() == f"{os.getpid()}\n"
            for server, name in ((first, "first"), (second, "second")):
                async with connect(server.address, "line") as client:
                    assert await client.request(b"hello", timeout=10) == b"HELLO"
                told = await page(operator, "/metrics")
                assert f'fourtuple_messages_received_total{{service="{name}"}} 1.0' in told
                assert f'fourtuple_handler_seconds_count{{service="{name}"}} 1.0' in told
            assert "200 OK" in (await page(operator, "/ready"))
            assert "<title>" in (await page(operator, "/"))
            status = await asyncio.to_thread(called, control, "status")
            assert [each["name"] for each in status["services"]] == ["first", "second"]
            assert str(operator.control_address) == f"unix:{control}"
        assert not pidfile.exists()
        assert not os.path.exists(control)
        assert operator.http_address is operator.control_address is None

    run_async(main())
    assert sum(isinstance(event, events.Listening) for event in seen) == 1
    assert sum(isinstance(event, events.Listening) for event in other) == 2
    assert sum(isinstance(event, events.Closed) for event in other) == 1
    assert [event.what for event in seen if isinstance(event, events.Operating)] == ["control", "http"]


def test_a_registry_has_the_numbers_while_the_servers_run(run_async: RunAsync) -> None:
    registry = CollectorRegistry(auto_describe=True)
    one = ['fourtuple_messages_received_total{service="upper"} 1.0']

    async def main() -> None:
        operator = Operator(registry=registry)
        server = operator.server(upper(), "127.0.0.1:0")
        assert ours(registry) == []
        async with operator:
            async with connect(server.address, "line") as client:
                await client.request(b"hello", timeout=10)
            assert ours(registry) == one, "in the thread of the loop"
            assert await asyncio.to_thread(ours, registry) == one
            with pytest.raises(OptionError, match="use one operator for all"):
                async with another:
                    pass
        assert ours(registry) == []

    async def again() -> None:
        async with operator_of(registry):
            assert ours(registry) != []

    another = Operator(registry=registry)
    another.server(upper(), "127.0.0.1:0")
    run_async(main())
    run_async(again())


def operator_of(registry: CollectorRegistry) -> Operator:
    operator = Operator(registry=registry)
    operator.server(upper(), "127.0.0.1:0")
    return operator


def test_a_page_does_not_wait_for_a_loop_that_is_held(run_async: RunAsync, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposition, "COLLECT_SECONDS", 0.05)
    registry = CollectorRegistry()
    failures: list[OperationError] = []

    def scrape(done: threading.Event) -> None:
        try:
            ours(registry)
        except OperationError as error:
            failures.append(error)
        done.set()

    async def main() -> None:
        operator = operator_of(registry)
        async with operator:
            done = threading.Event()
            threading.Thread(target=scrape, args=(done,)).start()
            assert done.wait(20)  # holds the loop

    run_async(main())
    assert [str(error) for error in failures] == ["metrics: a call has held the loop of the servers for 0.05 s"]


def test_nothing_is_counted_that_nobody_asked_for(run_async: RunAsync) -> None:
    async def main() -> None:
        operator = Operator()
        service = upper()
        server = operator.server(service, "127.0.0.1:0")
        assert server.service is service
        async with operator, connect(server.address, "line") as client:
            assert await client.request(b"a", timeout=10) == b"A"

    run_async(main())


def test_a_port_that_is_taken_leaves_nothing_open(run_async: RunAsync, tmp_path: Path) -> None:
    """The suite checks that no descriptor is left."""

    async def main() -> None:
        async with Server(upper(), "127.0.0.1:0") as taken:
            for http, address in ((taken.address, "127.0.0.1:0"), ("127.0.0.1:0", taken.address)):
                operator = Operator(Operations(http=str(http), control=str(tmp_path / "control")))
                operator.server(upper(), str(address))
                with pytest.raises(ListenAddressInUse):
                    await operator.__aenter__()
                assert not (tmp_path / "control").exists()

    run_async(main())


def test_an_observer_that_raises_and_a_server_that_cannot_be_made_leave_the_others_alone(
    run_async: RunAsync, tmp_path: Path
) -> None:
    reported: list[str] = []

    def broken(event: events.Event) -> None:
        raise LookupError("an observer's own mistake")

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["message"]))
        operator = Operator(Operations(http="127.0.0.1:0"))
        with pytest.raises(OptionError):
            operator.server(upper("never"), "127.0.0.1:0", readiness="psychic")  # type: ignore[arg-type]
        server = operator.server(upper("only"), "127.0.0.1:0", observer=broken)
        async with operator:
            async with connect(server.address, "line") as client:
                assert await client.request(b"a", timeout=10) == b"A"
            told = await page(operator, "/metrics")
        assert 'fourtuple_handler_seconds_count{service="only"} 1.0' in told
        assert "never" not in told

    run_async(main())
    assert any("failed at Operating(" in each for each in reported)
    assert any("failed at Listening(" in each for each in reported)


def test_mistakes_are_named(run_async: RunAsync) -> None:
    with pytest.raises(OptionError, match="operations"):
        Operator("127.0.0.1:9101")  # type: ignore[arg-type]
    with pytest.raises(ServiceError, match=r"no server: call server\(service, address\) first"):
        Operator().run()

    async def main() -> None:
        operator = Operator()
        operator.server(upper(), "127.0.0.1:0")
        with pytest.raises(ServiceError, match="inside async with"):
            await operator.serve_forever()
        async with operator:
            with pytest.raises(ServiceError, match="make all servers before"):
                operator.server(upper(), "127.0.0.1:0")
        with pytest.raises(ServiceError, match="make another one"):
            async with operator:
                pass

    run_async(main())


PROGRAM = """
from fourtuple import Service
from fourtuple.operations import Operations, Operator

service = Service("line", name="shout")

@service.reply
def shout(message: bytes) -> bytes:
    return message.upper()

operator = Operator(Operations(control="control"))
server = operator.server(service, "127.0.0.1:0")
aborted = operator.run(on_start=lambda operator: print(server.address, flush=True))
print("aborted", aborted)
"""


@pytest.mark.parametrize("stop", ["signal", "control"])
def test_run_ends_with_a_signal_or_a_drain(tmp_path: Path, stop: str) -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        with connect_blocking(address, "line") as client:
            assert client.request(b"hello", timeout=10) == b"HELLO"
        if stop == "signal":
            process.send_signal(signal.SIGTERM)
        else:
            called(str(tmp_path / "control"), "drain")
        assert process.communicate(timeout=30)[0] == "aborted 0\n"
    assert process.returncode == 0
    assert not (tmp_path / "control").exists()


def test_types_of_a_service_stay(tmp_path: Path) -> None:
    service: Service[bytes, Any] = upper()
    server = Operator(Operations(control=str(tmp_path / "control"))).server(service)
    assert type(server) is Server
    assert server.service.name == "upper"
