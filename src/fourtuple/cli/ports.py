"""``fourtuple ports``: who has a port, what it is assigned to, and how many ports are left towards which peers."""

from __future__ import annotations

import errno
import json
import shutil
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from textwrap import wrap
from typing import Any

import click

from fourtuple.cli import types
from fourtuple.cli.columns import holders
from fourtuple.cli.failure import Exit, Failure
from fourtuple.cli.tables import Table, print_tables
from fourtuple.inspector import portuse
from fourtuple.inspector.assignments import assigned, assigned_ports, ports_of
from fourtuple.inspector.model import Snapshot, Socket
from fourtuple.inspector.plain import as_dict
from fourtuple.inspector.portuse import PortUse, Settings, Use
from fourtuple.inspector.reading import snapshot, with_owners
from fourtuple.inspector.values import suggestion
from fourtuple.printable import printable

#: Rows of peers, and of connections of one port, unless --all.
_MOST = 10
#: So many ports are all listed, free ones too; of more, only those in use.
_FEW = 20
#: Ports of one range that are told apart, at most: a longer list says nothing any more.
_MOST_PORTS = 1024
_FOLDER = "/proc/sys/net/ipv4"


@click.command()
@click.argument("which", metavar="[PORT]...", nargs=-1)
@click.option("--free", type=types.whole(1, 1000), metavar="N", help="Print N ports that a server may be given.")
@click.option("--all", "everything", is_flag=True, help=f"All peers and connections, not the first {_MOST}.")
@click.option("--json", "as_json", is_flag=True, help="As one value of JSON.")
def ports(which: tuple[str, ...], free: int | None, everything: bool, as_json: bool) -> None:
    """Show how many ephemeral ports are in use towards which peers; with PORT, who has that port.

    PORT is a number, a range (8000-8099) or the name of a service (https), as IANA has assigned it.

    With --free it prints ports that are unassigned, not in use (a socket was bound to each), and outside of the
    ephemeral range: one a line.

    Exit codes: 0 done, 1 not as many ports are free, 2 usage, 3 the sockets cannot be read.
    """
    if free is not None and which:
        raise click.UsageError("--free looks for ports itself: it takes no PORT")
    asked = _asked(which)
    seen, settings = _seen()
    if free is not None:
        _print_free(seen, settings, free, as_json)
    elif asked:
        _print_ports(asked, seen, settings, everything, as_json)
    else:
        _print_use(seen, settings, everything, as_json)


def _asked(which: tuple[str, ...]) -> list[int]:
    """The ports that were named, each once."""
    found: dict[int, None] = {}
    for text in which:
        for port in _ports(text):
            found[port] = None
    if len(found) > _MOST_PORTS:
        raise click.BadParameter(
            f"{len(found):,} ports, no more than {_MOST_PORTS:,} are told apart", param_hint="PORT"
        )
    return list(found)


def _ports(text: str) -> Iterator[int]:
    if text[:1].isdigit() and set(text) <= set("0123456789-,"):
        try:
            spans = portuse.ranges(text)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="PORT") from error
        for first, last in spans:
            if not first:
                raise click.BadParameter("0 is no port: with it the kernel chooses one", param_hint="PORT")
            yield from range(first, last + 1)
        return
    numbers = ports_of(text.lower())
    if not numbers:
        names = {assigned(port) for port in assigned_ports()}
        raise click.BadParameter(
            f"{text!r} is neither a port nor a service name of IANA's{suggestion(text.lower(), names)}",
            param_hint="PORT",
        )
    yield from numbers


def _seen() -> tuple[Snapshot, Settings]:
    try:
        settings = portuse.read_settings(
            _setting("ip_local_port_range"),
            _optional("ip_local_reserved_ports"),
            _optional("ip_unprivileged_port_start"),
        )
        return snapshot(), settings
    except (OSError, ValueError) as error:
        raise Failure(f"the kernel lets no port be seen: {error}", Exit.NO_START) from error


def _setting(name: str) -> str:
    with open(f"{_FOLDER}/{name}") as file:
        return file.read().strip()


def _optional(name: str) -> str:
    """An older kernel, or a container, does not have all of them."""
    with suppress(OSError):
        return _setting(name)
    return ""


# -- how much is used -------------------------------------------------------------------------------------


def _print_use(seen: Snapshot, settings: Settings, everything: bool, as_json: bool) -> None:
    found = portuse.uses(seen, settings)
    if as_json:
        click.echo(json.dumps({"settings": _settings_dict(settings), "peers": [_use_dict(use) for use in found]}))
        return
    for line in use_screen(found, settings, None if everything else _MOST):
        if isinstance(line, Table):
            print_tables([line], shutil.get_terminal_size().columns)
        else:
            click.echo(line)


def use_screen(found: list[Use], settings: Settings, most: int | None) -> Iterator[str | Table]:
    """Yield what is shown: the range, the peers towards whom ports are used, and what is near its end."""
    yield f"Ephemeral ports: {portuse.spoken(settings)}"
    yield f"Below {settings.unprivileged}, listening needs root."
    if found:
        shown = found[:most]
        cut = "" if len(shown) == len(found) else f" (the first {len(shown)} of {len(found):,})"
        yield ""
        yield Table(
            title=f"In use, by peer{cut}",
            headings=["FROM", "TO", "PORT", "SERVICE", "PORTS", "OF", "SHARE", "TIME-WAIT"],
            right=[False, False, True, False, True, True, True, True],
            rank=[0, 0, 0, 2, 0, 3, 0, 1],
            rows=[_use_row(use) for use in shown],
            styles=[["bold red" if use.near else ""] * 8 for use in shown],
            fold=[21, 21, 0, 0, 0, 0, 0, 0],
        )
    yield ""
    sentences = portuse.exhaustion(found) or ["No peer is near exhaustion."]
    for sentence in sentences:
        yield from wrap(sentence, 100)


def _use_row(use: Use) -> list[str]:
    return [
        use.local_ip, use.remote_ip, str(use.remote_port), assigned(use.remote_port), f"{use.used:,}",
        f"{use.available:,}", f"{use.share:.1%}", f"{use.time_wait:,}",
    ]  # fmt: skip


def _use_dict(use: Use) -> dict[str, Any]:
    return {
        "local_ip": use.local_ip, "remote_ip": use.remote_ip, "remote_port": use.remote_port, "used": use.used,
        "time_wait": use.time_wait, "available": use.available, "share": use.share,
    }  # fmt: skip


def _settings_dict(settings: Settings) -> dict[str, Any]:
    return {
        "first": settings.first, "last": settings.last, "reserved": [list(span) for span in settings.reserved],
        "available": settings.available, "unprivileged": settings.unprivileged,
    }  # fmt: skip


# -- single ports -----------------------------------------------------------------------------------------


def _print_ports(asked: list[int], seen: Snapshot, settings: Settings, everything: bool, as_json: bool) -> None:
    wanted = set(asked)
    shown: list[Socket] = [each for each in seen.listeners if each.address.port in wanted]
    shown += [each for each in seen.connections if each.name.local_port in wanted]
    owned = with_owners(seen, shown)
    found = [_with_bound(portuse.use_of(port, assigned(port), owned)) for port in asked]
    if as_json:
        click.echo(json.dumps([_port_dict(use, settings) for use in found]))
        return
    if len(found) > 1:
        print_tables([ports_table(found)], shutil.get_terminal_size().columns)
        return
    for line in port_screen(found[0], settings, None if everything else _MOST):
        click.echo(line)


def _with_bound(use: PortUse) -> PortUse:
    """A port that looks free, and that bind(2) does not take. Port 0 means any port."""
    return replace(use, bound=True) if use.free and use.port and _bind_error(use.port) == errno.EADDRINUSE else use


def port_screen(use: PortUse, settings: Settings, most: int | None) -> Iterator[str]:
    """Yield the lines about one port."""
    state = "in use" if use.listeners else "free" if use.free else "bound" if use.bound else "no listener"
    yield f"{use.port}: {state}; IANA: {use.service or 'not assigned'}"
    for listener in use.listeners:
        queue = listener.queue
        limit = "unknown" if queue.limit is None else f"{queue.limit:,}"
        held = printable(holders(listener))
        yield f"    listener at {listener.address}, {held}, {queue.waiting:,} waiting of a backlog of {limit}"
    shown = use.connections[:most]
    for connection in shown:
        yield f"    {connection.state} {connection.name}, {printable(holders(connection))}"
    if len(shown) < len(use.connections):
        yield f"    and {len(use.connections) - len(shown):,} connections more (--all shows them)"
    for sentence in portuse.explained(use, settings):
        yield from wrap(sentence, 100, initial_indent="    ", subsequent_indent="    ")


def ports_table(found: list[PortUse]) -> Table:
    """The table of several ports. Of many, those in use; the others are counted."""
    used = [use for use in found if not use.free]
    shown = found if len(found) <= _FEW else used
    return Table(
        title=f"{len(found):,} ports: {len(found) - len(used):,} free, {len(used):,} in use",
        headings=["PORT", "SERVICE", "LISTENER", "PROGRAM", "CONNECTIONS"],
        right=[True, False, False, False, True],
        rank=[0, 1, 0, 0, 0],
        rows=[_port_row(use) for use in shown],
    )


def _port_row(use: PortUse) -> list[str]:
    sockets: tuple[Socket, ...] = use.listeners or use.connections[:1]
    where = ", ".join(dict.fromkeys(str(each.address) for each in use.listeners)) or ("free" if use.free else "-")
    programs = ", ".join(dict.fromkeys(printable(holders(each)) for each in sockets)) or "-"
    return [str(use.port), use.service or "-", where, programs, f"{len(use.connections):,}"]


def _port_dict(use: PortUse, settings: Settings) -> dict[str, Any]:
    return {
        "port": use.port,
        "service": use.service or None,
        "free": use.free,
        "bound": use.bound,
        "ephemeral": settings.is_ephemeral(use.port),
        "listeners": [as_dict(each) for each in use.listeners],
        "connections": [as_dict(each) for each in use.connections],
    }


# -- free ones --------------------------------------------------------------------------------------------


def _print_free(seen: Snapshot, settings: Settings, count: int, as_json: bool) -> None:
    found: list[int] = []
    for port in portuse.free_candidates(seen, settings, assigned_ports()):
        if not _bind_error(port):
            found.append(port)
            if len(found) == count:
                break
    click.echo(json.dumps(found) if as_json else "\n".join(map(str, found)))
    if len(found) < count:
        raise Failure(f"{len(found)} ports are free, unassigned and not ephemeral; {count} were asked for", Exit.FAILED)


def _bind_error(port: int) -> int:
    """The errno with which bind(2) refuses a port at every address; 0 if it takes it."""
    for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
        except OSError:
            continue  # no IPv6 in this kernel
        with sock:
            try:
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.bind((host, port))
            except OSError as error:
                return error.errno or errno.EIO
    return 0
