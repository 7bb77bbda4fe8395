"""Where a server listens, with options that hold there alone."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from fourtuple.address import Address, is_pair
from fourtuple.errors import OptionError
from fourtuple.options import OF_THE_SERVER, Limits, Proxy, Sockets, Tls, by_keyword, check_type

#: One place where a server can listen.
Place: TypeAlias = str | Address | socket.socket


@by_keyword()
@dataclass(frozen=True)
class Endpoint:
    """A place where a server listens, or several, with options of their own.

    ::

        Server(service, "127.0.0.1:9999", Endpoint("*:9998", tls=Tls(certificate="server.pem")))

    Parameters
    ----------
    address
        As for :class:`~fourtuple.Server`: a text, an :class:`~fourtuple.Address`, or a bound socket; or a list of them,
        at which the same options and the same counts hold.
    tls
        :class:`~fourtuple.Tls` options or an :class:`ssl.SSLContext`. ``Tls()`` means no TLS. Default: the server's.
    proxy
        :class:`~fourtuple.Proxy` options. Default: the server's.
    limits
        :class:`~fourtuple.Limits` for the connections that are accepted here. They are counted apart from all others,
        and the server's limits do not apply to them. Default: the server's limits, and its counts. ``max_threads`` and
        the alarm are the server's in any case.
    sockets
        :class:`~fourtuple.Sockets` options. Default: the server's.

    Raises :class:`~fourtuple.errors.AddressError` and :class:`~fourtuple.errors.OptionError`.
    """

    address: Place | Sequence[Place]
    tls: Tls | ssl.SSLContext | None = None
    proxy: Proxy | None = None
    limits: Limits | None = None
    sockets: Sockets | None = None

    def __post_init__(self) -> None:
        check_type("tls", self.tls, Tls, ssl.SSLContext, hint="Tls(certificate='server.pem')")
        check_type("proxy", self.proxy, Proxy)
        check_type("limits", self.limits, Limits)
        check_type("sockets", self.sockets, Sockets)
        if isinstance(self.address, socket.socket):
            return
        if isinstance(self.address, list | tuple) and not is_pair(self.address):
            if not self.address:
                raise OptionError("address: expected at least one address, got an empty list")
            object.__setattr__(self, "address", tuple(map(_parsed, self.address)))
        else:
            object.__setattr__(self, "address", _parsed(self.address))

    @property
    def places(self) -> tuple[Address | socket.socket, ...]:
        """The addresses, parsed, and the sockets."""
        places: Any = self.address if isinstance(self.address, tuple) else (self.address,)
        return tuple(places)

    def check_limits(self, server: Limits) -> None:
        """Raise :class:`~fourtuple.errors.OptionError` for a limit here that only the whole server can have."""
        if self.limits is None:
            return
        for name in OF_THE_SERVER:
            here = getattr(self.limits, name)
            if here not in (getattr(Limits(), name), getattr(server, name)):
                raise OptionError(f"{name}: {here!r} given for {self}, it is a limit of the whole server")

    def __str__(self) -> str:
        return ", ".join(map(str, self.places))


def _parsed(place: Any) -> Address | socket.socket:
    return place if isinstance(place, socket.socket) else Address.parse(place)


def endpoint_of(given: Place | Endpoint) -> Endpoint:
    """Return an endpoint for anything that a server takes as an address."""
    return given if isinstance(given, Endpoint) else Endpoint(given)
