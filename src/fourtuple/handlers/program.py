"""Programs: a process gets the connected socket as its standard input and output.

This works as with tcpserver(1) and inetd(8): there is one process per connection, the socket is blocking and not in the
engine, and environment variables name the peer. Unlike these tools, fourtuple keeps the socket and closes it after the
program as any other connection: it sends FIN, then discards further input for a while. Otherwise, if a program leaves
input unread, the kernel sends an RST that destroys the program's last output (RFC 2525, 2.17).
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from contextlib import suppress

from fourtuple import events
from fourtuple.connection import Connection
from fourtuple.engine import Channel
from fourtuple.errors import DeadlinePassed, HandlerFailed
from fourtuple.four_tuple import FourTuple, Name
from fourtuple.handlers.handoff import HandoffRunner
from fourtuple.handlers.runner import Host
from fourtuple.service import ProgramHandler, Service
from fourtuple.signals import ends_with_us
from fourtuple.stream import Reason

#: The time between SIGTERM and SIGKILL.
_GRACE_SECONDS = 1.0

#: Variables that these tools set and fourtuple does not. The server may itself run under such a tool, whose variables
#: describe the server's standard input, not the program's. So they are removed.
_STALE = {
    f"{protocol}{end}{what}"
    for protocol in ("TCP", "TCP6")
    for end in ("LOCAL", "REMOTE")
    for what in ("IP", "PORT", "HOST", "INFO")
}


def environment(name: Name) -> dict[str, str]:
    """Return tcpserver(1)'s variables for a connection (ucspi-tcp6's for IPv6, ucspi-unix's for a Unix socket)."""
    if not isinstance(name, FourTuple):
        return {
            "PROTO": "UNIX",
            "UNIXLOCALPATH": name.path,
            "UNIXREMOTEPID": str(name.pid),
            "UNIXREMOTEEUID": str(name.uid),
        }
    ends = {
        "LOCALIP": name.local_ip,
        "LOCALPORT": str(name.local_port),
        "REMOTEIP": name.remote_ip,
        "REMOTEPORT": str(name.remote_port),
    }
    variables = {"PROTO": "TCP", **{f"TCP{key}": value for key, value in ends.items()}}
    if ":" in name.remote_ip:
        variables |= {"PROTO": "TCP6", **{f"TCP6{key}": value for key, value in ends.items()}}
    return variables


def _inherited() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _STALE}


class ProgramRunner(HandoffRunner):
    """One process per connection: started at once, reaped, and killed at the latest when the server ends."""

    __slots__ = ("_aborted", "_begun", "_command", "_killer", "_missed", "_process", "_watch")

    def __init__(
        self, host: Host, service: Service, connection: Connection | None, channel: Channel, handler: ProgramHandler
    ) -> None:
        super().__init__(host, service, connection, channel)
        self._command = handler.command
        self._process: subprocess.Popen[bytes] | None = None
        self._watch: asyncio.Future[int] | None = None
        self._killer: asyncio.TimerHandle | None = None
        self._aborted = False
        self._begun = False
        #: The deadline that ended the program.
        self._missed: DeadlinePassed | None = None

    @property
    def busy(self) -> bool:
        """Whether the program runs or waits for a thread."""
        return self._watch is not None

    @property
    def at_work(self) -> bool:
        return self.busy

    def begin(self) -> None:
        # A greeting leaves before the first octet of the program, which does not know of the outbox.
        self.channel.flush()
        if self.channel.ended:
            return
        sock = self.hand_over()
        self._watch = self.host.threads.run(lambda: self._run(sock.fileno()), ready=self._begin)
        self._watch.add_done_callback(self._exited)

    def _begin(self) -> bool:
        self._begun = True
        self.begin_deadlines()
        return True

    def _look(self, now: float) -> None:
        """End the program, and with it the connection, if a deadline has passed. Called at each sweep."""
        if self._deadlines is None or self._missed is not None or self._aborted:
            return
        self._missed = self._deadlines.missed(now)
        if self._missed is not None:
            self.stream.because(Reason.DEADLINE)
            self.host.observer(events.DeadlineMissed(self.connection.id, self.connection.name, self._missed))
            self._end()

    def _run(self, fd: int) -> int:
        """Run the program to its end, in a thread of the pool, which limits the number of processes."""
        with subprocess.Popen(
            self._command,
            stdin=fd,
            stdout=fd,
            env=_inherited() | environment(self.connection.name),
            start_new_session=True,  # so that the program's own children can be killed with it
        ) as process:
            self._process = process
            with ends_with_us(process.pid):
                self.host.loop.call_soon_threadsafe(self._started)
                # WNOWAIT (waitid(2)): reap it only after its group is off the list, or the number may be reused.
                with suppress(ChildProcessError):
                    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            return process.wait()

    def _started(self) -> None:
        if self._aborted or self._missed is not None:
            if self._killer is not None:  # SIGTERM was sent before the process existed
                self._killer.cancel()
                self._killer = None
            self._end()

    def _exited(self, watch: asyncio.Future[int]) -> None:
        self._watch = None
        if self._killer is not None:
            self._killer.cancel()
        if self._relay is not None:
            # The end that the program had: while it is open here, the near end gets no end of file.
            self._relay.far.close()
        reason = Reason.ABORTED if watch.cancelled() else self._report(watch)
        self.take_back(reason, at_once=self._aborted)
        self.channel.leave()

    def _report(self, watch: asyncio.Future[int]) -> Reason:
        """Report that the program has ended or could not be started; return the reason for the connection's end."""
        error = watch.exception()
        if error is not None:
            self.report_handler_error(error)
            return Reason.HANDLER_ERROR
        status = watch.result()
        connection = self.connection
        self.host.observer(events.ProgramEnded(connection.id, connection.name, self.handler_name, status))
        # SIGPIPE tells most programs that their reader has gone. A peer may leave at any time, so it is not a failure.
        if status not in (0, -signal.SIGPIPE) and self._missed is None:
            self.report_handler_error(HandlerFailed(f"{connection.name}: {self.handler_name} {ending(status)}"))
        return Reason.HANDED_ON

    def abort(self) -> None:
        """End the program, first with SIGTERM, and its connection."""
        self._aborted = True
        if self._watch is not None and not self._begun:
            self._watch.cancel()
        if self._process is None:
            # The program has not started yet; if it is just starting, _started() ends it.
            super().abort()
        else:
            self._end()

    def lost(self, reason: Reason) -> None:
        """End the program: its connection was aborted."""
        if self._watch is not None:
            self._aborted = True
            self._end()

    def give_up(self) -> None:
        """Kill the program: no program outlives its server."""
        self._signal(signal.SIGKILL)

    def _end(self) -> None:
        if self._killer is None:
            self._signal(signal.SIGTERM)
            self._killer = self.host.loop.call_later(_GRACE_SECONDS, self._signal, signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._watch is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)


def ending(status: int) -> str:
    """Describe in words how a program ended."""
    if status >= 0:
        return f"exited with {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:  # a real-time signal
        return f"was ended by signal {-status}"
