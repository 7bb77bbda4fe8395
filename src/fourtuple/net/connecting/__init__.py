"""Connecting: the code that the blocking and the async client share. It has no stream, and does not wait itself.

How to connect is written once, as a generator of *steps*: "resolve this name", "wait until one of these sockets can be
written", "let some time pass". Each driver takes the steps in a different way: :func:`run` blocks, the async client
awaits. The driver only sends the addresses of a name back. The generator checks the results of the sockets itself, so
that no driver can get them wrong::

    connecting()                 attempt after attempt, with the pauses of Reconnect
        resolve()                a name becomes targets                                      yields Resolve
        race()                   Happy Eyeballs over the targets (RFC 8305)                  yields Wait
            _Attempt             one socket, one connect(2), one precise error

If the generator is closed at any step, or an exception is thrown into it, it closes every socket that it has opened.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from fourtuple.address import Address
from fourtuple.errors import AddressError, ConnectError
from fourtuple.net.connecting.names import interleaved, resolve
from fourtuple.net.connecting.racing import Connected, race
from fourtuple.net.connecting.sources import Source
from fourtuple.net.connecting.steps import Answer, Resolve, Step, Steps, Stop, Wait, clock, left, look_up, run
from fourtuple.net.connecting.unix import connect_unix
from fourtuple.options import Reconnect, Sockets, check_timeout, check_type

__all__ = [
    "connecting",
    "parsed",
    "pauses",
    "run",
    "source_of",
    "Connected",
    "Answer",
    "Resolve",
    "Step",
    "Steps",
    "Stop",
    "Wait",
    "clock",
    "interleaved",
    "left",
    "look_up",
]


def connecting(
    address: Address | str,
    *,
    timeout: float | None = 10.0,
    local_address: Address | str | None = None,
    sockets: Sockets | None = None,
    reconnect: Reconnect | None = None,
) -> Steps[Connected]:
    """Return the steps that connect to an address.

    Parameters
    ----------
    timeout
        Seconds for each attempt, including the name look-up and all addresses; None waits for the kernel to give up.
    local_address
        The local end: a literal address, with or without a port, or a Unix path.
    sockets
        The options that are set before connect(2).
    reconnect
        The number of attempts, and the pauses between them.

    Raises :class:`~fourtuple.errors.AddressError` for an address that cannot be read, before a socket is opened; the
    :class:`~fourtuple.errors.ConnectError` of the last attempt; and :class:`~fourtuple.errors.OptionError` for a socket
    option that the kernel refuses, and for an argument of a wrong type.
    """
    check_timeout(timeout)
    check_type("sockets", sockets, Sockets)
    check_type("reconnect", reconnect, Reconnect)
    target = parsed(address)
    source = source_of(local_address, sockets)
    return _attempts(target, source, timeout, reconnect or Reconnect())


def parsed(address: Address | str) -> Address:
    """Read the address of a server. Raises AddressError for one to which nothing can connect."""
    target = Address.parse(address)
    if target.host == "*":
        raise AddressError(str(address), "'*' means every address of this machine; to connect, give one")
    if target.is_given:
        raise AddressError(
            str(address),
            "a descriptor is for servers, which listen at it; to connect, give a host and a port, or a path",
        )
    return target


def source_of(local_address: Address | str | None, sockets: Sockets | None = None) -> Source:
    """Return the local end of connections. Raises AddressError for an address that is no literal."""
    local = None if local_address is None else Address.parse(local_address, default_port=0)
    return Source(local, sockets or Sockets())


def _attempts(address: Address, source: Source, timeout: float | None, reconnect: Reconnect) -> Steps[Connected]:
    for pause in pauses(reconnect):
        try:
            return (yield from _attempt(address, source, timeout))
        except ConnectError:
            if pause is None:
                raise
        yield Wait((), clock() + pause)
    raise AssertionError("the last pause is None")


def pauses(reconnect: Reconnect) -> Iterator[float | None]:
    """Yield the pause after each failed attempt, in seconds; None after the last."""
    for attempt in range(1, reconnect.attempts):
        import random  # imported here: few clients retry, and it imports many modules

        yield reconnect.pause(attempt, random.random())
    yield None


def _attempt(address: Address, source: Source, timeout: float | None) -> Steps[Connected]:
    until = None if timeout is None else clock() + timeout
    waited = "" if timeout is None else f"waited {timeout:g} s"
    if address.is_unix:
        connected = yield from connect_unix(address, source, until, waited)
    else:
        targets = yield from resolve(address, until, waited)
        connected = yield from race(address, source.matching(address, targets), until, waited)
    return replace(connected, until=until)
