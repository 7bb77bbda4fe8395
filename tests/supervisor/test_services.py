"""Several services of one file in every worker: their addresses, options and limits, and what changes them."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol, cast

import pytest

from certificates import Files, trusting
from cli.conftest import ENVIRONMENT, FOURTUPLE
from fourtuple import Address, Endpoint, Limits, Server, Service, Sockets
from fourtuple.errors import OperationError
from fourtuple.net.descriptors import default_connections
from fourtuple.net.given import Inherited
from fourtuple.supervisor.listen_address import ListenAddress
from fourtuple.supervisor.process import Report
from fourtuple.supervisor.seat import HandedPlace, Handover
from fourtuple.supervisor.shares import Part, Shares
from fourtuple.supervisor.slots import Slots
from fourtuple.supervisor.stored import handed_over, name_of
from fourtuple.supervisor.subject import Supervised
from fourtuple.supervisor.upgrade import taken_over
from supervisor.test_command import (
    PR_SET_CHILD_SUBREAPER,
    Manager,
    Program,
    children,
    end_all,
    wait_for_end,
)
from supervisor.test_command import manager as manager
from supervisor.traffic import PATIENCE, Traffic, read_line

pytestmark = pytest.mark.slow  # dozens of processes

SOURCE = """
import os
from fourtuple import Service

service = Service("line")

@service.reply
def reply(message):
    told = b" {name}" if message == b"who" else b""
    return message + b" %d" % os.getpid() + told
"""
FILE = """
[deadlines]
drain_timeout = 60
drain_idle_timeout = 0
linger_timeout = 60
[processes]
workers = 2
[services.mail]
target = "mail.py"
listen = ["127.0.0.1:0"]
[services.news]
target = "news.py"
listen = ["127.0.0.1:0"]
"""


class Served(Program):
    """A supervisor of the services of a file."""

    def __init__(self, folder: Path, *flags: str, prefix: tuple[str, ...] = (), **env: str) -> None:
        self.process = subprocess.Popen(
            [*prefix, *FOURTUPLE, "serve", *flags],
            cwd=folder,
            env=ENVIRONMENT | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []

    def ports(self, count: int) -> list[int]:
        """Return the ports at which it listens, in the order of the file."""
        return [int(self.line_with("Listening at").split()[3].rpartition(":")[2]) for _ in range(count)]


class Start(Protocol):
    def __call__(self, *flags: str, prefix: tuple[str, ...] = (), **env: str) -> Served: ...


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    for name in ("mail", "news"):
        (tmp_path / f"{name}.py").write_text(SOURCE.format(name=name))
    before = children()
    adopt = ctypes.CDLL(None).prctl
    adopt(PR_SET_CHILD_SUBREAPER, 1)
    with ExitStack() as stack:

        def start(*flags: str, prefix: tuple[str, ...] = (), **env: str) -> Served:
            program = Served(tmp_path, "-q", *flags, prefix=prefix, **env)
            stack.callback(program.close)
            return program

        yield start
    left = end_all(before)
    adopt(PR_SET_CHILD_SUBREAPER, 0)
    assert not left, "processes go on, and were killed"


def ask(port: int, context: ssl.SSLContext | None = None) -> tuple[int, str]:
    """Return the process id and the name of the service that answers."""
    with ExitStack() as stack:
        sock: socket.socket = stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))
        if context is not None:
            sock = stack.enter_context(context.wrap_socket(sock, server_hostname="localhost"))
        sock.sendall(b"who\n")
        _, pid, name = read_line(sock).split()
    return int(pid), name.decode()


@pytest.mark.slow
def test_all_services_in_every_worker_and_a_roll_loses_nothing(start: Start, tmp_path: Path) -> None:
    files = Files(tmp_path)
    (tmp_path / "fourtuple.toml").write_text(
        f"{FILE}tls = {{certificate = '{files.both}'}}\n"
        "[[services.news.endpoints]]\nlisten = ['127.0.0.1:0', '127.0.0.1:0']\ntls = false\n"
    )
    program = start()
    mail, news, plain, other = program.ports(4)
    trusted = trusting()
    assert {name for _, name in (ask(mail) for _ in range(9))} == {"mail"}
    assert {ask(news, trusted)[1], ask(plain)[1], ask(other)[1]} == {"news"}
    before = set(program.pids())
    with Traffic(("127.0.0.1", mail)) as at_mail, Traffic(("127.0.0.1", plain)) as at_news:
        (tmp_path / "fourtuple.toml").write_text(
            (tmp_path / "fourtuple.toml").read_text() + "limits = {max_batch = 7}\n"
        )
        program.process.send_signal(signal.SIGHUP)
        program.line_with("2 workers replaced")
        assert not at_mail.lost + at_news.lost
        os.kill(program.pids()[-1], signal.SIGKILL)
        program.line_with("is ready")
    pids = set(program.pids()) - before
    assert len(pids) == 3
    for traffic in (at_mail, at_news):
        assert len(traffic.lost) <= 5, "a killed worker loses only what it held: one message of each client"
        assert traffic.count
    for port, context in ((mail, None), (news, trusted), (plain, None)):
        assert {ask(port, context)[0] for _ in range(5)} <= pids
    program.process.send_signal(signal.SIGTERM)
    program.rest()
    assert program.process.wait() == 0


def test_a_drain_with_clients_of_both(start: Start, tmp_path: Path) -> None:
    (tmp_path / "fourtuple.toml").write_text(FILE)
    program = start()
    ports = program.ports(2)
    with ExitStack() as stack:
        socks = [stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE)) for port in ports]
        for sock in socks:
            sock.sendall(b"ready\nwh")
            read_line(sock)
        program.process.send_signal(signal.SIGTERM)
        program.line_with("Stopping 2 workers")
        for sock, name in zip(socks, (b"mail", b"news"), strict=True):
            sock.sendall(b"o\n")
            assert read_line(sock).split()[::2] == [b"who", name]
    program.rest()
    assert program.process.wait() == 0


def test_sighup_reads_the_file_again(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "fourtuple.toml"
    file.write_text(FILE)
    program = start()
    mail, news = program.ports(2)
    first = set(program.pids())
    file.write_text(FILE.replace('target = "news.py"', 'target = "mail.py"'))
    program.process.send_signal(signal.SIGHUP)
    program.line_with("2 workers replaced")
    assert ask(news)[1] == "mail"
    second = set(program.pids()) - first
    for broken, told in (
        (FILE.replace("workers = 2", "workers = 0"), "[processes] workers: expected at least 1, got 0"),
        (FILE + "limits = {max_bach = 3}\n", "max_bach: there is no such option; did you mean max_batch?"),
        (FILE.replace("news.py", "gone.py"), "worker 1 did not start"),
        (
            FILE.replace('["127.0.0.1:0"]', '["127.0.0.1:0", "127.0.0.1:1"]', 1),
            "the file has other addresses: mail at 127.0.0.1:0, 127.0.0.1:1 instead of 127.0.0.1:0. New workers get "
            "the sockets that are open: an upgrade (SIGUSR2, or fourtuple upgrade) opens and closes addresses",
        ),
        (
            FILE.replace("services.news", "services.noose"),
            "news at none instead of 127.0.0.1:0; noose at 127.0.0.1:0 instead of none",
        ),
        ("[limits]\n", "declare services in fourtuple.toml"),
    ):
        file.write_text(broken)
        program.process.send_signal(signal.SIGHUP)
        assert "the workers before it go on" in program.line_with("the workers before it go on")
        assert told in "".join(program.lines), told
    assert {ask(mail)[0], ask(news)[0]} <= second
    assert ask(mail)[1] == "mail"


def test_a_roll_reads_the_certificates_again(start: Start, tmp_path: Path) -> None:
    files = {name: Files(tmp_path, name) for name in ("localhost", "127.0.0.1")}
    certificate = tmp_path / "in-force.pem"
    (tmp_path / "fourtuple.toml").write_text(f"{FILE}tls = {{certificate = '{certificate}'}}\n")
    certificate.write_bytes(Path(files["localhost"].both).read_bytes())
    program = start()
    _, news = program.ports(2)
    for turn, name in enumerate(files):
        if turn:
            certificate.write_bytes(Path(files[name].both).read_bytes())
            program.process.send_signal(signal.SIGHUP)
            program.line_with("2 workers replaced")
        sock = socket.create_connection(("127.0.0.1", news), 20)
        with trusting().wrap_socket(sock, server_hostname=name) as tls:
            tls.sendall(b"who\n")
            assert read_line(tls).endswith(b" news\n")


@pytest.mark.slow
def test_an_upgrade_opens_and_closes_addresses(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "fourtuple.toml"
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        ports = [sock.getsockname()[1] for sock in (one, two)]
    content = FILE.replace('["127.0.0.1:0"]', f'["127.0.0.1:{ports[0]}"]', 1)
    file.write_text(content)
    program = start()
    mail, news = program.ports(2)
    assert mail == ports[0]
    with Traffic(("127.0.0.1", mail)) as traffic:
        file.write_text(
            f"{FILE.partition('[services.mail]')[0]}[services.post]\ntarget = 'mail.py'\n"
            f"listen = ['127.0.0.1:{ports[0]}', '127.0.0.1:{ports[1]}']\n"
        )
        program.process.send_signal(signal.SIGUSR2)
        assert "post: Listening" in program.line_with("Listening at")
        program.line_with("Listening at")
        wait_for_end(program.process.pid)
    assert not traffic.lost
    assert ask(mail)[1] == ask(ports[1])[1] == "mail"
    with pytest.raises(ConnectionRefusedError):
        ask(news)
    successor = next(line for line in program.lines if "a new supervisor starts" in line)
    os.kill(int(successor.rpartition("pid ")[2].rstrip(")\n")), signal.SIGTERM)
    program.rest()


@pytest.mark.parametrize(
    "store", [pytest.param(False, id=""), pytest.param(True, id="with an fd store", marks=pytest.mark.slow)]
)
def test_an_upgrade_that_drops_a_unix_socket_removes_its_file(
    start: Start, manager: Manager, tmp_path: Path, store: bool
) -> None:
    """But not one that another server has made meanwhile."""
    paths = [tmp_path / "one.sock", tmp_path / "two.sock"]
    file, mail = tmp_path / "fourtuple.toml", tmp_path / "mail.py"
    many = ", ".join(f'"unix:{path}"' for path in paths)
    file.write_text(FILE.replace('["127.0.0.1:0"]', f'["127.0.0.1:0", {many}]', 1))
    program = start(**({"NOTIFY_SOCKET": manager.name, "FDSTORE": "9"} if store else {}))
    for _ in range(4):
        program.line_with("Listening at")
    if store:
        manager.until("READY")
    assert len(manager.fds) == (6 if store else 0)
    paths[1].unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(paths[1]))
        source = mail.read_text()
        mail.write_text("raise RuntimeError('broken')")
        file.write_text(FILE)
        program.process.send_signal(signal.SIGUSR2)
        program.line_with("this supervisor goes on")
        assert paths[0].exists(), "the upgrade was abandoned"
        mail.write_text(source)
        program.process.send_signal(signal.SIGUSR2)
        taken_over, _ = program.lines_with("has taken over", "Listening at")
        successor = int(taken_over.split("pid ")[1].split()[0])
        wait_for_end(program.process.pid)
        assert not paths[0].exists()
        assert paths[1].exists()
    if store:
        manager.until("READY")
        assert len(manager.fds) == 4, "the manager keeps no socket at which nobody accepts"
    os.kill(successor, signal.SIGTERM)
    program.rest()


def test_a_sibling_serves_a_borrowed_queue_with_the_options_of_its_endpoint(start: Start, tmp_path: Path) -> None:
    files = Files(tmp_path)
    (tmp_path / "fourtuple.toml").write_text(
        f"{FILE}[[services.news.endpoints]]\nlisten = '127.0.0.1:0'\ntls = {{certificate = '{files.both}'}}\n"
    )
    program = start()
    *_, secret = program.ports(3)
    pids, trusted = set(program.pids()), trusting()
    frozen = ask(secret, trusted)[0]
    os.kill(frozen, signal.SIGSTOP)
    try:
        # Some of these wait in its accept queue, until its sibling gets it.
        with ExitStack() as stack:
            socks = [stack.enter_context(socket.create_connection(("127.0.0.1", secret), PATIENCE)) for _ in range(12)]
            program.line_with("accepts what waits for worker")
            for sock in socks:
                with trusted.wrap_socket(sock, server_hostname="localhost") as tls:
                    tls.sendall(b"who\n")
                    _, pid, name = read_line(tls).split()
                    assert (int(pid), name) == ((pids - {frozen}).pop(), b"news")
    finally:
        os.kill(frozen, signal.SIGCONT)


def test_the_addresses_in_force_are_shown_with_their_services(start: Start, tmp_path: Path) -> None:
    control = str(tmp_path / "control.sock")
    (tmp_path / "fourtuple.toml").write_text(f"{FILE}limits = {{max_connections_per_address = 9}}\n")
    program = start("--control", control)
    mail, news = program.ports(2)

    def told(*arguments: str) -> str:
        command = [*FOURTUPLE, *arguments, "--control", control]
        return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=True).stdout

    with socket.create_connection(("127.0.0.1", news), PATIENCE) as sock:
        sock.sendall(b"x\n")
        read_line(sock)
        status = json.loads(told("status", "--json"))
        assert {each["name"]: each["connections"] for each in status["services"]} == {"mail": 0, "news": 1}
        assert {each["address"]: each["service"] for each in status["listeners"]} == {
            f"127.0.0.1:{mail}": "mail",
            f"127.0.0.1:{news}": "news",
        }
        (open_,) = json.loads(told("connections", "--json"))
        assert open_["service"] == "news"
    assert "max_connections_per_address = 1" in told(
        "limits", "set", "--service", "mail", "max_connections_per_address=1"
    )
    told("limits", "set", "high_water=20000")
    file = tmp_path / "fourtuple.toml"
    content = file.read_text()
    file.write_text(content.replace("[deadlines]", "[limits]\nlow_water = 30000\n[deadlines]"))
    program.process.send_signal(signal.SIGHUP)
    assert ", got 30000 octets" in program.line_with("the workers before it go on")
    file.write_text(content)
    told("workers", "1")  # the worker that stays has the limit, and one that starts anew gets it
    for _ in range(2):
        with ExitStack() as stack:
            first, second = (
                stack.enter_context(socket.create_connection(("127.0.0.1", mail), PATIENCE)) for _ in range(2)
            )
            first.sendall(b"who\n")
            assert read_line(first).endswith(b"mail\n")
            assert second.recv(1) == b""
            for _ in range(2):
                sock = stack.enter_context(socket.create_connection(("127.0.0.1", news), PATIENCE))
                sock.sendall(b"who\n")
                assert read_line(sock).endswith(b"news\n")
        program.process.send_signal(signal.SIGHUP)
        program.line_with("1 worker replaced")


@pytest.mark.parametrize("declared", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_services_divide_the_descriptors_of_the_workers_that_run(start: Start, tmp_path: Path, declared: int) -> None:
    """Of 1000 descriptors, 64 are kept; the number of workers in the file does not count."""
    control = str(tmp_path / "control.sock")
    (tmp_path / "fourtuple.toml").write_text(FILE.replace("workers = 2", f"workers = {declared}"))
    program = start("--control", control, prefix=("bash", "-c", 'ulimit -n 1000 && exec "$0" "$@"'))
    program.ports(2)

    def told(*arguments: str) -> str:
        command = [*FOURTUPLE, *arguments, "--control", control]
        return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=True).stdout

    def allowed() -> list[int]:
        return [each["max_connections"] for each in json.loads(told("status", "--json"))["services"]]

    other = 3 - declared
    assert allowed() == [468 * declared] * 2
    told("workers", str(other))
    assert allowed() == [468 * other] * 2
    told("limits", "set", "max_connections=none")
    assert allowed() == [468 * other] * 2
    told("upgrade")
    program.line_with(f"{declared} worker{'s' * (declared > 1)} instead of {other}")
    assert allowed() == [468 * declared] * 2
    told("drain")
    assert "all services together" not in "".join(program.lines) + program.rest()


# -- the parts of it --------------------------------------------------------------------------------------


def servers() -> tuple[Server, Server]:
    service = Service("line")
    service.reply(lambda message: message)
    whole = Limits(max_connections=100, accept_rate=8.0)
    own = Endpoint("127.0.0.1:0", limits=Limits(max_connections=10))
    return Server(service, "127.0.0.1:0", own, limits=whole), Server(service, limits=whole)


def test_shares_of_services_and_endpoints(run_async: Any) -> None:
    async def main() -> None:
        mail, news = servers()
        shares = Shares(0, 3)
        whole = {"mail": Limits(max_connections=100), "mail/1": Limits(max_connections=10)}
        own_shares = shares.divide(whole | {"news": Limits(max_connections=30)})
        assert {label: limits.max_connections for label, limits in own_shares.items()} == {
            "mail": 34, "mail/1": 4, "news": 10,
        }  # fmt: skip
        shares.parts = {"mail": Part(mail, 0), "mail/1": Part(mail, 1), "news": Part(news, 0)}
        async with mail, news:
            own = mail._life.endpoint_limits
            shares.change_place(1, 4)
            assert (mail.limits.max_connections, own(1).max_connections) == (25, 3)
            assert news.limits.max_connections == 8
            shares.change("news", {"max_connections": 40, "max_batch": 3})
            assert (news.limits.max_connections, news.limits.max_batch) == (10, 3)
            assert (mail.limits.max_connections, mail.limits.max_batch) == (25, Limits().max_batch)
            shares.change(None, {"max_connections": 8})
            assert (mail.limits.max_connections, news.limits.max_connections) == (2, 2)
            assert own(1).max_connections == 3, "an endpoint keeps limits of its own"
            shares.change_place(0, 1)
            assert (mail.limits.max_connections, own(1).max_connections) == (8, 10)

    run_async(main())


def test_a_worker_that_is_full_for_one_service_gets_connections_of_the_others() -> None:
    steered: dict[str, frozenset[int]] = {}

    @dataclass(eq=False)
    class Steered:
        service: str

        def steer(self, slots: frozenset[int]) -> None:
            steered[self.service] = slots

    slots = Slots([cast(Any, Steered(service)) for service in ("mail", "news")])
    for number in (1, 2):
        slots.adopt(number).worker = cast(Any, SimpleNamespace(report=Report()))
    slots.steer()
    assert steered == {"mail": {1, 2}, "news": {1, 2}}
    full = slots.find(1)
    assert full is not None
    assert full.worker is not None
    full.worker.report.full = frozenset({"mail"})
    slots.steer()
    assert steered == {"mail": {2}, "news": {1, 2}}


def test_changed_limits_for_workers_that_start_later(run_async: Any) -> None:
    async def main() -> None:
        async def order(op: str, **arguments: Any) -> None:
            assert op == "limits"

        told: list[tuple[str | None, dict[str, Any]]] = []
        supervisor = SimpleNamespace(answers={}, on_ended=[], on_started=[], order=order, suspended=False)
        subject = Supervised(cast(Any, supervisor), {"mail": Limits(), "news": Limits()})
        for service, changes in (
            ("mail", {"max_batch": "3", "max_connections": "5"}),
            (None, {"max_batch": "4"}),
            ("news", {"max_batch": "6"}),
        ):
            await subject.set_limits(changes, service)
        with pytest.raises(OperationError, match="the server has no such service; did you mean news"):
            await subject.set_limits({"max_batch": "3"}, "new")
        channel = SimpleNamespace(tell=lambda op, service, changes: told.append((service, changes)))
        subject._begin(cast(Any, SimpleNamespace(channel=channel)))
        assert told == [(None, {"max_batch": 4}), ("mail", {"max_connections": 5}), ("news", {"max_batch": 6})]

    run_async(main())


def test_the_limits_in_force_are_told_of_services_and_of_endpoints_with_their_own(run_async: Any) -> None:
    async def main() -> None:
        places = [
            SimpleNamespace(label=label, name=f"127.0.0.1:{port}", sockets={})
            for port, label in enumerate(("mail", "mail/1", "mail/2", "news"), 1)
        ]
        supervisor: Any = SimpleNamespace(answers={}, on_ended=[], on_started=[], stopping=False, suspended=False)
        supervisor.slots = SimpleNamespace(places=places, __iter__=lambda: iter(()))
        own = Limits(max_batch=7)
        subject = Supervised(supervisor, {"mail": Limits(max_connections=5), "mail/2": own, "news": Limits()})

        async def status() -> Any:
            return {"services": [{"name": "mail", "max_connections": 6}, {"name": "news", "max_connections": 400}]}

        subject.status = status  # type: ignore[method-assign]
        mail, endpoint, news = await subject.limits()
        assert (mail["service"], mail["addresses"], mail["max_connections"]) == (
            *("mail", ["127.0.0.1:1", "127.0.0.1:2"]),
            5,
        )
        assert (endpoint["service"], endpoint["addresses"], endpoint["limits"]["max_batch"]) == (
            *("mail", ["127.0.0.1:3"]),
            7,
        )
        assert "max_threads" in mail["limits"]
        assert "max_threads" not in endpoint["limits"]
        assert (news["max_connections"], news["limits"]["max_connections"]) == (400, None)

    run_async(main())


def test_services_divide_the_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1064, 1064))
    assert default_connections([None, None]) == 500
    assert default_connections([None, 400, None]) == 300
    assert default_connections([None, 400, None], 2) == 800
    assert default_connections([None, None], 100) == 10_000
    assert default_connections([5000, None]) == 1
    assert default_connections([400]) > 0


def test_services_divide_the_descriptors_again_when_limits_or_workers_change(
    run_async: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1064, 1064))

    async def main() -> None:
        mail, news = servers()
        shares = Shares(0, 2)
        first = shares.divide({"mail": Limits(), "mail/1": Limits(max_connections=10), "news": Limits()})
        assert (first["mail"].max_connections, first["news"].max_connections) == (500, 500)
        shares.parts = {"mail": Part(mail, 0), "mail/1": Part(mail, 1), "news": Part(news, 0)}
        async with mail, news:

            def now() -> tuple[int | None, int | None]:
                return mail.limits.max_connections, news.limits.max_connections

            shares.change_place(0, 1)
            assert now() == (500, 500)
            shares.change("mail", {"max_connections": 300})
            assert now() == (300, 700)
            shares.change("mail", {"max_connections": None})
            assert now() == (500, 500)
            shares.change(None, {"max_connections": 8})
            assert now() == (8, 8)
            shares.change(None, {"max_connections": None})
            shares.change_place(1, 3)
            assert now() == (500, 500)

    run_async(main())


def test_who_takes_over_which_place(tmp_path: Path) -> None:
    with ExitStack() as stack:
        first, second, third = (stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3))
        names = [f"127.0.0.1:{sock.getsockname()[1]}" for sock in (first, second, third)]
        handed = tuple(
            HandedPlace(address, (os.dup(sock.fileno()),), (1,), label)
            for address, sock, label in (
                ("127.0.0.1:0", first, "mail"),
                (names[1], second, "news"),
                (names[2], third, ""),
            )
        )
        wanted = [
            ListenAddress(Address.parse("127.0.0.1:0"), Sockets(), "post"),
            ListenAddress(Address.parse("127.0.0.1:0"), Sockets(backlog=7), "mail"),
            ListenAddress(Address.parse(names[1]), Sockets(), "post"),
        ]
        taken = taken_over(Handover(-1, handed, 1), wanted)
        for place in (*taken.places, *taken.dropped):
            stack.callback(place.close)
        assert taken.link is None
        assert [(str(place.name), place.label) for place in taken.places] == [(names[0], "mail"), (names[1], "post")]
        assert taken.left == [wanted[0]], "a port that the kernel chose stays with its service"
        assert [str(place.name) for place in taken.dropped] == [names[2]]


def test_the_name_of_a_kept_socket_tells_its_label() -> None:
    for address, label in (("unix:/a b", ""), ("127.0.0.1:25", "mail"), ("[::]:25", "mail/1")):
        (place,) = handed_over([Inherited(3, name_of(address, label, 0, 1))]).places  # type: ignore[union-attr]
        assert (place.address, place.label) == (address, label)
    assert len(name_of("unix:" + "x" * 107, "s" * 32 + "/9", 0, 100)) < 256, "the most of systemd"
