"""``fourtuple connect``: a conversation from a terminal, a filter in a pipe, or a few messages in a script."""

from __future__ import annotations

import sys
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, NoReturn

import click

from fourtuple.address import Address
from fourtuple.cli import client_tls, types
from fourtuple.cli.failure import Exit, Failure, Interrupted
from fourtuple.errors import (
    AddressError,
    ConnectError,
    ConnectReset,
    ConnectTimeout,
    DeadlinePassed,
    EncodeError,
    FourTupleError,
    OptionError,
    PeerReset,
    TlsError,
)
from fourtuple.framing import Framing, Raw
from fourtuple.framing.fromoctets import from_octets
from fourtuple.printable import printable

if TYPE_CHECKING:
    from fourtuple.cli.talk import Talk
    from fourtuple.connection import Connection

#: The timeout for connecting, unless --timeout is given: a lost SYN is sent again after 1, 3 and 7 s.
CONNECT_SECONDS = 10.0


@click.command(params=client_tls.flags())
@click.argument("address", type=types.address())
@click.option(
    "--framing", "-f", type=types.framing(), default="line",
    help="How octets become messages: see 'fourtuple framings', or file.py:framing for one of your own.  [line]",
)  # fmt: skip
@click.option("--mirror", is_flag=True, help="Take the other end of --framing, where the two directions differ.")
@click.option(
    "--send", "-s", "texts", multiple=True, metavar="TEXT",
    help=r"Send this message instead of reading standard input; may be given several times. "
    r"\n, \r, \t, \0, \e, \x1c and \\ are escapes.",
)  # fmt: skip
@click.option(
    "--file", "files", multiple=True, type=types.file(dash=True), metavar="FILE",
    help="Send the octets of this file as one message, after those of --send; - is standard input.",
)  # fmt: skip
@click.option(
    "--repeat", type=types.whole(1), default=1, metavar="N",
    help="Send the messages of --send and --file this many times.  [1]",
)  # fmt: skip
@click.option(
    "--interval", type=types.seconds(zero=True), metavar="SECONDS",
    help="The time between the rounds of --repeat; a round also waits for its replies.  [1]",
)  # fmt: skip
@click.option(
    "--hex", "hexadecimal", is_flag=True, help="Read and print messages in hexadecimal, including those of --send."
)
@click.option(
    "--timeout", type=types.seconds(), metavar="SECONDS",
    help="For connecting, and for each reply after everything is sent.  "
    f"[{CONNECT_SECONDS:g} for connecting, none for replies]",
)  # fmt: skip
@click.option(
    "--wait", type=types.seconds(), metavar="SECONDS",
    help="Keep trying to connect for this long, while the server starts.  [one attempt]",
)  # fmt: skip
@click.option(
    "--no-half-close", is_flag=True,
    help="Send no end of file after the messages: some servers then close without replying.",
)  # fmt: skip
@click.option("--local", type=types.local_address(), help="The local address to connect from.")
@client_tls.wanted
@click.option(
    "--proxy-header", type=types.whole(1, 2), metavar="1|2",
    help="Begin with a PROXY header of this version, as a balancer does, that has this connection's own name.",
)  # fmt: skip
@click.option(
    "--verbose", "-v", is_flag=True, help="Print the four-tuple, round-trip time and counters to standard error."
)
def connect(
    address: Address,
    framing: Framing,
    mirror: bool,
    texts: tuple[str, ...],
    files: tuple[str, ...],
    repeat: int,
    interval: float | None,
    hexadecimal: bool,
    timeout: float | None,
    wait: float | None,
    no_half_close: bool,
    local: Address | None,
    tls: bool,
    server_name: str | None,
    proxy_header: int | None,
    verbose: bool,
    **flags: str | None,
) -> None:
    """Connect to ADDRESS and exchange messages.

    On a terminal each line that is typed is a message, with editing and history, and replies are printed above it as
    they come. In a pipe it is a filter that reads and writes at once: with --framing raw octets pass unchanged, with
    any other framing each line of the input is a message and each reply a line (--file sends a file as one message).
    The end of the input (or Ctrl-D) half-closes; replies are printed until the peer's end of file.

    With --send or --file the input is not read: it sends, waits for one reply to each message (a second at most, where
    none comes), half-closes, and prints what still comes. With --no-half-close it ends when each message has its reply.

    Exit codes: 0 done, 1 the peer reset the connection, broke the framing or ended it before each message had its
    reply, 2 usage, 3 cannot connect (a reset at once, before anything was exchanged, counts as that, and a failed TLS
    handshake), 4 no answer in time.
    """
    framing = framing.mirror() if mirror else framing
    messages = _messages(texts, files, framing, hexadecimal) if texts or files else None
    if messages is None and (repeat > 1 or interval is not None):
        raise click.UsageError("--repeat and --interval need messages: give --send or --file.")
    if repeat == 1 and interval is not None:
        raise click.UsageError("--interval is the time between the rounds of --repeat: also give --repeat.")
    from fourtuple.cli.interrupts import (
        run_until_interrupted,
    )  # imported here: --help and usage errors need no event loop
    from fourtuple.cli.talk import Plan, Talk

    plan = Plan(messages, repeat, 1.0 if interval is None else interval, not no_half_close, timeout)
    talk = Talk(framing, plan, hexadecimal=hexadecimal)
    opening = {
        "timeout": CONNECT_SECONDS if timeout is None else timeout,
        "local_address": local,
        "tls": client_tls.chosen(tls or server_name is not None, flags),
        "server_hostname": server_name,
        "proxy_header": proxy_header,
    }
    try:
        sys.exit(run_until_interrupted(lambda _signals: _converse(talk, address, framing, opening, wait, verbose)))
    except ConnectTimeout as error:
        raise Failure(error, Exit.TIMED_OUT, error.explanation) from error
    except ConnectError as error:
        raise Failure(error, Exit.NO_START, error.explanation) from error
    except (AddressError, OptionError) as error:
        raise Failure(error, Exit.USAGE) from error
    except FourTupleError as error:
        text = f"{error}; {talk.incomplete}" if talk.incomplete else str(error)
        raise Failure(text, Exit.FAILED, talk.hint) from error
    except Interrupted:
        sys.exit(Exit.INTERRUPTED)  # Ctrl-C at the prompt
    except BrokenPipeError:
        sys.exit(Exit.FAILED)  # the reader of our output has gone


def _messages(texts: tuple[str, ...], files: tuple[str, ...], framing: Framing, hexadecimal: bool) -> list[Any]:
    """Return the messages of --send and --file; check that they can be encoded before anything is opened."""
    given: list[tuple[str, bytes]] = []
    try:
        given += [("--send", types.from_hex(text) if hexadecimal else types.unescaped(text)) for text in texts]
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="'--send'") from error
    given += [("--file", _octets_of(place)) for place in files]
    messages = []
    for flag, octets in given:
        try:
            message = from_octets(framing, octets)
            framing.encode(message)
        except EncodeError as error:
            raise click.BadParameter(str(error), param_hint=f"'{flag}'") from error
        messages.append(message)
    return messages


def _octets_of(place: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if place == "-" else Path(place).read_bytes()
    except OSError as error:
        raise Failure(f"--file {place}: {error.strerror or error}", Exit.USAGE) from error


async def _converse(
    talk: Talk, address: Address, framing: Framing, opening: dict[str, Any], wait: float | None, verbose: bool
) -> Exit:
    from fourtuple.cli.opening import open_connection  # imported here, like Talk above

    try:
        connection = await open_connection(address, framing, opening, wait)
    except TlsError as error:
        raise Failure(error, Exit.NO_START) from error
    except DeadlinePassed as error:
        raise Failure(error, Exit.TIMED_OUT) from error
    if verbose:
        _say(f"connected: {connection.name}")
        if connection.tls is not None:
            agreed = (connection.tls.version, connection.tls.cipher, connection.tls.alpn, connection.tls.subject)
            _say(f"tls: {', '.join(filter(None, agreed))}")
    began = monotonic()
    try:
        await talk.run(connection)
    except PeerReset as error:
        connection.abort()
        if not connection.statistics.octets_in:
            _reset_unanswered(address, connection, talk, monotonic() - began, error)
        raise
    except BaseException:
        connection.abort()  # do not linger for a peer whose replies are no longer awaited
        raise
    finally:
        if verbose:
            _report(connection, talk)
    await connection.close()
    return Exit.DONE


def _reset_unanswered(
    address: Address, connection: Connection, talk: Talk, seconds: float, error: PeerReset
) -> NoReturn:
    """Raise what a reset means before which nothing was received.

    If nothing was exchanged, and it came at once, connect() would have raised the same error a little earlier.
    """
    from fourtuple.probing.verdict import reset_at_once, why_reset  # imported here: few conversations end like this

    if reset_at_once(sent=talk.has_sent, seconds=seconds):
        raise ConnectReset(str(address), None, "nothing was received before it") from error
    sent = connection.statistics.octets_out
    what = f"{sent} octet{' was' if sent == 1 else 's were'} sent" if talk.has_sent else "nothing was sent"
    raise Failure(
        f"{connection.name}: reset by the peer after {seconds:.1f} s: {what}, nothing was received",
        Exit.FAILED,
        why_reset(sent=talk.has_sent),
    ) from error


def _report(connection: Connection, talk: Talk) -> None:
    """Print the numbers of the conversation."""
    from fourtuple.cli.console_words import counted  # imported here, like Talk above

    rtt = "" if talk.info is None else f", rtt {talk.info.rtt / 1000:.3f} ms, {talk.info.total_retrans} retransmitted"
    counts = counted(
        connection.statistics, messages=not isinstance(connection.framing, Raw), tls=connection.tls is not None
    )
    _say(f"closed: {connection.name}, {counts}{rtt}")


def _say(text: str) -> None:
    click.echo(printable(text), err=True)
