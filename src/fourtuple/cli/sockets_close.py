"""``fourtuple sockets --close``: what would be closed, the question, and what the kernel did."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from fourtuple.cli.columns import address_of, holders
from fourtuple.cli.failure import Exit, Failure
from fourtuple.cli.terminal import is_terminal
from fourtuple.inspector.closing import Closed, close_sockets
from fourtuple.inspector.filters import Filter
from fourtuple.inspector.model import ActiveSocket, PassiveSocket, Snapshot
from fourtuple.printable import printable


def close_found(seen: Snapshot, named: Sequence[object], wanted: Filter, *, yes: bool) -> int:
    """Close the connections that were found, and listeners that were named; return the exit code."""
    chosen, spared = closable(seen, named)
    for address in named:
        if address not in [each.address for each in seen.listeners]:
            raise Failure(f"no listener at {address} is among {wanted.text!r}", Exit.FAILED)
    for listener in spared:
        click.echo(
            f"left alone: the listener at {listener.address}; --listener {listener.address} also closes it", err=True
        )
    if not chosen:
        raise Failure("there is nothing to close: no connection matches", Exit.FAILED)
    if seen.source == "proc":
        raise Failure(
            f"sockets are closed over netlink, which is closed here: {seen.why or '--source proc'}", Exit.FAILED
        )
    for each in chosen:
        click.echo(printable(f"{each.state:12} {address_of(each)}  {holders(each)}"))
    _ask(len(chosen), yes)
    try:
        results = close_sockets(chosen)
    except OSError as error:
        raise Failure(f"the kernel does not answer: {error.strerror or error}", Exit.FAILED) from error
    return told(results)


def closable(seen: Snapshot, named: Sequence[object]) -> tuple[list[PassiveSocket | ActiveSocket], list[PassiveSocket]]:
    """PURE: return what may be closed, and the listeners that are left alone because they were not named."""
    chosen: list[PassiveSocket | ActiveSocket] = [each for each in seen.listeners if each.address in named]
    spared = [each for each in seen.listeners if each.address not in named]
    return [*chosen, *seen.connections], spared


def _ask(count: int, yes: bool) -> None:
    if yes:
        return
    if not is_terminal(sys.stdin):
        raise Failure("--close asks before it closes, and standard input is not a terminal: give --yes", Exit.USAGE)
    what = "this socket" if count == 1 else f"these {count:,} sockets"
    if not click.confirm(f"Close {what}? Peers get a reset, programs an error", err=True):
        raise Failure("nothing was closed", Exit.FAILED)


def told(results: Sequence[Closed]) -> int:
    """Print what became of each; return the exit code."""
    gone = sum(each.gone for each in results)
    refused = [each for each in results if each.why and not each.gone]
    for each in refused:
        click.echo(printable(f"not closed: {address_of(each.socket)}: {each.why}"), err=True)
    also = f"; {gone:,} had gone by then, as the other end of one that is closed does" if gone else ""
    click.echo(f"closed {len(results) - len(refused) - gone:,} of {len(results):,}{also}")
    return Exit.FAILED if refused else Exit.DONE
