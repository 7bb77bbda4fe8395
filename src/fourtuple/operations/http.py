"""The HTTP server of operations: h11 reads and writes HTTP/1.1, the engine moves the octets.

It needs h11: ``pip install 'fourtuple[metrics]'``. It is a separate :class:`~fourtuple.Server` with limits and
deadlines of its own, and serves GET and HEAD only: nothing can be changed here. It answers one request after the other.
A request with a body, or one that h11 cannot read, gets its answer and ends the connection, so that no octet after it
can be taken for another request.

Clients that are silent keep no probe waiting: when too many connections are open, the one whose client has let it wait
for the longest is aborted (:class:`~fourtuple.operations.places.Places`).
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from http import HTTPStatus

import h11

from fourtuple import events
from fourtuple.address import Address
from fourtuple.connection import Connection
from fourtuple.errors import ConnectionEnded, ConnectionLost, EndOfFile, OperationError
from fourtuple.four_tuple import FourTuple
from fourtuple.framing import Raw
from fourtuple.observe.log import log_failures
from fourtuple.operations.places import Places
from fourtuple.options import Deadlines, Limits
from fourtuple.server import Server
from fourtuple.service import Service

#: The most octets of a request line with its headers. A browser sends less than 2 KiB.
MAX_HEAD = 16 * 1024
#: Seconds in which a request has to be complete, from the end of the one before.
REQUEST_SECONDS = 10.0
#: The most streams of events at once.
MAX_STREAMS = 16
#: The most connections that wait for a request, for their client to read, or for an answer. With one more, one of them
#: is aborted. The rest of max_connections is for those that come meanwhile: a probe is always accepted.
MAX_WAITING = 40

_LIMITS = Limits(max_connections=64, max_buffered=16 * 1024 * 1024, high_water=64 * 1024, low_water=16 * 1024)
_DEADLINES = Deadlines(
    first_message_timeout=REQUEST_SECONDS,
    idle_timeout=300.0,
    write_timeout=10.0,
    handler_timeout=None,  # a stream of events lasts; single pages have a deadline of their own
    linger_timeout=0.5,
    drain_timeout=1.0,
    drain_idle_timeout=0.0,
    drain_first_message_timeout=0.0,
)

HttpConnection = Connection[bytes, bytes, None, None]

#: What every response says to browsers: nothing from elsewhere, in no frame of another page, and nothing is stored.
_SAFE = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@dataclass(frozen=True)
class Request:
    """A request that may be answered: its path without the query, and its headers in lower case."""

    path: str
    headers: dict[str, str]


@dataclass(frozen=True)
class Response:
    """A response: a whole body, or pieces that are sent as they come."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)
    pieces: AsyncGenerator[bytes, None] | None = None


def plain(status: int, text: str, **headers: str) -> Response:
    """Return a response of one line of text."""
    return Response(status, f"{text}\n".encode(), headers={name.replace("_", "-"): headers[name] for name in headers})


Answer = Callable[[Request], Awaitable[Response]]


class HttpServer:
    """Serves the pages that ``answer`` gives.

    Parameters
    ----------
    answer
        Returns the response to a request, which has passed the checks of :func:`refusal`.
    address
        Where to listen.
    hosts
        Names, besides IP addresses, localhost and this machine's own name, that a request may have as its Host.
    """

    def __init__(self, answer: Answer, address: Address, hosts: Iterable[str] = ()) -> None:
        self._answer = answer
        self._hosts = frozenset({"localhost", socket.gethostname().lower(), *(each.lower() for each in hosts)})
        self._places = Places(lambda: self.server.connections.values(), MAX_WAITING)
        service: Service[bytes, bytes, None, None] = Service(Raw(), name="http", silent_peers=True)
        service.conversation(self._converse)
        self.server: Server[bytes, bytes, None, None] = Server(
            service, address, limits=_LIMITS, deadlines=_DEADLINES, observer=_failures
        )

    async def start(self) -> None:
        """Listen. Raises :class:`~fourtuple.errors.ListenError`."""
        await self.server.start()

    async def stop(self) -> None:
        """Finish the responses that are under way, then close."""
        await self.server.drain()

    async def _converse(self, connection: HttpConnection) -> None:
        with suppress(EndOfFile, ConnectionLost, ConnectionEnded), self._places.taken(connection):
            exchange = _Exchange(connection)
            while not connection.draining.is_set() and await self._one(exchange):
                pass

    async def _one(self, exchange: _Exchange) -> bool:
        """Answer one request; return whether another one may follow on this connection."""
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                request = await exchange.request()
        except TimeoutError:
            return False
        except h11.RemoteProtocolError as error:
            exchange.last = True
            await exchange.respond(plain(error.error_status_hint, "not a request of HTTP/1.1"))
            return False
        if request is None:
            return False
        response = refusal(request, self._hosts)
        if response is not None:
            exchange.last = True
        else:
            with self._places.at_work(exchange.connection):
                response = await self._answered(_read(request))
        if response.pieces is None:
            await exchange.respond(response)
        else:
            await self._stream(exchange, response, response.pieces)
        return exchange.next()

    async def _answered(self, request: Request) -> Response:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                return await self._answer(request)
        except TimeoutError:
            return plain(503, f"no answer within {REQUEST_SECONDS:g} s")
        except OperationError as error:
            return plain(503, str(error))
        except Exception as error:
            name = FourTuple(self.server.address.host, self.server.address.port, "", 0)
            log_failures(events.HandlerRaised(0, name, request.path, error))
            return plain(500, "it failed; the log has the reason")

    async def _stream(self, exchange: _Exchange, response: Response, pieces: AsyncGenerator[bytes, None]) -> None:
        async with aclosing(pieces):
            if self._places.streams >= MAX_STREAMS:
                await exchange.respond(plain(503, f"{MAX_STREAMS} streams of events are open already"))
                return
            with self._places.streaming(exchange.connection):
                await exchange.stream(response, pieces)


class _Exchange:
    """HTTP on one connection."""

    def __init__(self, connection: HttpConnection) -> None:
        self.connection = connection
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        self._is_head = False
        #: The octets that have come since the end of the request before.
        self._size = 0
        #: Whether no further request is read here.
        self.last = False

    async def request(self) -> h11.Request | None:
        """Return the head of the next request; None at the end of file. Raises h11.RemoteProtocolError."""
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Request):
                # h11 counts a head only while its end has not come.
                if self._size - self._ahead() > MAX_HEAD:
                    raise h11.RemoteProtocolError("the head is too long", error_status_hint=431)
                # A request without a body is at its end at once. h11 has refused headers that two readers could
                # understand in two ways; what else announces a body may hide a request from the one before us.
                at_its_end = isinstance(self._http.next_event(), h11.EndOfMessage)
                names = {name for name, _ in event.headers}
                self.last = not at_its_end or not names.isdisjoint({b"content-length", b"transfer-encoding"})
                self._is_head = event.method == b"HEAD"
                return event
            if event is not h11.NEED_DATA:
                return None
            octets = await self.connection.receive_some(16 * 1024)
            self._size += len(octets)
            self._http.receive_data(octets)

    def _ahead(self) -> int:
        """Return the number of octets that have come behind what was read."""
        return len(self._http.trailing_data[0])

    async def respond(self, response: Response) -> None:
        """Send a whole response."""
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        head = self._head(response, [("Content-Length", str(len(response.body)))])
        octets = self._http.send(head) or b""
        if response.body and not self._is_head:
            octets += self._http.send(h11.Data(response.body)) or b""
        await self.connection.send(octets + (self._http.send(h11.EndOfMessage()) or b""))

    async def stream(self, response: Response, pieces: AsyncGenerator[bytes, None]) -> None:
        """Send a response whose pieces come one after the other, until the peer or the server ends it."""
        await self.connection.send(self._http.send(self._head(response, [])) or b"")
        if self._is_head:
            return
        async for piece in pieces:
            await self.connection.send(self._http.send(h11.Data(piece)) or b"")
            if self.connection.draining.is_set() or self.connection.peer_finished.is_set():
                return

    def _head(self, response: Response, headers: list[tuple[str, str]]) -> h11.Response:
        if self.last:
            headers = [*headers, ("Connection", "close")]
        named = {"Content-Type": response.content_type, **_SAFE, **response.headers}
        return h11.Response(
            status_code=response.status, reason=HTTPStatus(response.status).phrase, headers=[*named.items(), *headers]
        )

    def next(self) -> bool:
        """Begin the next request; return whether there may be one."""
        if self.last or self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._size = self._ahead()
        self._http.start_next_cycle()
        return True


def _failures(event: events.Event) -> None:
    if not isinstance(event, events.LoopHeld | events.HandlerSlow):
        log_failures(event)


def refusal(request: h11.Request, hosts: frozenset[str]) -> Response | None:
    """PURE: return why a request is not answered, or None if it may be.

    A page of another site can make a browser send requests here. With DNS rebinding its name leads to this machine, so
    the name in Host is checked; a request from a page of another origin names that in Origin or Sec-Fetch-Site.
    """
    headers = _headers(request)
    host, _ = _target(request)
    if request.http_version not in (b"1.0", b"1.1"):
        return plain(505, f"HTTP/{request.http_version.decode('ascii')} is not spoken here; 1.1 is")
    if request.method not in (b"GET", b"HEAD"):
        return plain(405, f"only GET and HEAD, not {request.method.decode('ascii')}", Allow="GET, HEAD")
    if host is None:
        return plain(400, "only http:// with a host, and without a user, can be asked for here")
    name = _name_of(host)
    if name is None:
        return plain(400, "the Host is neither a name nor an address, with or without a port")
    if host and not _is_known(name, hosts):
        return plain(421, "this server does not know that Host; use its IP address, or start it with --http-hosts NAME")
    if headers.get("sec-fetch-site") == "cross-site" or headers.get("origin", f"http://{host}") != f"http://{host}":
        return plain(403, "a page of another site must not read this")
    return None


def _target(request: h11.Request) -> tuple[str | None, str]:
    """Return the host and the path that are asked for; the host is None if the target is invalid here.

    A server also accepts the absolute form, which names the host itself: that in the header is ignored then (RFC 9112,
    3.2.2). Without a host, and with a user in it, it is invalid (RFC 9110, 4.2).
    """
    target = request.target.decode("ascii")
    scheme, absolute, rest = target.partition("://")
    if not absolute or target.startswith("/"):
        return _headers(request).get("host", ""), target.partition("?")[0]
    host = re.split("[/?#]", rest, maxsplit=1)[0]
    path = rest[len(host) :].partition("?")[0] or "/"
    return (host if host and "@" not in host and scheme.lower() == "http" else None), path


#: A Host: an IPv6 address in brackets, or a name or an IPv4 address; then a port (RFC 3986, 3.2.2).
_HOST = re.compile(r"(?:\[([^\[\]]++)\]|([^\[\]:]*+))(?::[0-9]*+)?+")


def _name_of(host: str) -> str | None:
    """The name in a Host header, without the port; None if it is malformed."""
    match = _HOST.fullmatch(host)
    return None if match is None else match[1] or match[2]


def _is_known(name: str, hosts: frozenset[str]) -> bool:
    if name.lower().rstrip(".") in hosts:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _headers(request: h11.Request) -> dict[str, str]:
    return {name.decode("ascii"): value.decode("latin-1") for name, value in request.headers}


def _read(request: h11.Request) -> Request:
    return Request(_target(request)[1], _headers(request))
