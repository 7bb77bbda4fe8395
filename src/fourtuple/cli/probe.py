"""``fourtuple probe``: what happens between connect and the first octet, and what it means."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from fourtuple.address import Address
from fourtuple.cli import client_tls, types
from fourtuple.cli.failure import Exit, Failure
from fourtuple.errors import AddressError, EncodeError, OptionError
from fourtuple.framing import Framing
from fourtuple.framing.fromoctets import from_octets
from fourtuple.options import Tls

if TYPE_CHECKING:
    from fourtuple.probing.conversing import Talk
    from fourtuple.probing.result import Found
    from fourtuple.probing.verdict import Verdict

#: For the name and the connection: a SYN that was lost is sent again after 1 and 3 s.
TIMEOUT_SECONDS = 5.0
#: For the first octets of the peer.
LISTEN_SECONDS = 1.0
#: Between two probes.
PAUSE_SECONDS = 1.0


@click.command(params=client_tls.flags())
@click.argument("address", type=types.address())
@click.option("--framing", "-f", type=types.framing(), help="Wait for one whole message in this framing.")
@click.option("--send", "-s", "texts", multiple=True, metavar="TEXT", help="Send this message; an answer is expected.")
@click.option("--hex", "hexadecimal", is_flag=True, help="--send is hexadecimal.")
@click.option("--timeout", type=types.seconds(), default=TIMEOUT_SECONDS, metavar="SECONDS",
              help=f"For the name and the connection, and for TLS.  [{TIMEOUT_SECONDS:g}]")  # fmt: skip
@click.option("--wait", type=types.seconds(), default=LISTEN_SECONDS, metavar="SECONDS",
              help=f"For the first octets.  [{LISTEN_SECONDS:g}]")  # fmt: skip
@click.option("--local", type=types.local_address(), help="Where to connect from.")
@client_tls.wanted
@click.option("--proxy-header", type=types.whole(1, 2), metavar="1|2", help="Begin with a PROXY header.")
@click.option("--count", "-n", type=types.whole(1), metavar="N", help="Probe N times, and draw the times.")
@click.option("--watch", "-w", is_flag=True, help="Probe until it is reached: tells when it is back.")
@click.option("--interval", "-i", type=types.seconds(), default=PAUSE_SECONDS, metavar="SECONDS",
              help=f"Between two probes.  [{PAUSE_SECONDS:g}]")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="As JSON; with --count and --watch, a line for each probe.")
def probe(
    address: Address,
    framing: Framing | None,
    texts: tuple[str, ...],
    hexadecimal: bool,
    timeout: float,
    wait: float,
    local: Address | None,
    tls: bool,
    server_name: str | None,
    proxy_header: int | None,
    count: int | None,
    watch: bool,
    interval: float,
    as_json: bool,
    **flags: str | None,
) -> None:
    """Say what happens between "connect" and the first octet at ADDRESS, and what it means.

    It resolves the name, tries its addresses as a client does, and tells for each how long it took and what came back;
    the local end, the route, what TCP agreed on; TLS and the certificate; the peer's first octets. Then it gives a
    verdict, and says how sure it is.

    Exit codes: 0 reached, 1 the peer closed or reset the connection, or broke the framing, 2 usage, 3 cannot connect (a
    reset at once, before anything was sent, and a failed TLS handshake count as that), 4 no answer in time, or only a
    part of a message of --framing. With --count, the worst one.
    """
    if count is not None and watch:
        raise click.UsageError("--watch ends when the address is reached, --count after this many probes: give one")
    from fourtuple.framing import Raw
    from fourtuple.probing.conversing import Talk

    talk = Talk(
        framing=framing or Raw(),
        framed=framing is not None,
        messages=_messages(texts, framing or Raw(), hexadecimal),
        tls=_tls(client_tls.chosen(tls or server_name is not None, flags), server_name),
        server_name=server_name or address.host,
        proxy_header=proxy_header,
        timeout=timeout,
        wait=wait,
    )
    try:
        if watch:
            code = _watched(address, talk, local, interval, as_json)
        else:
            code = _counted(address, talk, local, count or 1, interval, as_json)
    except (AddressError, OptionError) as error:
        raise Failure(error, Exit.USAGE) from error
    sys.exit(code)


def _tls(tls: Tls | None, server_name: str | None) -> Tls | None:
    """Check the options of TLS, and read its files, before anything is probed; return them."""
    from fourtuple.tls.start import check_client  # here: --help and mistakes need no TLS

    try:
        check_client(tls, server_name, None)
    except OptionError as error:
        raise Failure(error, Exit.USAGE) from error
    return tls


def _messages(texts: tuple[str, ...], framing: Framing, hexadecimal: bool) -> tuple[Any, ...]:
    try:
        read = types.from_hex if hexadecimal else types.unescaped
        messages = tuple(from_octets(framing, read(text)) for text in texts)
        framing.encode_many(list(messages))
    except (ValueError, EncodeError) as error:
        raise click.BadParameter(str(error), param_hint="'--send'") from error
    return messages


def _one(address: Address, talk: Talk, local: Address | None) -> tuple[Found, Verdict]:
    from fourtuple.cli.hints import hint
    from fourtuple.probing.asking import probe as ask  # here: --help and mistakes need neither sockets nor TLS
    from fourtuple.probing.verdict import verdict

    found = ask(address, talk, local=local)
    judged = verdict(found, datetime.now(UTC))
    if talk.framed and judged.code and found.heard is not None and found.heard.octets:
        looks = hint(found.heard.octets, talk.framing, tls=talk.tls is not None)
        judged = replace(judged, advice=f"{looks} {judged.advice}".strip())
    return found, judged


def _counted(address: Address, talk: Talk, local: Address | None, count: int, interval: float, as_json: bool) -> int:
    from fourtuple.cli import probe_show
    from fourtuple.probing.verdict import verdict_over

    results: list[tuple[Found, Verdict]] = []
    for number in range(count):
        if number:
            time.sleep(interval)
        found, judged = _one(address, talk, local)
        results.append((found, judged))
        if as_json:
            _print_json(found, judged, several=count > 1)
        elif count == 1:
            _print(probe_show.lines(found, judged, datetime.now(UTC)))
        else:
            _print([probe_show.short_line(number + 1, found, judged)])
    over = verdict_over([judged for _, judged in results])
    if count > 1 and not as_json:
        _print(probe_show.summary([found for found, _ in results], over))
    return over.code


def _watched(address: Address, talk: Talk, local: Address | None, interval: float, as_json: bool) -> int:
    """Probe until it is reached, and tell what changes."""
    from fourtuple.cli import probe_show

    before = ""
    while True:
        found, judged = _one(address, talk, local)
        if as_json:
            _print_json(found, judged, several=True)
        elif judged.word != before:
            _print([f"{time.strftime('%H:%M:%S')} {probe_show.verdict_line(judged)}"])
        before = judged.word
        if not judged.code:
            return Exit.DONE
        sys.stdout.flush()
        time.sleep(interval)


def _print_json(found: Found, judged: Verdict, *, several: bool) -> None:
    from fourtuple.cli.probe_show import as_dict

    click.echo(json.dumps(as_dict(found, judged), indent=None if several else 2))


def _print(lines: Iterator[str] | list[str]) -> None:
    for line in lines:
        click.echo(line)
