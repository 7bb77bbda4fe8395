"""What TLS needs before a conversation, on either side: contexts, names, the layer.

This module does no I/O on sockets.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from fourtuple.address import Address
from fourtuple.errors import OptionError
from fourtuple.options import Deadlines, Limits, Sockets, Tls, check_type
from fourtuple.stream import Stream
from fourtuple.tls.certificates import Certificates, TlsChoice, checked_context, client_context, server_context
from fourtuple.tls.layer import TlsLayer

if TYPE_CHECKING:
    from fourtuple.proxy.header import HeaderChoice


def tls_wanted(choice: TlsChoice | None) -> bool:
    """Return whether a client uses TLS: for every choice except None and False."""
    return choice is not None and choice is not False


def host_of(address: Address | str) -> str | None:
    """Return the name that a server's certificate must have; None for a Unix socket."""
    return Address.parse(address).host or None


def check_client(
    tls: TlsChoice | None,
    server_hostname: str | None,
    proxy_header: HeaderChoice | None,
    *,
    limits: Limits | None = None,
    deadlines: Deadlines | None = None,
    sockets: Sockets | None = None,
) -> None:
    """Check a client's options, and read the files for TLS, before a socket is opened. Raises OptionError."""
    check_type("limits", limits, Limits)
    check_type("deadlines", deadlines, Deadlines)
    check_type("sockets", sockets, Sockets)
    check_type("server_hostname", server_hostname, str)
    check_type("tls", tls, Tls, ssl.SSLContext, bool)
    if proxy_header is not None:
        from fourtuple.proxy.header import check_header  # imported here: few clients send a header

        check_header(proxy_header)
    if tls is not None and tls_wanted(tls):
        client_context(tls)
        if server_hostname is not None:
            check_server_name(tls, server_hostname)


def check_server_name(tls: TlsChoice | None, name: str | None) -> None:
    """Raise OptionError for a name that no server's certificate can have, and for none where one must be checked."""
    if tls is None or not tls_wanted(tls):
        return
    expected = "server_hostname: expected the name in the server's certificate"
    context = client_context(tls)
    if name is None and context.check_hostname:
        raise OptionError(f"{expected}, got None: the path of a Unix socket has no such name")
    try:
        context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=name)
    except (ValueError, TypeError) as error:  # TypeError: a null character
        raise OptionError(f"{expected}, got {name!r}: {error}") from None


def first_to_pass(
    deadlines: Deadlines, timeout: float | None, until: float | None, now: float
) -> tuple[float | None, str, float | None]:
    """Return the deadline of the handshake of a new connection: its seconds, its name and its moment.

    It is the earlier of ``handshake_timeout`` and the deadline of connect's ``timeout``, which passes at ``until``.
    """
    seconds = deadlines.handshake_timeout
    if until is not None and (seconds is None or until < now + seconds):
        return timeout, "connect", until
    return seconds, "handshake_timeout", None if seconds is None else now + seconds


def tls_layer(
    stream: Stream,
    choice: TlsChoice | None,
    now: float,
    *,
    server_side: bool,
    server_hostname: str | None,
    certificates: Certificates | None = None,
) -> TlsLayer:
    """Return the layer that start_tls() puts between the socket and a conversation.

    Raises :class:`~fourtuple.errors.OptionError` for choices that cannot work: a server without a certificate, or a
    client without the name that it must check.
    """
    check_type("tls", choice, Tls, ssl.SSLContext, *(() if server_side else (bool,)))
    check_type("server_hostname", server_hostname, str)
    if not server_side:
        context = client_context(True if choice is None else choice)
        if context.check_hostname and server_hostname is None:  # before 3.15, SSLObject would check no name then
            raise OptionError(
                "start_tls: server_hostname: expected the name in the server's certificate, which has to be checked, "
                "got None"
            )
    elif isinstance(choice, ssl.SSLContext):
        context = checked_context(choice, server_side=True)
    elif isinstance(choice, Tls):
        context = server_context(choice)
    elif certificates is not None:
        context = certificates.context
    else:
        raise OptionError("start_tls: the server has no certificate; give it tls=Tls(certificate=..., mode='starttls')")
    try:
        return TlsLayer(context, now, server_side=server_side, server_hostname=server_hostname, whom=str(stream.name))
    except (ValueError, ssl.SSLError) as error:
        raise OptionError(f"start_tls: {str(error) or 'the context is for the other side'}") from None
