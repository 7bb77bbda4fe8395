"""The console of ``fourtuple relay``: a server's lines, and a line or a hex dump for each message that passes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from fourtuple.cli.console import Console
from fourtuple.cli.console_words import plural
from fourtuple.events import Closed
from fourtuple.printable import hexdump, readable, text_of, text_without
from fourtuple.relay import events

#: Upstream points from the client to the target.
_ARROWS = {"upstream": ">", "downstream": "<"}


class RelayConsole(Console):
    """Prints the events of a relay beside those of its server.

    ``in_hex`` shows messages as hex dumps. The other parameters are those of :class:`fourtuple.cli.console.Console`.
    """

    def __init__(self, later: Callable[..., Any], *, in_hex: bool, **options: Any) -> None:
        super().__init__(later, **options)
        self._in_hex = in_hex
        self._handlers |= {
            events.TargetConnected: self._target_connected,
            events.TargetFailed: self._target_failed,
            events.MessageRelayed: self._message_relayed,
            events.StreamUncut: self._stream_uncut,
            events.RelayEnded: self._relay_ended,
            events.ToxicsRead: self._toxics_read,
            events.ToxicsFailed: self._toxics_failed,
            events.ReplayDiffers: self._replay_differs,
        }

    def _target_connected(self, event: events.TargetConnected) -> None:
        if not self._quiet:
            toxics = f", with {'; '.join(event.toxics)}" if event.toxics else ""
            self._say_of(event.id, f"relayed to {event.target}{toxics}")

    def _target_failed(self, event: events.TargetFailed) -> None:
        below = getattr(event.error, "explanation", "")
        self._complain_of(event.id, f"{event.name}: {text_without(event.name, event.error)}", below.splitlines())

    def _message_relayed(self, event: events.MessageRelayed) -> None:
        moment = datetime.now().isoformat(timespec="milliseconds").partition("T")[2]
        what = "" if event.what == "passed" else f" {event.what}"
        head = f"{moment} #{event.id} {_ARROWS[event.direction]}{what} {plural(len(event.octets), 'octet')}"
        if self._in_hex:
            self.say(head, below=hexdump(event.octets, event.offset))
        else:
            self.say(f"{head}: {readable(event.octets)}")

    def _stream_uncut(self, event: events.StreamUncut) -> None:
        then = "the octets pass on uncut" if event.passed else "the conversation is ended"
        self._complain_of(event.id, f"{event.direction}: {text_of(event.error)}; {then}")

    def _relay_ended(self, event: events.RelayEnded) -> None:
        if not self._quiet:
            passed = f"{plural(event.octets_up, 'octet')} upstream, {event.octets_down} downstream"
            self._say_of(event.id, f"relayed {passed}: {event.why}", "dim")

    def _counts(self, event: Closed, *, tls: bool) -> str:
        """Return nothing: the line of the relay has the octets that went on, and those of the client may be of TLS."""
        return ""

    def _toxics_read(self, event: events.ToxicsRead) -> None:
        self.say(f"toxics were read again: {'; '.join(event.toxics) or 'none'}")

    def _toxics_failed(self, event: events.ToxicsFailed) -> None:
        self.complain(f"toxics cannot be used, those read before stay in force: {text_of(event.error)}")

    def _replay_differs(self, event: events.ReplayDiffers) -> None:
        self.complain(
            f"conversation {event.conversation} of the recording: other octets from octet {event.offset} on",
            (f"recorded: {readable(event.recorded[:100])}", f"came:     {readable(event.came[:100])}"),
        )
