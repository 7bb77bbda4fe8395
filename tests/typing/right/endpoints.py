"""Addresses with options of their own, alarms, observers, and what `import fourtuple` reaches."""

from __future__ import annotations

import socket
from typing import Literal, assert_type

import fourtuple
from fourtuple import Address, Alarm, Deadlines, Endpoint, Limits, Proxy, Server, Service, Sockets, Tls
from fourtuple.events import Accepted, AlarmRaised, Event
from fourtuple.framing import Fixed
from fourtuple.framing.base import Octets

service = Service(Fixed(16))
own = Endpoint("*:9998", tls=Tls(mode="detect", verify="optional", minimum="1.3"), proxy=Proxy(protocol="required"))
given = Endpoint(socket.socket(), limits=Limits(max_connections=5), sockets=Sockets(nodelay=False))


def watches(event: Event) -> None:
    if isinstance(event, Accepted):
        assert_type(event.id, int)


def paged(raised: AlarmRaised) -> None:
    assert_type(raised.value, int)


def served() -> None:
    server = Server(
        service,
        *("127.0.0.1:0", Address.parse("*:9997"), own, given),
        deadlines=Deadlines(idle_timeout=None),
        observer=watches,
        alarms=[Alarm(5, callback=paged)],
    )
    assert_type(server.service.framing.decoder().feed(b""), list[bytes | fourtuple.framing.Unmapped])


def reached() -> None:
    assert_type(fourtuple.framing.Line(), fourtuple.framing.Line)
    assert_type(fourtuple.Service(fourtuple.framing.Fixed(3)).framing, fourtuple.framing.Framing[bytes, Octets])
    assert_type(fourtuple.load.Load(close="reset").close, Literal["fin", "reset"])
