"""``fourtuple bench``: load a server in its own framing, and report the results."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fourtuple.address import Address
from fourtuple.cli import client_tls, speed, types, user_code
from fourtuple.cli.failure import Exit, Failure
from fourtuple.cli.flags import command_with_options, option_flag
from fourtuple.cli.starting import check_descriptors
from fourtuple.errors import (
    AddressError,
    ConnectError,
    ConnectTimeout,
    DeadlinePassed,
    EncodeError,
    FourTupleError,
    OptionError,
    TlsError,
)
from fourtuple.files import read_regular
from fourtuple.framing import Framing
from fourtuple.load import Load
from fourtuple.load.payload import as_message
from fourtuple.options import declared

if TYPE_CHECKING:
    from fourtuple.load import Result, Run
    from fourtuple.signals import StopSignals

_FLAGS: list[click.Parameter] = [*client_tls.flags(""), *(option_flag("load", option) for option in declared(Load))]
#: The type of a flag that says where results go: a path, or - for standard output.
_PLACE = types.output(dash=True)


@dataclass(frozen=True, slots=True)
class Places:
    """Where the result is written, in addition to the table or instead of it."""

    json: str | None
    hdr: str | None
    html: str | None

    @property
    def on_output(self) -> bool:
        """Whether one of them is standard output: then the table is not printed."""
        return "-" in (self.json, self.hdr, self.html)

    def check(self) -> None:
        """Check before the load that the results can be written after it."""
        if [self.json, self.hdr, self.html].count("-") > 1:
            raise click.UsageError("Only one of --json, --hdr and --html can go to standard output.")
        if self.html is not None:
            from fourtuple.load import report  # imported here: only a report needs matplotlib

            report.check()
        files = [os.path.realpath(place) for place in (self.json, self.hdr, self.html) if place not in (None, "-")]
        if len(set(files)) < len(files):
            raise click.UsageError("--json, --hdr and --html need different files: two of them name the same one.")

    def write(self, result: Result) -> None:
        """Write the requested results."""
        if self.json is not None:
            _write("--json", self.json, json.dumps(result.as_json(), indent=2) + "\n")
        if self.hdr is not None:
            _write("--hdr", self.hdr, result.hgrm())
        if self.html is not None:
            from fourtuple.load import report

            _write("--html", self.html, report.report(result))


def _write(flag: str, place: str, text: str) -> None:
    if place == "-":
        click.echo(text, nl=False)
        return
    try:
        Path(place).write_text(text)
    except OSError as error:  # that it may be written was checked before the load
        raise Failure(f"{flag} {place}: {error.strerror or error}", Exit.FAILED) from error


@command_with_options(params=_FLAGS)
@click.argument("address", type=types.address())
@click.option(
    "--framing", "-f", type=types.framing(), default="line",
    help="How octets become messages: see 'fourtuple framings', or file.py:framing for one of your own.  [line]",
)  # fmt: skip
@click.option("--mirror", is_flag=True, help="Take the other end of --framing, where the two directions differ.")
@click.option(
    "--send", "-s", "texts", multiple=True, metavar="TEXT",
    help=r"A request; several are sent in turn. \n, \r, \t, \0, \e, \x1c and \\ are escapes.",
)  # fmt: skip
@click.option("--hex", "hexadecimal", is_flag=True, help="Read --send and --lines in hexadecimal.")
@click.option(
    "--template", "templates", multiple=True, metavar="TEXT",
    help="A request with counters from 0: {n} in its process, {connection}, {turn} on its connection, {process}; "
    "{n:08d} and {n:x} format them.",
)  # fmt: skip
@click.option(
    "--file", "files", multiple=True, type=types.file(exists=True),
    help="A file whose octets are one request.",
)  # fmt: skip
@click.option(
    "--lines", type=types.file(exists=True),
    help="A file with one request per line, in the form of --send.",
)  # fmt: skip
@click.option(
    "--is-push", type=types.parameter("pattern", lambda text: _push(text)), metavar="PATTERN",
    help="Which messages the server sends unasked: they are counted, and answer no request. text:TEXT, starts:TEXT, "
    "regex:RE, size:N, or file.py:function, which returns true for one.  [none: every message is a reply]",
)  # fmt: skip
@client_tls.wanted
@click.option(
    "--proxy-header", type=types.whole(1, 2), metavar="1|2",
    help="Begin each connection with a PROXY header of this version that has the connection's own name.",
)  # fmt: skip
@click.option(
    "--json",
    "json_place",
    type=_PLACE,
    help="Write all results as JSON; - writes them to standard output instead of the table.",
)
@click.option(
    "--hdr", type=_PLACE, help="Write the percentiles of latency in the format of HdrHistogram's plotter (.hgrm)."
)
@click.option("--html", type=_PLACE, help="Write a report with plots to one file; needs fourtuple[report].")
@click.option("--quiet", "-q", is_flag=True, help="Show no progress on a terminal.")
def bench(
    address: Address,
    framing: Framing,
    mirror: bool,
    texts: tuple[str, ...],
    hexadecimal: bool,
    templates: tuple[str, ...],
    files: tuple[Path, ...],
    lines: Path | None,
    is_push: Callable[[Any], bool] | None,
    tls: bool,
    server_name: str | None,
    proxy_header: int | None,
    json_place: str | None,
    hdr: str | None,
    html: str | None,
    quiet: bool,
    **flags: str | None,
) -> None:
    """Load the server at ADDRESS, and report how fast it answers and what fails.

    Each connection sends a request, waits for its reply, and sends the next (a closed loop); with --rate, requests
    are sent on time whether the server keeps up or not (an open loop), and latencies count from that time. --duration
    bounds the load; Ctrl-C ends it early, even while it connects, and prints the results so far.

    Exit codes: 0 success, 1 wrong replies, invalid messages, lost connections or requests without a reply, 2 usage,
    3 cannot connect, 4 no reply in time or a rate that was not reached, 130 interrupted.
    """
    check_descriptors()
    places = Places(json_place, hdr, html)
    try:
        places.check()
    except OptionError as error:
        raise Failure(f"--html: {error}", Exit.USAGE) from error
    # Imported here: rich takes long to import, and --help needs no event loop.
    from fourtuple.cli.bench_progress import Progress
    from fourtuple.cli.bench_table import show
    from fourtuple.cli.interrupts import run_counting
    from fourtuple.load.running import Run, loop_factory

    speed.tell_if_slow()
    load = _load(flags)
    framing = framing.mirror() if mirror else framing
    messages = _messages(texts, files, lines, hexadecimal, framing)
    if messages and templates:
        raise click.UsageError("Give either --template or --send, --file and --lines, not both.")
    progress = Progress(load, shown=not quiet and sys.stderr.isatty())
    try:
        run = Run(
            address,
            framing,
            load,
            messages=messages,
            templates=[types.unescaped(text) for text in templates],
            tls=client_tls.chosen(tls or server_name is not None, flags),
            server_hostname=server_name,
            proxy_header=proxy_header,
            is_push=is_push,
            on_row=progress.row,
        )
        with progress:
            result = run_counting(lambda signals: _until_signal(run, signals), loop_factory(load.loop))
    except (ConnectTimeout, DeadlinePassed) as error:
        raise Failure(error, Exit.TIMED_OUT, getattr(error, "explanation", "")) from error
    except ConnectError as error:
        raise Failure(error, Exit.NO_START, error.explanation) from error
    except TlsError as error:
        raise Failure(error, Exit.NO_START) from error
    except (AddressError, OptionError, ValueError) as error:
        raise Failure(error, Exit.USAGE) from error
    except FourTupleError as error:
        raise Failure(error, Exit.FAILED) from error
    if not places.on_output:
        show(result)
    places.write(result)
    sys.exit(_code(result))


def _push(text: str) -> Callable[[Any], bool]:
    """Return the function of --is-push. Raises :class:`ValueError`, or a failure of the import."""
    if user_code.is_file(text):
        found: Callable[[Any], bool] = user_code.from_file(text, "is_push", callable, "a function")
        return found
    from fourtuple.load.patterns import pattern  # imported here: --help needs no load

    try:
        return pattern("is_push", text, "file.py:function")
    except OptionError as error:
        raise ValueError(str(error).removeprefix("is_push: ")) from error


def _load(flags: dict[str, str | None]) -> Load:
    """Return the options of the load."""
    given: dict[str, Any] = {}
    for option in declared(Load):
        text = flags.get(option.name)
        if text is not None:
            given[option.name] = option.convert(text)
    try:
        return Load(**given)
    except OptionError as error:
        raise Failure(error, Exit.USAGE) from error


def _messages(
    texts: Sequence[str], files: Sequence[Path], lines: Path | None, hexadecimal: bool, framing: Framing
) -> list[bytes]:
    """Return the messages of --send, --file and --lines, in this order. Each can be sent in this framing."""
    read = types.from_hex if hexadecimal else types.unescaped
    try:
        given = [("--send", read(text)) for text in texts]
        given += [("--file", read_regular(path)) for path in files]
        if lines is not None:
            text = read_regular(lines).decode("utf-8", "surrogateescape")
            given += [("--lines", read(line)) for line in text.removesuffix("\n").split("\n")]
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except OSError as error:
        raise Failure(f"{error.filename}: {error.strerror}", Exit.USAGE) from error
    for flag, octets in given:
        try:
            framing.encode(as_message(framing, octets))
        except (EncodeError, OptionError) as error:
            raise Failure(f"{flag}: {error}", Exit.USAGE) from error
    return [octets for _, octets in given]


async def _until_signal(run: Run, signals: StopSignals) -> Result:
    """Run the load; the first signal ends it early, the second one at once."""
    import asyncio

    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(run.result())
    heard = 0

    def look() -> None:
        nonlocal heard
        while heard < signals.count:
            heard += 1
            if heard == 1:
                run.stop()
            else:
                task.cancel()

    with signals.heard_by(lambda: loop.call_soon_threadsafe(look)):
        look()
        return await task


def _code(result: Result) -> int:
    """Return the exit code."""
    total = result.total
    unanswered = total.unanswered and not result.interrupted  # what the interrupt ended is not a failure of the server
    if total.mismatches or total.failures or unanswered:
        return Exit.FAILED
    if total.connect_failures:
        return Exit.NO_START
    if total.timeouts or not result.kept_up:
        return Exit.TIMED_OUT
    return Exit.INTERRUPTED if result.interrupted else Exit.DONE
