"""What a relay shows, edits and cuts in one direction, between reading and holding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from fourtuple import events
from fourtuple.errors import EncodeError, FourTupleError
from fourtuple.four_tuple import Name
from fourtuple.framing import Framing, Raw, Unmapped
from fourtuple.relay.cutting import Cut, Cutter
from fourtuple.relay.events import MessageRelayed, StreamUncut
from fourtuple.relay.notation import DOWNSTREAM, UPSTREAM


class EditError(FourTupleError, ValueError):
    """The function of ``--edit`` returned what is neither a message nor a list of messages."""


class StreamBroken(FourTupleError, ConnectionError):
    """Octets that cannot be cut must not pass, where a function edits messages or toxics act on them."""


@dataclass
class Relayed:
    """What an editing function learns about a conversation, and can do in it."""

    #: The id of the client's connection.
    id: int
    #: The name of the client's connection.
    client: Name
    #: The address of the target.
    target: str
    #: Where the current message goes: ``"upstream"``, to the target, or ``"downstream"``, to the client.
    direction: str = ""
    #: What the function wants to remember in this conversation.
    state: dict[str, Any] = field(default_factory=dict)
    _inject: Callable[[Any, str], None] | None = field(default=None, repr=False)

    def inject(self, message: Any, direction: str) -> None:
        """Send a message of your own in a direction, behind what was read there before."""
        if direction not in (UPSTREAM, DOWNSTREAM):
            raise EditError(f"inject: the direction is {direction!r}, it is {UPSTREAM!r} or {DOWNSTREAM!r}")
        assert self._inject is not None
        self._inject(message, direction)


Edit = Callable[[Any, Relayed], Any]


class Passage:
    """Takes the octets of each read of one direction, and returns what goes on, in pieces.

    Parameters
    ----------
    framing
        How messages are cut. :class:`~fourtuple.framing.Raw`: the octets of one read are a message.
    upstream
        Whether the octets go to the target.
    by_message
        Whether messages go on only when they are whole, because something acts on whole messages. Otherwise octets go
        on as they come, and are cut beside.
    edit
        Called with each message and the conversation; returns what goes on: the message, another one, a list of
        messages, or None for none. Default: all messages go on.
    relayed
        The conversation.
    observer
        Gets :class:`~fourtuple.relay.events.MessageRelayed`, if ``tell_messages``, and
        :class:`~fourtuple.relay.events.StreamUncut`.
    """

    def __init__(
        self,
        framing: Framing,
        upstream: bool,
        relayed: Relayed,
        observer: events.Observer,
        *,
        by_message: bool,
        edit: Edit | None,
        tell_messages: bool,
    ) -> None:
        self.direction = UPSTREAM if upstream else DOWNSTREAM
        self._framing = framing
        self._cutter = None if isinstance(framing, Raw) else Cutter(framing)
        self._by_message = by_message or edit is not None
        self._relayed = relayed
        self._observer = observer
        self._edit = edit
        self._tell_messages = tell_messages
        self._told = False
        #: The octets of messages told so far.
        self._offset = 0

    @property
    def gap_timeout(self) -> float | None:
        """Seconds of silence after which :meth:`silence` is to be called; None while no message waits for that."""
        cutter = self._cutter
        return cutter.gap_timeout if cutter is not None and cutter.held and cutter.error is None else None

    def __call__(self, octets: bytes) -> Iterator[bytes]:
        """Take the octets of one read, none at the end of file; yield what goes on, and nothing for a message that
        was only looked at. Raises what the editing function raises.

        A read may have tens of thousands of messages. The caller lets others go first between them.
        """
        if self._cutter is None:
            cuts: Iterable[Cut] = [Cut(octets, octets)] if octets else []
        else:
            cuts = self._cutter.cut(octets) if octets else self._cutter.finish()
        return self._pieces(cuts, octets)

    def silence(self) -> Iterator[bytes]:
        """Note that no octet came for ``gap_timeout`` seconds."""
        assert self._cutter is not None
        return self._pieces(self._cutter.gap(), b"")

    def _pieces(self, cuts: Iterable[Cut], octets: bytes) -> Iterator[bytes]:
        for cut in cuts:
            pieces = self._whole(cut)
            if self._by_message:
                yield from pieces
            else:
                yield b""
        self._look_for_breaks()
        if not self._by_message:
            yield octets

    def _look_for_breaks(self) -> None:
        if self._cutter is None or self._cutter.error is None or self._told:
            return
        self._told = True
        error = self._cutter.error
        passed = not self._by_message
        self._observer(StreamUncut(self._relayed.id, self._relayed.client, self.direction, error, passed))
        if not passed:
            raise StreamBroken(f"{self.direction}: {error}")

    def _whole(self, cut: Cut) -> list[bytes]:
        """Return what goes on of one message."""
        if not cut.is_message:
            if not (self._by_message and self._cutter is not None and self._cutter.error is not None):
                self._tell("passed", cut.octets)
                return [cut.octets]
            return []
        if self._edit is None or isinstance(cut.message, Unmapped):
            self._tell("passed", cut.octets)
            return [cut.octets]
        self._relayed.direction = self.direction
        try:
            result = self._edit(cut.message, self._relayed)
        except OSError as error:  # or it would pass for a connection that broke
            raise EditError(f"the editing function failed: {error}") from error
        return self._edited(cut, result)

    def _edited(self, cut: Cut, result: Any) -> list[bytes]:
        if result is None:
            self._tell("dropped", cut.octets)
            return []
        if _same(result, cut.message):
            self._tell("passed", cut.octets)
            return [cut.octets]
        messages = result if isinstance(result, list) and not isinstance(cut.message, list) else [result]
        pieces = []
        for message in messages:
            same = _same(message, cut.message)
            octets = cut.octets if same else self.encode(message)
            self._tell("passed" if same else "edited", octets)
            pieces.append(octets)
        return pieces

    def encode(self, message: Any) -> bytes:
        """Return the octets of a message of the editing function. Raises :class:`EditError`."""
        try:
            return self._framing.encode(message)
        except EncodeError as error:
            raise EditError(f"what the editing function made for {self.direction} cannot be sent: {error}") from error

    def told_injected(self, octets: bytes) -> None:
        """Tell of a message that was injected."""
        self._tell("injected", octets)

    def _tell(self, what: str, octets: bytes) -> None:
        if self._tell_messages:
            relayed = self._relayed
            self._observer(MessageRelayed(relayed.id, relayed.client, self.direction, what, self._offset, octets))
        self._offset += len(octets)


def _same(one: Any, other: Any) -> bool:
    """Whether the function returned the message as it was. 1 and True are equal, and not the same message."""
    return one is other or (type(one) is type(other) and bool(one == other))
