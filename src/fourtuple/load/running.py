"""A run from its options to its result, in this process or in several."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

from fourtuple.address import Address
from fourtuple.errors import OptionError
from fourtuple.framing import Framing, parse_framing
from fourtuple.load.options import Load
from fourtuple.load.payload import Payload, expectation
from fourtuple.load.plan import Plan
from fourtuple.load.processes import Processes
from fourtuple.load.result import Result
from fourtuple.load.schedule import SECOND, Schedule
from fourtuple.load.tally import Interval, Phase
from fourtuple.load.worker import Worker
from fourtuple.options import Sockets, check_callable, check_type
from fourtuple.proxy.header import HeaderChoice
from fourtuple.tls.certificates import TlsChoice
from fourtuple.tls.start import check_client, host_of

OnRow = Callable[[Interval], None]

#: What a connection of the load has no use for costs a system call each, which churn would pay for every connection:
#: nobody waits for a silent peer here, but for a reply, and that has a deadline.
SOCKETS = Sockets(keepalive=False, user_timeout=None, notsent_lowat=None)


class Run:
    """A run to be: ``result = await Run("127.0.0.1:9999", "line", Load(connections=64)).result()``.

    Parameters
    ----------
    address
        Whom to load: ``"host:port"``, ``"[v6]:port"``, ``"unix:/path"``, or an :class:`~fourtuple.Address`.
    framing
        How messages are cut, as a value or as text. With several processes it must be one that pickle can send.
    load
        What to do: see :class:`Load`. One connection in a closed loop, for ten seconds, unless given.
    messages, templates
        What to send, in turn: messages as the framing encodes them, or octets with counters in them, as in
        ``b"SET key:{n} {connection}"`` (:class:`~fourtuple.load.payload.Template`). For RESP, octets are split into
        the words of a command. Without either, filler of :attr:`Load.size` octets.
    sockets
        Options of the sockets; :data:`SOCKETS` unless given.
    tls, server_hostname, proxy_header
        As :func:`fourtuple.connect` takes them.
    on_row
        Called with every row of the series as it is complete: progress.

    Raises :class:`~fourtuple.errors.AddressError`, :class:`~fourtuple.errors.FramingTextError` and
    :class:`~fourtuple.errors.OptionError` for what cannot work, before a socket is opened.
    """

    def __init__(
        self,
        address: Address | str,
        framing: Framing | str,
        load: Load | None = None,
        *,
        messages: Sequence[Any] = (),
        templates: Sequence[bytes] = (),
        sockets: Sockets | None = None,
        tls: TlsChoice | None = None,
        server_hostname: str | None = None,
        proxy_header: HeaderChoice | None = None,
        on_row: OnRow | None = None,
    ) -> None:
        framing = parse_framing(framing)
        check_type("load", load, Load)
        self.load = load = load or Load()
        expectation(load.expect)
        check_client(tls, server_hostname, proxy_header, sockets=sockets)
        check_callable("on_row", on_row)
        target = Address.parse(address)
        self.plan = Plan(
            address=target,
            framing=framing,
            load=load,
            payload=Payload.of(load, framing, messages, templates),
            sockets=sockets or SOCKETS,
            tls=tls,
            server_hostname=server_hostname or host_of(target),
            proxy_header=proxy_header,
        )
        self._on_row = on_row
        self._rows: list[Interval] = []
        self._worker: Worker | Processes | None = None
        self._stopped = False

    def stop(self) -> None:
        """End the run before its time; :meth:`result` returns what came so far."""
        self._stopped = True
        if self._worker is not None:
            self._worker.stop()

    async def result(self) -> Result:
        """Make the load, and return its numbers.

        Raises the first error where no connection could be made at all: one of
        :class:`~fourtuple.errors.ConnectError`, or :class:`~fourtuple.errors.TlsError`. What fails later is counted.
        """
        began = time.time()
        self._worker = worker = self._made()
        if self._stopped:
            worker.stop()
        try:
            await worker.open()
            await worker.run()
        finally:
            await worker.end()
        return Result.of(
            str(self.plan.address),
            str(self.plan.framing),
            self.load,
            self._rows,
            asked=self._asked(),
            interrupted=self._stopped,
            began=began,
        )

    def _made(self) -> Worker | Processes:
        return Worker(self.plan, self._row) if self.load.processes == 1 else Processes(self.plan, self._row)

    def _row(self, row: Interval) -> None:
        self._rows.append(row)
        if self._on_row is not None:
            self._on_row(row)

    def _asked(self) -> float | None:
        """The rate that an open loop was to have while it was measured."""
        rows = [row for row in self._rows if row.phase is Phase.MEASURED]
        seconds = sum(row.tally.seconds for row in rows)
        if self.load.rate is None or not seconds:
            return None
        schedule = Schedule(self.load.rate, self.load.ramp)
        first = int(rows[0].start * SECOND)
        before = schedule.places(first)
        due = schedule.places(first + int(seconds * SECOND)) - before
        if self.load.requests is not None:
            due = min(due, max(0.0, self.load.requests - before))
        return due / seconds


def run(
    address: Address | str,
    framing: Framing | str,
    load: Load | None = None,
    *,
    messages: Sequence[Any] = (),
    templates: Sequence[bytes] = (),
    sockets: Sockets | None = None,
    tls: TlsChoice | None = None,
    server_hostname: str | None = None,
    proxy_header: HeaderChoice | None = None,
    on_row: OnRow | None = None,
) -> Result:
    """Load a server, and return what came of it. For programs without an event loop; others await :meth:`Run.result`.

    Parameters and errors are those of :class:`Run`.
    """
    check_type("load", load, Load)
    load = load or Load()
    job = Run(
        address,
        framing,
        load,
        messages=messages,
        templates=templates,
        sockets=sockets,
        tls=tls,
        server_hostname=server_hostname,
        proxy_header=proxy_header,
        on_row=on_row,
    )
    with asyncio.Runner(loop_factory=loop_factory(load.loop)) as runner:
        return runner.run(job.result())


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes the loop of that name; None is Python's own. Raises OptionError where uvloop is not installed."""
    if name == "asyncio" or (name == "auto" and not find_spec("uvloop")):
        return None
    if not find_spec("uvloop"):
        raise OptionError("loop: uvloop is not installed: pip install 'fourtuple[uvloop]'")
    import uvloop  # only where it is used

    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
