"""Reading the kernel: what happens where netlink is closed, who owns a socket, and where it belongs."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

import pytest

from fourtuple.errors import OptionError
from fourtuple.inspector import reading, sockets, states
from fourtuple.inspector.netlink import Netlink, NetlinkClosed
from fourtuple.inspector.owners import owners_of
from fourtuple.inspector.places import cgroup_paths, container_of, interface_name, user_name
from fourtuple.inspector.routes import decode, route_to
from inspector.scenes import Pair, port_of


def closed(*_arguments: object) -> NoReturn:
    raise NetlinkClosed(errno.EPERM, "no netlink socket: Operation not permitted")


def test_where_netlink_is_closed_proc_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "Netlink", closed)
    with ExitStack() as stack:
        pair = Pair(stack)
        seen = sockets(f"port={pair.port} and not state=time-wait")  # an earlier connection may have had the number
        assert (seen.source, seen.why) == ("proc", "no netlink socket: Operation not permitted")
        assert [each.state for each in seen.sockets] == [states.LISTEN, states.ESTABLISHED, states.ESTABLISHED]
        assert all(each.owners for each in seen.sockets)
        assert all(each.both_ends_here and each.info is None for each in seen.connections)
        with pytest.raises(NetlinkClosed):
            sockets(source="netlink")


def test_where_both_are_closed_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_arguments: object, **_options: object) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(reading, "Netlink", closed)
    monkeypatch.setattr("builtins.open", forbidden)
    with pytest.raises(PermissionError):
        reading.snapshot()


def test_netlink_and_proc_see_the_same() -> None:
    with ExitStack() as stack:
        pair = Pair(stack)
        pair.here.sendall(b"hello")
        one, other = (
            sockets(f"port={pair.port} and not state=time-wait", source=source) for source in ("netlink", "proc")
        )
        for left, right in zip(one.sockets, other.sockets, strict=True):
            assert (left.state, left.inode, left.owners, left.uid) == (
                right.state,
                right.inode,
                right.owners,
                right.uid,
            )
        for mine, theirs in zip(one.connections, other.connections, strict=True):
            assert (mine.name, mine.receive_queue) == (theirs.name, theirs.receive_queue)


def test_a_refused_question_is_the_kernels_error() -> None:
    with Netlink() as netlink, pytest.raises(OSError, match=r"No such file|Invalid argument"):
        netlink.ask(20, bytes(56))


# -- owners -----------------------------------------------------------------------------------------------


def test_all_owners_of_a_socket_are_found() -> None:
    """A child that inherited it holds it, too, and so does a descriptor that was duplicated."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket(fileno=os.dup(listener.fileno())) as again:
        inherited = (listener.fileno(), again.fileno())
        with subprocess.Popen(
            [sys.executable, "-c", "print(flush=True); input()"],
            pass_fds=inherited, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        ) as child:  # fmt: skip
            assert child.stdout is not None
            child.stdout.readline()  # it has begun
            (found,) = sockets(f"listening and port={port_of(listener)}").listeners
            child.communicate(b"\n")
        owners = [(owner.pid, owner.descriptor) for owner in found.owners]
        assert sorted(owners) == sorted((pid, fd) for pid in (os.getpid(), child.pid) for fd in inherited)


def test_processes_that_hide_their_descriptors_are_counted(tmp_path: Path) -> None:
    for pid, target in ((11, "socket:[5]"), (12, "socket:[6]")):
        (tmp_path / str(pid) / "fd").mkdir(parents=True)
        (tmp_path / str(pid) / "fd" / "3").symlink_to(target)
        (tmp_path / str(pid) / "comm").write_text(f"program{pid}\n")
    (tmp_path / "self").mkdir()
    found = owners_of({5}, str(tmp_path))
    assert list(map(str, found.by_inode[5])) == ["program11(11)"]
    assert 6 not in found.by_inode
    assert owners_of(set(), str(tmp_path)).by_inode == {}


# -- places -----------------------------------------------------------------------------------------------

DOCKER = "/system.slice/docker-4f5e6d7c8b9a0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796.scope"
POD = "/kubepods.slice/kubepods-pod1.slice/cri-containerd-" + "ab" * 32 + ".scope"


@pytest.mark.parametrize(
    ("path", "container"),
    [
        (DOCKER, "4f5e6d7c8b9a"),
        (POD, "abababababab"),
        ("/docker/" + "0" * 64, "000000000000"),
        ("/system.slice/ssh.service", "ssh.service"),
        ("/user.slice/user-1000.slice/session-3.scope", "session-3.scope"),
        ("/user.slice", None),
        ("/", None),
    ],
)
def test_a_container_is_named_by_its_cgroup(path: str, container: str | None) -> None:
    assert container_of(path) == container


def test_names_that_are_not_known_are_numbers() -> None:
    assert user_name(0) == "root"
    assert user_name(4_000_000_000) == "4000000000"
    assert interface_name(1) == "lo"
    assert interface_name(999_999) == "999999"
    assert cgroup_paths({0}) == {}


def test_the_route_of_an_address_is_the_kernels() -> None:
    own = route_to("127.0.0.1")
    assert own is not None
    assert (own.here, own.interface, own.gateway) == (True, "lo", None)
    assert route_to("no address") is None
    assert decode(memoryview(b"short")) is None


def test_a_source_that_there_is_not_is_told() -> None:
    with pytest.raises(OptionError, match="source: expected one of auto, netlink, proc, got 'ss'"):
        sockets(source="ss")  # type: ignore[arg-type]
