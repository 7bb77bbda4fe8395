"""Puts a whole program on our listeners: ``loop.create_server()`` and ``loop.create_unix_server()`` are replaced."""

from __future__ import annotations

import asyncio
import ssl as ssl_module
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from types import TracebackType
from typing import Any

from fourtuple import events
from fourtuple.adapters.asyncio_server import InstalledServer
from fourtuple.adapters.binding import sockets_of
from fourtuple.adapters.protocols import adapted
from fourtuple.engine import ReadinessChoice
from fourtuple.errors import ServiceError
from fourtuple.ignored import Ignored
from fourtuple.options import (
    Deadlines,
    Limits,
    Proxy,
    by_keyword,
    call_plain,
    check_function,
    check_type,
    function_name,
)
from fourtuple.server import Server

#: asyncio's servers have no deadlines but that of the handshake, whose value is asyncio's.
NO_DEADLINES = Deadlines(
    first_message_timeout=None, message_timeout=None, write_timeout=None, handshake_timeout=60.0, stall_timeout=None
)

_METHODS = ("create_server", "create_unix_server")


def to_the_loop(event: events.Event) -> None:
    """Report a protocol that raised to the loop's exception handler, as asyncio does. The default observer."""
    if isinstance(event, events.HandlerRaised):
        message = f"fourtuple: {event.handler} raised, its connection {event.name} is closed"
        asyncio.get_running_loop().call_exception_handler({"message": message, "exception": event.error})


@dataclass(frozen=True)
class _Options:
    """The options of all servers that the program makes."""

    limits: Limits
    deadlines: Deadlines
    proxy: Proxy | None
    observer: events.Observer
    readiness: ReadinessChoice
    on_server: Callable[[Server[Any, Any, Any, Any]], Ignored] | None


class Installation:
    """What :func:`install` returns: a context manager that uninstalls at its end.

    ``options`` are those that :func:`install` was given, which makes this object.
    """

    def __init__(self, options: _Options) -> None:
        self._options = options
        self._replaced: list[tuple[type, str, Any]] = []

    def __enter__(self) -> Installation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.uninstall()

    def put_on(self, loop_class: type) -> None:
        """Replace the two methods of ``loop_class``, a class of loops."""
        for name in _METHODS:
            own = getattr(loop_class, name)
            self._replaced.append((loop_class, name, vars(loop_class).get(name)))
            setattr(loop_class, name, _replacement(own, self._options))

    def uninstall(self) -> None:
        """Give the loops their own methods back. Servers that were made meanwhile go on. Idempotent."""
        global _installed
        with _lock:
            while self._replaced:
                loop_class, name, before = self._replaced.pop()
                if before is None:
                    delattr(loop_class, name)
                else:
                    setattr(loop_class, name, before)
            if _installed is self:
                _installed = None


_installed: Installation | None = None
_lock = threading.Lock()


@by_keyword()
def install(
    *,
    limits: Limits | None = None,
    deadlines: Deadlines | None = None,
    proxy: Proxy | None = None,
    observer: events.Observer | None = None,
    readiness: ReadinessChoice = "auto",
    on_server: Callable[[Server[Any, Any, Any, Any]], Ignored] | None = None,
) -> Installation:
    """Put every server that this program makes by asyncio on our listeners, until :func:`uninstall`.

    ``asyncio.start_server``, ``asyncio.start_unix_server``, ``loop.create_server`` and ``loop.create_unix_server`` then
    listen as :class:`~fourtuple.Server`, on asyncio's loops and on those of uvloop if it is installed. What they take
    and return stays the same. ``ssl=`` becomes our TLS. Connections that the program makes are not changed.

    ::

        with adapters.install(limits=Limits(max_connections=500)):
            asyncio.run(main())

    Parameters
    ----------
    limits, proxy, readiness
        As for :class:`~fourtuple.Server`, for each of the servers.
    deadlines
        As for :class:`~fourtuple.Server`. Default: none but that of the TLS handshake, 60 seconds, as with asyncio:
        a program that was not written for deadlines may keep silent connections.
    observer
        As for :class:`~fourtuple.Server`. Default: a protocol that raises is reported to the loop's exception handler.
    on_server
        Called with the :class:`~fourtuple.Server` of each server that is made, for its statistics and limits.

    Raises :class:`~fourtuple.errors.ServiceError` if it is installed already.
    """
    global _installed
    check_type("limits", limits, Limits)
    check_type("deadlines", deadlines, Deadlines)
    check_type("proxy", proxy, Proxy)
    check_function("observer", observer, "event")
    check_function("on_server", on_server, "server")
    options = _Options(
        limits or Limits(), deadlines or NO_DEADLINES, proxy, observer or to_the_loop, readiness, on_server
    )
    with _lock:
        if _installed is not None:
            raise ServiceError("install: it is installed already; uninstall() first")
        _installed = installation = Installation(options)
    for loop_class in _loop_classes():
        installation.put_on(loop_class)
    return installation


def uninstall() -> None:
    """Undo :func:`install`. Servers that were made meanwhile go on. Idempotent."""
    if _installed is not None:
        _installed.uninstall()


def _loop_classes() -> list[type]:
    classes: list[type] = [asyncio.SelectorEventLoop]
    if find_spec("uvloop"):
        import uvloop  # imported only if it is installed

        classes.append(uvloop.Loop)
    return classes


def _replacement(own: Callable[..., Any], options: _Options) -> Callable[..., Any]:
    """Return what takes the place of a loop's method ``own``, which still makes the sockets."""

    async def create(
        loop: asyncio.AbstractEventLoop,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        *arguments: Any,
        ssl: ssl_module.SSLContext | None = None,
        backlog: int = 100,
        start_serving: bool = True,
        **others: Any,
    ) -> InstalledServer:
        bound = await sockets_of(own, loop, protocol_factory, arguments, {**others, "ssl": ssl, "backlog": backlog})
        try:
            server = await _started(protocol_factory, ssl, _deadlines(options.deadlines, others), options)
        except BaseException:
            bound.give_up(others.get("sock"))
            raise
        # Before 3.13 asyncio left the file of a Unix socket in place, and programs remove it themselves.
        keep_files = sys.version_info < (3, 13) or not others.get("cleanup_socket", True)
        made = InstalledServer(server, bound, backlog, keep_files=keep_files)
        if start_serving:
            await made.start_serving()
        return made

    create.__name__ = create.__qualname__ = own.__name__
    create.__doc__ = own.__doc__
    return create


async def _started(
    factory: Callable[[], asyncio.BaseProtocol],
    tls: ssl_module.SSLContext | None,
    deadlines: Deadlines,
    options: _Options,
) -> Server[Any, Any, Any, Any]:
    service = adapted(lambda _runner: factory(), function_name(factory), silent_peers=False)
    server = Server(
        service,
        listen=False,
        limits=options.limits,
        deadlines=deadlines,
        tls=tls,
        proxy=options.proxy,
        observer=options.observer,
        readiness=options.readiness,
    )
    await server.start()
    if options.on_server is not None:
        call_plain("on_server", options.on_server, server)
    return server


def _deadlines(deadlines: Deadlines, given: dict[str, Any]) -> Deadlines:
    """Return the deadlines with those that the program gives to asyncio."""
    seconds = given.get("ssl_handshake_timeout")
    return deadlines if seconds is None else deadlines.replace(handshake_timeout=float(seconds))
