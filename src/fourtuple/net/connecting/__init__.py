"""Connecting: what the blocking and the async client share. No stream, and no way of waiting, is decided here.

How to connect is written once, as a generator of *steps*: "resolve this name", "wait until one of these
sockets can be written", "let some time pass". Whoever drives it takes each step in its own way: :func:`run` by
blocking, the async client by awaiting. A step that is taken says nothing back but a name's addresses; what came
of the sockets the generator looks at itself, so that no driver can get it wrong::

    connecting()                 attempt after attempt, with the pauses of Reconnect
        resolve()                a name becomes targets                                      yields Resolve
        race()                   Happy Eyeballs over the targets (RFC 8305)                  yields Wait
            _Attempt             one socket, one connect(2), one honest error

A generator that is closed or thrown into, at any step, closes every socket it has opened.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from fourtuple.address import Address
from fourtuple.errors import AddressError, ConnectError
from fourtuple.net.connecting.names import interleaved, resolve
from fourtuple.net.connecting.racing import Connected, race
from fourtuple.net.connecting.sources import Source
from fourtuple.net.connecting.steps import Answer, Resolve, Step, Steps, Wait, clock, left, look_up, run
from fourtuple.net.connecting.unix import connect_unix
from fourtuple.options import Reconnect, Sockets, check_timeout, check_type

__all__ = [
    "connecting",
    "pauses",
    "run",
    "Connected",
    "Answer",
    "Resolve",
    "Step",
    "Steps",
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
    :class:`~fourtuple.errors.OptionError` for a socket option that the kernel refuses, and an argument of a wrong type.
    """
    check_timeout(timeout)
    check_type("sockets", sockets, Sockets)
    check_type("reconnect", reconnect, Reconnect)
    target = _parsed(address)
    source = Source(
        None if local_address is None else Address.parse(local_address, default_port=0), sockets or Sockets()
    )
    return _attempts(target, source, timeout, reconnect or Reconnect())


def _parsed(address: Address | str) -> Address:
    target = Address.parse(address)
    if target.host == "*":
        raise AddressError(str(address), "'*' is every address of this machine; to connect, name one")
    return target


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
    """The pause behind each attempt that failed, in seconds; None behind the last."""
    for attempt in range(1, reconnect.attempts):
        import random  # here: few clients try again, and it brings many modules

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
