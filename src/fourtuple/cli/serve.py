"""``fourtuple serve``: its flags, and the services and options that they give."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from fourtuple.address import Address
from fourtuple.cli import speed, types
from fourtuple.cli.failure import Exit, Failure
from fourtuple.cli.flags import command_with_options, given, option_flags, running_flags, which_service
from fourtuple.cli.programs import OneService, Program, check_only, of_file_named
from fourtuple.cli.serve_addresses import DEFAULT_HOST, DEFAULT_PORT, Where, activated
from fourtuple.cli.standard_files import do_without_output
from fourtuple.cli.starting import check_descriptors, configuration_of, line_buffered, loop_factory
from fourtuple.config import FILE_NAME, Configuration
from fourtuple.framing import Framing
from fourtuple.options import Operations
from fourtuple.supervisor.seat import ONLY_CHECK, Handover, Seat
from fourtuple.supervisor.stored import close_kept, handed_over

if TYPE_CHECKING:
    from fourtuple.engine import ReadinessChoice


@command_with_options(params=option_flags(), options_metavar="[OPTIONS]")
@click.argument("target", required=False, shell_complete=types.complete_target)
@click.option(
    "--bind", "-b", "binds", multiple=True, metavar="ADDRESS", type=types.address(DEFAULT_PORT),
    help=f"Listen here; may be given several times. host:port, [v6]:port, *:port, unix:PATH, fd:3, fd:NAME; with port "
    f"0 the kernel chooses a port.  [{DEFAULT_HOST}:{DEFAULT_PORT}]",
)  # fmt: skip
@click.option(
    "--host", type=types.text("a host"), metavar="HOST", help=f"The host, instead of --bind.  [{DEFAULT_HOST}]"
)
@click.option("--port", metavar="PORT", type=types.whole(0, 65535), help="The port, instead of --bind.")
@click.option(
    "--framing",
    "-f",
    type=types.framing(),
    help="Replaces the service's framing: see 'fourtuple framings', or file.py:framing for one of your own.",
)
@which_service
@click.option("--quiet", "-q", is_flag=True, help="Print no lines about single connections.")
@click.option("--verbose", "-v", is_flag=True, help="Also print probes, every pause of accept, and tracebacks.")
@click.option("--hexdump", is_flag=True, help="Print the octets that are received and sent.")
@click.option(
    "--pcap", type=types.output(), metavar="FILE",
    help="Write the decrypted conversations to a file that Wireshark can open.",
)  # fmt: skip
@running_flags
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
    only: tuple[str, ...],
    command: str | None,
    quiet: bool,
    verbose: bool,
    hexdump: bool,
    pcap: Path | None,
    log_format: str,
    config: Path | None,
    no_config: bool,
    loop: str,
    readiness: ReadinessChoice,
    reload: bool,
    **flags: Any,
) -> None:
    """Serve TARGET until SIGINT or SIGTERM; without TARGET, the services that fourtuple.toml declares.

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
    if target is not None and command is not None:
        raise click.UsageError("Give either a TARGET or --exec CMD.")
    if hexdump and log_format == "json":
        raise click.UsageError("--hexdump does not work with --log-format json: use --pcap.")
    check_descriptors()
    seat, handover = Seat.taken_from(os.environ), Handover.taken_from(os.environ)
    only_check = os.environ.pop(ONLY_CHECK, None) is not None
    kept, handed = activated()
    where = Where(binds, host, port, handed, handover)

    def read() -> Program:
        options = configuration_of(config, no_config, given(flags))
        check_only(only, target, command)
        if target is None and command is None:
            return _declared(options, only, framing, where)
        return OneService(target, command, framing, options, where)

    program = read()
    if only_check:
        program.to_serve()
        return
    if not isinstance(program, OneService):
        where.tell_left_out([each.address for each in program.listen_on], f"no service of {FILE_NAME} listens there")
    if seat is None and program.options.operations.http is not None:
        from fourtuple.cli.beforehand import check_http  # imported here: most servers have no pages

        check_http(program.options.operations, [each.address for each in program.listen_on], program.options.where)
    supervised = reload or handover is not None or program.options.processes.workers is not None
    if pcap and (seat or supervised):
        raise click.UsageError("--pcap does not work with --workers or --reload: every worker would write the file.")
    if seat is None and supervised:
        _supervise(program, read, log_format, handover or handed_over(kept), reload=reload)
    close_kept(kept)
    how: dict[str, Any] = {
        "quiet": quiet, "verbose": verbose, "hexdump": hexdump, "pcap": pcap, "log_format": log_format,
        "readiness": readiness,
    }  # fmt: skip
    sys.exit(_run(program, seat, how, loop))


def _run(program: Program, seat: Seat | None, how: dict[str, Any], loop: str) -> Exit:
    """Serve in this process, which is a worker if it has a seat; return the exit code."""
    operations = program.options.operations
    if program.tls:
        from fourtuple.cli.beforehand import check_certificates  # imported here: most servers have no TLS

        check_certificates(program)
    if seat is not None:
        from fourtuple.cli.worker_run import WorkerRun  # imported here: only a worker needs it
        from fourtuple.supervisor.worker import WorkerEnd

        end = WorkerEnd(seat)
        services = program.in_worker(end)
        line_buffered()
        return WorkerRun(end, services, operations, **how).run(loop_factory(loop))
    if operations != Operations():
        # imported here: many servers have no such option
        from fourtuple.cli.beforehand import check_free, check_operations

        check_operations(program)
        check_free(operations, "", program.options.where)
    if program.named_on_machine:
        from fourtuple.cli.beforehand import check_sockets  # imported here, as above

        check_sockets(program)
    services = program.to_serve()
    line_buffered()
    from fourtuple.cli.serve_run import ServeRun  # imported here: --help and usage errors need no server

    speed.tell_if_slow()
    return ServeRun(services, operations, **how).run(loop_factory(loop))


def _declared(options: Configuration, only: tuple[str, ...], framing: Framing | None, where: Where) -> Program:
    """Return the services of the file. Raises a usage error for flags that are those of one service."""
    if not options.services and not only:
        raise click.UsageError(
            f"Give either a TARGET or --exec CMD, or declare services in {FILE_NAME}: [services.NAME]."
        )
    if where.flags or framing is not None:
        flag = where.flags or "--framing"
        raise click.UsageError(f"{flag} is for one TARGET; the services of {FILE_NAME} have keys for it.")
    return of_file_named(options, only)


def _supervise(
    program: Program, read: Callable[[], Program], log_format: str, handover: Handover | None, *, reload: bool
) -> NoReturn:
    """Run a supervisor, and exit. It imports nothing of the user's."""
    if reload and not find_spec("watchfiles"):
        raise Failure("--reload needs watchfiles: pip install 'fourtuple[reload]'", Exit.USAGE)
    line_buffered()
    from fourtuple.cli.supervise import SuperviseRun  # imported here: a server without workers needs none of it

    speed.tell_if_slow()
    sys.exit(SuperviseRun(program, read, log_format=log_format, reload=reload, handover=handover).run())
