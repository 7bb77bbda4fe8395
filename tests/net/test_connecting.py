"""Every way connect() fails is provoked for real, and is an error of its own; the race over several addresses."""

from __future__ import annotations

import errno
import os
import re
import resource
import select
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from fourtuple.address import Address
from fourtuple.errors import (
    AddressError,
    ConnectError,
    ConnectForbidden,
    ConnectRefused,
    ConnectReset,
    ConnectTimeout,
    HostUnreachable,
    ListenError,
    LocalAddressInUse,
    LocalAddressUnavailable,
    NameNotFound,
    NetworkUnreachable,
    NoLocalPort,
    NoSuchSocket,
    OptionError,
)
from fourtuple.four_tuple import FourTuple, UnixName
from fourtuple.net import connecting
from fourtuple.net.connecting import Connected, Resolve, Step, Wait, interleaved, pauses, racing, run
from fourtuple.net.connecting import steps as taking
from fourtuple.net.passive import open_listeners
from fourtuple.net.sockets import reset_on_close
from fourtuple.options import Reconnect, Sockets
from rig import slow_names

STREAM = socket.SOCK_STREAM


@pytest.fixture
def keep() -> Iterator[ExitStack]:
    """Whatever enters it is closed behind the test."""
    with ExitStack() as stack:
        yield stack


def text(sock: socket.socket) -> str:
    return "{}:{}".format(*sock.getsockname()[:2])


@pytest.fixture
def listener(keep: ExitStack) -> socket.socket:
    return keep.enter_context(socket.create_server(("127.0.0.1", 0)))


@pytest.fixture
def refusing(keep: ExitStack) -> socket.socket:
    """A port at which nobody listens and that nobody else can take: bound, that is all."""
    sock = keep.enter_context(socket.socket())
    sock.bind(("127.0.0.1", 0))
    return sock


@pytest.fixture
def silent(keep: ExitStack) -> socket.socket:
    return silent_listener(keep)


def silent_listener(keep: ExitStack) -> socket.socket:
    """A listener that answers no SYN: its accept queue is full."""
    sock = keep.enter_context(socket.socket())
    sock.bind(("127.0.0.1", 0))
    sock.listen(0)
    for _ in range(16):
        filler = keep.enter_context(socket.socket())
        filler.setblocking(False)
        filler.connect_ex(sock.getsockname())
        # On loopback the handshake is over when connect(2) returns, if there is one.
        if not select.select([], [filler], [], 0)[1]:
            filler.close()  # or its SYN, sent again, would take the first free place
            return sock
    pytest.fail("a queue of 0 took 16 connections")


def connect(address: str, **options: Any) -> Connected:
    return run(connecting.connecting(address, **options))


def connect_to(found: list[tuple[int, Any]], wait: Callable[[Step], None] | None = None, **options: Any) -> Connected:
    """Connect to a name that has these addresses."""
    steps = connecting.connecting("name.test:1", **options)
    answer: Any = None
    with closing(steps):
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as done:
                connected: Connected = done.value
                return connected
            if isinstance(step, Resolve):
                answer = [(family, STREAM, 6, "", sockaddr) for family, sockaddr in found]
            else:
                (wait or taking._wait)(step)


def inet(*sockets: socket.socket) -> list[tuple[int, Any]]:
    return [(socket.AF_INET, sock.getsockname()) for sock in sockets]


# -- it works ---------------------------------------------------------------------------------------------


def test_a_connection_has_its_name_and_does_not_block(listener: socket.socket) -> None:
    connected = connect(text(listener))
    with connected.socket as sock, listener.accept()[0]:
        assert connected.name == FourTuple(*sock.getsockname(), *listener.getsockname())
        assert not sock.getblocking()


def test_an_ipv6_address_in_brackets_is_connected_to() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6")
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        connected = connect(f"[::1]:{listener.getsockname()[1]}")
        connected.socket.close()
        assert connected.name.local.host == "::1"


def test_a_name_has_its_addresses_tried(listener: socket.socket) -> None:
    connected = connect(f"localhost:{listener.getsockname()[1]}")
    connected.socket.close()
    assert connected.name.local.host == "127.0.0.1"


def test_socket_options_are_set_before(listener: socket.socket) -> None:
    connected = connect(text(listener), sockets=Sockets(receive_buffer=10_000, keepalive_idle=77))
    with connected.socket as sock:
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 20_000  # the kernel doubles it: socket(7)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 77


def test_an_option_the_kernel_refuses_is_named(listener: socket.socket) -> None:
    with pytest.raises(OptionError, match="congestion: the kernel refuses 'nonsense'"):
        connect(text(listener), sockets=Sockets(congestion="nonsense"))


# -- every way to fail ------------------------------------------------------------------------------------


def test_a_refused_connection_is_named_with_its_address(refusing: socket.socket) -> None:
    with pytest.raises(ConnectRefused) as caught:
        connect(text(refusing))
    error = caught.value
    assert str(error) == f"cannot connect to {text(refusing)}: refused"
    assert (error.errno, error.address) == (errno.ECONNREFUSED, text(refusing))
    assert isinstance(error, ConnectionRefusedError)


def test_an_unanswered_connect_ends_at_its_timeout(silent: socket.socket) -> None:
    with pytest.raises(ConnectTimeout) as caught:
        connect(text(silent), timeout=0.05)
    assert str(caught.value) == f"cannot connect to {text(silent)}: no answer in time (waited 0.05 s)"
    assert isinstance(caught.value, TimeoutError)


def reset(peer: socket.socket) -> None:
    reset_on_close(peer)
    peer.close()


def fin_and_reset(peer: socket.socket) -> None:
    peer.shutdown(socket.SHUT_WR)
    reset(peer)


@pytest.mark.parametrize("how", [reset, fin_and_reset])
def test_reset_at_once(listener: socket.socket, how: Callable[[socket.socket], None]) -> None:
    steps = connecting.connecting(text(listener))
    step = next(steps)
    assert isinstance(step, Wait)
    how(listener.accept()[0])
    poll = select.poll()
    poll.register(step.descriptors[0], 0)
    assert poll.poll(5000), "the RST did not come"
    with pytest.raises(ConnectReset, match=f"cannot connect to {text(listener)}: reset at once") as caught:
        steps.send(None)
    assert isinstance(caught.value, ConnectionResetError)


def test_a_listener_that_closes_resets_connections_in_its_queue(listener: socket.socket) -> None:
    steps = connecting.connecting(text(listener))
    step = next(steps)
    assert isinstance(step, Wait)
    listener.close()
    with pytest.raises(ConnectReset):
        steps.send(None)


def test_name_not_found() -> None:
    with pytest.raises(
        NameNotFound, match=r"cannot connect to name.invalid:9: name not found .'name.invalid': "
    ) as caught:
        connect("name.invalid:9")
    assert caught.value.errno in (socket.EAI_NONAME, socket.EAI_AGAIN, socket.EAI_NODATA)


@pytest.mark.parametrize("name", ["a..b", "x" * 64])
def test_names_that_cannot_be_asked_for(name: str) -> None:
    with pytest.raises(NameNotFound, match=name):
        connect(f"{name}:9")


def test_a_name_without_addresses() -> None:
    with pytest.raises(NameNotFound, match=r"'name.test' has no IPv4 or IPv6 address"):
        connect_to([(socket.AF_UNIX, "/x")])


def test_a_name_server_that_does_not_answer_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with slow_names(monkeypatch) as waiting:
        with pytest.raises(ConnectTimeout, match=r"waited 0.05 s for the name 'slow.test' to be resolved"):
            connect("slow.test:9", timeout=0.05)
        assert [thread.is_alive() for thread in waiting] == [True]


def test_no_descriptor_left(refusing: socket.socket) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, limits[1]))
    try:
        with pytest.raises(ConnectError, match="Too many open files") as caught:
            connect(text(refusing))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert caught.value.errno == errno.EMFILE


def test_no_descriptor_left_to_look_a_name_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(*_arguments: Any, **_options: Any) -> Any:
        raise OSError(errno.EMFILE, "Too many open files", "idna.py")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(ConnectError, match=r"could not be made .Too many open files") as caught:
        connect("127.0.0.1:9")
    assert type(caught.value) is ConnectError
    with pytest.raises(ListenError, match=r"cannot listen at 127.0.0.1:9: .* .Too many open files.$"):
        open_listeners(Address("127.0.0.1", 9), Sockets())


def test_a_connection_to_itself_is_refused(refusing: socket.socket) -> None:
    address = text(refusing)
    refusing.close()
    with pytest.raises(ConnectRefused, match="this end's own, and the socket was connected to itself"):
        connect(address, local_address=address)


@pytest.mark.parametrize("address", ["*:9", "nowhere", "[::1]", ""])
def test_addresses_that_cannot_be_connected_to(address: str) -> None:
    with pytest.raises(AddressError):
        connecting.connecting(address)


def test_every_error_explains_itself() -> None:
    def all_of(kind: type[ConnectError]) -> Iterator[type[ConnectError]]:
        for each in kind.__subclasses__():
            yield each
            yield from all_of(each)

    kinds = list(all_of(ConnectError))
    assert len(kinds) == 11
    for kind in (ConnectRefused, ConnectTimeout, ConnectReset, ConnectForbidden):
        at_path = kind("unix:/x").explanation
        assert at_path != kind("127.0.0.1:1").explanation == kind.explanation
        assert not re.search("host|port|firewall|SYN", at_path)
    assert all(len(kind.explanation) > 60 and kind.meaning != ConnectError.meaning for kind in kinds)


# -- where from -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("local", ["127.0.0.2", "127.0.0.2:0"])
def test_a_local_address(listener: socket.socket, local: str) -> None:
    connected = connect(text(listener), local_address=local)
    connected.socket.close()
    assert connected.name.local.host == "127.0.0.2"
    assert connected.name.local.port


def test_one_local_port_serves_several_peers(listener: socket.socket, keep: ExitStack) -> None:
    other = keep.enter_context(socket.create_server(("127.0.0.1", 0)))
    with socket.socket() as free:
        free.bind(("127.0.0.3", 0))
        local = text(free)
    one = keep.enter_context(connect(text(listener), local_address=local).socket)
    two = keep.enter_context(connect(text(other), local_address=local).socket)
    assert one.getsockname() == two.getsockname()
    with pytest.raises(LocalAddressInUse) as caught:
        connect(text(listener), local_address=local)
    assert f"a connection from {local} to {text(listener)} exists already" in str(caught.value)


def test_a_local_address_in_use(listener: socket.socket) -> None:
    with pytest.raises(LocalAddressInUse) as caught:
        connect("127.0.0.1:1", local_address=text(listener))
    assert str(caught.value) == f"cannot connect to 127.0.0.1:1: local address in use (from {text(listener)})"


def test_a_local_address_of_another_machine(listener: socket.socket) -> None:
    with pytest.raises(LocalAddressUnavailable, match=r"local address not available \(from 203.0.113.1:0\)"):
        connect(text(listener), local_address="203.0.113.1")


@pytest.mark.parametrize("local", ["[::1]", "unix:/tmp/x"])
def test_a_local_address_of_another_family(listener: socket.socket, local: str) -> None:
    with pytest.raises(LocalAddressUnavailable, match="are of different families"):
        connect(text(listener), local_address=local)


def test_a_local_address_of_another_family_than_the_path(tmp_path: Path) -> None:
    with pytest.raises(LocalAddressUnavailable, match="of another family than the target"):
        connect(f"unix:{tmp_path}/x", local_address="127.0.0.1")


def test_a_local_address_is_a_literal() -> None:
    with pytest.raises(AddressError, match="a local address is a literal"):
        connecting.connecting("127.0.0.1:1", local_address="localhost:0")


def test_targets_of_another_family_are_skipped(listener: socket.socket) -> None:
    found = [(socket.AF_INET6, ("::1", 1, 0, 0)), *inet(listener)]
    connected = connect_to(found, local_address="127.0.0.1")
    connected.socket.close()
    assert connected.name.remote.port == listener.getsockname()[1]


# -- Unix sockets -----------------------------------------------------------------------------------------


@pytest.fixture(params=["path", "abstract"])
def unix(request: pytest.FixtureRequest, keep: ExitStack, tmp_path: Path) -> tuple[str, socket.socket]:
    path = str(tmp_path / "socket")
    sock = keep.enter_context(socket.socket(socket.AF_UNIX))
    if request.param == "path":
        sock.bind(path)
        return f"unix:{path}", sock
    sock.bind("\0" + path)
    return f"unix:@{path}", sock


def test_a_unix_connection_is_named_by_path_pid_and_uid(unix: tuple[str, socket.socket]) -> None:
    address, listener = unix
    listener.listen()
    connected = connect(address)
    with connected.socket, listener.accept()[0]:
        assert connected.name == UnixName(address.removeprefix("unix:"), os.getpid(), os.getuid())


def test_a_unix_socket_without_a_listener_is_refused(unix: tuple[str, socket.socket]) -> None:
    address, listener = unix
    listener.close()
    with pytest.raises(ConnectRefused, match=f"cannot connect to {address}: refused .*no socket listens at"):
        connect(address)


def test_unix_full_queue(unix: tuple[str, socket.socket], keep: ExitStack) -> None:
    address, listener = unix
    listener.listen(0)
    keep.enter_context(connect(address).socket)
    with pytest.raises(ConnectTimeout, match=r"waited 0.03 s, the accept queue is full"):
        connect(address, timeout=0.03)
    steps = connecting.connecting(address)
    assert isinstance(next(steps), Wait)
    listener.accept()[0].close()
    with pytest.raises(StopIteration) as done:
        steps.send(None)
    done.value.value.socket.close()


def test_no_such_unix_socket(tmp_path: Path) -> None:
    with pytest.raises(NoSuchSocket, match=f"cannot connect to unix:{tmp_path}/none: no such socket"):
        connect(f"unix:{tmp_path}/none")


def test_a_file_that_is_no_socket(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConnectRefused, match="the path exists, but no socket listens at it"):
        connect(f"unix:{tmp_path}/file")
    with pytest.raises(NoSuchSocket):
        connect(f"unix:{tmp_path}/file/below")


def test_a_datagram_socket(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"{tmp_path}/datagram")
        with pytest.raises(ConnectError, match="it is a datagram socket, not a stream socket"):
            connect(f"unix:{tmp_path}/datagram")


def test_a_unix_socket_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # root may do everything
    try:
        with pytest.raises(ConnectForbidden, match="not permitted") as caught:
            connect(f"unix:{tmp_path}/socket")
    finally:
        os.seteuid(user)
        tmp_path.chmod(0o700)
    assert isinstance(caught.value, PermissionError)


# -- what needs a network of its own ----------------------------------------------------------------------


@pytest.fixture
def in_own_network(require_program: Callable[[str], str]) -> Callable[..., str]:
    """Run shell commands and then a connect() in an empty network; return the error as ``class: text``."""
    unshare = require_program("unshare")
    if subprocess.run([unshare, "-rn", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no network namespace of our own is permitted here")

    def in_own_network(set_up: str, *addresses: str, before: str = "") -> str:
        code = "\n".join(
            [
                "import sys, socket",
                "from fourtuple.net.connecting import connecting, run",
                "from fourtuple.errors import ConnectError",
                before,
                "for address in sys.argv[1:]:",
                "    try: kept = run(connecting(address, timeout=5))",
                "    except ConnectError as error: print(f'{type(error).__name__}: {error}')",
                "    else: print(kept.name)",
            ]
        )
        script = f'{set_up}\nexec \'{sys.executable}\' -c "$0" "$@"'
        done = subprocess.run(
            [unshare, "-rn", "sh", "-ec", script, code, *addresses], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return in_own_network


def test_an_unreachable_network_is_named(in_own_network: Callable[..., str]) -> None:
    assert in_own_network("", "192.0.2.1:9") == (
        f"{NetworkUnreachable.__name__}: cannot connect to 192.0.2.1:9: network unreachable"
    )


def test_host_unreachable_and_forbidden(
    in_own_network: Callable[..., str], require_program: Callable[[str], str]
) -> None:
    require_program("ip")
    routes = "ip link set lo up; ip route add unreachable 192.0.2.0/24; ip route add prohibit 198.51.100.0/24"
    assert in_own_network(routes, "192.0.2.1:9", "198.51.100.1:9").splitlines() == [
        f"{HostUnreachable.__name__}: cannot connect to 192.0.2.1:9: host unreachable",
        f"{ConnectForbidden.__name__}: cannot connect to 198.51.100.1:9: not permitted",
    ]


def test_no_local_port_left(in_own_network: Callable[..., str], require_program: Callable[[str], str]) -> None:
    require_program("ip")
    before = (
        "listener = socket.create_server(('127.0.0.1', 9)); kept = []\n"
        "while True:\n"
        "    kept.append(socket.socket())\n"
        "    if kept[-1].connect_ex(('127.0.0.1', 9)): break\n"
    )
    few = "ip link set lo up; echo 50000 50003 > /proc/sys/net/ipv4/ip_local_port_range"
    assert in_own_network(few, "127.0.0.1:9", before=before) == (
        f"{NoLocalPort.__name__}: cannot connect to 127.0.0.1:9: no local port left "
        "(ip_local_port_range is 50000 to 50003)"
    )


def test_a_machine_without_ipv6_addresses(
    in_own_network: Callable[..., str], require_program: Callable[[str], str]
) -> None:
    """EADDRNOTAVAIL again, and no port has to do with it."""
    require_program("ip")
    without = "ip link set lo up; echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6"
    assert in_own_network(without, "[::1]:9").startswith(f"{NetworkUnreachable.__name__}: cannot connect to [::1]:9")


# -- several addresses ------------------------------------------------------------------------------------


def test_the_families_take_turns() -> None:
    four, six = socket.AF_INET, socket.AF_INET6
    found = [(six, "a"), (six, "b"), (six, "c"), (four, "d")]
    assert interleaved(found) == [(six, "a"), (four, "d"), (six, "b"), (six, "c")]


def test_the_next_address_is_tried_when_one_fails(refusing: socket.socket, listener: socket.socket) -> None:
    connected = connect_to(inet(refusing, listener))
    connected.socket.close()
    assert connected.name.remote.port == listener.getsockname()[1]


def test_the_next_address_is_tried_beside_one_that_does_not_answer(
    silent: socket.socket, listener: socket.socket
) -> None:
    waits: list[Step] = []

    def wait(step: Step) -> None:
        waits.append(step)
        taking._wait(step)  # type: ignore[arg-type]

    began = connecting.clock()
    connected = connect_to(inet(silent, listener), wait)
    connected.socket.close()
    assert connected.name.remote.port == listener.getsockname()[1]
    assert connecting.clock() - began >= racing.STAGGER
    assert [len(step.descriptors) for step in waits if isinstance(step, Wait)] == [1, 2]


def test_an_address_stays_in_the_race_beside_the_next(silent: socket.socket, keep: ExitStack) -> None:
    """The first one's queue gets room only after the second was tried."""
    other = keep.enter_context(socket.socket())
    other.bind(("127.0.0.1", 0))

    def wait(step: Step) -> None:
        assert isinstance(step, Wait)
        drain(silent)
        taking._wait(step)

    connected = connect_to(inet(silent, other), wait)
    connected.socket.close()
    assert connected.name.remote.port == silent.getsockname()[1]


def drain(listener: socket.socket) -> None:
    """Accept whoever waits: the kernel then answers the next SYN, which a client sends again after a second."""
    listener.setblocking(False)
    try:
        while True:
            listener.accept()[0].close()
    except BlockingIOError:
        return


def test_all_fail_and_the_most_telling_error_is_raised(
    refusing: socket.socket, silent: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(racing, "STAGGER", 0.001)
    with pytest.raises(ConnectRefused) as caught:
        connect_to(inet(silent, refusing), timeout=0.4)
    error = caught.value
    assert str(error) == (
        f"cannot connect to name.test:1: refused; tried {text(refusing)}: refused, {text(silent)}: no answer in time"
    )
    assert [type(each) for each in error.attempts] == [ConnectRefused, ConnectTimeout]
    assert error.attempts[1].detail == "waited 0.4 s"
    assert error.__cause__ is None, "all is said in its text and its attempts"


def test_the_address_of_a_name_that_has_one(refusing: socket.socket) -> None:
    with pytest.raises(ConnectRefused) as caught:
        connect_to(inet(refusing))
    assert str(caught.value) == f"cannot connect to name.test:1: refused (at {text(refusing)})"


def test_the_deadline_is_over_all_addresses(
    silent: socket.socket, keep: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(racing, "STAGGER", 0.001)
    begun: list[float] = []
    moments: list[float] = []

    def wait(step: Step) -> None:
        begun.append(connecting.clock())
        assert step.until is not None
        moments.append(step.until)
        taking._wait(step)  # type: ignore[arg-type]

    with pytest.raises(ConnectTimeout) as caught:
        connect_to(inet(silent, silent_listener(keep), silent_listener(keep)), wait, timeout=0.4)
    assert moments[-1] == max(moments) <= begun[0] + 0.4, "counted from the beginning, not from the last address"
    assert connecting.clock() >= moments[-1]
    assert [each.detail for each in caught.value.attempts] == ["waited 0.4 s"] * 3


def test_giving_up_in_between_closes_everything(silent: socket.socket) -> None:
    steps = connecting.connecting(text(silent))
    step = next(steps)
    assert isinstance(step, Wait)
    steps.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(step.descriptors[0])


# -- again ------------------------------------------------------------------------------------------------


def test_pauses_grow_up_to_a_bound_with_jitter() -> None:
    assert list(pauses(Reconnect())) == [None]
    assert list(pauses(Reconnect(attempts=4, delay=1.0, max_delay=3.0, jitter=0.0))) == [1.0, 2.0, 3.0, None]
    for _ in range(20):
        [pause, last] = pauses(Reconnect(attempts=2, delay=1.0, jitter=0.5))
        assert pause is not None
        assert 0.5 <= pause <= 1.0
        assert last is None


def test_a_server_that_comes_back_is_found(refusing: socket.socket) -> None:
    def wait(step: Step) -> None:
        if isinstance(step, Wait) and not step.descriptors:
            refusing.listen()
        else:
            taking._wait(step)  # type: ignore[arg-type]

    connect_to(inet(refusing), wait, reconnect=Reconnect(attempts=2)).socket.close()


def test_the_last_attempt_raises(refusing: socket.socket) -> None:
    paused: list[float] = []

    def wait(step: Step) -> None:
        if isinstance(step, Wait) and not step.descriptors:
            assert step.until is not None
            paused.append(step.until - connecting.clock())
        else:
            taking._wait(step)  # type: ignore[arg-type]

    with pytest.raises(ConnectRefused):
        connect_to(inet(refusing), wait, reconnect=Reconnect(attempts=3, delay=10.0, max_delay=30.0, jitter=0.0))
    assert [round(pause) for pause in paused] == [10, 20]


def test_an_address_is_taken_as_it_is(refusing: socket.socket) -> None:
    with pytest.raises(ConnectRefused):
        run(connecting.connecting(Address(*refusing.getsockname())))
