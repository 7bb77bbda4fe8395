"""Socket options: what was asked for is what the kernel has, on the listener and on whom it accepts."""

from __future__ import annotations

import errno
import socket
from typing import Any

import pytest

from fourtuple import Address, Service, Sockets, serve_in_thread
from fourtuple.errors import ListenError, OptionError
from fourtuple.four_tuple import FourTuple, Name, UnixName
from fourtuple.net.names import sockaddr_of
from fourtuple.net.passive import open_listeners

TCP, SOL = socket.IPPROTO_TCP, socket.SOL_SOCKET
NOTSENT_LOWAT, USER_TIMEOUT = socket.TCP_NOTSENT_LOWAT, socket.TCP_USER_TIMEOUT


def text(octets: Any) -> Any:
    return octets.rstrip(b"\0") if isinstance(octets, bytes) else octets


# The option, its value, where the kernel keeps it, what it has there (an int, or octets of that size).
ASKED = {
    "nodelay": (True, TCP, socket.TCP_NODELAY, 1),
    "nodelay, off": (False, TCP, socket.TCP_NODELAY, 0),
    "send_buffer": (20_000, SOL, socket.SO_SNDBUF, 40_000),  # doubled: socket(7)
    "receive_buffer": (20_000, SOL, socket.SO_RCVBUF, 40_000),
    "notsent_lowat": (4096, TCP, NOTSENT_LOWAT, 4096),
    "keepalive": (True, SOL, socket.SO_KEEPALIVE, 1),
    "keepalive, off": (False, SOL, socket.SO_KEEPALIVE, 0),
    "keepalive_idle": (77, TCP, socket.TCP_KEEPIDLE, 77),
    "keepalive_interval": (7, TCP, socket.TCP_KEEPINTVL, 7),
    "keepalive_count": (3, TCP, socket.TCP_KEEPCNT, 3),
    "user_timeout": (1.5, TCP, USER_TIMEOUT, 1500),  # milliseconds
    "congestion": ("reno", TCP, socket.TCP_CONGESTION, b"reno"),
}


@pytest.mark.parametrize("which", ASKED)
def test_the_kernel_has_what_was_asked_for(which: str) -> None:
    value, level, number, expected = ASKED[which]
    options = Sockets(**{which.partition(",")[0]: value})
    size = 16 if isinstance(expected, bytes) else 0
    (listener,) = open_listeners(Address("127.0.0.1", 0), options)
    with listener, socket.create_connection(listener.getsockname()):
        listener.setblocking(True)
        accepted, _ = listener.accept()
        with accepted:
            found = [text(sock.getsockopt(level, number, *([size] if size else []))) for sock in (listener, accepted)]
    assert found == [expected, expected]


def test_the_defaults_of_every_connection() -> None:
    service = Service("line")
    service.reply(lambda message: message)
    with serve_in_thread(service) as server, socket.create_connection(("127.0.0.1", server.port)) as peer:
        peer.sendall(b"x\n")
        assert peer.recv(10) == b"x\n"
        (connection,) = server.connections.values()
        with socket.socket(fileno=socket.dup(connection.fileno())) as sock:
            found = [sock.getsockopt(TCP, number) for number in (socket.TCP_NODELAY, NOTSENT_LOWAT, USER_TIMEOUT)]
            alive = [sock.getsockopt(SOL, socket.SO_KEEPALIVE)]
            alive += [
                sock.getsockopt(TCP, number)
                for number in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
            ]
    assert found == [1, 128 * 1024, 60_000]
    assert alive == [1, 60, 10, 6]


def test_defer_accept_waits_for_a_first_octet() -> None:
    (listener,) = open_listeners(Address("127.0.0.1", 0), Sockets(defer_accept=5))
    with listener, socket.create_connection(listener.getsockname()) as peer:
        with pytest.raises(BlockingIOError):
            listener.accept()
        peer.sendall(b"x")
        listener.setblocking(True)
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.recv(1) == b"x"


def test_a_listener_is_bound_to_an_interface() -> None:
    (listener,) = open_listeners(Address("127.0.0.1", 0), Sockets(interface="lo"))
    with listener:
        assert text(listener.getsockopt(SOL, socket.SO_BINDTODEVICE, 16)) == b"lo"
    with pytest.raises(OptionError, match="interface: the kernel refuses 'nosuch0'"):
        open_listeners(Address("127.0.0.1", 0), Sockets(interface="nosuch0"))


def test_an_address_that_is_not_there_yet() -> None:
    """192.0.2.0/24 is nobody's: RFC 5737."""
    with pytest.raises(ListenError) as caught:
        open_listeners(Address("192.0.2.1", 0), Sockets())
    assert caught.value.errno == errno.EADDRNOTAVAIL
    (listener,) = open_listeners(Address("192.0.2.1", 0), Sockets(freebind=True))
    with listener:
        assert listener.getsockname()[0] == "192.0.2.1"


@pytest.mark.parametrize("option", [{"congestion": "nosuch"}, {"interface": "nosuch0"}])
def test_what_the_kernel_refuses_is_named(option: dict[str, Any]) -> None:
    (name,) = option
    with pytest.raises(OptionError, match=f"^{name}: the kernel refuses"):
        open_listeners(Address("127.0.0.1", 0), Sockets(**option))


@pytest.mark.parametrize(
    ("name", "local", "peer"),
    [
        (FourTuple("192.0.2.1", 80, "192.0.2.2", 4000), ("192.0.2.1", 80), ("192.0.2.2", 4000)),
        (FourTuple("::1", 80, "::1", 4000), ("::1", 80, 0, 0), ("::1", 4000, 0, 0)),
        (FourTuple("fe80::1%lo", 80, "fe80::2%7", 4000), ("fe80::1", 80, 0, 1), ("fe80::2", 4000, 0, 7)),
        (UnixName("/run/it", 7, 0), "/run/it", ""),
    ],
)
def test_the_ends_of_a_name_as_the_socket_module_has_them(name: Name, local: object, peer: object) -> None:
    assert (sockaddr_of(name, local=True), sockaddr_of(name)) == (local, peer)
