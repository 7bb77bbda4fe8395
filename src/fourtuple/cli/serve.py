"""``fourtuple serve``: its flags, and the service and options that they give."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
from click.shell_completion import CompletionItem

from fourtuple.address import Address
from fourtuple.cli import speed, types
from fourtuple.cli.failure import Exit, Failure
from fourtuple.cli.flags import CommandWithOptions, given, option_flags
from fourtuple.cli.standard_files import do_without_output
from fourtuple.config import FILE_NAME, Configuration, configure, default_file
from fourtuple.errors import FourTupleError, OptionError
from fourtuple.framing import Framing
from fourtuple.net.given import Inherited, inherited
from fourtuple.supervisor.seat import Handover, Seat
from fourtuple.supervisor.stored import close_kept, handed_over, is_kept

if TYPE_CHECKING:
    from fourtuple.engine import ReadinessChoice
    from fourtuple.service import Service
    from fourtuple.serving.run import LoopFactory

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 9999


def complete_target(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete TARGET in a shell: the built-in services, and files."""
    from fourtuple.cli.targets import builtin_names

    names = [CompletionItem(name) for name in builtin_names() if name.startswith(incomplete)]
    return names or [CompletionItem(incomplete, type="file")]


@click.command(cls=CommandWithOptions, params=option_flags(), options_metavar="[OPTIONS]")
@click.argument("target", required=False, shell_complete=complete_target)
@click.option(
    "--bind", "-b", "binds", multiple=True, metavar="ADDRESS", type=types.address(DEFAULT_PORT),
    help=f"Listen here; may be given several times. host:port, [v6]:port, *:port, unix:PATH, fd:3; with port 0 "
    f"the kernel chooses a port.  [{DEFAULT_HOST}:{DEFAULT_PORT}]",
)  # fmt: skip
@click.option("--host", metavar="HOST", help=f"The host, instead of --bind.  [{DEFAULT_HOST}]")
@click.option("--port", metavar="PORT", type=click.IntRange(0, 65535), help="The port, instead of --bind.")
@click.option(
    "--framing",
    "-f",
    type=types.framing(),
    help="Replaces the service's framing: see 'fourtuple framings', or file.py:framing for one of your own.",
)
@click.option(
    "--exec", "command", metavar="CMD",
    help="Instead of TARGET: a program that gets each connection as its standard input and output. CMD is split like "
    "a shell does, and run without a shell; at most max_threads run at once.",
)  # fmt: skip
@click.option("--quiet", "-q", is_flag=True, help="Print no lines about single connections.")
@click.option("--verbose", "-v", is_flag=True, help="Also print probes, every pause of accept, and tracebacks.")
@click.option("--hexdump", is_flag=True, help="Print the octets that are received and sent.")
@click.option(
    "--pcap", type=click.Path(path_type=Path, dir_okay=False, writable=True), metavar="FILE",
    help="Write the decrypted conversations to a file that Wireshark can open.",
)  # fmt: skip
@click.option(
    "--log-format", type=click.Choice(["console", "json"]), default="console",
    help="Lines for people, or every event as a line of JSON on standard output.  [console]",
)  # fmt: skip
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help=f"Options in TOML.  [./{FILE_NAME}]")
@click.option(
    "--loop", type=click.Choice(["auto", "asyncio", "uvloop"]), default="auto",
    help="The event loop; auto is uvloop if it is installed, else asyncio.  [auto]",
)  # fmt: skip
@click.option(
    "--readiness", type=click.Choice(["auto", "nested", "portable"]), default="auto",
    help="How to wait for sockets: with a separate epoll set (nested), or the loop's add_reader (portable).  [auto]",
)  # fmt: skip
@click.option(
    "--reload", is_flag=True,
    help="For development: a saved .py or .toml file in the current directory replaces the workers. Needs "
    "'fourtuple[reload]'.",
)  # fmt: skip
def serve(
    target: str | None,
    binds: tuple[Address, ...],
    host: str | None,
    port: int | None,
    framing: Framing | None,
    command: str | None,
    quiet: bool,
    verbose: bool,
    hexdump: bool,
    pcap: Path | None,
    log_format: str,
    config: Path | None,
    loop: str,
    readiness: ReadinessChoice,
    reload: bool,
    **flags: Any,
) -> None:
    """Serve TARGET until SIGINT or SIGTERM.

    TARGET is a built-in service (echo, sixteen, discard, upper, daytime, time, chargen, qotd), module:attribute,
    or file.py:attribute; the default attribute is "service". The attribute may also be existing code: an async
    callback of asyncio's streams, a class of an asyncio protocol, or a handler class of socketserver.

    The first signal drains: conversations finish, in bounded time. The second one aborts the remaining connections, a
    third one ends the process. The exit code is 0, or 1 if a conversation or a handler was aborted. If the start fails,
    it is 3. SIGHUP reads the TLS certificates again; without TLS it drains. Lines about connections go to standard
    output, errors to standard error.

    With --workers, a supervisor starts worker processes: SIGHUP replaces them one by one, SIGUSR2 upgrades the whole
    program, and no connection is lost by either.
    """
    do_without_output()
    if (target is None) == (command is None):
        raise click.UsageError("Give either a TARGET or --exec CMD.")
    seat, handover = Seat.taken_from(os.environ), Handover.taken_from(os.environ)
    kept, handed = _activated()
    places = () if seat is not None else _addresses(binds, host, port, handed, handover)
    configuration = configuration_of(config, given(flags))
    if pcap and (seat or reload or configuration.processes.workers):
        raise click.UsageError("--pcap does not work with --workers or --reload: every worker would write the file.")
    if seat is None and (reload or handover or configuration.processes.workers is not None):
        name = Path(str(target or command).partition(":")[0].split()[0]).stem
        _supervise(places, configuration, name, log_format, handover or handed_over(kept), reload=reload)
    close_kept(kept)
    worker = None
    if seat is not None:
        from fourtuple.supervisor.worker import WorkerEnd  # imported here: only a worker needs it

        worker = WorkerEnd(seat)
    service = _service(target, command, framing)
    if hexdump and log_format == "json":
        raise click.UsageError("--hexdump does not work with --log-format json: use --pcap.")
    line_buffered()
    from fourtuple.cli.serve_run import ServeRun  # imported here: --help and usage errors need no server

    how: dict[str, Any] = {
        "quiet": quiet, "verbose": verbose, "hexdump": hexdump, "pcap": pcap, "log_format": log_format,
        "readiness": readiness,
    }  # fmt: skip
    if worker is None:
        speed.tell_if_slow()
        runner = ServeRun(service, places, configuration, **how)
    else:
        from fourtuple.cli.worker_run import WorkerRun  # imported here: only a worker needs it

        runner = WorkerRun(worker, service, configuration, **how)
    sys.exit(runner.run(loop_factory(loop)))


def _supervise(
    addresses: tuple[Address, ...],
    configuration: Configuration,
    name: str,
    log_format: str,
    handover: Handover | None,
    *,
    reload: bool,
) -> NoReturn:
    """Run a supervisor, and exit. It imports nothing of the user's."""
    if reload and not find_spec("watchfiles"):
        raise Failure("--reload needs watchfiles: pip install 'fourtuple[reload]'", Exit.USAGE)
    line_buffered()
    from fourtuple.cli.supervise import SuperviseRun  # imported here: a server without workers needs none of it

    speed.tell_if_slow()
    run = SuperviseRun(addresses, configuration, name=name, log_format=log_format, reload=reload, handover=handover)
    sys.exit(run.run())


def configuration_of(file: Path | None, flags: dict[str, str]) -> Configuration:
    try:
        return configure(flags, os.environ, file or default_file(Path()))
    except OptionError as error:
        raise Failure(error, Exit.USAGE) from error


def _service(target: str | None, command: str | None, framing: Framing | None) -> Service:
    from fourtuple.cli import targets  # imported here, like ServeRun above

    if command is not None:
        if framing is not None:
            raise click.UsageError("--framing does not work with --exec: the program reads the octets itself.")
        return targets.program(command)
    assert target is not None
    service = targets.load(target)
    try:
        service.check()
    except FourTupleError as error:
        raise Failure(f"{target}: {error}", Exit.USAGE) from error
    return service if framing is None else service.with_framing(framing)


def _activated() -> tuple[list[Inherited], list[Inherited]]:
    """Return what the service manager has kept of the supervisor before this one, and what it has opened itself."""
    try:
        found = inherited(os.environ)
    except OptionError as error:
        raise Failure(error, Exit.USAGE) from error
    kept = [each for each in found if is_kept(each)]
    return kept, [each for each in found if each not in kept]


def _addresses(
    binds: tuple[Address, ...],
    host: str | None,
    port: int | None,
    activated: Sequence[Inherited],
    handover: Handover | None,
) -> tuple[Address, ...]:
    handed = tuple(Address(fd=each.fd) for each in activated)
    unused = [str(each) for each in handed if each not in binds]
    if handover is not None:
        handed += tuple(each for each in handover.addresses if each.fd is not None)
    if host is None and port is None:
        if not binds and handed:
            return handed
        if unused and binds:
            _left_out(unused, "--bind")
        return binds or (Address(DEFAULT_HOST, DEFAULT_PORT),)
    if unused:
        _left_out(unused, "--host or --port")
    if binds:
        raise click.UsageError("Give either --bind or --host and --port, not both.")
    return (Address(host or DEFAULT_HOST, DEFAULT_PORT if port is None else port),)


def _left_out(unused: list[str], flag: str) -> None:
    click.echo(f"fourtuple: not listening at {', '.join(unused)} of socket activation: {flag} is given", err=True)


def loop_factory(name: str) -> LoopFactory | None:
    if name == "asyncio" or (name == "auto" and not find_spec("uvloop")):
        return None
    if not find_spec("uvloop"):
        raise Failure("uvloop is not installed: pip install 'fourtuple[uvloop]'", Exit.USAGE)
    import uvloop  # imported only if it is chosen

    factory: LoopFactory = uvloop.new_event_loop
    return factory


def line_buffered() -> None:
    """Write each line to a pipe at once, and escape characters that the encoding does not have."""
    for file in (sys.stdout, sys.stderr):
        if isinstance(file, io.TextIOWrapper):
            file.reconfigure(line_buffering=True, errors="backslashreplace")
