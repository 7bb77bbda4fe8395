"""Both directions of ``fourtuple connect`` at once: standard input to the peer, the peer to standard output.

No direction waits for the other: a pipeline that writes everything before it reads anything does not deadlock,
and memory is bounded.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from fourtuple.cli.ends import Ends, StandardFiles
from fourtuple.cli.failure import Exit, Failure
from fourtuple.cli.forms import Writer, reader
from fourtuple.cli.hints import hint, silence, unfinished
from fourtuple.cli.terminal import is_terminal
from fourtuple.connection import Connection
from fourtuple.errors import EncodeError, EndOfFile, FourTupleError, IncompleteMessage, MessageError, UnmappedMessage
from fourtuple.four_tuple import FourTuple
from fourtuple.framing import Eof, Framing, Line, Raw
from fourtuple.framing.fromoctets import from_octets, to_octets
from fourtuple.net.tcpinfo import TcpInfo
from fourtuple.printable import printable

#: The most replies that are printed by one write, if they have arrived already.
_BATCH = 256
#: With --send: seconds to wait for a reply to each message before the half-close, after which some peers reply no
#: more. Many services answer within a second; a service that never answers costs no more time.
_PATIENCE_SECONDS = 1.0


@dataclass(frozen=True)
class Plan:
    """What to send, and how the conversation ends.

    Parameters
    ----------
    messages
        The messages to send; None reads standard input.
    repeat, interval
        How often the messages are sent, and the seconds from the beginning of one time to that of the next, if the
        replies do not take longer.
    half_close
        Whether to half-close after everything is sent.
    timeout
        Seconds of silence, after everything is sent, until the wait for replies ends; None waits without a bound.
    """

    messages: list[Any] | None = None
    repeat: int = 1
    interval: float = 1.0
    half_close: bool = True
    timeout: float | None = None


class Talk:
    """One conversation."""

    def __init__(self, framing: Framing, plan: Plan, *, hexadecimal: bool) -> None:
        self._plan = plan
        self._messages = messages = plan.messages
        self._timeout = plan.timeout
        self._interactive = messages is None and is_terminal(sys.stdin)
        self._reader = reader(framing, hexadecimal=hexadecimal)
        self._writer = Writer(framing, hexadecimal=hexadecimal, terminal=sys.stdout.isatty())
        self._framing = framing
        self._lines = isinstance(framing, Line)
        #: The replies that --send waits for. With framing raw, one piece may hold several replies.
        self._wanted = len(messages or ()) * plan.repeat
        if isinstance(framing, Raw | Eof):
            self._wanted = min(1, self._wanted)
        #: Replies to the messages sent so far.
        self._due = 0
        self._begun = False
        #: Whether a message, or a part of one, may have reached the peer.
        self.has_sent: bool = False
        #: The octets that could not be decoded.
        self._uncut = b""
        #: The kernel's statistics at the latest reply: after the end there are none.
        self.info: TcpInfo | None = None
        self._received = 0
        self._answered = asyncio.Event()
        self._all_sent = False
        #: Set if everything is sent and answered without a half-close: the peer cannot know that it should close.
        self._enough = asyncio.Event()
        #: Why reading the input ended early.
        self._unsent: Exception | None = None

    async def run(self, connection: Connection) -> None:
        """Talk until the peer's end of file.

        Raises :class:`Failure` when time is up or input was left unsent, and the connection's own errors.
        """
        self._connection, self._begun = connection, True
        self._ends = _ends()
        if self._interactive:
            await self._ends.say(self._welcome())
        sending = asyncio.ensure_future(self._send())
        try:
            async with asyncio.timeout(None) as self._silence:
                await self._receive(sending)
        except TimeoutError as error:
            if isinstance(error, FourTupleError) or not self._silence.expired():
                raise
            self._tell_unsent()
            await self._take_uncut()
            if not (self._complete or self._answered_without_end):
                raise Failure(f"{connection.name}: {self._missing}", Exit.TIMED_OUT, self.hint) from None
            if self._uncut:
                await self._ends.say(printable(unfinished(self._uncut)))
        finally:
            await self._stop(sending)
            self._ends.close()

    def _welcome(self) -> str:
        """Print the peer's name, and how to end the conversation."""
        name = self._connection.name
        whom = f"{name.remote}, from {name.local}" if isinstance(name, FourTuple) else str(name)
        tls = "" if self._connection.tls is None else f", {self._connection.tls.version}"
        first = "half-closes" if self._plan.half_close else "ends the input"
        return printable(f"Connected to {whom}{tls}. Ctrl-D {first}, Ctrl-C ends the conversation.")

    # -- out ----------------------------------------------------------------------------------------------

    async def _send(self) -> None:
        if self._messages is not None:
            await self._send_rounds(self._messages)
        else:
            await self._send_input()
        if self._plan.half_close:
            self._connection.send_eof()
            if self._interactive:
                await self._ends.say(
                    "Half-closed; anything the peer sends is still printed. Ctrl-C ends the conversation."
                )
        self._all_sent = True
        self._expect()
        self._note_enough()

    async def _send_rounds(self, messages: list[Any]) -> None:
        loop = asyncio.get_running_loop()
        patience = _PATIENCE_SECONDS if self._timeout is None else min(self._timeout, _PATIENCE_SECONDS)
        for number in range(1, self._plan.repeat + 1):
            began = loop.time()
            self._due = min(self._wanted, number * len(messages))
            if self._received < self._due:
                self._answered.clear()
            self.has_sent = True
            await self._connection.send_many(messages)
            last = number == self._plan.repeat
            if last and not self._plan.half_close:
                return  # then wait for the end of the replies, not for a pause
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self._answered.wait()
            if not last:
                await asyncio.sleep(self._plan.interval - (loop.time() - began))

    async def _send_input(self) -> None:
        ended = False
        while not ended:
            octets = await self._ends.read()
            typed = self._reader.feed(octets) if octets else self._reader.finish()
            ended = not await self._send_typed(typed) or not octets

    async def _send_typed(self, typed: list[bytes]) -> bool:
        """Send what was typed; return whether to continue. In a pipe, the first line that cannot be sent ends it."""

        def message(octets: bytes) -> Any:
            return from_octets(self._framing, self._reader.message(octets))

        self.has_sent = self.has_sent or bool(typed)
        try:
            await self._connection.send_many(list(map(message, typed)))
            return True
        except (EncodeError, ValueError):
            pass  # none of them was sent: send them one by one, to find which one cannot be
        for each in typed:
            try:
                await self._connection.send(message(each))
            except (EncodeError, ValueError) as error:
                if not self._interactive:
                    self._unsent = error
                    return False
                await self._ends.say(f"not sent: {printable(str(error))}")
        return True

    # -- in -----------------------------------------------------------------------------------------------

    async def _receive(self, sending: asyncio.Future[None]) -> None:
        """Print replies until the end of file, or until there are enough, unless sending fails before."""
        replies = asyncio.ensure_future(self._print_replies())
        enough = asyncio.ensure_future(self._enough.wait())
        try:
            await asyncio.wait({replies, sending}, return_when=asyncio.FIRST_COMPLETED)
            error = sending.exception() if sending.done() else None
            if isinstance(error, Exception) and not isinstance(error, FourTupleError):
                raise error
            # If the peer is the reason, its earlier replies are still printed.
            await asyncio.wait({replies, enough}, return_when=asyncio.FIRST_COMPLETED)
            if replies.done():
                await replies
        finally:
            await self._stop(replies)
            await self._stop(enough)
        if self._interactive and not self._enough.is_set():
            await self._ends.say("The peer has closed the connection.")
        await self._judge(sending)

    async def _judge(self, sending: asyncio.Future[Any]) -> None:
        """Raise :class:`Failure` if something is missing: the peer has ended, or there are enough replies."""
        if self._messages is not None and not self._complete:
            await self._end(sending)
            raise Failure(f"{self._connection.name}: {self._came}, then end of file", Exit.FAILED, self.hint)
        if sending.done():
            await sending
            self._tell_unsent()
        elif self._messages is None and not self._interactive and self._connection.statistics.outbox:
            raise Failure(
                f"{self._connection.name}: the peer ended the conversation before everything was sent", Exit.FAILED
            )

    async def _end(self, sending: asyncio.Future[None]) -> None:
        """Let the outbox be written: a peer that has half-closed may still read. The linger timeout bounds it."""
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
                self._silence.reschedule(None)  # the wait for a slow reader of our output is not the peer's silence
                with suppress(FourTupleError, OSError):  # a Unix socket has no statistics
                    self.info = self._connection.info()
                if isinstance(self._framing, Eof) and messages == [b""]:
                    continue  # the peer has sent nothing at all: that is no reply
                await self._print(messages)
                self._received += len(messages)
                if self._received >= self._due:
                    self._answered.set()
                self._expect()
                self._note_enough()

    async def _some_messages(self) -> list[Any]:
        """Return at least one message, with those that have arrived already."""
        messages: list[Any] = []
        try:
            messages.append(to_octets(self._framing, await self._connection.receive()))
            while len(messages) < _BATCH:
                messages.append(to_octets(self._framing, self._connection.receive_nowait()))
        except UnmappedMessage as error:
            messages.append(f"({error.args[0]}) {error.octets!r}")
        except FourTupleError:
            if not messages:
                raise  # an error after messages is raised again by the next receive
        return messages

    async def _print_rest(self) -> None:
        """Print the rest of a text that ended without a line ending."""
        if self._lines:
            await self._take_uncut()
            if self._uncut:
                await self._print([self._uncut])
        else:
            await self._take_uncut()

    async def _take_uncut(self) -> None:
        """Keep octets that are not a message, for the hint."""
        with suppress(FourTupleError):
            self._uncut = await self._connection.receive_some(timeout=0)

    @property
    def hint(self) -> str:
        """Return a hint, if the received octets, or their absence, allow one."""
        if not self._begun:
            return ""
        tls = self._connection.tls is not None
        if self._uncut:
            return hint(self._uncut, self._framing, tls=tls)
        counts = self._connection.statistics
        # Over TLS the peer has always sent octets: those of the handshake.
        heard = counts.messages_in or counts.skipped if tls else counts.octets_in
        return "" if heard else silence(self._framing, tls=tls)

    @property
    def _came(self) -> str:
        return f"{self._received} of {self._wanted} replies came"

    @property
    def incomplete(self) -> str:
        """Return how many replies came, if some are missing."""
        return self._came if self._messages is not None and not self._complete else ""

    async def _print(self, messages: list[Any]) -> None:
        await self._ends.write(self._writer.write(messages))

    def _tell_unsent(self) -> None:
        if self._unsent is not None:
            raise Failure(self._unsent, Exit.USAGE) from self._unsent

    # -- waiting ------------------------------------------------------------------------------------------

    def _expect(self) -> None:
        """Note that everything is sent: from now on the silence counts."""
        if self._all_sent and self._timeout is not None:
            self._silence.reschedule(asyncio.get_running_loop().time() + self._timeout)

    def _note_enough(self) -> None:
        if not self._plan.half_close and self._all_sent and self._complete:
            self._enough.set()

    @property
    def _answered_without_end(self) -> bool:
        """Return whether only silence can end it: there were replies, and no half-close was sent."""
        return self._messages is None and not self._plan.half_close and self._received > 0

    @property
    def _complete(self) -> bool:
        """Return whether each message of --send has its reply: then the peer need not close the connection."""
        return self._messages is not None and self._received >= self._wanted

    @property
    def _missing(self) -> str:
        if self._messages is None:
            return f"neither a reply nor end of file within {self._timeout:g} s"
        return f"{self._came}, and then no more within {self._timeout:g} s"

    @staticmethod
    async def _stop(task: asyncio.Future[Any]) -> None:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # seen


def _ends() -> Ends:
    """Return the user's end: a prompt if both input and output are a terminal, otherwise the standard files."""
    dumb = os.environ.get("TERM", "dumb") in ("dumb", "unknown", "")
    if not dumb and is_terminal(sys.stdin) and is_terminal(sys.stdout) and find_spec("prompt_toolkit"):
        from fourtuple.cli.prompt import Prompt  # imported here: that takes longer than many conversations

        return Prompt()
    return StandardFiles()
