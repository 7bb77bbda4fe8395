"""The options of ``connect``, async and blocking: declared and described once."""

from __future__ import annotations

import dataclasses
import inspect
import ssl
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypedDict, TypeVar

from fourtuple.address import Address
from fourtuple.errors import OptionError
from fourtuple.net.connecting import parsed, source_of
from fourtuple.options import Deadlines, Limits, Options, Reconnect, Sockets, Tls, check_timeout, check_type, option
from fourtuple.proxy.header import ProxyHeader
from fourtuple.tls.start import check_client, check_server_name, host_of

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Connect(Options):
    """The options of a client, in addition to the address and the framing."""

    timeout: float | None = option(
        10.0,
        "for each attempt, from the look-up of the name to the end of the TLS handshake, over all addresses; "
        "without it the kernel gives up after minutes",
        unit="seconds",
        reason="a lost SYN is sent again after 1, 3 and 7 s",
    )
    """For each attempt, from the look-up of the name to the end of the TLS handshake, over all addresses; without it
    the kernel gives up after minutes, in seconds. Default: 10 (a lost SYN is sent again after 1, 3 and 7 s).
    """
    local_address: Address | str | None = option(
        None, "where to connect from: a literal address, with or without a port", reason="the kernel chooses"
    )
    """Where to connect from: a literal address, with or without a port. Default: none (the kernel chooses)."""
    sockets: Sockets | None = option(None, "options of the socket", reason="the defaults of `Sockets`")
    """Options of the socket. Default: none (the defaults of `Sockets`)."""
    limits: Limits | None = option(None, "options of the conversation", reason="the defaults of `Limits`")
    """Options of the conversation. Default: none (the defaults of `Limits`)."""
    deadlines: Deadlines | None = option(
        None,
        "how long a message, a write and the end may take; a blocking connection uses `write_timeout` (in every "
        "call that has octets to write), `handshake_timeout`, and `linger_timeout` (in `close()`)",
        reason="the defaults of `Deadlines`",
    )
    """How long a message, a write and the end may take; a blocking connection uses `write_timeout` (in every call that
    has octets to write), `handshake_timeout`, and `linger_timeout` (in `close()`). Default: none (the defaults of
    `Deadlines`).
    """
    reconnect: Reconnect | None = option(
        None, "how many attempts, and the pauses between them", reason="one attempt: an error is raised at once"
    )
    """How many attempts, and the pauses between them. Default: none (one attempt: an error is raised at once)."""
    tls: Tls | ssl.SSLContext | bool | None = option(
        None,
        "True for the defaults, `Tls` options or an `ssl.SSLContext`; the connection is returned after the "
        "handshake, which `handshake_timeout` also bounds: the earlier of the two",
        reason="no TLS",
    )
    """True for the defaults, `Tls` options or an `ssl.SSLContext`; the connection is returned after the handshake,
    which `handshake_timeout` also bounds: the earlier of the two. Default: none (no TLS).
    """
    server_hostname: str | None = option(
        None, "the name that the server's certificate must have", reason="the host of the address"
    )
    """The name that the server's certificate must have. Default: none (the host of the address)."""
    proxy_header: ProxyHeader | int | bool | None = option(
        None,
        "send a PROXY header first, as a balancer does: 1 or 2 (or True) for this socket's own name in that "
        "version, or a `ProxyHeader`",
        reason="only servers that expect it can read it",
    )
    """Send a PROXY header first, as a balancer does: 1 or 2 (or True) for this socket's own name in that version, or a
    `ProxyHeader`. Default: none (only servers that expect it can read it).
    """

    def __post_init__(self) -> None:
        check_timeout(self.timeout)
        check_type("reconnect", self.reconnect, Reconnect)
        source_of(self.local_address)
        check_client(
            self.tls,
            self.server_hostname,
            self.proxy_header,
            limits=self.limits,
            deadlines=self.deadlines,
            sockets=self.sockets,
        )

    def check_for(self, address: Address) -> None:
        """Raise AddressError or OptionError if no attempt to connect to this address can succeed."""
        parsed(address)
        if not source_of(self.local_address).reaches(address):
            raise OptionError(f"local_address: {self.local_address} and {address} are of different families")
        check_server_name(self.tls, host_of(address) if self.server_hostname is None else self.server_hostname)


class ClientOptions(TypedDict, total=False):
    """The options of :class:`Connect` that a client takes, which has its own way to connect again."""

    timeout: float | None
    local_address: Address | str | None
    sockets: Sockets | None
    limits: Limits | None
    deadlines: Deadlines | None
    tls: Tls | ssl.SSLContext | bool | None
    server_hostname: str | None
    proxy_header: ProxyHeader | int | bool | None


class ConnectOptions(ClientOptions, total=False):
    """The options of :class:`Connect` as keyword arguments, for type checkers. A test compares both."""

    reconnect: Reconnect | None


def _paragraph(field: dataclasses.Field[Any]) -> str:
    text = f"{field.metadata['help']}. Default: {field.default} ({field.metadata['reason']})."
    unit = "Seconds " if field.metadata["unit"] == "seconds" else ""
    text = unit + (text if unit else text[0].upper() + text[1:])
    return textwrap.fill(text.replace("`", "``"), 116, initial_indent=" " * 4, subsequent_indent=" " * 4)


_ABOUT = """

Parameters
----------
address
    ``"host:port"``, ``"[v6]:port"``, ``"unix:/path"`` or an :class:`~fourtuple.Address`. All addresses of a name are
    tried, the families in turn, the next one beside the last after 0.25 s (RFC 8305).
framing
    How messages are cut, as a value or as text: ``"line"``, ``"fixed:16"``. The types of the messages are those of the
    value; a text gives ``Any``.
{options}

Raises :class:`~fourtuple.errors.ConnectError`, one subclass for every way to fail;
:class:`~fourtuple.errors.TlsError` (which one says why) and :class:`~fourtuple.errors.DeadlinePassed` for a handshake
that fails; :class:`~fourtuple.errors.AddressError`, :class:`~fourtuple.errors.FramingTextError` and
:class:`~fourtuple.errors.OptionError` for arguments that cannot work, before anything is opened.
"""


def takes_connect_options(function: F) -> F:
    """Give a function of ``**options`` its full signature, and append the parameters to its docstring, for readers."""
    fields = dataclasses.fields(Connect)
    signature = inspect.signature(function)
    keywords = [
        inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type)
        for field in fields
    ]
    shown = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
    function.__signature__ = signature.replace(parameters=[*shown, *keywords])  # type: ignore[attr-defined]
    options = "\n".join(f"{field.name}\n{_paragraph(field)}" for field in fields)
    function.__doc__ = inspect.cleandoc(function.__doc__ or "") + _ABOUT.format(options=options)
    return function
