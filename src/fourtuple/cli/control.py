"""The commands that act on a running server through its control socket: ``fourtuple status`` and the others."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from fourtuple.cli import types
from fourtuple.cli.failure import Exit, Failure
from fourtuple.cli.tables import Table, print_tables
from fourtuple.errors import ConnectError, ConnectionLost, FourTupleError
from fourtuple.inspector.units import short_octets, short_seconds
from fourtuple.options.processes import MOST_WORKERS
from fourtuple.printable import printable

F = TypeVar("F", bound=Callable[..., Any])

#: Seconds for an answer. A count of workers is reached when the new ones serve.
_TIMEOUT = 10.0
_WORKERS_TIMEOUT = 130.0
#: Seconds that `fourtuple upgrade` waits for the control socket of the new program.
_TAKE_OVER = 10.0
_UNKNOWN = "-"
_STYLES = {"serving": "green", "ready": "green", "suspended": "yellow", "draining": "yellow", "stopped": "red"}


def _flags(function: F) -> F:
    """Add what every one of these commands takes."""
    for add in (
        click.option("--json", "as_json", is_flag=True, help="As one value of JSON."),
        click.option(
            "--control", "-c", metavar="PATH",
            help="The control socket.  [FOURTUPLE_CONTROL, or the only one in $XDG_RUNTIME_DIR/fourtuple]",
        ),
    ):  # fmt: skip
        function = add(function)
    return function


@dataclass(frozen=True, slots=True)
class Place:
    """The control socket that a command asks, and what chose it: empty for ``--control PATH``."""

    path: str
    chosen_by: str

    def __str__(self) -> str:
        return f"unix:{self.path}{self.chosen_by and f', {self.chosen_by}'}"


def place_of(control: str | None) -> Place:
    """Return where to ask. What --control does not name is told: another server than the one meant may be there."""
    from fourtuple.operations.control_client import VARIABLE, find  # imported here: --help needs no client

    try:
        path = find(control, os.environ)
    except FourTupleError as error:
        raise Failure(error, Exit.USAGE) from error
    given = os.environ.get(VARIABLE) if control is None else control
    if given in (None, "auto"):
        return Place(path, "the only one there")
    return Place(path, f"of {VARIABLE}" if control is None else "")


def ask(place: Place, op: str, *, timeout: float | None = _TIMEOUT, **arguments: Any) -> Any:
    """Do an operation at the server; return its value. Failures end the command."""
    from fourtuple.operations.control_client import Control  # imported here: --help needs no client

    path = place.path
    try:
        with Control(path, timeout=timeout) as connection:
            return connection.call(op, **arguments)
    except ConnectError as error:
        raise Failure(f"no server answers at {place}: {error.detail or error.meaning}", Exit.NO_START) from error
    except ConnectionLost as error:
        raise Failure(error, Exit.NO_START) from error
    except TimeoutError as error:
        raise Failure(error, Exit.TIMED_OUT) from error
    except FourTupleError as error:
        raise Failure(error, Exit.FAILED) from error
    except ValueError as error:
        raise Failure(f"unix:{path} does not answer as a control socket of fourtuple", Exit.FAILED) from error


def _done(place: Place, text: str, value: Any, as_json: bool) -> None:
    where = printable(f" ({place})") if place.chosen_by else ""
    click.echo(json.dumps(value) if as_json else f"{text}{where}")


@click.command()
@_flags
def status(control: str | None, as_json: bool) -> None:
    """Show what a running server does: its services, accept queues and workers.

    Exit codes: 0 it is ready, 1 it is not ready or refuses, 2 usage, 3 nothing answers, 4 timed out.
    """
    place = place_of(control)
    found = ask(place, "status")
    if as_json:
        click.echo(json.dumps(found))
    else:
        click.echo(_headline(found))
        click.echo()
        print_tables(status_tables(found), _width())
    if not found["ready"]:
        raise click.exceptions.Exit(Exit.FAILED)


def _headline(found: dict[str, Any]) -> str:
    up = short_seconds(max(0.0, time.time() - found["started"]))
    return printable(f"{found['name']}: {found['state']}, pid {found['pid']}, up {up}, fourtuple {found['version']}")


def status_tables(found: dict[str, Any]) -> list[Table]:
    """PURE, but for the clock: the tables of a status."""
    tables = [_services(found["services"]), _queues(found["listeners"])]
    if found["workers"]:
        tables.append(_workers(found["workers"]))
    return tables


def _services(services: list[dict[str, Any]]) -> Table:
    rows, styles = [], []
    for each in services:
        totals = each["totals"]
        refused = ", ".join(f"{count:,} {limit}" for limit, count in sorted(each["refused"].items()))
        rows.append(
            [
                printable(each["name"]), printable(each["framing"]), each["state"],
                f"{each['connections']:,} of {each['max_connections']:,}", f"{totals['accepted']:,}",
                f"{totals['messages_in']:,}", f"{totals['messages_out']:,}", printable(refused),
            ]
        )  # fmt: skip
        styles.append(["", "", _STYLES.get(each["state"], ""), "", "", "", "", "red" if refused else ""])
    return Table(
        title="Services",
        headings=("SERVICE", "FRAMING", "STATE", "CONNECTIONS", "ACCEPTED", "MESSAGES IN", "MESSAGES OUT", "REFUSED"),
        right=(False, False, False, True, True, True, True, False),
        rank=(0, 4, 0, 0, 3, 2, 2, 1),
        rows=rows,
        styles=styles,
    )


def _queues(listeners: list[dict[str, Any]]) -> Table:
    rows, styles = [], []
    for each in listeners:
        waiting, limit = each["accept_queue"], each["backlog"]
        full = waiting is not None and limit is not None and waiting > limit
        paused = ", ".join(each["paused"])
        rows.append(
            [
                printable(each["address"]), printable(each["service"]), _number(waiting), _number(limit),
                _number(each["drops"]), f"paused: {paused}" if paused else "open",
            ]
        )  # fmt: skip
        styles.append(["", "", "red" if full else "", "", "red" if each["drops"] else "", "yellow" if paused else ""])
    return Table(
        title="Accept queues",
        headings=("ADDRESS", "SERVICE", "WAITING", "LIMIT", "DROPPED", "ACCEPT"),
        right=(False, False, True, True, True, False),
        rank=(0, 3, 0, 0, 2, 1),
        rows=rows,
        styles=styles,
    )


def _workers(workers: list[dict[str, Any]]) -> Table:
    now = time.time()
    return Table(
        title="Workers",
        headings=("SLOT", "PID", "STATE", "CONNECTIONS", "UP"),
        right=(True, True, False, True, True),
        rank=(0, 1, 0, 0, 2),
        rows=[
            [
                str(each["slot"]), "" if each["pid"] is None else str(each["pid"]), printable(each["state"]),
                f"{each['connections']:,}",
                "" if each["started"] is None else short_seconds(max(0.0, now - each["started"])),
            ]
            for each in workers
        ],
        styles=[["", "", _STYLES.get(each["state"], ""), "", ""] for each in workers],
    )  # fmt: skip


def _number(value: int | None) -> str:
    return _UNKNOWN if value is None else f"{value:,}"


@click.command()
@_flags
def suspend(control: str | None, as_json: bool) -> None:
    """Stop accepting: new connections wait in the kernel's accept queue; open ones go on.

    Exit codes: 0 done, 1 refused, 2 usage, 3 nothing answers, 4 timed out.
    """
    place = place_of(control)
    ask(place, "suspend")
    _done(place, "Suspended: new connections wait in the accept queue. fourtuple resume accepts them.", None, as_json)


@click.command()
@_flags
def resume(control: str | None, as_json: bool) -> None:
    """Accept again after fourtuple suspend.

    Exit codes: 0 done, 1 refused, 2 usage, 3 nothing answers, 4 timed out.
    """
    place = place_of(control)
    ask(place, "resume")
    _done(place, "Accepting", None, as_json)


@click.command()
@_flags
@click.option("--timeout", type=types.seconds(zero=True), metavar="SECONDS", help="How long it may take.  "
              "[the server's drain_timeout]")  # fmt: skip
def drain(control: str | None, as_json: bool, timeout: float | None) -> None:
    """Stop the server as SIGTERM does: conversations end, in bounded time. The command does not wait for that.

    Exit codes: 0 it has begun, 1 refused, 2 usage, 3 nothing answers, 4 timed out.
    """
    place = place_of(control)
    ask(place, "drain", **({} if timeout is None else {"timeout": timeout}))
    _done(place, "Draining", None, as_json)


@click.command()
@_flags
@click.argument("count", type=types.whole(1, MOST_WORKERS))
def workers(control: str | None, as_json: bool, count: int) -> None:
    """Have COUNT worker processes; return when they serve. The server must run with --workers.

    Exit codes: 0 done, 1 refused, 2 usage, 3 nothing answers, 4 timed out.
    """
    place = place_of(control)
    ask(place, "workers", timeout=_WORKERS_TIMEOUT, count=count)
    _done(place, f"{count} worker{'s' * (count > 1)}", count, as_json)


@click.command()
@_flags
def upgrade(control: str | None, as_json: bool) -> None:
    """Replace the whole program by what is installed now, as SIGUSR2 does; return when the new one has taken over.

    If the new program does not start, the old one goes on, and the reason is printed. The server must run with
    --workers.

    Exit codes: 0 done, 1 refused or failed, 2 usage, 3 nothing answers.
    """
    place = place_of(control)
    pid = ask(place, "upgrade", timeout=None)
    _wait_for(place, pid)
    _done(place, f"Upgraded: process {pid} has taken over", pid, as_json)


def _wait_for(place: Place, pid: int) -> None:
    """Wait until this process answers at the control socket, which it takes over a moment after the listeners."""
    until = time.monotonic() + _TAKE_OVER
    while time.monotonic() < until:
        with suppress(Failure):
            if ask(place, "status")["pid"] == pid:
                return
        time.sleep(0.05)


_of_service = click.option(
    "--service",
    type=types.text("the name of a service"),
    metavar="NAME",
    help="Of this service alone.  [all services of the server]",
)


@click.group()
def limits() -> None:
    """Show or change the limits of a running server."""


@limits.command("show")
@_flags
@_of_service
def show_limits(control: str | None, as_json: bool, service: str | None) -> None:
    """Show every limit in force, with its value and its option: also those that 'limits set' has changed.

    Each has the name that 'limits set' and [limits] of the file take. Of a whole server; with workers, what each has of
    it is printed beside it. An endpoint with limits of its own is shown separately. What a service would have, before
    it runs, 'fourtuple check --all' shows, with the deadlines and all other options.

    Exit codes: 0 done, 1 refused, 2 usage, 3 nothing answers, 4 timed out.
    """
    from fourtuple.cli.check_rows import in_force_rows, in_workers, toml_value  # imported here: see set_limits()

    place = place_of(control)
    found = ask(place, "show_limits", service=service)
    workers = len(ask(place, "status")["workers"])
    rows = [in_force_rows(each, workers) for each in found]
    if as_json:
        told = ({**each, "limits": limits} for each, limits in zip(found, rows, strict=True))
        click.echo(json.dumps(list(told)))
        return
    for number, (each, limits) in enumerate(zip(found, rows, strict=True)):
        if number:
            click.echo()
        where = f" at {', '.join(each['addresses'])}" if each["addresses"] else ""
        click.echo(printable(f"# {each['service']}{where}"))
        for name, row in limits.items():
            note = f"{row['option']}{', the default' * row['default']}{in_workers(row, workers)}"
            click.echo(printable(f"{name} = {toml_value(row['value'])}  # {note}"))


@limits.command("set")
@_flags
@_of_service
@click.argument("changes", metavar="KEY=VALUE...", nargs=-1, required=True)
def set_limits(control: str | None, as_json: bool, service: str | None, changes: tuple[str, ...]) -> None:
    """Put other limits in force until the server is started again: max_connections=500 accept_rate=none.

    They are the options of [limits], with values as on the command line. All of them change, or none. With workers,
    what each has of a limit is printed beside it, as 'fourtuple check' does; --json has the same numbers. Deadlines and
    other options change with the file and 'fourtuple upgrade'.

    Exit codes: 0 done, 1 refused, 2 usage, 3 nothing answers, 4 timed out.
    """
    wanted = {}
    for each in changes:
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{each!r}: KEY=VALUE is needed", param_hint="KEY=VALUE")
        wanted[name] = value
    from fourtuple.cli.check_rows import limit_in_workers, limit_row  # imported here: the others need no configuration

    place = place_of(control)
    workers = len(ask(place, "status")["workers"])
    now = ask(place, "limits", changes=wanted, service=service)
    if as_json:
        click.echo(json.dumps({name: limit_row(name, value, workers) for name, value in now.items()}))
        return
    if place.chosen_by:
        click.echo(printable(f"# {place}"))
    for name, value in now.items():
        click.echo(printable(f"{name} = {value}{limit_in_workers(name, value, workers)}"))


@click.command()
@_flags
@click.option("--most", type=types.whole(1, 10_000), default=1000, metavar="N", help="So many at most.  [1000]")
def connections(control: str | None, as_json: bool, most: int) -> None:
    """List the open connections, the oldest first, with what each has received and sent.

    Exit codes: 0 done, 1 refused, 2 usage, 3 nothing answers, 4 timed out.
    """
    place = place_of(control)
    found = ask(place, "connections", most=most)
    if as_json:
        click.echo(json.dumps(found))
    else:
        print_tables([connections_table(found)], _width())


def connections_table(found: list[dict[str, Any]]) -> Table:
    """PURE: the table of open connections."""
    return Table(
        title=f"{len(found):,} connection{'s' * (len(found) != 1)}",
        headings=("ID", "SERVICE", "LOCAL", "PEER", "AGE", "IDLE", "IN", "OUT", "WAITING", "TLS"),
        right=(True, False, False, False, True, True, True, True, True, False),
        rank=(0, 3, 4, 0, 1, 1, 0, 0, 2, 5),
        rows=[
            [
                each["id"], printable(each["service"]), printable(each["local"]), printable(each["remote"]),
                short_seconds(each["age"]), short_seconds(each["idle"]),
                f"{each['messages_in']:,} / {short_octets(each['octets_in'])}",
                f"{each['messages_out']:,} / {short_octets(each['octets_out'])}",
                f"{each['inbox']:,} / {short_octets(each['outbox'])}", "yes" if each["tls"] else "",
            ]
            for each in found
        ],
        styles=[["bold"] + [""] * 9 for _ in found],
    )  # fmt: skip


@click.command()
@_flags
@click.argument("id")
@click.option("--abort", is_flag=True, help="With RST, at once; octets not sent yet are lost.")
def close(control: str | None, as_json: bool, id: str, abort: bool) -> None:
    """Close one connection, by its ID in fourtuple connections or its name (127.0.0.1:9999 <- 192.0.2.7:4242).

    It is closed after what was sent to it, as a handler would do it.

    Exit codes: 0 done, 1 there is none or it is refused, 2 usage, 3 nothing answers, 4 timed out.
    """
    place = place_of(control)
    if not ask(place, "close", id=id, abort=abort):
        raise Failure(f"there is no open connection {id}", Exit.FAILED)
    _done(place, f"Closed {printable(id)}", True, as_json)


def _width() -> int | None:
    import shutil

    return shutil.get_terminal_size().columns
