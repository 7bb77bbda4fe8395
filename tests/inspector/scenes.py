"""Sockets in every state, made for real on loopback; and programs that run in a network namespace of their own."""

from __future__ import annotations

import ctypes
import fcntl
import inspect
import json
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from fourtuple.inspector import states
from fourtuple.inspector.model import ActiveSocket, PassiveSocket, Snapshot
from fourtuple.inspector.reading import snapshot

SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27


def drop_all(sock: socket.socket) -> None:
    """Let the kernel drop every segment that comes for this socket: a classic BPF program, "return 0"."""
    program = ctypes.create_string_buffer(struct.pack("=HBBI", 0x06, 0, 0, 0))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HxxxxxxP", 1, ctypes.addressof(program)))


def hear_again(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, b"\0\0\0\0")


class Pair:
    """A listener and both ends of a connection. ``here`` connected, ``there`` was accepted."""

    def __init__(self, stack: ExitStack, **options: Any) -> None:
        self.listener = stack.enter_context(listener_alone(**options))
        self.port = port_of(self.listener)
        self.here = stack.enter_context(socket.create_connection(self.listener.getsockname()))
        self.there = stack.enter_context(self.listener.accept()[0])


def listener_alone(**options: Any) -> socket.socket:
    """A listener at a port that no other socket names, not even one of an earlier test that is in TIME-WAIT."""
    while True:
        listener = socket.create_server(("127.0.0.1", 0), **options)
        name = f":{port_of(listener):04X} "
        if sum(name in line for line in Path("/proc/net/tcp").read_text().splitlines()) == 1:
            return listener
        listener.close()


def _listen(stack: ExitStack) -> int:
    return port_of(stack.enter_context(listener_alone()))


def _syn_sent(stack: ExitStack) -> int:
    listener = stack.enter_context(listener_alone(backlog=0))
    stack.enter_context(socket.create_connection(listener.getsockname()))
    late = stack.enter_context(socket.socket())
    late.setblocking(False)
    late.connect_ex(listener.getsockname())
    return port_of(late)


def _syn_recv(stack: ExitStack) -> int:
    listener = stack.enter_context(listener_alone())
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 30)
    stack.enter_context(socket.create_connection(listener.getsockname()))
    return port_of(listener)


def _established(stack: ExitStack) -> int:
    return port_of(Pair(stack).here)


def _fin_wait_1(stack: ExitStack) -> int:
    pair = Pair(stack)
    drop_all(pair.there)
    pair.here.shutdown(socket.SHUT_WR)
    return port_of(pair.here)


def _fin_wait_2(stack: ExitStack) -> int:
    pair = Pair(stack)
    pair.here.shutdown(socket.SHUT_WR)
    return port_of(pair.here)


def _closing(stack: ExitStack) -> int:
    pair = Pair(stack)
    drop_all(pair.here)
    drop_all(pair.there)
    pair.here.shutdown(socket.SHUT_WR)
    pair.there.shutdown(socket.SHUT_WR)
    hear_again(pair.here)  # the other's FIN comes again after a timeout, ours was never acknowledged
    return port_of(pair.here)


def _time_wait(stack: ExitStack) -> int:
    pair = Pair(stack)
    port = port_of(pair.here)
    pair.here.close()
    pair.there.close()
    return port


def _close_wait(stack: ExitStack) -> int:
    pair = Pair(stack)
    pair.there.shutdown(socket.SHUT_WR)
    return port_of(pair.here)


def _last_ack(stack: ExitStack) -> int:
    pair = Pair(stack)
    pair.there.shutdown(socket.SHUT_WR)
    assert pair.here.recv(1) == b""
    drop_all(pair.there)
    pair.here.shutdown(socket.SHUT_WR)
    return port_of(pair.here)


#: Every state that the kernel lists, and what brings a socket into it: it returns the socket's own port.
SCENES: dict[str, Callable[[ExitStack], int]] = {
    states.LISTEN: _listen,
    states.SYN_SENT: _syn_sent,
    states.SYN_RECV: _syn_recv,
    states.ESTABLISHED: _established,
    states.FIN_WAIT_1: _fin_wait_1,
    states.FIN_WAIT_2: _fin_wait_2,
    states.CLOSING: _closing,
    states.TIME_WAIT: _time_wait,
    states.CLOSE_WAIT: _close_wait,
    states.LAST_ACK: _last_ack,
}


def port_of(sock: socket.socket) -> int:
    port: int = sock.getsockname()[1]
    return port


def socket_at(port: int, state: str, seen: Snapshot | None = None) -> PassiveSocket | ActiveSocket | None:
    """The socket with this port of its own, if it is in this state."""
    for each in (seen or snapshot(names=frozenset({state}))).sockets:
        if isinstance(each, PassiveSocket) and each.address.port == port and state == states.LISTEN:
            return each
        if isinstance(each, ActiveSocket) and each.name.local_port == port and each.state == state:
            return each
    return None


def arrived(port: int, state: str) -> PassiveSocket | ActiveSocket:
    """Look until the kernel shows the socket in its state; if it never does, pytest's timeout ends the test."""
    while (found := socket_at(port, state)) is None:
        pass
    return found


@contextmanager
def in_state(state: str) -> Iterator[PassiveSocket | ActiveSocket]:
    """A socket in this state."""
    with ExitStack() as stack:
        yield arrived(SCENES[state](stack), state)


# -- a network namespace of its own ------------------------------------------------------------------------


def alone(scene: Callable[..., Any], *arguments: str) -> Any:
    """Call a function of a test file in a network namespace of its own, where loopback is up; return what it returns.

    It takes a process of its own. The test is skipped where that is not allowed, with the reason.
    """
    # By its path: a package that is installed may have a package "tests" of its own.
    program = (
        f"import sys; sys.path[:0] = {sys.path!r}; import json, runpy; from inspector import scenes; "
        f"scenes.raise_loopback(); scene = runpy.run_path({inspect.getfile(scene)!r})[{scene.__name__!r}]; "
        f"print(json.dumps(scene(*{arguments!r})))"
    )
    done = subprocess.run(
        ["unshare", "--net", "--map-root-user", sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare failed" in done.stderr or "unshare: " in done.stderr:
        pytest.skip(f"no network namespace to be had here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def raise_loopback() -> None:
    """``ip link set lo up``, without ip: SIOCGIFFLAGS and SIOCSIFFLAGS, netdevice(7)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = fcntl.ioctl(sock, 0x8913, struct.pack("16sH14x", b"lo", 0))
        flags = struct.unpack_from("H", request, 16)[0]
        fcntl.ioctl(sock, 0x8914, struct.pack("16sH14x", b"lo", flags | 1))
