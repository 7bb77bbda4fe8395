"""The console observer: it prints events as lines.

It prints one line when a connection is opened and one when it has ended. For a probe it prints none. A probe is a
connection that is closed soon and without an octet of the conversation (a PROXY header or a TLS handshake does not
count). So the line of an opened connection is delayed for a moment. Everything that peers sent is escaped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from fourtuple import events
from fourtuple.address import Address
from fourtuple.cli.console_clients import CLIENT_EVENTS, client_line
from fourtuple.cli.console_words import counted, operating_line, placed, plural, text_in_line, without_name
from fourtuple.cli.held_lines import HeldLines, Later
from fourtuple.cli.lines import Lines
from fourtuple.engine import Listener
from fourtuple.engine.listener import BY_REQUEST
from fourtuple.errors import DeadlinePassed, HandlerFailed, TlsExpected
from fourtuple.errors.framing import is_mistake
from fourtuple.four_tuple import Name
from fourtuple.handlers.program import ending
from fourtuple.observe.raised import outcome, place_of, tells_all, trimmed
from fourtuple.printable import error_text, hexdump, text_of, traceback_of
from fourtuple.stream import Reason, Stream

#: The texts of the reasons, except those of which the server closed and whose own text is used.
_ENDS = {
    Reason.PEER_CLOSED: "closed by the peer",
    Reason.NO_CLOSE_NOTIFY: "closed by the peer without close_notify",
    Reason.CLOSED: "closed by the server",
    Reason.RESET: "reset by the peer",
    Reason.LOST: "lost by the network",
    Reason.ABORTED: "aborted by the server",
    Reason.HANDED_ON: "ended with its program",
}

#: The ordinary ends of a connection.
_IN_GOOD_ORDER = (Reason.PEER_CLOSED, Reason.NO_CLOSE_NOTIFY, Reason.CLOSED, Reason.DRAINED, Reason.HANDED_ON)


class Console:
    """Prints events: an :data:`~fourtuple.events.Observer`.

    Parameters
    ----------
    later
        ``later(seconds, call)``, as the loop's ``call_later``.
    quiet
        Print no lines about single connections.
    verbose
        Also print probes, every pause of accept, and all tracebacks.
    hold
        Delay the lines of opened connections, for probes. False with a hex dump, which would come before them.
    lines
        Where lines are written. Default: standard output and standard error.
    prefix
        What each line begins with: ``"mail: "`` for the lines of one of several services.
    """

    def __init__(
        self,
        later: Later,
        *,
        quiet: bool = False,
        verbose: bool = False,
        hold: bool = True,
        lines: Lines | None = None,
        prefix: str = "",
    ) -> None:
        self._quiet = quiet
        self._verbose = verbose
        self._hold = hold and not verbose
        self.lines: Lines = lines or Lines()
        self.prefix = prefix
        #: Whether the service cuts messages. With ``raw`` each read would be one, so only octets are printed.
        self.cuts_messages: bool = True
        #: The opened connections whose line is not printed yet.
        self._held = HeldLines(later, self._say_opened)
        #: The errors of connections that have not ended yet, for their last line.
        self._broken: dict[int, str] = {}
        #: How their programs ended, for the same line.
        self._endings: dict[int, str] = {}
        #: The connections with TLS: their counters are those of TLS.
        self._secure: set[int] = set()
        self._told: set[object] = set()
        #: Where accept pauses by request.
        self._suspended: set[Address] = set()
        #: All events but Listening, see :meth:`listening`.
        self._handlers: dict[type[events.Event], Callable[[Any], None]] = {
            events.Operating: self._operating,
            events.Accepted: self._accepted,
            events.Refused: self._refused,
            events.DialFailed: self._dial_failed,
            events.AcceptPaused: self._paused,
            events.AcceptResumed: self._resumed,
            events.AcceptDelayed: self._delayed,
            events.AcceptFailed: self._accept_failed,
            events.MessageFailed: self._message_failed,
            events.MessageUnmapped: self._message_unmapped,
            events.HandlerRaised: self._handler_raised,
            events.HandlerSlow: self._handler_slow,
            events.ProgramEnded: self._program_ended,
            events.LoopHeld: self._loop_held,
            events.HandlerAbandoned: self._handler_abandoned,
            events.DeadlineMissed: self._deadline_missed,
            events.LimitExceeded: self._limit_exceeded,
            events.AlarmRaised: self._alarm,
            events.TlsStarted: self._tls_started,
            events.TlsFailed: self._tls_failed,
            events.CertificatesRead: self._certificates_read,
            events.CertificatesFailed: self._certificates_failed,
            events.Closed: self._closed,
            **dict.fromkeys(CLIENT_EVENTS, self._client),
            events.Draining: self._draining,
            events.Drained: self._drained,
        }

    def __call__(self, event: events.Event) -> None:
        handler = self._handlers.get(type(event))
        if handler is None:
            return
        try:
            handler(event)
        except Exception as failed:  # an exception of the user's code may raise when it is printed
            self.complain(f"{event.kind}: it cannot be printed, {error_text(failed)}")

    def uncaught(self, _loop: object, context: dict[str, Any]) -> None:
        """Print errors that asyncio reports: for ``loop.set_exception_handler()``."""
        error = context.get("exception")
        below = traceback_of(error) if isinstance(error, BaseException) else ()
        self.complain(text_of(context.get("message")), below)

    # -- lines --------------------------------------------------------------------------------------------

    def say(self, text: str, style: str = "", below: Iterable[str] = ()) -> None:
        """Print one line, and the lines ``below`` it, indented so that they cannot be mistaken for events."""
        self.lines.say(self.prefix + text, style, below)

    def complain(self, text: str, below: Iterable[str] = ()) -> None:
        """Print a failure, in the same form as :meth:`say`."""
        self.lines.complain(self.prefix + text, below)

    def finish(self, seconds: float) -> None:
        """Wait at most this many seconds until all lines are written."""
        self.lines.finish(seconds)

    # -- listeners ----------------------------------------------------------------------------------------

    def listening(self, listener: Listener) -> None:
        """Print the listeners' addresses, and their backlogs in the kernel.

        The command calls this, not the event: a program that reads this line may send a signal at once, and signals
        are handled only after all listeners are open.
        """
        backlog = f"backlog {listener.backlog}"
        if listener.backlog < listener.asked_backlog:
            backlog += f", the kernel clamps {listener.asked_backlog} to net.core.somaxconn"
        self.say(f"Listening at {listener.name} ({backlog})", "bold")

    def _paused(self, event: events.AcceptPaused) -> None:
        """Print the first pause at an address, and each one that an operator has asked for."""
        asked = event.why == BY_REQUEST
        if asked:
            self._suspended.add(event.address)
        if asked or self._verbose or self._first("paused", str(event.address)):
            self.say(f"accept pauses at {event.address}: {event.why}")

    def _resumed(self, event: events.AcceptResumed) -> None:
        if self._verbose or event.address in self._suspended:
            self.say(f"accept resumes at {event.address}")
        self._suspended.discard(event.address)

    def _delayed(self, event: events.AcceptDelayed) -> None:
        self.say(f"accept slows down: {event.why}")

    def _accept_failed(self, event: events.AcceptFailed) -> None:
        then = "this listener is closed" if event.fatal else "accept continues"
        self.complain(f"accept failed at {event.address}: {event.error.strerror or text_of(event.error)}; {then}")

    # -- connections --------------------------------------------------------------------------------------

    def _operating(self, event: events.Operating) -> None:
        self.say(operating_line(event))

    def _accepted(self, event: events.Accepted) -> None:
        if self._quiet:
            return
        if not self._hold:
            self._say_opened(event.id, event.name)
            return
        self._held.add(event.id, event.name)

    def _say_of(self, id: int, text: str, style: str = "", below: Iterable[str] = ()) -> None:
        """Print a line of a connection, after the one that says that it was opened."""
        self._held.say(id)
        self.say(f"#{id} {text}", style, below)

    def _complain_of(self, id: int, text: str, below: Iterable[str] = ()) -> None:
        """Print a failure of a connection, after the line that says that it was opened."""
        self._held.say(id)
        self.complain(f"#{id} {text}", below)

    def _say_opened(self, id: int, name: Name) -> None:
        self.say(f"#{id} opened {name}", "green")

    def _closed(self, event: events.Closed) -> None:
        why = _ENDS.get(event.reason, f"closed by the server: {event.reason.value}")
        broken = self._broken.pop(event.id, None)
        how = self._endings.pop(event.id, None)
        tls = event.id in self._secure
        self._secure.discard(event.id)
        if self._quiet:
            return
        if event.probe and event.reason.by_peer and self._held.drop(event.id):
            return
        if broken is not None:
            why = f"{why.partition(':')[0]}: {broken}"
        if how is not None:
            why += f", which {how}"
        counts = self._counts(event, tls=tls)
        probe = ", a probe" if event.probe and event.reason.by_peer else ""
        style = "dim" if event.reason in _IN_GOOD_ORDER and broken is None else "yellow"
        self._say_of(event.id, f"closed {event.name}, {counts}{event.seconds:.3f} s, {why}{probe}", style)

    def _counts(self, event: events.Closed, *, tls: bool) -> str:
        """Return what a connection counted, for its last line."""
        if event.reason is Reason.HANDED_ON and not (event.statistics.octets_in or event.statistics.octets_out):
            return "octets not counted, the program had the socket, "
        messages = self.cuts_messages and event.reason is not Reason.HANDED_ON
        skipped = event.statistics.skipped
        strays = f"{plural(skipped, 'octet')} belonged to no message, " if skipped else ""
        return f"{counted(event.statistics, messages=messages, tls=tls)}, {strays}"

    def _refused(self, event: events.Refused) -> None:
        if not self._quiet:
            self.say(f"refused {event.name or 'a connection'}: {event.why}", "yellow")

    def _dial_failed(self, event: events.DialFailed) -> None:
        if not self._quiet:
            self.say(f"{text_in_line(event.error)}; the next call follows in {event.seconds:.1f} s", "yellow")

    def _client(self, event: events.Event) -> None:
        line = client_line(event)
        if line is not None and (self._verbose or (line.failed and not self._quiet)):
            self.say(line.text, "yellow" if line.failed else "")

    def _message_failed(self, event: events.MessageFailed) -> None:
        self._broken[event.id] = placed(event.error)
        self._framing_raised(event)

    def _message_unmapped(self, event: events.MessageUnmapped) -> None:
        if self._framing_raised(event):
            return
        if self._verbose:  # nothing has failed, and a peer can send many of them
            self._say_of(event.id, f"{without_name(event.error)}")

    def _framing_raised(self, event: events.MessageFailed | events.MessageUnmapped) -> bool:
        """Print a mistake in the framing's code like that of a handler; if verbose, all that this code raises."""
        error, cause = event.error, event.error.__cause__
        if not is_mistake(error) and not (self._verbose and place_of(cause)):
            return False
        told = self._verbose or self._first("framing", type(cause), place_of(cause))
        below = trimmed(cause) if cause is not None and told else ()
        self._complain_of(event.id, f"{event.name}: {placed(error)}", below)
        return True

    def _deadline_missed(self, event: events.DeadlineMissed) -> None:
        error = event.error
        self._broken[event.id] = (
            f"{error.which} of {error.seconds:g} s passed"
            if isinstance(error, DeadlinePassed)
            else text_in_line(error, event.name)
        )

    def _tls_started(self, event: events.TlsStarted) -> None:
        self._secure.add(event.id)
        if self._verbose:
            agreed = (event.version, event.cipher, event.alpn, event.sni, event.subject)
            self._say_of(event.id, f"{event.name}: {', '.join(filter(None, agreed))}")

    def _tls_failed(self, event: events.TlsFailed) -> None:
        self._broken[event.id] = text_in_line(event.error, event.name)
        if not isinstance(event.error, TlsExpected):
            self._secure.add(event.id)

    def _limit_exceeded(self, event: events.LimitExceeded) -> None:
        self._broken[event.id] = f"{event.limit}: {event.why}"

    # -- handlers -----------------------------------------------------------------------------------------

    def _handler_raised(self, event: events.HandlerRaised) -> None:
        error = event.error
        if isinstance(error, HandlerFailed):  # a program's error: it has no traceback, and names the connection itself
            self._complain_of(event.id, text_in_line(error))
            return
        text = f"{event.name}: handler {event.handler}{outcome(error)}: {text_in_line(error, event.name)}"
        trace = error.__traceback__
        place = (trace.tb_frame.f_code, trace.tb_lineno) if trace else event.handler
        # Print the traceback of the first one only: a hostile peer may cause the same error a thousand times.
        told = self._verbose or self._first(event.handler, type(error), place)
        self._complain_of(event.id, text, trimmed(error) if told and not tells_all(error) else ())

    def _program_ended(self, event: events.ProgramEnded) -> None:
        self._endings[event.id] = ending(event.status)

    def _handler_slow(self, event: events.HandlerSlow) -> None:
        self._complain_of(event.id, f"{event.name}: handler {event.handler} held the loop for {event.seconds:.3f} s")

    def _loop_held(self, event: events.LoopHeld) -> None:
        self.complain(
            f"handler {event.handler} has held the loop for {event.seconds:.1f} s, and still holds it:", event.stack
        )

    def _handler_abandoned(self, event: events.HandlerAbandoned) -> None:
        self._complain_of(
            event.id, f"{event.name}: handler {event.handler} does not end; the server stops without waiting for it"
        )

    def _first(self, *what: object) -> bool:
        """Return whether this was not printed before."""
        first = what not in self._told
        self._told.add(what)
        return first

    # -- the server ---------------------------------------------------------------------------------------

    def _certificates_read(self, _event: events.CertificatesRead) -> None:
        self.say("certificates were read again")

    def _certificates_failed(self, event: events.CertificatesFailed) -> None:
        self.complain(f"certificates cannot be used, the previous ones stay in force: {text_in_line(event.error)}")

    def _alarm(self, event: events.AlarmRaised) -> None:
        self.complain(f"alarm: {event.gauge} is {event.value}, {event.threshold} or more")

    def _draining(self, event: events.Draining) -> None:
        bound = "" if event.timeout is None else f", up to {event.timeout:g} s"
        self.say(f"Draining {plural(event.connections, 'connection')}{bound}; Ctrl-C again aborts")

    def _drained(self, event: events.Drained) -> None:
        left = f", {plural(event.abandoned, 'handler')} abandoned" if event.abandoned else ""
        self.say(f"Stopped, {plural(event.aborted, 'connection')} aborted{left}")

    # -- the wire -----------------------------------------------------------------------------------------

    def tap(self, stream: Stream, inward: bool, octets: bytes) -> None:
        """Print a hex dump of octets received or sent; offsets count from the connection's first octet."""
        offset = stream.octets_in if inward else stream.octets_out
        what = f"{stream.name} {'received' if inward else 'sent'} {plural(len(octets), 'octet')}"
        self.say(what, below=hexdump(octets, offset))
