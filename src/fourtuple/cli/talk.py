"""Both directions of ``fourtuple connect`` at once: standard input to the peer, the peer to standard output.

Neither direction waits for the other: a pipeline that writes everything before it reads anything does not lock
up, and memory stays bounded. Standard input and output are whatever the shell made them, and an epoll set takes
neither regular files nor, politely, descriptors that are shared with other programs: a thread blocks in each.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from typing import Any, TypeVar

import click

from fourtuple.cli.failure import Exit, Failure
from fourtuple.cli.forms import Writer, reader
from fourtuple.cli.hints import hint, silence
from fourtuple.connection import Connection
from fourtuple.errors import EncodeError, EndOfFile, FourTupleError, IncompleteMessage, MessageError, UnmappedMessage
from fourtuple.framing import Eof, Framing, Line, Raw
from fourtuple.handlers import Threads
from fourtuple.net.tcpinfo import TcpInfo
from fourtuple.printable import printable

T = TypeVar("T")

_STDIN, _STDOUT = 0, 1
_READ_OCTETS = 65536
#: Replies that are printed by one write, where they are there already.
_BATCH = 256
#: With --send: how long a reply to each message is waited for before the half-close, which some peers take
#: for the end of everything. Many services answer within a second; those that never answer cost no more.
_PATIENCE_SECONDS = 1.0


class Talk:
    """One conversation.

    Parameters
    ----------
    messages
        What to send; None reads standard input.
    timeout
        Seconds of silence after which the replies are given up, once everything is sent; None waits on.
    """

    def __init__(
        self, framing: Framing, messages: list[bytes] | None, *, hexadecimal: bool, timeout: float | None
    ) -> None:
        self._messages = messages
        self._timeout = timeout
        self._interactive = messages is None and sys.stdin is not None and sys.stdin.isatty()
        self._reader = reader(framing, hexadecimal=hexadecimal)
        self._writer = Writer(framing, hexadecimal=hexadecimal, terminal=sys.stdout.isatty())
        self._framing = framing
        self._lines = isinstance(framing, Line)
        #: Replies that --send waits for. Octets that are cut nowhere may come in one piece for several messages.
        self._wanted = len(messages or ())
        if isinstance(framing, Raw | Eof):
            self._wanted = min(1, self._wanted)
        self._begun = False
        #: What came and could not be cut.
        self._uncut = b""
        #: The kernel's view of the connection when the latest reply had come: after its end there is none.
        self.info: TcpInfo | None = None
        self._received = 0
        self._answered = asyncio.Event()
        self._all_sent = False
        #: Why the input was not read to its end.
        self._unsent: Exception | None = None

    async def run(self, connection: Connection) -> None:
        """Talk until the peer's end of file.

        Raises :class:`Failure` when time is up or input was left unsent, and the connection's own errors.
        """
        self._connection, self._begun = connection, True
        self._threads = Threads(asyncio.get_running_loop(), 2, _nothing, _nothing)
        sending = asyncio.ensure_future(self._send())
        try:
            async with asyncio.timeout(None) as self._silence:
                await self._receive(sending)
        except TimeoutError as error:
            if isinstance(error, FourTupleError) or not self._silence.expired():
                raise
            self._tell_unsent()
            if not self._complete:
                await self._take_uncut()
                raise Failure(f"{connection.name}: {self._missing}", Exit.TIMED_OUT, self.hint) from None
        finally:
            await self._stop(sending)
            self._threads.close()

    # -- out ----------------------------------------------------------------------------------------------

    async def _send(self) -> None:
        if self._messages is not None:
            await self._connection.send_many(self._messages)
            patience = _PATIENCE_SECONDS if self._timeout is None else min(self._timeout, _PATIENCE_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self._answered.wait()
        else:
            await self._send_input()
        self._connection.send_eof()
        self._all_sent = True
        self._expect()

    async def _send_input(self) -> None:
        ended = False
        while not ended:
            octets = await self._threads.run(_read)
            typed = self._reader.feed(octets) if octets else self._reader.finish()
            ended = not await self._send_typed(typed) or not octets

    async def _send_typed(self, typed: list[bytes]) -> bool:
        """Send what was typed; return whether to go on. In a pipe the first line that cannot be sent is the last."""
        message = self._reader.message
        try:
            await self._connection.send_many(list(map(message, typed)))
            return True
        except (EncodeError, ValueError):
            pass  # none of them was sent: one by one, to see which cannot be
        for each in typed:
            try:
                await self._connection.send(message(each))
            except (EncodeError, ValueError) as error:
                if not self._interactive:
                    self._unsent = error
                    return False
                click.echo(f"not sent: {printable(str(error))}", err=True)
        return True

    # -- in -----------------------------------------------------------------------------------------------

    async def _receive(self, sending: asyncio.Future[None]) -> None:
        """Print what comes until the end of file, unless sending fails before."""
        replies = asyncio.ensure_future(self._print_replies())
        try:
            await asyncio.wait({replies, sending}, return_when=asyncio.FIRST_COMPLETED)
            error = sending.exception() if sending.done() else None
            if isinstance(error, Exception) and not isinstance(error, FourTupleError):
                raise error
            # Where the peer is the reason, what it said before is still to be printed.
            await replies
        finally:
            await self._stop(replies)
        if self._messages is not None and not self._complete:
            await self._end(sending)
            raise Failure(f"{self._connection.name}: {self._came}, then end of file", Exit.FAILED, self.hint)
        if sending.done():
            await sending
            self._tell_unsent()
        elif self._messages is None and not self._interactive and self._connection.statistics.outbox:
            raise Failure(f"{self._connection.name}: the peer ended the conversation before all was sent", Exit.FAILED)

    async def _end(self, sending: asyncio.Future[None]) -> None:
        """Let what was sent leave: a peer that has half-closed may read on. The linger timeout bounds it."""
        self._answered.set()
        with suppress(FourTupleError):
            await sending
        self._connection.close()
        await self._connection.wait_closed()

    async def _print_replies(self) -> None:
        with suppress(EndOfFile):
            while True:
                try:
                    messages = await self._some_messages()
                except IncompleteMessage:
                    await self._print_rest()
                    raise
                except MessageError:
                    await self._take_uncut()
                    raise
                self._silence.reschedule(None)  # a slow reader of our output is not the peer's silence
                with suppress(FourTupleError, OSError):  # a Unix socket has none
                    self.info = self._connection.info()
                await self._print(messages)
                self._received += len(messages)
                if self._complete:
                    self._answered.set()
                self._expect()

    async def _some_messages(self) -> list[Any]:
        """At least one message, with those that are there already."""
        messages: list[Any] = []
        try:
            messages.append(await self._connection.receive())
            while len(messages) < _BATCH:
                messages.append(self._connection.receive_nowait())
        except UnmappedMessage as error:
            messages.append(f"({error.args[0]}) {error.octets!r}")
        except FourTupleError:
            if not messages:
                raise  # what is wrong behind messages comes again, with the next receive
        return messages

    async def _print_rest(self) -> None:
        """Text that ended without a line ending is better seen than lost."""
        if self._lines:
            await self._take_uncut()
            if self._uncut:
                await self._print([self._uncut])
        else:
            await self._take_uncut()

    async def _take_uncut(self) -> None:
        """Keep the octets that make no message, for the hint."""
        with suppress(FourTupleError):
            self._uncut = await self._connection.receive_some(timeout=0)

    @property
    def hint(self) -> str:
        """What to try, where the octets that came, or that none did, say so."""
        if not self._begun:
            return ""
        tls = self._connection.tls is not None
        if self._uncut:
            return hint(self._uncut, self._framing, tls=tls)
        return "" if self._connection.statistics.octets_in else silence(self._framing, tls=tls)

    @property
    def _came(self) -> str:
        return f"{self._received} of {self._wanted} replies came"

    @property
    def incomplete(self) -> str:
        """How many replies came, where some are missing."""
        return self._came if self._messages is not None and not self._complete else ""

    async def _print(self, messages: list[Any]) -> None:
        octets = self._writer.write(messages)
        await self._threads.run(lambda: _write(octets))

    def _tell_unsent(self) -> None:
        if self._unsent is not None:
            raise Failure(self._unsent, Exit.USAGE) from self._unsent

    # -- waiting ------------------------------------------------------------------------------------------

    def _expect(self) -> None:
        """Everything is sent: from now on silence is measured."""
        if self._all_sent and self._timeout is not None:
            self._silence.reschedule(asyncio.get_running_loop().time() + self._timeout)

    @property
    def _complete(self) -> bool:
        """Whether each message of --send has its reply: a peer that keeps the connection open then does no harm."""
        return self._messages is not None and self._received >= self._wanted

    @property
    def _missing(self) -> str:
        if self._messages is None:
            return f"neither a reply nor the end of file within {self._timeout:g} s"
        return f"{self._came}, and then none within {self._timeout:g} s"

    @staticmethod
    async def _stop(task: asyncio.Future[None]) -> None:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # seen


def _nothing() -> None:
    """Two threads for two directions: neither waits for one."""


def _read() -> bytes:
    """In a thread: what standard input has next; nothing at its end, or where there is none."""
    try:
        return os.read(_STDIN, _READ_OCTETS)
    except OSError:
        return b""


def _write(octets: bytes) -> None:
    """In a thread: write all of it, past Python's buffer."""
    view = memoryview(octets)
    while view:
        view = view[os.write(_STDOUT, view) :]
