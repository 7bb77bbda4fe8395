"""``fourtuple sockets``: every socket of this machine, and what its numbers mean."""

from __future__ import annotations

import gc
import sys
import time
from dataclasses import replace

import click

from fourtuple.cli import types
from fourtuple.cli.failure import Exit, Failure
from fourtuple.cli.sockets_wish import Wish
from fourtuple.errors import FilterError, OptionError
from fourtuple.inspector.asking import chosen
from fourtuple.inspector.filters import Filter, all_of, one_of, parse_filter
from fourtuple.inspector.model import Snapshot, Source
from fourtuple.inspector.ordering import field_named
from fourtuple.inspector.reading import snapshot

#: Seconds between two looks of --watch.
WATCH_SECONDS = 2.0


@click.command()
@click.argument("filter_", metavar="[FILTER]...", nargs=-1)
@click.option("--listening", "-l", is_flag=True, help="Listeners only.")
@click.option("--port", "-p", metavar="PORT", multiple=True, help="This port at either end, or a range: 8000-8099.")
@click.option("--program", metavar="NAME", multiple=True, help="Held by this program.")
@click.option("--pid", metavar="N", multiple=True, help="Held by this process.")
@click.option("--state", "-s", metavar="STATE", multiple=True, help="In this state: established, time-wait ...")
@click.option("--peer", metavar="NETWORK", multiple=True, help="With a peer there: 10.0.0.0/8, 192.0.2.7, ::1.")
@click.option(
    "--slow", is_flag=True, help="Only slow connections: queues that do not move, long round trips, timeouts."
)
@click.option("--unix", is_flag=True, help="Also Unix sockets.")
@click.option(
    "--sort",
    type=types.text("a field"),
    metavar="FIELD",
    multiple=True,
    help="Order by a field; -FIELD has the largest first.",
)
@click.option(
    "--group",
    type=types.text("a field"),
    metavar="FIELD",
    help="Count by a field: program, peer, local-port, state ...",
)
@click.option("--limit", "-n", type=types.whole(1), metavar="N", help="At most this many rows.")
@click.option(
    "--watch", "-w", type=types.seconds(), is_flag=False, flag_value=str(WATCH_SECONDS), metavar="[SECONDS]",
    help=f"Look again and again.  [{WATCH_SECONDS:g}]",
)  # fmt: skip
@click.option("--json", "forms", multiple=True, flag_value="json", help="As one value of JSON.")
@click.option(
    "--jsonl",
    "forms",
    multiple=True,
    flag_value="jsonl",
    help="As a line of JSON for each look: with --watch, a stream.",
)
@click.option("--csv", "forms", multiple=True, flag_value="csv", help="As CSV: every field, in seconds and octets.")
@click.option("--wide", is_flag=True, help="All columns, whatever the width of the terminal.")
@click.option("--explain", "-x", is_flag=True, help="Say what states and numbers mean here, and what to do.")
@click.option("--close", is_flag=True, help="Close these connections: RST to the peer. It asks before it does.")
@click.option(
    "--listener", "closing", type=types.address(), multiple=True, metavar="ADDRESS",
    help="With --close: also close the listener at this address. No other listener is ever closed.",
)  # fmt: skip
@click.option("--yes", is_flag=True, help="With --close: do not ask.")
@click.option("--no-owners", is_flag=True, help="Do not look up processes: much faster where there are many.")
@click.option(
    "--source", type=click.Choice(["auto", "netlink", "proc"]), default="auto",
    help="Where to read: /proc has no TCP_INFO, and no limits of queues.  [netlink, and proc where that is closed]",
)  # fmt: skip
def sockets(
    filter_: tuple[str, ...],
    listening: bool,
    port: tuple[str, ...],
    program: tuple[str, ...],
    pid: tuple[str, ...],
    state: tuple[str, ...],
    peer: tuple[str, ...],
    slow: bool,
    unix: bool,
    sort: tuple[str, ...],
    group: str | None,
    limit: int | None,
    watch: float | None,
    forms: tuple[str, ...],
    wide: bool,
    explain: bool,
    close: bool,
    closing: tuple[object, ...],
    yes: bool,
    no_owners: bool,
    source: Source,
) -> None:
    """Show the sockets of this machine: listeners and connections, their queues, TCP's numbers, and who holds them.

    FILTER chooses among them, as in: fourtuple sockets 'state=established and peer in 10.0.0.0/8 and rtt > 50ms'.
    The options are short for it; all that is given has to hold, several values of one option are alternatives.
    Fields, beside those of the options: local, peer-port, user, container, recvq, sendq, queue, full, waiting, rtt,
    rttvar, cwnd, retrans, lost, idle, sent, received, rate, limited, timer ... The error for a wrong name lists all.

    No root is needed, except to see the processes of other users and to close sockets.

    Exit codes: 0 done, 1 the kernel refused to close some or there were none to close, 2 usage, 3 the sockets
    cannot be read.
    """
    values = {"port": port, "program": program, "pid": pid, "state": state, "peer": peer}
    flags = {"listening": listening, "slow": slow}
    text = " ".join(filter_)
    try:
        wanted = wanted_by(text, values, flags)
        for name in (*(each.removeprefix("-") for each in sort), *([group] if group else ())):
            field_named(name, "group" if name == group else "sort")
    except (FilterError, OptionError) as error:
        raise Failure(error, Exit.USAGE) from error
    if len(set(forms)) > 1:
        raise click.UsageError(f"Give only one of {', '.join(f'--{form}' for form in forms)}.")
    wish = Wish(
        wanted=wanted, sort=sort, group=group, limit=limit, unix=unix, owners=not no_owners, source=source,
        form=forms[0] if forms else "table", wide=wide, explain=explain,
    )  # fmt: skip
    _check(wish, watch, close, bool(closing or yes))
    if close:
        from fourtuple.cli.sockets_close import close_found  # only here: it is asked for seldom

        sys.exit(close_found(_seen(wish), [*closing], wanted, yes=yes))
    _show(wish, watch)


def wanted_by(text: str, values: dict[str, tuple[str, ...]], flags: dict[str, bool]) -> Filter:
    """PURE: return the one filter for a text and the options: each has to hold.

    Raises :class:`~fourtuple.errors.FilterError` for the text, and a usage error that names the option for a value.
    """
    parts = [replace(parse_filter(text), text=f"({text})")] if text.strip() else []
    for name, some in values.items():
        for each in some:
            try:
                one_of(name, each.split(","))
            except ValueError as error:
                which = f"{each!r}: " if "," in each else ""
                raise click.BadParameter(f"{which}{error}", param_hint=f"'--{name}'") from error
        if some:
            parts.append(one_of(name, [value for each in some for value in each.split(",")]))
    parts += [parse_filter(name) for name, given in flags.items() if given]
    return all_of(parts)


def _check(wish: Wish, watch: float | None, close: bool, only_close: bool) -> None:
    if watch is not None and wish.form in ("json", "csv"):
        raise click.UsageError(f"--watch with --{wish.form} would be many documents in one: --jsonl writes a line each")
    if only_close and not close:
        raise click.UsageError("--listener and --yes mean something with --close only")
    if close and (watch is not None or wish.form != "table" or wish.group or wish.explain):
        raise click.UsageError("--close stands without --watch, --json, --jsonl, --csv, --group and --explain")
    if close and not wish.wanted.text.strip():
        raise click.UsageError("--close needs a filter: it does not close every connection of the machine")
    if wish.group and wish.explain:
        raise click.UsageError("--explain explains sockets, --group counts them")
    if wish.group and wish.form != "table":
        raise click.UsageError("--group is for tables; a program counts for itself")


def _show(wish: Wish, watch: float | None) -> None:
    from fourtuple.cli.sockets_show import show

    if watch is None:
        gc.disable()  # one look makes no circles; to search thousands of sockets for them takes a tenth of the time
    show(_seen(wish), wish, again=watch is not None)
    while watch is not None:
        sys.stdout.flush()
        time.sleep(watch)
        show(_seen(wish), wish, again=True)


def _seen(wish: Wish) -> Snapshot:
    """What is there now, and was asked for."""
    owners = wish.owners or wish.group is not None
    try:
        seen = snapshot(unix=wish.unix, source=wish.source)
        return chosen(seen, wish.wanted, wish.sort, owners=owners, cut=lambda rows: rows[: wish.limit])
    except OSError as error:
        if error.errno is None and not str(error):
            raise
        raise Failure(
            f"the kernel lets no socket be seen: {error.strerror or error}", Exit.NO_START, _WHY_BLIND
        ) from error


_WHY_BLIND = (
    "Neither netlink (sock_diag) nor /proc/net/tcp can be read here: a container or a seccomp filter forbids it."
)
