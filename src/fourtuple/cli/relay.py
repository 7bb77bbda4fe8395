"""``fourtuple relay``: its flags, and what they say about the two sides of a relay."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fourtuple.address import Address
from fourtuple.cli import client_tls, types, user_code
from fourtuple.cli.failure import Exit, Failure
from fourtuple.cli.flags import command_with_options, given, option_flags, running_flags
from fourtuple.cli.standard_files import do_without_output
from fourtuple.cli.starting import check_descriptors, configuration_of, line_buffered, loop_factory
from fourtuple.cli.terminal import print_table
from fourtuple.errors import OptionError, ServiceError
from fourtuple.framing import Framing
from fourtuple.options import Operations
from fourtuple.service.registration import check_hook

if TYPE_CHECKING:
    from fourtuple.engine import ReadinessChoice

#: For connecting to the target: a SYN that was lost is sent again after 1, 3 and 7 s.
CONNECT_SECONDS = 10.0
#: What LISTEN and TARGET may be instead of an address.
EXEC, REPLAY = "exec:", "replay:"


def _place(*prefixes: str) -> types.ParamType:
    """An address, or a text that begins with one of the prefixes."""
    return types.parameter("address", lambda text: text if text.startswith(prefixes) else Address.parse(text))


def _list_toxics(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    from fourtuple.relay.notation import KINDS

    print_table(
        (f"{name}:{','.join(f'{key}=' for key in kind.attributes)}", kind.about) for name, kind in KINDS.items()
    )
    ctx.exit()


@command_with_options(
    params=[*client_tls.flags("target", "target"), *option_flags("operations", "processes")],
    options_metavar="[OPTIONS]",
)
@click.argument("listen", type=_place(REPLAY))
@click.argument("target", type=_place(REPLAY, EXEC))
@click.option(
    "--framing", "-f", type=types.framing(), default="raw",
    help="How messages are cut: what is shown and edited, and what toxics break by message. Octets pass on as they "
    "came.  [raw: a message is what one read brings]",
)  # fmt: skip
@click.option(
    "--edit", type=types.text("a function, as in file.py:function"), metavar="FILE.PY:FUNCTION",
    help="Your function, f(message, conversation), that returns what is passed on: the message, another one, a list "
    "of messages, or None for none.",
)  # fmt: skip
@click.option(
    "--toxic", "-t", "toxics", multiple=True, metavar="TOXIC",
    help="What goes wrong, as toxiproxy names it: latency:latency=100ms,jitter=20ms,stream=upstream,toxicity=0.5; may "
    "be given several times. See --list-toxics.",
)  # fmt: skip
@click.option(
    "--toxics", "toxics_file", type=types.file(), metavar="FILE",
    help="A file with a toxic in each line. SIGHUP reads it again, also for open conversations.",
)  # fmt: skip
@click.option(
    "--list-toxics", is_flag=True, is_eager=True, expose_value=False, callback=_list_toxics, help="Show all toxics.",
)  # fmt: skip
@click.option("--seed", type=int, metavar="N", help="Of what happens at random.  [another one in each run]")
@click.option("--target-tls", is_flag=True, help="Speak TLS with the target. Any of its options also means it.")
@click.option(
    "--target-server-name",
    type=types.text("a name"),
    metavar="NAME",
    help="What the target's certificate has to be for.  [the host of TARGET]",
)
@click.option(
    "--proxy-header", type=types.whole(1, 2), metavar="1|2",
    help="Begin the target's connections with a PROXY header of this version, with the client's name.",
)  # fmt: skip
@click.option(
    "--timeout", type=types.seconds(), default=CONNECT_SECONDS, metavar="SECONDS",
    help=f"For connecting to the target.  [{CONNECT_SECONDS:g}]",
)  # fmt: skip
@click.option("--quiet", "-q", is_flag=True, help="No lines for messages and single connections.")
@click.option("--verbose", "-v", is_flag=True, help="Probes, every pause of accept, and every traceback.")
@click.option("--hexdump", is_flag=True, help="Show messages in hexadecimal.")
@click.option(
    "--pcap", type=types.output(), metavar="FILE",
    help="Write the conversations with the clients, decrypted, to a file that Wireshark opens, and that replay: plays.",
)  # fmt: skip
@running_flags
def relay(
    listen: Address | str,
    target: Address | str,
    framing: Framing,
    edit: str | None,
    toxics: tuple[str, ...],
    toxics_file: Path | None,
    seed: int | None,
    target_tls: bool,
    target_server_name: str | None,
    proxy_header: int | None,
    timeout: float,
    quiet: bool,
    verbose: bool,
    hexdump: bool,
    pcap: Path | None,
    log_format: str,
    config: Path | None,
    no_config: bool,
    loop: str,
    readiness: ReadinessChoice,
    **flags: Any,
) -> None:
    """Relay connections at LISTEN to TARGET until SIGINT or SIGTERM, and show what passes.

    LISTEN and TARGET are addresses: host:port, [v6]:port, *:port, unix:PATH. TARGET may also be exec:CMD, a program for
    each connection, or replay:FILE.pcap, the server's side of a recording. LISTEN may be replay:FILE.pcap, the clients'
    side: then the relay ends behind its last conversation.

    The end of file passes on in each direction, RST as RST. Neither side is read faster than the other takes it.
    --tls-certificate, --tls-dev and --proxy-protocol are for LISTEN, --target-tls and --proxy-header for TARGET.

    The first signal drains, as for serve; a conversation without an octet for drain_idle_timeout is half-closed at
    TARGET, and ends when TARGET does. Exit codes: 0 done, 1 a target that could not be reached, a stream that broke the
    framing, a function that failed, a replay that differed, or a conversation that the stop cut, 2 usage, 3 cannot
    listen.
    """
    do_without_output()
    check_descriptors()
    from fourtuple.cli.relay_run import RelayRun, Sides  # here: --help and mistakes need no server
    from fourtuple.relay.itself import is_itself
    from fourtuple.relay.notation import parse_toxic

    if hexdump and log_format == "json":
        raise click.UsageError("--hexdump does not work with --log-format json: use --pcap.")
    function = None if edit is None else _edit(edit)
    if not isinstance(target, Address) and (target_tls or target_server_name or proxy_header):
        raise click.UsageError(f"{target} takes neither TLS nor a PROXY header: those are for addresses.")
    tls = client_tls.chosen(target_tls or target_server_name is not None, flags, "target")
    if tls is not None and not isinstance(target, Address):
        raise click.UsageError(f"{target} takes no TLS: that is for addresses.")
    try:
        named = [parse_toxic(text) for text in toxics]
    except OptionError as error:
        raise click.BadParameter(str(error), param_hint="'--toxic'") from error
    configuration = configuration_of(config, no_config, given(flags))
    encrypted = configuration.tls.certificate is not None or configuration.tls.dev
    if isinstance(listen, str) and (encrypted or configuration.proxy.protocol != "off"):
        raise click.UsageError(f"{listen} speaks neither TLS nor the PROXY protocol: those are for addresses.")
    if isinstance(listen, Address) and isinstance(target, Address) and is_itself(listen, target):
        raise click.UsageError(f"TARGET {target} is where the relay itself listens ({listen}): give another address.")
    if configuration.operations != Operations():  # of the file, or of a variable
        from fourtuple.cli.beforehand import check_free  # imported here: a relay is seldom operated

        check_free(configuration.operations, "", configuration.where)
    line_buffered()
    opening = {"tls": tls, "server_hostname": target_server_name, "timeout": timeout}
    sides = Sides(listen, target, opening, proxy_header)
    runner = RelayRun(
        sides, framing, function, named, toxics_file, seed, configuration,
        quiet=quiet, verbose=verbose, hexdump=hexdump, pcap=pcap, log_format=log_format, readiness=readiness,
    )  # fmt: skip
    sys.exit(runner.run(loop_factory(loop)))


def _edit(text: str) -> Callable[..., Any]:
    """Return the function of --edit, which can be called as it will be."""
    if not user_code.is_file(text):
        raise Failure(f"--edit {text}: a function in a file is needed, as in file.py:function", Exit.USAGE)
    function = user_code.from_file(text, "edit", callable, "a function")
    try:
        return check_hook("edit", function, ("message", "conversation"))
    except ServiceError as error:
        raise Failure(f"--{error}", Exit.USAGE) from error
