"""Passive sockets that exist already: a program's own, a descriptor's (``fd:3``), or those of socket activation."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn, TypeVar

from fourtuple.address import Address
from fourtuple.errors import ListenError, OptionError
from fourtuple.forking import ours
from fourtuple.net.backlog import listen
from fourtuple.net.passive import accept_queue_of, listen_error
from fourtuple.net.sockets import apply_options, labelled, why_no_stream
from fourtuple.options import Sockets, check_type

P = TypeVar("P")

#: The first descriptor that socket activation hands over (SD_LISTEN_FDS_START, sd_listen_fds(3)).
FIRST_DESCRIPTOR = 3
#: What socket activation sets; removed once it is read, so that a program that is started later does not take
#: it for its own.
VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
#: What reads as a number of descriptors: a larger one is a mistake.
_MOST_DESCRIPTORS = 1 << 20


@dataclass(frozen=True, slots=True)
class Inherited:
    """A descriptor that socket activation handed over, and its name there (``FileDescriptorName=``)."""

    fd: int
    name: str


#: What this process was handed, once it has read it: the variables are gone then.
_handed: list[Inherited] = []


def check_given(sockets: Iterable[socket.socket | Address]) -> None:
    """Refuse sockets that cannot listen, and those that are given twice.

    Raises :class:`~fourtuple.errors.OptionError`. The descriptors of addresses are looked at when they are opened.
    """
    seen: dict[tuple[int, int], tuple[int, object]] = {}
    for each in sockets:
        number = each.fd if isinstance(each, Address) else each.fileno()
        if number is None:
            continue
        if not isinstance(each, Address):
            why = _unfit(each)
            if why:
                raise OptionError(f"socket: expected a bound stream socket of TCP or Unix, got {each!r}: {why}")
        try:
            status = os.fstat(number)
        except OSError:
            continue  # not open: opening it says so
        # A dup() of a descriptor, even one that another process has made, is the same socket.
        identity = status.st_dev, status.st_ino
        if identity in seen:
            _twice(*seen[identity], number, each)
        seen[identity] = number, each


def _twice(before: int, first: object, number: int, second: object) -> NoReturn:
    if before == number:
        raise OptionError(f"descriptor {number} given twice, as {first} and as {second}")
    raise OptionError(
        f"descriptors {before} and {number} are one socket, which is given twice, as {first} and as {second}"
    )


def take_given(given: socket.socket | int, options: Sockets) -> tuple[socket.socket, int]:
    """Return a passive socket, listening and non-blocking, and its backlog. A socket object is used as it is.

    But if the family of the object is not that of the socket (``socket.fromfd()``), a new object takes its place, and
    the given one is detached. One that listens already keeps its backlog; one that is only bound listens with
    ``options.backlog``. Options that the connections inherit are set, those of binding (``reuse_port``, ``freebind``,
    ``interface`` ...) are not. Raises a :class:`~fourtuple.errors.ListenError`; then the socket is left as it was.
    """
    sock = _of_descriptor(given) if isinstance(given, int) else given
    shown = f"fd:{given}" if isinstance(given, int) else repr(given)
    try:
        why = _unfit(sock)
        if why:
            raise ListenError(shown, None, f"{why}; expected a bound stream socket of TCP or Unix")
        sock = labelled(sock)
        sock.set_inheritable(False)
        apply_options(sock, options.replace(freebind=False, interface=None))
        sock.setblocking(False)
        backlog = options.backlog
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            queue = accept_queue_of(sock)
            backlog = backlog if queue is None or queue.limit is None else queue.limit
        else:
            listen(sock, backlog)
    except BaseException as error:
        if sock is not given:
            sock.detach()  # the object was ours, the descriptor is not
        if isinstance(error, OSError) and not isinstance(error, ListenError):
            raise listen_error(error, Address(fd=given if isinstance(given, int) else given.fileno())) from None
        raise
    if isinstance(given, socket.socket) and sock is not given:
        given.detach()
    return ours(sock), backlog


def _of_descriptor(number: int) -> socket.socket:
    try:
        return socket.socket(fileno=number)
    except OSError as error:
        raise ListenError(f"fd:{number}", error.errno, f"this is not a socket: {error.strerror}") from None


def _unfit(sock: socket.socket) -> str:
    """Return why a socket cannot listen; empty if it can."""
    check_type("socket", sock, socket.socket, optional=False)
    if sock.fileno() < 0:
        return "it is closed"
    asked = labelled(sock)
    try:
        return why_no_stream(asked) or _unbound(asked)
    finally:
        if asked is not sock:
            asked.detach()


def _unbound(sock: socket.socket) -> str:
    with suppress(OSError):
        sock.getpeername()
        return "it is connected"
    name = sock.getsockname()
    return "" if (name if sock.family == socket.AF_UNIX else name[1]) else "it is not bound"


# -- socket activation ----------------------------------------------------------------------------------------


def inherited(environ: MutableMapping[str, str]) -> list[Inherited]:
    """Return the descriptors that socket activation handed to this process, in order (sd_listen_fds(3)).

    Empty without LISTEN_FDS, and if LISTEN_PID names another process. They are made close-on-exec, and the variables
    are removed from ``environ``. Raises :class:`~fourtuple.errors.OptionError` for variables that are not numbers, and
    for a descriptor that is not open.
    """
    values = {name: environ[name] for name in VARIABLES if name in environ}
    if "LISTEN_FDS" not in values or "LISTEN_PID" not in values:
        return []
    if _number(values, "LISTEN_PID") != os.getpid():
        return []
    count = _number(values, "LISTEN_FDS")
    for name in VARIABLES:
        environ.pop(name, None)
    names = values.get("LISTEN_FDNAMES", "").split(":") if values.get("LISTEN_FDNAMES") else []
    if names and len(names) != count:
        raise OptionError(f"LISTEN_FDNAMES: {len(names)} names for {count} descriptors (LISTEN_FDS)")
    found = []
    for place in range(count):
        number = FIRST_DESCRIPTOR + place
        try:
            os.set_inheritable(number, False)
        except OSError as error:
            raise OptionError(
                f"LISTEN_FDS: expected {count} open descriptors, descriptor {number} is not open ({error.strerror})"
            ) from None
        found.append(Inherited(number, names[place] if names else "unknown"))
    if environ is os.environ:
        _handed[:] = found
    return found


def named(place: P) -> list[P | Address]:
    """Return the descriptors that socket activation has given the name of ``fd:NAME``: there may be several.

    Any other address, and a socket, is returned as it is. Raises :class:`~fourtuple.errors.OptionError` if no
    descriptor has the name.
    """
    if not isinstance(place, Address) or not place.fd_name or place.fd is not None:
        return [place]
    inherited(os.environ)
    found: list[P | Address] = [
        Address(fd=each.fd, fd_name=each.name) for each in _handed if each.name == place.fd_name
    ]
    if not found:
        there = ", ".join(f"{each.fd} ({each.name})" for each in _handed) or "none"
        raise OptionError(
            f"{place}: socket activation has handed over no descriptor with this name; descriptors: {there}"
        )
    return found


def _number(values: Mapping[str, str], name: str) -> int:
    text = values[name]
    if not (
        text.isascii()
        and text.isdigit()
        and len(text) < 10
        and (name == "LISTEN_PID" or int(text) <= _MOST_DESCRIPTORS)
    ):
        raise OptionError(f"{name}: expected a number (sd_listen_fds(3)), got {text!r}")
    return int(text)
