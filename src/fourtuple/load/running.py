"""A run, from its options to its result, in this process or in several."""

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
from fourtuple.options import Sockets, by_keyword, check_function, check_type
from fourtuple.proxy.header import HeaderChoice
from fourtuple.tls.certificates import TlsChoice
from fourtuple.tls.start import check_client, host_of

OnRow = Callable[[Interval], None]

#: Options that the load does not need are off, because each costs a system call for every connection of a churn run.
#: Keepalive and user timeout are not needed, because replies have a deadline.
SOCKETS = Sockets(keepalive=False, user_timeout=None, notsent_lowat=None)


class Run:
    """A run that has not begun: ``result = await Run("127.0.0.1:9999", "line", Load(connections=64)).result()``.

    Parameters
    ----------
    address
        The server to load: ``"host:port"``, ``"[v6]:port"``, ``"unix:/path"``, or an :class:`~fourtuple.Address`.
    framing
        How messages are cut, as a value or as text. With several processes, pickle must be able to send it.
    load
        The options of the load: see :class:`Load`. By default one connection in a closed loop, for ten seconds.
    messages, templates
        What to send, in turn: messages that the framing encodes, or octets with counters, as in
        ``b"SET key:{n} {connection}"`` (:class:`~fourtuple.load.payload.Template`). For RESP, octets are split into
        the words of a command. If neither is given, messages are filler of :attr:`Load.size` octets.
    sockets
        Options of the sockets. The default is :data:`SOCKETS`, which saves system calls.
    tls, server_hostname, proxy_header
        The same as in :func:`fourtuple.connect`.
    is_push
        Returns whether a message is a push: one that the server sends unasked. Pushes are counted, and are neither
        replies nor part of a greeting. By default every message is a reply. With several processes, pickle must be able
        to send the function.
    on_row
        Called with every row of the series when it is complete, to show progress.

    Raises :class:`~fourtuple.errors.AddressError`, :class:`~fourtuple.errors.FramingTextError` and
    :class:`~fourtuple.errors.OptionError` for invalid arguments, before a socket is opened.
    """

    @by_keyword()
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
        is_push: Callable[[Any], bool] | None = None,
        on_row: OnRow | None = None,
    ) -> None:
        framing = parse_framing(framing)
        check_type("load", load, Load)
        load = load or Load()
        self.load: Load = load
        expectation(load.expect)
        check_client(tls, server_hostname, proxy_header, sockets=sockets)
        check_function("is_push", is_push, "message")
        check_function("on_row", on_row, "row")
        target = Address.parse(address)
        self.plan: Plan = Plan(
            address=target,
            framing=framing,
            load=load,
            payload=Payload.of(load, framing, messages, templates),
            sockets=sockets or SOCKETS,
            tls=tls,
            server_hostname=server_hostname or host_of(target),
            proxy_header=proxy_header,
            is_push=is_push,
        )
        self._on_row = on_row
        self._rows: list[Interval] = []
        self._worker: Worker | Processes | None = None
        self._stopped = False

    def stop(self) -> None:
        """End the run early; :meth:`result` returns the numbers so far."""
        self._stopped = True
        if self._worker is not None:
            self._worker.stop()

    async def result(self) -> Result:
        """Make the load, and return its numbers.

        If no connection could be made, raises the first error: a :class:`~fourtuple.errors.ConnectError` or a
        :class:`~fourtuple.errors.TlsError`. Later failures are counted in the result.
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
        """The intended rate of an open loop in the measured time; None in a closed loop."""
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


@by_keyword()
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
    is_push: Callable[[Any], bool] | None = None,
    on_row: OnRow | None = None,
) -> Result:
    """Load a server and return the result. In a program with an event loop, await :meth:`Run.result` instead.

    ``address``, ``framing``, ``load``, ``messages``, ``templates``, ``sockets``, ``tls``, ``server_hostname``,
    ``proxy_header``, ``is_push`` and ``on_row`` are those of :class:`Run`, with its defaults and errors.
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
        is_push=is_push,
        on_row=on_row,
    )
    with asyncio.Runner(loop_factory=loop_factory(load.loop)) as runner:
        return runner.run(job.result())


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return the factory of the named loop; None is asyncio's. Raises OptionError if uvloop is not installed."""
    if name == "asyncio" or (name == "auto" and not find_spec("uvloop")):
        return None
    if not find_spec("uvloop"):
        raise OptionError("loop: uvloop is not installed: pip install 'fourtuple[uvloop]'")
    import uvloop  # imported only if it is used

    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
