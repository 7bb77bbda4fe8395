"""Connecting: what the blocking and the async client share. No stream, and no way of waiting, is decided here.

How to connect is written once, as a generator of *steps*: "resolve this name", "wait until one of these
sockets can be written", "let some time pass". Whoever drives it takes each step in its own way: :func:`run` by
blocking, the async client by awaiting. A step that is taken says nothing back but a name's addresses; what came
of the sockets the generator looks at itself, so that no driver can get it wrong::

    connecting()                 attempt after attempt, with the pauses of Reconnect
        _resolve()               a name becomes targets                                      yields Resolve
        _race()                  Happy Eyeballs over the targets (RFC 8305)                  yields Wait
            _Attempt             one socket, one connect(2), one honest error

A generator that is closed or thrown into, at any step, closes every socket it has opened.
"""

from __future__ import annotations

import errno
import os
import random
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import zip_longest
from typing import TypeAlias, TypeVar

from fourtuple.address import Address, FourTuple, Name, from_sockaddr
from fourtuple.errors import (
    AddressError,
    ConnectError,
    ConnectForbidden,
    ConnectRefused,
    ConnectReset,
    ConnectTimeout,
    HostUnreachable,
    LocalAddressInUse,
    LocalAddressUnavailable,
    NameNotFound,
    NetworkUnreachable,
    NoLocalPort,
    NoSuchSocket,
)
from fourtuple.options import Reconnect, Sockets
from fourtuple.sockets import Sockaddr, apply_options, connection_name, reset_on_close

T = TypeVar("T")

#: Seconds after which the next address is tried beside one that has not answered yet: RFC 8305, 5 and 8.
STAGGER = 0.25
#: Seconds between two looks at a Unix socket whose accept queue is full: there is nothing to poll for.
_FULL_QUEUE_PAUSE = 0.01
#: ip(7), since Linux 4.2; socket.IP_BIND_ADDRESS_NO_PORT since Python 3.12.
_IP_BIND_ADDRESS_NO_PORT = 24


# -- steps ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Resolve:
    """Look a name up; the answer is what getaddrinfo() returned or raised, or None when ``until`` came first."""

    host: str
    port: int
    until: float | None


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait until one of these descriptors is writable or broken, or the moment ``until`` of the clock comes."""

    descriptors: tuple[int, ...]
    until: float | None


#: What getaddrinfo() returns a list of: family, type, protocol, canonical name, socket address.
Found: TypeAlias = "tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]"
Answer: TypeAlias = "Sequence[Found] | Exception | None"
Step: TypeAlias = "Resolve | Wait"
Steps: TypeAlias = "Generator[Step, Answer, T]"

#: The clock of ``until``.
clock = time.monotonic


def left(until: float | None) -> float | None:
    """Seconds left until a moment of the clock, not below 0."""
    return None if until is None else max(0.0, until - clock())


def run(steps: Steps[T]) -> T:
    """Take all steps by blocking, and return the result."""
    answer: Answer = None
    with closing(steps):
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as done:
                result: T = done.value
                return result
            answer = _look_up(step) if isinstance(step, Resolve) else _wait(step)


def _wait(step: Wait) -> Answer:
    poll = select.poll()
    for descriptor in step.descriptors:
        poll.register(descriptor, select.POLLOUT)
    seconds = left(step.until)
    # Rounded up: a poll that ends a little early would be called again and again for nothing.
    poll.poll(None if seconds is None else int(seconds * 1000 + 0.999))
    return None


def _look_up(step: Resolve) -> Answer:
    answers: list[Answer] = []
    look_up(step, answers.append).join(left(step.until))
    return answers[0] if answers else None


def look_up(step: Resolve, then: Callable[[Answer], object]) -> threading.Thread:
    """Call ``then`` with what getaddrinfo() says, in the thread that is returned.

    getaddrinfo() knows no deadline and no ^C. So a thread waits for it, and whoever wants to know for the thread,
    as long as they like. Not one of the loop's executor, nor any that Python joins at its exit: a name server
    that does not answer would hold the program for half a minute after its end.
    """

    def work() -> None:
        try:
            answer: Answer = socket.getaddrinfo(step.host, step.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            answer = error
        then(answer)

    thread = threading.Thread(target=work, daemon=True, name="getaddrinfo")
    thread.start()
    return thread


# -- attempts ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Connected:
    """A connected socket, non-blocking, and its name."""

    socket: socket.socket
    name: Name


def connecting(
    address: Address | str,
    *,
    timeout: float | None = 10.0,
    local_address: Address | str | None = None,
    sockets: Sockets | None = None,
    reconnect: Reconnect | None = None,
) -> Steps[Connected]:
    """The steps that connect to an address.

    Parameters
    ----------
    timeout
        Seconds for each attempt, name look-up and all addresses included; None waits for the kernel to give up.
    local_address
        Where to connect from: a literal address, with or without a port, or a Unix path.
    sockets
        Options that are set before connect(2).
    reconnect
        How many attempts, and the pauses between them.

    Raises :class:`~fourtuple.errors.AddressError` for addresses that cannot be read, before anything is opened;
    the last attempt's :class:`~fourtuple.errors.ConnectError`; and
    :class:`~fourtuple.errors.OptionError` for a socket option that the kernel refuses.
    """
    target = _parsed(address)
    source = _Source(
        None if local_address is None else Address.parse(local_address, default_port=0), sockets or Sockets()
    )
    return _attempts(target, source, timeout, reconnect or Reconnect())


def _parsed(address: Address | str) -> Address:
    target = Address.parse(address)
    if target.host == "*":
        raise AddressError(str(address), "'*' is every address of this machine; to connect, name one")
    return target


def _attempts(address: Address, source: _Source, timeout: float | None, reconnect: Reconnect) -> Steps[Connected]:
    for pause in pauses(reconnect):
        try:
            return (yield from _attempt(address, source, timeout))
        except ConnectError:
            if pause is None:
                raise
        yield Wait((), clock() + pause)
    raise AssertionError("the last pause is None")


def pauses(reconnect: Reconnect) -> Iterator[float | None]:
    """The pause behind each attempt that failed, in seconds; None behind the last."""
    for attempt in range(1, reconnect.attempts):
        yield reconnect.pause(attempt, random.random())
    yield None


def _attempt(address: Address, source: _Source, timeout: float | None) -> Steps[Connected]:
    until = None if timeout is None else clock() + timeout
    waited = "" if timeout is None else f"waited {timeout:g} s"
    if address.is_unix:
        return (yield from _connect_unix(address, source, until, waited))
    targets = yield from _resolve(address, until, waited)
    return (yield from _race(address, source.matching(address, targets), until, waited))


# -- names ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Target:
    """One socket address to try, from ``source``."""

    family: int
    sockaddr: Sockaddr
    source: _Source

    @property
    def text(self) -> str:
        return str(from_sockaddr(self.sockaddr))


def _resolve(address: Address, until: float | None, waited: str) -> Steps[list[tuple[int, Sockaddr]]]:
    literal = _literal(address)
    answer = literal or (yield Resolve(address.host, address.port, until))
    if answer is None:
        raise ConnectTimeout(str(address), errno.ETIMEDOUT, f"{waited} for the name {address.host!r} to be resolved")
    if isinstance(answer, Exception):
        raise _not_found(address, answer) from answer
    found = [(family, sockaddr) for family, _, _, _, sockaddr in answer if family in (socket.AF_INET, socket.AF_INET6)]
    return interleaved(list(dict.fromkeys(found)))  # type: ignore[arg-type]  # (int, bytes) is another family's


def _literal(address: Address) -> Sequence[Found] | None:
    """The answer for a literal address, which no name server needs to be asked for."""
    with suppress(OSError, UnicodeError):
        return socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        )
    return None


def _not_found(address: Address, error: Exception) -> NameNotFound:
    if isinstance(error, socket.gaierror):
        return NameNotFound(str(address), error.errno, f"{address.host!r}: {error.strerror}")
    return NameNotFound(str(address), getattr(error, "errno", None), f"{address.host!r}: {error}")


def interleaved(found: Sequence[tuple[int, Sockaddr]]) -> list[tuple[int, Sockaddr]]:
    """Alternate between the families, beginning with the resolver's first choice (RFC 8305, 4).

    One family that leads nowhere then costs one delay, not one for each of its addresses.
    """
    families: dict[int, list[tuple[int, Sockaddr]]] = {}
    for each in found:
        families.setdefault(each[0], []).append(each)
    return [each for row in zip_longest(*families.values()) for each in row if each is not None]


# -- the race ---------------------------------------------------------------------------------------------


def _race(address: Address, targets: Sequence[_Target], until: float | None, waited: str) -> Steps[Connected]:
    """Connect to the first target that answers: RFC 8305, 5.

    The next target is tried when one has failed, or when :data:`STAGGER` seconds have passed without an
    answer; those that were tried before stay in the race.
    """
    waiting = deque(targets)
    running: list[_Attempt] = []
    failures: list[ConnectError] = []
    next_start = 0.0
    try:
        while waiting or running:
            if waiting and (not running or clock() >= next_start):
                next_start = clock() + STAGGER
                _start(waiting.popleft(), running, failures)
                continue
            moments = [moment for moment in (until, next_start if waiting else None) if moment is not None]
            yield Wait(tuple(attempt.socket.fileno() for attempt in running), min(moments, default=None))
            for attempt in _settled(running):
                running.remove(attempt)
                try:
                    return attempt.finish()
                except ConnectError as error:
                    failures.append(error)
                    next_start = 0.0
            if until is not None and clock() >= until:
                failures += [ConnectTimeout(each.target.text, errno.ETIMEDOUT, waited) for each in running]
                break
        raise combined(address, failures)
    finally:
        for attempt in running:
            attempt.socket.close()


def _start(target: _Target, running: list[_Attempt], failures: list[ConnectError]) -> None:
    try:
        running.append(_Attempt(target))
    except ConnectError as error:
        failures.append(error)


def _settled(running: Sequence[_Attempt]) -> list[_Attempt]:
    """The attempts of which connect(2) has come to an end, whatever it is."""
    poll = select.poll()
    for attempt in running:
        poll.register(attempt.socket, select.POLLOUT)
    ready = {descriptor for descriptor, _ in poll.poll(0)}
    return [attempt for attempt in running if attempt.socket.fileno() in ready]


class _Attempt:
    """One socket on its way to one target. Whatever fails, raises its ConnectError and leaves nothing open."""

    __slots__ = ("socket", "target")

    def __init__(self, target: _Target) -> None:
        self.target = target
        self.socket = target.source.open(target.family, target.text)
        with _closed_and_named(self.socket, self._named), suppress(BlockingIOError):  # EINPROGRESS
            self.socket.connect(target.sockaddr)

    def finish(self) -> Connected:
        """The connected socket.

        SO_ERROR has the outcome of connect(2). It also has what came between the handshake and this look: a
        peer that resets at once is found here when its RST was as quick, and by the first receive or send
        (:class:`~fourtuple.errors.PeerReset`) when it was not. Waiting for it would delay everybody else.
        """
        with _closed_and_named(self.socket, self._named):
            code = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, os.strerror(code))
            name = connection_name(self.socket)
            if isinstance(name, FourTuple) and name == name.reversed:
                reset_on_close(self.socket)
                raise _self_connected(name, self.target)
            return Connected(self.socket, name)

    def _named(self, error: OSError) -> ConnectError:
        target = self.target
        return connect_error(error, target.text, target.family, target.sockaddr, target.source.address)


def _self_connected(name: FourTuple, target: _Target) -> ConnectRefused:
    """Two SYNs that cross make a connection (RFC 9293, 3.5), and so does one that comes back to its sender."""
    return ConnectRefused(
        target.text,
        errno.ECONNREFUSED,
        f"nobody listens there: port {name.local_port} is this end's own, and it was connected to itself",
    )


@contextmanager
def _closed_and_named(sock: socket.socket, named: Callable[[OSError], ConnectError]) -> Iterator[None]:
    """Whatever fails inside closes the socket; what the kernel said gets its name."""
    try:
        yield
    except BaseException as error:
        sock.close()
        if isinstance(error, OSError) and not isinstance(error, ConnectError):
            raise named(error) from error
        raise


# -- Unix sockets -----------------------------------------------------------------------------------------


def _connect_unix(address: Address, source: _Source, until: float | None, waited: str) -> Steps[Connected]:
    """Connect to a path. There is no handshake to wait for: it works at once, fails at once, or has to queue."""
    sock = source.open(socket.AF_UNIX, str(address))
    with _closed_and_named(sock, lambda error: _unix_error(error, address)):
        while True:
            # EAGAIN: the accept queue is full (unix(7)), and no poll tells when it is not.
            with suppress(BlockingIOError):
                sock.connect(_unix_name(address))
                return Connected(sock, connection_name(sock))
            if until is not None and clock() >= until:
                raise ConnectTimeout(str(address), errno.EAGAIN, f"{waited}, the accept queue is full")
            yield Wait((), clock() + _FULL_QUEUE_PAUSE)


def _unix_name(address: Address) -> str:
    return "\0" + address.path[1:] if address.path.startswith("@") else address.path


def _unix_error(error: OSError, address: Address) -> ConnectError:
    if error.errno == errno.ECONNREFUSED:
        detail = (
            "nobody listens at that name"
            if address.path.startswith("@")
            else "the path is there, but nobody listens at it"
        )
        return ConnectRefused(str(address), error.errno, detail)
    if error.errno == errno.EPROTOTYPE:
        return ConnectError(str(address), error.errno, "a datagram socket is there, not a stream")
    return connect_error(error, str(address), socket.AF_UNIX)


# -- where from -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Source:
    """This end: its options, and the address where one was asked for."""

    address: Address | None
    options: Sockets

    def __post_init__(self) -> None:
        if self.address is not None and not self.address.is_unix and _literal(self.address) is None:
            raise AddressError(str(self.address), "a local address is a literal, as in 192.0.2.1 or [2001:db8::1]")

    def matching(self, address: Address, targets: Sequence[tuple[int, Sockaddr]]) -> list[_Target]:
        """The targets that can be reached from here: an IPv4 address talks to IPv4 alone."""
        own = None if self.address is None else self._bindable()[0]
        matching = [_Target(family, sockaddr, self) for family, sockaddr in targets if own in (None, family)]
        if targets and not matching:
            raise LocalAddressUnavailable(
                str(address), errno.EAFNOSUPPORT, f"{self.address} and {address} are of different families"
            )
        return matching

    def open(self, family: int, text: str) -> socket.socket:
        """A non-blocking socket with its options set, bound where that was asked for."""
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:
            raise _no_socket(error, text) from error
        try:
            sock.setblocking(False)
            apply_options(sock, self.options)
            if self.address is not None:
                self._bind(sock, family, text)
        except BaseException:
            sock.close()
            raise
        return sock

    def _bind(self, sock: socket.socket, family: int, text: str) -> None:
        assert self.address is not None
        own, sockaddr = self._bindable()
        try:
            if own != family:
                raise OSError(errno.EAFNOSUPPORT, "of another family than the target")
            if own != socket.AF_UNIX:
                if self.address.port:
                    # The port may serve many connections, to different peers; one in TIME_WAIT is no obstacle.
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                else:
                    # The port is chosen by connect(2), which knows the peer: each peer has all ports (ip(7)).
                    with suppress(OSError):
                        sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind(sockaddr)
        except OSError as error:
            raise bind_error(error, text, self.address) from error

    def _bindable(self) -> tuple[int, Sockaddr]:
        assert self.address is not None
        if self.address.is_unix:
            return socket.AF_UNIX, _unix_name(self.address)
        family, _, _, _, sockaddr = (_literal(self.address) or ())[0]
        return family, sockaddr  # type: ignore[return-value]  # (int, bytes) is another family's


# -- what went wrong --------------------------------------------------------------------------------------

_CONNECT_ERRORS: dict[int | None, type[ConnectError]] = {
    errno.ECONNREFUSED: ConnectRefused,
    errno.ETIMEDOUT: ConnectTimeout,
    errno.ECONNRESET: ConnectReset,
    errno.EPIPE: ConnectReset,  # the peer's FIN came before its RST
    errno.ENOTCONN: ConnectReset,  # the RST was read already: the socket has no peer any more
    errno.EHOSTUNREACH: HostUnreachable,
    errno.EHOSTDOWN: HostUnreachable,
    errno.ENETUNREACH: NetworkUnreachable,
    errno.ENETDOWN: NetworkUnreachable,
    errno.EAFNOSUPPORT: NetworkUnreachable,
    errno.EADDRINUSE: LocalAddressInUse,
    errno.EACCES: ConnectForbidden,
    errno.EPERM: ConnectForbidden,
    errno.ENOENT: NoSuchSocket,
    errno.ENOTDIR: NoSuchSocket,
}

_BIND_ERRORS: dict[int | None, type[ConnectError]] = {
    errno.EADDRINUSE: LocalAddressInUse,
    errno.EADDRNOTAVAIL: LocalAddressUnavailable,
    errno.EAFNOSUPPORT: LocalAddressUnavailable,
    errno.EACCES: ConnectForbidden,
    errno.EPERM: ConnectForbidden,
}

#: The most telling failure first: the further an attempt got, the more it knows of the peer.
_TELLING: tuple[type[ConnectError], ...] = (
    ConnectReset,
    ConnectRefused,
    ConnectTimeout,
    HostUnreachable,
    ConnectForbidden,
    LocalAddressInUse,
    LocalAddressUnavailable,
    NoLocalPort,
    NetworkUnreachable,
)


def connect_error(
    error: OSError, text: str, family: int, sockaddr: Sockaddr | None = None, local: Address | None = None
) -> ConnectError:
    """The named error for what connect(2) said, at once or later by SO_ERROR."""
    if error.errno == errno.EADDRNOTAVAIL and sockaddr is not None:
        return _no_local_port(error, text, family, sockaddr, local)
    kind = _CONNECT_ERRORS.get(error.errno, ConnectError)
    detail = ""
    if kind is ConnectError or error.errno in (errno.EPIPE, errno.ENOTCONN, errno.EHOSTDOWN, errno.ENETDOWN):
        detail = error.strerror or str(error)
    elif error.errno == errno.ETIMEDOUT:
        detail = "the kernel gave up"
    elif error.errno == errno.EADDRINUSE and local is not None:
        detail = f"from {local}"
    return kind(text, error.errno, detail)


def _no_local_port(error: OSError, text: str, family: int, sockaddr: Sockaddr, local: Address | None) -> ConnectError:
    """EADDRNOTAVAIL of connect(2) has three meanings; look which it is."""
    if local is not None and local.port:
        return LocalAddressInUse(text, error.errno, f"a connection from {local} to {text} is there already")
    if not _has_route(family, sockaddr):
        return NetworkUnreachable(text, error.errno, "this machine has no address of that family to connect from")
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range") as ports:
            detail = "ip_local_port_range is {} to {}".format(*ports.read().split())
    except OSError:
        detail = ""
    return NoLocalPort(text, error.errno, detail)


def _has_route(family: int, sockaddr: Sockaddr) -> bool:
    """Whether there is an address to talk from: connecting a datagram socket sends nothing, but finds out."""
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(sockaddr)
        return True
    return False


def _no_socket(error: OSError, text: str) -> ConnectError:
    """The named error for what socket(2) said: no IPv6 in this kernel, or no descriptor left."""
    if error.errno == errno.EAFNOSUPPORT:
        return NetworkUnreachable(text, error.errno, "this machine has no sockets of that family")
    return ConnectError(text, error.errno, error.strerror or str(error))


def bind_error(error: OSError, text: str, local: Address) -> ConnectError:
    """The named error for what bind(2) of the local address said."""
    kind = _BIND_ERRORS.get(error.errno, ConnectError)
    detail = f"from {local}"
    if kind is ConnectForbidden and not local.is_unix:
        detail += f": local port {local.port} needs root or CAP_NET_BIND_SERVICE"
    elif kind is ConnectError or error.errno == errno.EAFNOSUPPORT:
        detail += f": {error.strerror or error}"
    return kind(text, error.errno, detail)


def combined(address: Address, failures: Sequence[ConnectError]) -> ConnectError:
    """One error for all addresses that were tried: the most telling of theirs, with all of them in ``attempts``."""
    if not failures:
        return NameNotFound(str(address), None, f"{address.host!r} has no IPv4 or IPv6 address")
    best = min(failures, key=_rank)
    if len(failures) == 1 and best.address == str(address):
        return best
    detail = best.detail
    if len(failures) == 1:
        detail = f"at {best.address}" + (f", {detail}" if detail else "")
    error = type(best)(str(address), best.errno, detail, failures)
    error.__cause__ = best
    return error


def _rank(error: ConnectError) -> int:
    return next((rank for rank, kind in enumerate(_TELLING) if isinstance(error, kind)), len(_TELLING))
