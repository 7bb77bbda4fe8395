"""Outbound: messages into the outbox, octets out of it, and FIN after the last octet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from fourtuple.errors import ConnectionEnded, OutboxFull
from fourtuple.framing import Framing
from fourtuple.framing.base import Octets
from fourtuple.framing.checks import octets_of
from fourtuple.options import KIB
from fourtuple.stream.layer import Layer
from fourtuple.stream.state import NOTHING, State
from fourtuple.stream.values import Half, Path, Unsendable

#: Chunks are joined up to this size before they are sent: one system call instead of many. The copy costs less than
#: the calls that it saves.
_JOIN = 256 * KIB
#: A write makes progress if the kernel takes this much before the deadline; less means that the peer only pretends
#: to read.
_PROGRESS = 1 * KIB

_OPEN, _PLAIN, _SPECIAL = Half.OPEN, Path.PLAIN, Path.SPECIAL  # used for every message; faster than attributes


class Outbound(State):
    """Encodes messages into the outbox, and hands out its octets."""

    __slots__ = ()

    # Fields of State that this part writes.
    last_activity: float
    messages_out: int
    octets_in: int
    octets_out: int
    outbox: list[bytes]
    outbox_size: int
    path: Path
    write_error: Exception | None
    writing: Half

    if TYPE_CHECKING:  # what HalfClose does

        def _begin_fin(self) -> bool: ...

    # -- messages in ----------------------------------------------------------------------------------------

    def send(self, message: Any) -> None:
        """Encode a message into the outbox.

        Raises :class:`~fourtuple.errors.EncodeError` (the outbox is unchanged),
        :class:`~fourtuple.errors.ConnectionEnded` after a close or half-close, the error that broke the
        connection, and :class:`~fourtuple.errors.OutboxFull`.
        """
        if self.writing is not _OPEN:
            raise self._why_not_writing()
        if self.pending:
            if not self.commit_ahead():
                self.framing.encode(message)  # an invalid message still raises for its sender
                return
            if self.writing is not _OPEN:
                raise self._why_not_writing()
        framing = self.framing
        octets = framing.encode(message)
        size, waiting = len(octets), self.outbox_size
        if size and self.layer is None and waiting < self.limits.max_outbox:
            if waiting:
                self.outbox.append(octets)
            else:
                self.outbox = [octets]
            # What write() does, without its calls: most messages go this way.
            self.outbox_size = waiting + size
        else:
            self.write(octets)
        self.messages_out += 1
        if framing.ends_stream:
            self.end_writing()

    def reply(self, framing: Framing, message: Any) -> None:
        """As :meth:`send`, for what a handler or hook returns: in the framing of its message, to a full outbox too.

        No handler is called while the outbox is crowded. So this is what one call has returned. It exists already: to
        refuse it would save little, and lose it.
        """
        if self.writing is not _OPEN:
            raise self._why_not_writing()
        octets = framing.encode(message)
        if not self.pending or self.commit_ahead():
            self.write_replies(octets, 1, framing)

    def send_octets(self, octets: Octets) -> None:
        """Put octets of no message into the outbox, behind the messages sent before. Raises as :meth:`send`."""
        sent = octets_of("send_octets()", octets)
        if self.writing is not _OPEN:
            raise self._why_not_writing()
        if not self.pending or self.commit_ahead():
            self.write(sent)

    def send_many(self, messages: Iterable[Any]) -> None:
        """Encode several messages into the outbox: all of them, or raise and encode none."""
        if self.writing is not Half.OPEN:
            raise self._why_not_writing()
        messages = messages if isinstance(messages, list) else list(messages)
        if not messages:
            return
        if self.pending and not self.commit_ahead():
            self.framing.encode_many(messages)
            return
        self.write_encoded(self.framing.encode_many(messages), len(messages))

    def write_encoded(self, octets: bytes, count: int, framing: Framing | None = None) -> None:
        """Put the octets of ``count`` encoded messages into the outbox. Raises as :meth:`send`."""
        self._check_room(len(octets))
        self.write_replies(octets, count, framing or self.framing)

    def write_replies(self, octets: bytes, count: int, framing: Framing) -> None:
        """As :meth:`write_encoded`, to a full outbox too, as :meth:`reply`."""
        if self.writing is not _OPEN:  # an encoder may end the connection
            raise self._why_not_writing()
        self.put(octets)
        self.messages_out += count
        if framing.ends_stream:
            self.end_writing()

    def commit(self) -> None:
        """Encode the pending replies into the outbox, in order. The driver calls it after its handler.

        If the connection can no longer be written to, the replies are dropped. Raises
        :class:`~fourtuple.errors.EncodeError`, or any other exception of the encoder, for the first reply that cannot
        be encoded. The replies before it are in the outbox; those after it are dropped.
        """
        pending = self.pending
        if pending and pending[0].__class__ is Unsendable:
            error: BaseException = pending[0].error
            pending.clear()
            raise error
        if self.writing is not _OPEN:
            pending.clear()
            return
        framing = self.framing
        if self._rare is not None and (answering := self.answering) is not None:
            framing = answering
            self._answered_all()
        if len(pending) == 1 and framing is self.framing and not self.outbox_size and self.layer is None:
            self.send(pending.pop())
        elif pending:
            replies = pending[:]
            pending.clear()  # in place: a loop over a batch continues to append to this list
            try:
                octets = framing.encode_many(replies)
            except BaseException:
                for reply in replies:
                    self.reply(framing, reply)
                raise
            self.write_replies(octets, len(replies), framing)

    def commit_ahead(self) -> bool:
        """Encode the pending replies before another action on this stream; return whether all could be encoded.

        The caller may be the handler of another connection, which did not make these replies. Therefore an encoding
        error is not raised here: it waits for the driver, which ends this connection. Nothing is sent after such a
        reply, because the peer would take that for the reply.
        """
        try:
            self.commit()
        except BaseException as error:
            self.pending[:] = [Unsendable(error)]
            return False
        return True

    def write(self, octets: bytes) -> None:
        """Put octets into the outbox unchanged. Raises as :meth:`send`."""
        self._check_room(len(octets))
        self.put(octets)

    def _check_room(self, size: int) -> None:
        """Raise what :meth:`send` raises if nothing can be sent, or the outbox is full.

        Called before a message is added: one larger than the limit can be sent, to an outbox that is not full.
        """
        if self.writing is not _OPEN:
            raise self._why_not_writing()
        held = self.outbox_size if self.layer is None else max(self.outbox_size, self.layer.holding)
        if held >= self.limits.max_outbox:
            raise OutboxFull(str(self.name), held, size, self.limits.max_outbox)

    def put(self, octets: bytes) -> None:
        """Put octets into the outbox, however full it is: those of the conversation, which a layer encrypts."""
        if self.layer is not None:
            self._write_through(octets, self.layer)
        elif octets:
            self._append(octets)

    def _append(self, octets: bytes) -> None:
        if self.outbox:
            self.outbox.append(octets)
        else:
            self.outbox = [octets]
        self.outbox_size += len(octets)

    def _why_not_writing(self) -> Exception:
        if self.write_error is not None:
            return self.write_error.with_traceback(None)  # each raise would add frames to the traceback
        if self.cause is not None and self.closing:
            return self.cause.with_traceback(None)
        what = "close()" if self.closing else "its end of file was sent"
        return ConnectionEnded(f"{self.name}: send after {what}")

    # -- through a layer ------------------------------------------------------------------------------------

    def _write_through(self, octets: bytes, layer: Layer) -> None:
        if octets:
            if self.tap is not None:
                self.tap(self, False, octets)
            layer.write(octets)
            self._take_outgoing(layer)
            if layer.error is not None:
                self._layer_failed(layer, layer.error)

    def _take_outgoing(self, layer: Layer) -> None:
        octets = layer.outgoing()
        if octets and (self.writing is _OPEN or self.writing is Half.ENDING):
            self._append(octets)

    # -- octets out -----------------------------------------------------------------------------------------

    def outgoing(self) -> bytes | memoryview:
        """Return the octets to hand to the kernel next; empty if there are none."""
        outbox = self.outbox
        if len(outbox) != 1:
            if not outbox:
                return b""
            if not self._head:
                self._join()
        # A view of the rest: a slice of the bytes would copy the rest after each partial write, which is quadratic for
        # a large message and a slow peer.
        return memoryview(outbox[0])[self._head :] if self._head else outbox[0]

    def _join(self) -> None:
        outbox = self.outbox
        if self.outbox_size <= _JOIN:
            outbox[:] = [b"".join(outbox)]
            return
        size = count = 0
        for chunk in outbox:
            size += len(chunk)
            if size > _JOIN:
                break
            count += 1
        if count > 1:
            # Only a part, because the whole outbox would be copied again for each write.
            outbox[:count] = [b"".join(outbox[:count])]

    def sent(self, count: int, now: float) -> None:
        """Note that the kernel took ``count`` octets of those that :meth:`outgoing` returned."""
        if count == self.outbox_size and self.tap is None:  # the most frequent case: it takes all
            self.octets_out += count
            self.outbox_size = self._head = 0
            self.outbox = NOTHING
            if self._rare is not None:
                rare = self._rare
                # By the dict: every connection with TLS comes here, and an attribute in it costs three times as much.
                if rare.get("write_since") is not None:
                    self.write_since = None
                if rare.get("plain_until") is not None:
                    self._begin_handshake(now)
            self.last_activity = now
            return
        if self.tap is not None and count and self.layer is None:
            self.tap(self, False, bytes(memoryview(self.outbox[0])[self._head : self._head + count]))
        self.octets_out += count
        self.outbox_size -= count
        if not self.outbox_size:
            self.outbox = NOTHING
            self._head = 0
            self.write_since = None
        else:
            self._head += count
            if self._head >= len(self.outbox[0]):
                self._head -= len(self.outbox.pop(0))
            if self.write_since is None:
                # The deadline runs from the first octets that the kernel did not take, and again after each _PROGRESS.
                self.write_since, self._write_progress = now, 0
            else:
                self._write_progress += count
                if self._write_progress >= _PROGRESS:
                    self.write_since, self._write_progress = now, 0
        self._begin_handshake(now)
        if count:
            self.last_activity = now

    def _begin_handshake(self, now: float) -> None:
        """Let the time of a handshake in mid-conversation begin, if one waits, and what was sent before has left."""
        if self.plain_until is not None and self.octets_out >= self.plain_until:
            self.plain_until = None
            if self.layer is not None:
                self.layer.since = now

    def answered(self, octets: bytes, taken: int, now: float) -> bool:
        """Note that a reply went directly to the kernel, with the outbox empty. The octets not taken wait.

        Returns whether nothing is left to do: the kernel has taken all, and the stream is still on a fast path.
        """
        self.messages_out += 1
        if taken == len(octets):
            self.octets_out += taken
        else:
            self.undersent(octets, taken, now)
        if self.framing.ends_stream:
            self.end_writing()
        return not self.outbox_size and self.path is not _SPECIAL

    def undersent(self, octets: bytes, taken: int, now: float) -> None:
        """Note that the kernel took a part of these octets, with the outbox empty. The rest waits."""
        self._append(octets)
        self.sent(taken, now)

    # -- the end --------------------------------------------------------------------------------------------

    def end_writing(self) -> None:
        """Half-close: FIN follows the last octet of the outbox."""
        if self.pending:
            self.commit_ahead()
        if self._begin_fin() and self.layer is not None:
            self.layer.end()
            # TLS announces its end with close_notify (RFC 8446, 6.1), which has to leave before FIN.
            self._take_outgoing(self.layer)

    def write_broken(self, error: Exception, *, borrowed: bool = False) -> None:
        """End writing only: octets that the peer sent before the failure may still be read."""
        if self.writing in (Half.OPEN, Half.ENDING):
            self.writing = Half.BROKEN
            self.write_error = error
            self.path = _SPECIAL
        if not borrowed:
            self.pending.clear()
            self._drop_outbox()

    def handed_on(self) -> None:
        """Forbid sending: a program has the socket, and other octets would end up in the middle of its output."""
        self.writing = Half.ENDED
        self.write_error = ConnectionEnded(f"{self.name}: a program has the connection, no other code can send")
        self.path = _SPECIAL

    def counted(self, octets_in: int, octets_out: int, now: float) -> None:
        """Count what passed while other code has the socket, by the kernel's counters."""
        if (octets_in, octets_out) != (self.octets_in, self.octets_out):
            self.octets_in, self.octets_out, self.last_activity = octets_in, octets_out, now

    def taken_back(self) -> None:
        """Permit sending again: the program has ended, and FIN is next."""
        if self.writing is Half.ENDED:
            self.writing, self.write_error = Half.OPEN, None
            self.judge()

    def _drop_outbox(self) -> None:
        self.outbox = NOTHING
        self.outbox_size = self._head = 0
        self.write_since = None
