"""Octets to messages and back: pure, no socket, no clock, no threads.

A :class:`Framing` is a value that says how a stream of octets is cut into messages; it makes one
:class:`Decoder` per connection. :func:`parse_framing` reads the text form that ``str(framing)`` writes.
"""

from fourtuple.framing.base import BufferedDecoder, Decoder, Framing
from fourtuple.framing.fixed import Fixed
from fourtuple.framing.length import Length, u8, u16, u32, u64
from fourtuple.framing.line import Line
from fourtuple.framing.text import parse_framing
from fourtuple.framing.whole import Eof, Raw

__all__ = [
    "BufferedDecoder",
    "Decoder",
    "Eof",
    "Fixed",
    "Framing",
    "Length",
    "Line",
    "Raw",
    "parse_framing",
    "u8",
    "u16",
    "u32",
    "u64",
]
