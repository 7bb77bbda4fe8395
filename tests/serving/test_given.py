"""Sockets that exist already: a program's own, ``fd:N``, and those of socket activation."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from fourtuple import Address, Endpoint, Limits, Server, events
from fourtuple.errors import AddressError, ListenError, OptionError
from fourtuple.net import given as given_module
from fourtuple.net.given import Inherited, inherited, take_given
from fourtuple.net.sockets import apply_options
from fourtuple.options import Sockets
from fourtuple.server import listen_at
from fourtuple.serving.group import Group
from rig import Peer, echo, serving

#: socket.IPPROTO_MPTCP since Python 3.10; <linux/in.h>.
IPPROTO_MPTCP = 262


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def bound(family: int = socket.AF_INET, host: str = "127.0.0.1") -> socket.socket:
    sock = socket.socket(family)
    sock.bind((host, 0))
    return sock


@pytest.mark.parametrize("how", ["bound", "listening", "descriptor"])
def test_a_server_listens_at_a_socket_that_exists(how: str, run_async: Any, readiness: str) -> None:
    async def main() -> None:
        sock = bound()
        port = sock.getsockname()[1]
        if how == "listening":
            sock.listen(7)
        where = f"fd:{sock.detach()}" if how == "descriptor" else sock
        async with serving(echo(), readiness, where) as (server, _):
            assert server.port == port
            assert server.listeners[0].backlog == (7 if how == "listening" else server.listeners[0].asked_backlog)
            with await Peer.connect(server) as peer:
                await peer.send(b"hello\n")
                assert await peer.receive(6) == b"hello\n"
        if how != "descriptor":
            assert sock.fileno() == -1, "the server closed it"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))

    run_async(main())


def test_a_given_unix_socket_keeps_its_file(run_async: Any, readiness: str, tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "given"
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(path))
        async with serving(echo(), readiness, sock) as (server, _):
            assert server.address == Address(path=str(path))
            with await Peer.connect(server) as peer:
                await peer.send(b"hello\n")
                assert await peer.receive(6) == b"hello\n"
        assert path.exists()

    run_async(main())


def test_connections_of_a_given_socket_have_the_servers_options(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(echo(), readiness, bound(), sockets=Sockets(keepalive=True)) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.send(b"hello\n")
                assert await peer.receive(6) == b"hello\n"
                (connection,) = server.connections.values()
                sock = connection._channel.socket
                assert sock is not None
                assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    run_async(main())


def closed(stack: ExitStack) -> socket.socket:
    sock = bound()
    sock.close()
    return sock


def connected(stack: ExitStack) -> socket.socket:
    one, other = socket.socketpair()
    stack.enter_context(other)
    return stack.enter_context(one)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (closed, "it is closed"),
        (connected, "it is connected"),
        (lambda stack: stack.enter_context(socket.socket()), "it is not bound"),
        (lambda stack: stack.enter_context(socket.socket(socket.AF_UNIX)), "it is not bound"),
        (lambda stack: stack.enter_context(socket.socket(type=socket.SOCK_DGRAM)), "it sends datagrams"),
    ],
)
def test_what_cannot_listen_is_refused(make: Any, told: str, stack: ExitStack) -> None:
    sock = make(stack)
    before = sock.fileno()
    with pytest.raises(OptionError, match=told):
        Server(echo(), sock)
    assert sock.fileno() == before


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (connected, "it is connected"),
        (lambda stack: stack.enter_context(socket.socket(type=socket.SOCK_DGRAM)), "it sends datagrams"),
        (lambda stack: stack.enter_context(open(os.devnull)), "this is not a socket"),  # noqa: SIM115
    ],
)
def test_a_descriptor_that_cannot_listen_is_refused_and_stays_open(make: Any, told: str, stack: ExitStack) -> None:
    given = make(stack)
    with pytest.raises(ListenError, match=f"fd:{given.fileno()}.*{told}"):
        take_given(given.fileno(), Sockets())
    os.fstat(given.fileno())


def test_a_descriptor_that_is_not_open() -> None:
    with pytest.raises(ListenError, match=r"fd:999999.*this is not a socket"):
        take_given(999_999, Sockets())


def test_the_same_one_twice(stack: ExitStack) -> None:
    sock = stack.enter_context(bound())
    with pytest.raises(OptionError, match="given twice"):
        Server(echo(), sock, f"fd:{sock.fileno()}")
    with pytest.raises(OptionError, match="given twice"):
        Server(echo(), sock, sock)
    again = stack.enter_context(sock.dup())
    told = f"descriptors {sock.fileno()} and {again.fileno()} are one socket, .* as fd:{sock.fileno()} and as .*laddr"
    with pytest.raises(OptionError, match=told):
        Server(echo(), f"fd:{sock.fileno()}", again)


@pytest.mark.parametrize("second", ["the same descriptor", "a copy"])
def test_the_same_one_in_two_servers_of_a_group(stack: ExitStack, second: str) -> None:
    sock = stack.enter_context(bound())
    copy = stack.enter_context(sock.dup())
    other = sock.fileno() if second == "the same descriptor" else copy.fileno()
    one, two = Server(echo(), f"fd:{sock.fileno()}"), Server(echo(), f"fd:{other}")
    with pytest.raises(OptionError, match=f"given twice, as fd:{sock.fileno()} and as fd:{other}"):
        Group([one, two])
    Group([one, Server(echo())])


@pytest.mark.parametrize("text", ["fd:", "fd:-1", "fd:3.5", "fd:٣", "fd:3rd", "fd:a:b", "fd:" + "a" * 256, "fd:é"])
def test_texts_that_are_no_descriptor(text: str) -> None:
    with pytest.raises(AddressError, match="not a descriptor"):
        Address.parse(text)


def test_the_text_of_a_descriptor() -> None:
    assert Address.parse(str(Address(fd=3))) == Address(fd=3)
    assert Address.parse("fd:app.socket") == Address(fd_name="app.socket")
    assert str(Address(fd=3, fd_name="web")) == "fd:web"


def test_a_descriptor_by_its_name(
    run_async: Any, readiness: str, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name may be that of several; the variables are read once, for all servers of the process."""
    # Three descriptors in a row, above all that are open.
    first = 700
    for number in range(first, first + 3):
        with bound() as sock:
            os.dup2(sock.fileno(), number)
    monkeypatch.setattr(given_module, "FIRST_DESCRIPTOR", first)
    for name, value in (("PID", os.getpid()), ("FDS", 3), ("FDNAMES", "web:admin:web")):
        monkeypatch.setenv(f"LISTEN_{name}", str(value))

    async def main() -> None:
        async with serving(echo(), readiness, "fd:web") as (server, _):
            assert len(server.listeners) == 2
            assert "LISTEN_FDS" not in os.environ
            with pytest.raises(OptionError, match=rf"fd:api: .* no descriptor with this name; .*{first} \(web\), "):
                Server(echo(), "fd:api")
            with pytest.raises(OptionError, match=f"descriptor {first} given twice, as fd:web and as fd:{first}"):
                Server(echo(), "fd:web", f"fd:{first}")
            async with serving(echo(), readiness, Endpoint("fd:admin", limits=Limits())) as (other, _):
                with await Peer.connect(other) as peer:
                    assert await peer.talk(b"hello\n") == b"hello\n"

    run_async(main())


# -- socket activation ------------------------------------------------------------------------------------


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> socket.socket:
    sock = stack.enter_context(bound())
    sock.set_inheritable(True)
    monkeypatch.setattr("fourtuple.net.given.FIRST_DESCRIPTOR", sock.fileno())
    return sock


def test_descriptors_of_socket_activation(handed: socket.socket) -> None:
    environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "web", "HOME": "/"}
    assert inherited(environ) == [Inherited(handed.fileno(), "web")]
    assert environ == {"HOME": "/"}
    assert not handed.get_inheritable()
    assert inherited(environ) == []


@pytest.mark.parametrize(
    "environ", [{}, {"LISTEN_FDS": "1"}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}, {"LISTEN_PID": str(os.getpid())}]
)
def test_variables_of_nobody_or_of_another_process(environ: dict[str, str], handed: socket.socket) -> None:
    before = dict(environ)
    assert inherited(environ) == []
    assert environ == before
    assert handed.get_inheritable()


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"LISTEN_FDS": "one"}, "LISTEN_FDS: expected a number \\(sd_listen_fds\\(3\\)\\), got 'one'"),
        ({"LISTEN_FDS": "-1"}, "LISTEN_FDS: expected a number \\(sd_listen_fds\\(3\\)\\), got '-1'"),
        ({"LISTEN_FDS": "9999999"}, "LISTEN_FDS: expected a number \\(sd_listen_fds\\(3\\)\\), got '9999999'"),
        ({"LISTEN_FDS": "1", "LISTEN_PID": "me"}, "LISTEN_PID: expected a number \\(sd_listen_fds\\(3\\)\\), got 'me'"),
        ({"LISTEN_FDS": "1", "LISTEN_FDNAMES": "a:b"}, "2 names for 1 descriptors"),
        ({"LISTEN_FDS": "100000"}, "is not open"),
    ],
)
def test_variables_that_make_no_sense(environ: dict[str, str], told: str, handed: socket.socket) -> None:
    with pytest.raises(OptionError, match=told):
        inherited({"LISTEN_PID": str(os.getpid()), **environ})


def test_a_listener_added_while_accept_pauses_pauses_too(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(echo(), readiness) as (server, seen):
            server.pause()
            added = listen_at(server, bound(), 7, keeps_file=False)
            assert seen.of(events.Listening)[-1] == events.Listening(added.name, 7, 7)
            assert added.paused == {"by request"}
            with await Peer.connect(added.name) as peer:
                await peer.send(b"hello\n")
                assert not server.connections, "it waits in the accept queue"
                server.resume()
                assert await peer.receive(6) == b"hello\n"

    run_async(main())


@pytest.mark.parametrize(
    ("family", "host", "said"),
    [
        (socket.AF_INET, "127.0.0.1", socket.AF_UNIX),
        (socket.AF_INET6, "::1", socket.AF_INET),  # its addresses would be cut off
        (socket.AF_UNIX, "", socket.AF_INET),
    ],
)
def test_the_family_of_a_given_socket_is_the_kernels(
    family: int, host: str, said: int, run_async: Any, readiness: str, tmp_path: Path, stack: ExitStack
) -> None:
    path = str(tmp_path / "given")
    sock = stack.enter_context(socket.socket(family))
    sock.bind(path if family == socket.AF_UNIX else (host, 0))
    name = Address.parse(f"unix:{path}") if family == socket.AF_UNIX else Address(host, sock.getsockname()[1])

    async def main() -> None:
        given = socket.fromfd(sock.fileno(), said, socket.SOCK_STREAM)
        async with serving(echo(), readiness, given) as (server, _):
            assert server.listeners[0].name == name
            assert given.fileno() == -1, "another object took its place"
            with await Peer.connect(server) as peer:
                await peer.send(b"hello\n")
                assert await peer.receive(6) == b"hello\n"

    run_async(main())


def test_a_refused_socket_with_another_family_is_left_as_it_was(stack: ExitStack) -> None:
    sock = stack.enter_context(bound())
    given = stack.enter_context(socket.fromfd(sock.fileno(), socket.AF_UNIX, socket.SOCK_STREAM))
    with pytest.raises(OptionError, match="congestion: the kernel refuses 'none-such'"):
        take_given(given, Sockets(congestion="none-such"))
    assert given.getsockname() == sock.getsockname()
    datagrams = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
    disguised = stack.enter_context(socket.fromfd(datagrams.fileno(), socket.AF_INET, socket.SOCK_STREAM))
    with pytest.raises(OptionError, match="it sends datagrams"):
        Server(echo(), disguised)


def mptcp(stack: ExitStack) -> socket.socket:
    try:
        return stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP))
    except OSError as error:
        pytest.skip(f"this kernel has no MPTCP: {error}")


def test_defaults_that_a_socket_does_not_have_are_left_out(run_async: Any, readiness: str, stack: ExitStack) -> None:
    sock, client = mptcp(stack), mptcp(stack)
    sock.bind(("127.0.0.1", 0))
    with pytest.raises(OptionError, match="user_timeout: the kernel refuses 5000"):
        take_given(sock, Sockets(user_timeout=5.0))

    async def main() -> None:
        async with serving(echo(), readiness, sock):
            client.connect(sock.getsockname())
            client.setblocking(False)
            with Peer(client) as peer:
                await peer.send(b"hello\n")
                assert await peer.receive(6) == b"hello\n"

    run_async(main())


class NoSuchOption(socket.socket):
    def setsockopt(self, level: int, number: int, value: Any) -> None:  # type: ignore[override]
        if number == socket.TCP_USER_TIMEOUT:
            raise OSError(errno.ENOPROTOOPT, os.strerror(errno.ENOPROTOOPT))
        super().setsockopt(level, number, value)


def test_only_an_option_that_was_asked_for_has_to_be_there(stack: ExitStack) -> None:
    sock = stack.enter_context(NoSuchOption())
    apply_options(sock, Sockets())
    with pytest.raises(OptionError, match=r"user_timeout: the kernel refuses 5000 \(Protocol not available\)"):
        apply_options(sock, Sockets(user_timeout=5.0))
