"""The control socket: what it does, whom it serves, and what clients with bad manners cannot do."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import socket
import stat
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from fourtuple import Endpoint, Limits, Server, Service, events
from fourtuple.errors import ListenAddressInUse, OperationError
from fourtuple.operations import control
from fourtuple.operations.control import MAX_REQUEST, MAX_WAITING, ControlServer, perform
from fourtuple.operations.control_client import automatic_path, find
from fourtuple.operations.servers import Servers
from fourtuple.server import core_of
from operations.support import ask, conversation, operated, upper
from rig import Peer, until


def test_status_has_the_state_and_the_counters(run_async: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async with operated(tmp_path) as world:
            await conversation(world.server, b"a", b"b")
            reply = await world.op("status")
            status = reply["value"]
            assert reply["ok"]
            assert (status["state"], status["ready"], status["pid"]) == ("serving", True, os.getpid())
            (service,) = status["services"]
            assert (service["name"], service["framing"]) == ("upper", "line")
            assert (service["totals"]["messages_in"], service["totals"]["accepted"]) == (2, 1)
            (listener,) = status["listeners"]
            assert (listener["address"], listener["accept_queue"]) == (str(world.server.address), 0)

    run_async(main())


def test_suspended_connections_wait_and_are_served_by_resume(run_async: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async with operated(tmp_path) as world:
            assert (await world.op("suspend"))["ok"]
            assert not world.subject.ready
            with await Peer.connect(world.server) as peer:
                await peer.send(b"hello\n")
                while (status := (await world.op("status"))["value"])["listeners"][0]["accept_queue"] == 0:
                    pass  # on a busy machine loopback delivers later
                assert (status["state"], status["listeners"][0]["accept_queue"]) == ("suspended", 1)
                assert status["listeners"][0]["paused"] == ["by request"]
                await world.op("resume")
                assert await peer.receive(6) == b"HELLO\n"
            assert world.subject.ready

    run_async(main())


def test_drain_begins_and_does_not_wait(run_async: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async with operated(tmp_path) as world:
            with await Peer.connect(world.server) as peer:
                await peer.send(b"one\nhalf of a")
                assert await peer.receive(4) == b"ONE\n", "the half was read with it"
                assert (await world.op("drain", timeout=60))["ok"]
                assert (await world.op("status"))["value"]["state"] == "draining"
                for what in ("suspend", "resume"):
                    reply = await world.op(what)
                    assert (reply["ok"], reply["error"].startswith(f"{what}: the server is stopping")) == (False, True)
                await peer.send(b" message\n")
                assert await peer.receive_all() == b"HALF OF A MESSAGE\n"
            await world.server.serve_forever()
            assert (await world.op("status"))["value"]["state"] == "stopped"

    run_async(main())


@pytest.mark.parametrize("timeout", [10**400, 1e300, -1, "5", True, [1]], ids=lambda value: repr(value)[:9])
def test_a_drain_with_an_invalid_timeout_does_not_begin(run_async: Any, tmp_path: Path, timeout: Any) -> None:
    async def main() -> None:
        async with operated(tmp_path) as world:
            reply = await world.op("drain", timeout=timeout)
            assert not reply["ok"]
            assert reply["error"].startswith("drain: timeout: expected ")
            assert (await world.op("status"))["value"]["state"] == "serving"
            assert await world.op("drain", timeout=0.1) == {"ok": True, "value": None}
            await asyncio.wait_for(world.server.serve_forever(), 10)

    run_async(main())


def test_limits_change_together_or_not_at_all(run_async: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async with operated(tmp_path) as world:
            reply = await world.op("limits", changes={"max-connections": "7", "accept_rate": "none"})
            assert reply["value"] == {"max_connections": "7", "accept_rate": "none"}
            assert world.server.limits.max_connections == 7
            for changes, text in (
                ({"max_connections": "9", "max_conections": "3"}, "did you mean"),
                ({"max_connections": "9", "high_water": "1k", "low_water": "1m"}, "low_water"),
                ({"max_connections": "many"}, "cannot read 'many'"),
                ({"max_connections": "0"}, "expected at least 1, got "),
                ({}, "texts by the name"),
                ({"max_connections": 9}, "texts by the name"),
            ):
                reply = await world.op("limits", changes=changes)
                assert not reply["ok"]
                assert text in reply["error"]
            assert world.server.limits.max_connections == 7

    run_async(main())


def test_the_limits_in_force_are_told_of_servers_and_of_endpoints_with_their_own(run_async: Any) -> None:
    async def main() -> None:
        endpoint = Endpoint("127.0.0.1:0", limits=Limits(max_connections=3))
        server = Server(upper("m"), "127.0.0.1:0", endpoint, limits=Limits(max_batch=7))
        subject = Servers([server])
        async with server:
            whole, own = await subject.limits()
            assert [whole["addresses"], own["addresses"]] == [[str(each.name)] for each in server.listeners]
            assert (whole["max_connections"], own["max_connections"]) == (server.max_connections, 3)
            assert (whole["limits"]["max_batch"], own["limits"]["max_batch"]) == (7, Limits().max_batch)
            assert ("max_threads" in whole["limits"], "max_threads" in own["limits"]) == (True, False)
            await subject.set_limits({"max_batch": "9"})
            assert [each["limits"]["max_batch"] for each in await subject.limits()] == [9, Limits().max_batch]
            reply = json.dumps({"op": "show_limits", "service": "n"}).encode()
            with pytest.raises(OperationError, match="service n: the server has no such service"):
                await perform(subject, reply)

    run_async(main())


def test_servers_that_divide_the_descriptors_do_so_again_when_a_limit_changes(
    run_async: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1064, 1064))

    async def main() -> None:
        mail, news = (Server(upper(name), "127.0.0.1:0", limits=Limits(max_connections=500)) for name in "mn")
        subject = Servers((mail, news), divide={mail: None, news: None})
        async with mail, news:
            for changes, service, told, limits in (
                ({"max_connections": "300"}, "m", "300", (300, 700)),
                ({"max_batch": "3", "max_connections": "none"}, "m", "none", (500, 500)),
                ({"max_connections": "8"}, None, "8", (8, 8)),
                ({"max_connections": "none"}, None, "none", (500, 500)),
            ):
                assert (await subject.set_limits(changes, service))["max_connections"] == told
                assert (mail.max_connections, news.max_connections) == limits
            with pytest.raises(OperationError):
                await subject.set_limits({"max_connections": "300", "high_water": "1"}, "m")
            assert (mail.max_connections, news.max_connections) == (500, 500)
            alone = Servers((mail, news))
            await alone.set_limits({"max_connections": "none"})
            assert (mail.max_connections, news.max_connections) == (1000, 1000), "servers of a program's own"

    run_async(main())


def test_connections_and_close_by_id_and_by_name(run_async: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async with operated(tmp_path) as world:
            with await Peer.connect(world.server) as one, await Peer.connect(world.server) as two:
                for peer in (one, two):
                    await peer.send(b"hello\n")
                    assert await peer.receive(6) == b"HELLO\n"
                first, second = (await world.op("connections"))["value"]
                assert (first["messages_in"], first["octets_out"], first["service"]) == (1, 6, "upper")
                assert first["age"] >= first["idle"] >= 0
                assert len((await world.op("connections", most=1))["value"]) == 1
                assert (await world.op("close", id=first["id"]))["value"] is True
                assert await one.receive_all() == b""
                name = f"{second['local']} <- {second['remote']}"
                assert (await world.op("close", id=name, abort=True))["value"] is True
                with pytest.raises(ConnectionResetError):
                    await two.receive_all()
            await world.seen.wait(events.Closed, 2)
            assert (await world.op("close", id=first["id"]))["value"] is False
            assert "neither the id nor the name" in (await world.op("close", id="one"))["error"]

    run_async(main())


def test_a_connection_that_a_thread_uses_is_closed_too(run_async: Any, tmp_path: Path) -> None:
    service = Service("line")
    ended = threading.Event()

    @service.conversation
    def talk(connection: Any) -> None:
        try:
            for message in connection:
                connection.send(message)
        finally:
            ended.set()

    async def main() -> None:
        async with operated(tmp_path, service) as world:
            with await Peer.connect(world.server) as peer:
                await peer.send(b"hello\n")
                assert await peer.receive(6) == b"hello\n"
                (row,) = (await world.op("connections"))["value"]
                (runner,) = world.server._core.registry.runners.values()
                # An abort while the thread may wait to write sends FIN before RST: see engine/ending.py.
                await until(lambda: not runner.stream.outbox_size)
                assert (await world.op("close", id=row["id"], abort=True))["value"] is True
                with pytest.raises(ConnectionResetError):
                    await peer.receive_all()
            await asyncio.to_thread(ended.wait)

    run_async(main())


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ("[]", "a request is an object"),
        ("{}", "a request is an object"),
        ("nonsense", "not JSON"),
        ("[" * 20_000, "not JSON"),
        ('{"op": "reboot"}', "there is no operation 'reboot'"),
        ('{"op": "close"}', 'close needs "id"'),
        ('{"op": "close", "id": 3}', "expected str"),
        (f'{{"op": "close", "id": "{"9" * 5000}"}}', "is neither the id nor the name of a connection"),
        ('{"op": "workers", "count": true}', "expected int"),
        ('{"op": "workers", "count": 0}', "from 1 to 256"),
        ('{"op": "workers", "count": 257}', "from 1 to 256"),
        ('{"op": "workers", "count": 2}', "start it with --workers"),
        ('{"op": "drain", "timeout": -1}', "0 or more"),
        ('{"op": "drain", "timeout": NaN}', "0 or more"),
        ('{"op": "connections", "most": "all"}', "expected int"),
    ],
)
def test_a_request_that_cannot_be_done_costs_an_answer(
    run_async: Any, tmp_path: Path, request_: str, text: str
) -> None:
    async def main() -> None:
        async with operated(tmp_path) as world:
            with await Peer.connect(world.control_address) as peer:
                await peer.send(request_.encode() + b"\n")
                assert (await ask(peer, {"op": "resume"}))["ok"] is False
                assert (await ask(peer, {"op": "resume"}))["ok"] is True
            with await Peer.connect(world.control_address) as peer:
                assert text in json.loads(await peer.talk(request_.encode() + b"\n"))["error"]

    run_async(main())


def test_a_hundred_megabytes_are_not_held(run_async: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async with operated(tmp_path) as world:
            runners = core_of(world._control.server).registry.runners
            held = 0
            with await Peer.connect(world.control_address) as peer:
                with suppress(ConnectionResetError, BrokenPipeError):
                    for _ in range(100_000_000 // 65536):
                        await peer.send(b"x" * 65536)
                        held = max(held, sum(each.stream.buffered for each in runners.values()))
                with suppress(ConnectionResetError):  # it reads no more, so the reply may be lost
                    assert (await peer.receive_all()).count(b"\n") <= 1
            assert held <= 2 * MAX_REQUEST
            assert (await world.op("status"))["ok"]

    run_async(main())


@pytest.mark.parametrize("size", [MAX_REQUEST + 1, 2 * MAX_REQUEST])
def test_a_request_that_is_too_long_is_answered_with_the_limit(run_async: Any, tmp_path: Path, size: int) -> None:
    async def main() -> None:
        async with operated(tmp_path) as world:
            with await Peer.connect(world.control_address) as peer:
                await peer.send(json.dumps({"op": "close", "id": "x" * size}).encode() + b'\n{"op": "drain"}\n')
                reply = json.loads(await peer.receive_all())
            assert reply["ok"] is False
            assert "the request is too long: " in reply["error"]
            assert f"and a request has at most {MAX_REQUEST:,}" in reply["error"]
            assert (await world.op("status"))["value"]["state"] == "serving", "what followed was not taken as a request"

    run_async(main())


def test_a_client_that_never_reads_blocks_no_other(run_async: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async with operated(tmp_path) as world:
            with await Peer.connect(world.control_address, receive_buffer=4096) as slow:
                asked = 0
                request = b'{"op":"metrics"}\n' * 100
                while slow.send_what_fits(request) == len(request) and asked < 100_000:
                    asked += 100
                    await asyncio.sleep(0)
                # Its replies wait up to a bound, and then it is read no more: the kernel takes no more of it.
                assert asked < 100_000
                assert (await world.op("status"))["ok"]
                assert await conversation(world.server, b"still served") == [b"STILL SERVED"]

    run_async(main())


@pytest.mark.parametrize("first", [b"", b'{"op":', b'{"op":"status"}\n'], ids=["silent", "half a request", "after one"])
def test_silent_clients_keep_no_other_waiting(
    run_async: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: bytes
) -> None:
    """They have no deadline here: only the place of the one that has been silent longest makes room."""

    async def main() -> None:
        async with operated(tmp_path) as world, asyncio.timeout(100):
            with ExitStack() as stack:
                silent = [stack.enter_context(await Peer.connect(world.control_address)) for _ in range(3)]
                for _ in range(100):
                    silent.append(stack.enter_context(await Peer.connect(world.control_address)))
                    silent[-1].send_what_fits(first)
                for _ in range(3):
                    assert (await world.op("status"))["ok"]
                assert len(world._control.server.connections) <= MAX_WAITING
                with suppress(ConnectionResetError):  # it may have had octets that nobody read
                    await silent[0].receive_all()
                await silent[-1].send(b'"status"}\n' if first.endswith(b":") else b'{"op":"status"}\n')
                assert await silent[-1].receive(6) == b'{"ok":'

    for seconds in ("first_message_timeout", "message_timeout", "idle_timeout", "write_timeout", "linger_timeout"):
        monkeypatch.setattr(control, "_DEADLINES", control._DEADLINES.replace(**{seconds: 10_000.0}))
    run_async(main())


def test_two_clients_at_once(run_async: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async with operated(tmp_path) as world:
            with await Peer.connect(world.control_address) as one, await Peer.connect(world.control_address) as two:
                replies = await asyncio.gather(
                    *(ask(peer, {"op": op}) for peer, op in ((one, "suspend"), (two, "suspend")))
                )
                assert all(reply["ok"] for reply in replies)
                assert (await ask(one, {"op": "status"}))["value"]["state"] == "suspended"
                assert (await ask(two, {"op": "resume"}))["ok"]
                assert (await ask(one, {"op": "status"}))["value"]["state"] == "serving"

    run_async(main())


def test_an_operation_that_raises_is_an_answer_and_is_logged(
    run_async: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Servers):
        async def suspend(self) -> None:
            raise ZeroDivisionError("a mistake of ours")

    async def main() -> None:
        control = ControlServer(Broken([]), str(tmp_path / "c"))
        await control.start()
        with await Peer.connect(control.server.address) as peer:
            reply = await ask(peer, {"op": "suspend"})
        await control.stop()
        assert reply == {"ok": False, "error": "it failed: ZeroDivisionError: a mistake of ours"}

    run_async(main())
    assert "a mistake of ours" in caplog.text


# -- the socket file --------------------------------------------------------------------------------------


def test_only_the_owner_may_connect(run_async: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async with operated(tmp_path) as world:
            assert stat.S_IMODE(os.stat(world.control).st_mode) == 0o600

    before = os.umask(0)
    try:
        run_async(main())
    finally:
        os.umask(before)


def test_a_socket_in_use_is_refused_and_a_stale_one_replaced(run_async: Any, tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))

    async def main() -> None:
        one, two = ControlServer(Servers([]), str(path)), ControlServer(Servers([]), str(path))
        await one.start()
        with pytest.raises(ListenAddressInUse):
            await two.start()
        with await Peer.connect(one.server.address) as peer:
            assert (await ask(peer, {"op": "status"}))["ok"]
        await one.stop()

    run_async(main())
    assert not path.exists()


def test_a_file_that_is_no_socket_is_kept(run_async: Any, tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    path.write_text("precious")

    async def main() -> None:
        with pytest.raises(ListenAddressInUse, match="a file that is not a socket"):
            await ControlServer(Servers([]), str(path)).start()

    run_async(main())
    assert path.read_text() == "precious"


def test_the_folder_without_a_path(tmp_path: Path) -> None:
    environment = {"XDG_RUNTIME_DIR": str(tmp_path)}
    path = automatic_path("my/../service \x1b", environment)
    assert path == str(tmp_path / "fourtuple" / "my_.._service__.sock")
    assert stat.S_IMODE(os.stat(tmp_path / "fourtuple").st_mode) == 0o700
    with pytest.raises(OperationError, match="no control socket in"):
        find(None, environment)
    assert find("unix:/given", environment) == "/given"
    assert find(None, {"FOURTUPLE_CONTROL": "/variable"}) == "/variable"
    assert find("/given", {"FOURTUPLE_CONTROL": ""}) == "/given"
    listeners = []
    for name in ("one", "two"):
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(automatic_path(name, environment))
        sock.listen()
        listeners.append(sock)
        if name == "one":
            alone = automatic_path("one", environment)
            assert find(None, environment) == alone
            assert find("auto", environment) == alone
            assert find(None, {**environment, "FOURTUPLE_CONTROL": "auto"}) == alone
            for empty in ("", "unix:"):  # a mistake in a script: it must not drain the server that is there
                with pytest.raises(OperationError, match="--control is empty: the path of a socket is needed"):
                    find(empty, environment)
                with pytest.raises(OperationError, match="FOURTUPLE_CONTROL is empty"):
                    find(None, {**environment, "FOURTUPLE_CONTROL": empty})
    with pytest.raises(OperationError, match="several control sockets"):
        find(None, environment)
    for sock in listeners:
        sock.close()


def test_a_folder_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fourtuple").mkdir()
    (tmp_path / "fourtuple").chmod(0o777)
    with pytest.raises(OperationError, match="not a folder that only this user can write to"):
        automatic_path("echo", {"XDG_RUNTIME_DIR": str(tmp_path)})


def test_replies_are_lines_of_json(run_async: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async with operated(tmp_path) as world:
            with await Peer.connect(world.control_address) as peer:
                octets = await peer.talk(b'{"op":"status"}\n{"op":"metrics"}\n')
            assert [json.loads(line)["ok"] for line in octets.splitlines()] == [True, True]
            await until(lambda: not world._control.server.connections)

    run_async(main())
