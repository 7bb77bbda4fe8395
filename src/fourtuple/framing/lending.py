"""Decoders inside decoders: a framing made of framings lends its buffer, and nothing is copied.

A mapped framing is lent too: the decoder of its octets cuts the buffer, and the messages are mapped behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fourtuple.errors import OptionError
from fourtuple.framing.base import Decoder, Framing, Octets
from fourtuple.framing.buffered import BufferedDecoder
from fourtuple.framing.checks import whole
from fourtuple.framing.usercode import told


class Cutter:
    """A framing's decoder that cuts messages from a buffer lent to it, and the mappings of its messages."""

    __slots__ = ("_mappings", "decoder")

    def __init__(self, decoder: BufferedDecoder[Any], mappings: Sequence[Any] = ()) -> None:
        self.decoder: BufferedDecoder[Any] = decoder
        #: The decoders of mapped framings around ``decoder``, the innermost first.
        self._mappings = mappings

    def map(self, messages: list[Any]) -> list[Any]:
        """The messages as values, if they are mapped."""
        for each in self._mappings:
            messages = each.map(messages)
        return messages

    @property
    def values(self) -> int:
        """The memory charge, in octets, of the values that were made last or are unfinished."""
        total = self.decoder._values
        for each in self._mappings:
            total += each.values
        return total

    def reset(self) -> None:
        self.decoder._reset()


def cutter(framing: Framing) -> Cutter | None:
    """The decoder of a framing that can be lent a buffer; ``None`` if its decoder cannot."""
    mappings: list[Decoder[Any]] = []
    decoder: Decoder[Any] | None = framing.reference()
    while decoder is not None and not isinstance(decoder, BufferedDecoder):
        mappings.insert(0, decoder)
        decoder = decoder.mapped
    return None if decoder is None else Cutter(decoder, mappings)


def check_lendable(outer: str, framing: object) -> None:
    """Reject values that are not framings, and framings whose octets do not tell where a message ends."""
    if not isinstance(framing, Framing):
        raise OptionError(f"{outer}: {told(framing)} is not a framing; parse_framing() makes one from a text")
    ends = not framing.ends_stream and framing.gap_timeout is None and framing.delimits_itself
    if framing.stateful:
        raise OptionError(
            f"{outer}: {framing} keeps state between its messages; it cannot be chosen for single messages"
        )
    if not ends or not whole(getattr(framing, "max_message", 1) or 1, 1) or cutter(framing) is None:
        raise OptionError(f"{outer}: the messages of {framing} do not end in the stream itself")


class Swallowing:
    """Octets between messages that are dropped: ``swallow``, each octet of it, any number of times."""

    __slots__ = ("_octets",)

    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    def after(self, buffer: Octets, at: int) -> int:
        """Where the octets end that are dropped from ``at`` on."""
        octets, held = self._octets, len(buffer)
        while at < held and buffer[at] in octets:
            at += 1
        return at
