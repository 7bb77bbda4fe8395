"""One run of ``fourtuple relay``: a server whose service is a relay."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fourtuple import events
from fourtuple.address import Address
from fourtuple.cli.console import Console
from fourtuple.cli.failure import Exit, Failure
from fourtuple.cli.lines import Lines
from fourtuple.cli.relay_console import RelayConsole
from fourtuple.cli.serve_run import ServeRun
from fourtuple.cli.to_serve import ToServe
from fourtuple.client import connect
from fourtuple.config import Configuration
from fourtuple.errors import AddressError, FourTupleError, OptionError
from fourtuple.files import read_regular
from fourtuple.framing import Framing
from fourtuple.options.functions import function_name
from fourtuple.relay.events import EndRelayed, ReplayDiffers, StreamUncut, TargetFailed, ToxicsFailed, ToxicsRead
from fourtuple.relay.notation import UPSTREAM, NamedToxic, ToxicTable, read_toxics
from fourtuple.relay.passage import StreamBroken
from fourtuple.relay.recording import Recording
from fourtuple.relay.relay import Options, Relay
from fourtuple.relay.replay import Player, play
from fourtuple.relay.targets import (
    EXEC,
    REPLAY,
    AddressTarget,
    ProgramTarget,
    ReplayTarget,
    Target,
    differing,
    recordings_of,
)
from fourtuple.server import Server
from fourtuple.serving.run import LoopFactory
from fourtuple.signals import ignored

#: Seconds that are never reached: the relay itself half-closes what is idle, and not before the target's last word.
_NEVER = 1e6

#: What did not happen as it was asked for, in words.
_FAILURES: dict[type[events.Event], str] = {
    TargetFailed: "connections without a target",
    StreamUncut: "streams that broke the framing",
    events.HandlerRaised: "conversations ended by an error",
    ReplayDiffers: "differences from the recording",
    ToxicsFailed: "files of toxics that could not be used",
}


@dataclass(frozen=True)
class Sides:
    """Where a relay listens, and what it relays to."""

    listen: Address | str
    target: Address | str
    #: Options of connect(), for a target that is an address.
    opening: dict[str, Any]
    proxy_header: int | None


class RelayRun(ServeRun):
    """One run, and the exit code that it comes to."""

    def __init__(
        self,
        sides: Sides,
        framing: Framing,
        edit: Callable[..., Any] | None,
        toxics: Sequence[NamedToxic],
        toxics_file: Path | None,
        seed: int | None,
        configuration: Configuration,
        *,
        hexdump: bool,
        quiet: bool,
        **options: Any,
    ) -> None:
        self._toxics, self._toxics_file = tuple(toxics), toxics_file
        self._framing, self._edit = framing, edit
        self._in_hex = hexdump
        self._failures: Counter[str] = Counter()
        self._observer: events.Observer = lambda event: None
        self._recordings: list[Recording] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._playing: asyncio.Task[None] | None = None
        deadlines = configuration.deadlines
        try:
            listen = self._listen(sides.listen)
            table = self._table()
            self._relay = Relay(
                self._target(sides, configuration),
                Options(framing, edit, not quiet, deadlines.drain_idle_timeout, seed),
                table,
                self._tell,
            )
        except (AddressError, OptionError) as error:
            raise Failure(error, Exit.USAGE) from error
        waiting = deadlines.replace(drain_idle_timeout=_NEVER, drain_first_message_timeout=_NEVER)
        to_serve = ToServe(self._relay.service, (listen,), replace(configuration, deadlines=waiting))
        super().__init__([to_serve], configuration.operations, hexdump=False, quiet=quiet, **options)

    def run(self, loop_factory: LoopFactory | None) -> Exit:
        try:
            return super().run(loop_factory)
        finally:
            if self._folder is not None:
                self._folder.cleanup()

    # -- the two sides ------------------------------------------------------------------------------------

    def _listen(self, listen: Address | str) -> Address:
        if isinstance(listen, Address):
            return listen
        self._recordings = recordings_of(listen.removeprefix(REPLAY))
        self._folder = tempfile.TemporaryDirectory(prefix="fourtuple-")
        return Address(path=f"{self._folder.name}/replay")

    def _target(self, sides: Sides, configuration: Configuration) -> Target:
        target, limits, deadlines = sides.target, configuration.limits, configuration.deadlines
        if isinstance(target, Address):
            opening = sides.opening | {"limits": limits, "deadlines": deadlines}
            try:
                return AddressTarget(target, opening, sides.proxy_header)
            except OptionError as error:
                raise OptionError(f"target_{error}") from error
        if target.startswith(EXEC):
            return ProgramTarget(target.removeprefix(EXEC), limits, deadlines, self._tell)
        path = target.removeprefix(REPLAY)
        return ReplayTarget(recordings_of(path), path, self._framing, limits, deadlines, self._tell)

    # -- toxics -------------------------------------------------------------------------------------------

    def _table(self) -> ToxicTable:
        """The toxics of the flags and of the file. Raises OptionError."""
        found = list(self._toxics)
        if self._toxics_file is not None:
            try:
                found += read_toxics(read_regular(self._toxics_file).decode())
            except (OSError, UnicodeDecodeError) as error:
                why = getattr(error, "strerror", None) or error
                raise OptionError(f"--toxics {self._toxics_file}: {why}") from error
            except OptionError as error:
                raise OptionError(f"--toxics {self._toxics_file}: {error}") from error
        return ToxicTable(found)

    def _read_again(self, server: Server) -> None:
        """SIGHUP: read the toxics, and the certificates."""
        try:
            table = self._table()
        except OptionError as error:
            self._tell(ToxicsFailed(error))
        else:
            self._relay.change_toxics(table)
            self._tell(ToxicsRead(tuple(each.text for each in table.toxics)))
        if server._uses_certificates:
            with suppress(OptionError):  # the observer gets an event
                server.reload_certificates()

    # -- what happens -------------------------------------------------------------------------------------

    def _tell(self, event: events.Event) -> None:
        edit = self._edit
        if isinstance(event, events.HandlerRaised) and edit is not None and not isinstance(event.error, StreamBroken):
            event = replace(event, handler=function_name(edit))  # the relay's handler only calls it
        if type(event) in _FAILURES:
            self._failures[_FAILURES[type(event)]] += 1
        if isinstance(event, EndRelayed) and event.direction == UPSTREAM and self.capture is not None:
            # A replay needs the place of the client's FIN. The target's is written at the end: octets before it wait.
            self.capture.half_close(event.name, inward=True)
        self._observer(event)

    def _made_console(self, lines: Lines, prefix: str = "") -> Console:
        later = asyncio.get_running_loop().call_later
        # A message's line must not come before the line of its connection.
        hold = self.quiet
        return RelayConsole(
            later, in_hex=self._in_hex, quiet=self.quiet, verbose=self.verbose, hold=hold, lines=lines, prefix=prefix
        )

    def _observing(self, observer: events.Observer, what: ToServe) -> events.Observer:
        self._observer = observer
        return self._tell

    def _begun(self, servers: Sequence[Server]) -> None:
        (server,) = servers
        if self._toxics_file is not None and not ignored(signal.SIGHUP):
            server.loop.add_signal_handler(signal.SIGHUP, self._read_again, server)
        if self._recordings is not None:
            self._playing = server.loop.create_task(self._play(server))

    async def _play(self, server: Server) -> None:
        """Play the clients of a recording, one after the other; then the server stops."""
        for number, recording in enumerate(self._recordings or (), 1):
            try:
                connection = await connect(server.address, "raw")
            except FourTupleError:
                break  # the server stops already
            told = differing(self._tell, number)
            await play(Player(connection, recording, self._framing, told, as_client=True))
        await server.drain()

    def _verdict(self, servers: Sequence[Server]) -> Exit:
        if self._failures:
            told = ", ".join(f"{what}: {count}" for what, count in self._failures.items())
            raise Failure(told, Exit.FAILED)
        return super()._verdict(servers)
