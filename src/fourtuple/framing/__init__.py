"""Octets to messages and back: pure, no socket, no clock, no threads.

A :class:`Framing` is a value that says how a stream of octets is cut into messages; it makes one
:class:`Decoder` per connection. :func:`parse_framing` reads the text form that ``str(framing)`` writes.
"""

from fourtuple.framing.base import BufferedDecoder, Decoder, Framing
from fourtuple.framing.custom import Custom, custom
from fourtuple.framing.decimal import Netstring, OctetCounting, Syslog
from fourtuple.framing.delimited import Delimited
from fourtuple.framing.fixed import Fixed
from fourtuple.framing.guarding import decoder_of
from fourtuple.framing.header import ContentLength
from fourtuple.framing.jsontext import Json
from fourtuple.framing.length import Length, u8, u16, u32, u64
from fourtuple.framing.line import Line
from fourtuple.framing.mapped import Mapped, mapped
from fourtuple.framing.mapping import JSON, TEXT, Mapping, struct_mapping
from fourtuple.framing.marked import Marked, Mllp, StxEtx
from fourtuple.framing.nmea import Nmea
from fourtuple.framing.parsers import NOT_YET, Parser, events, feeding
from fourtuple.framing.resp import Resp
from fourtuple.framing.respvalues import NULL, Members, Pairs, Push, ReplyError, Simple
from fourtuple.framing.silence import Gap
from fourtuple.framing.stuffed import Cobs, Hdlc, Slip
from fourtuple.framing.switch import Switch
from fourtuple.framing.text import parse_framing
from fourtuple.framing.typed import msgspec_mapping
from fourtuple.framing.unmapped import Unmapped
from fourtuple.framing.varint import Varint
from fourtuple.framing.whole import Eof, Raw

__all__ = [
    "BufferedDecoder",
    "Cobs",
    "ContentLength",
    "Custom",
    "Decoder",
    "Delimited",
    "Eof",
    "Fixed",
    "Framing",
    "Gap",
    "Hdlc",
    "JSON",
    "Json",
    "Length",
    "Line",
    "Mapped",
    "Mapping",
    "Marked",
    "Members",
    "Mllp",
    "NOT_YET",
    "NULL",
    "Netstring",
    "Nmea",
    "OctetCounting",
    "Pairs",
    "Parser",
    "Push",
    "Raw",
    "ReplyError",
    "Resp",
    "Simple",
    "Slip",
    "StxEtx",
    "Switch",
    "Syslog",
    "TEXT",
    "Unmapped",
    "Varint",
    "custom",
    "decoder_of",
    "events",
    "feeding",
    "mapped",
    "msgspec_mapping",
    "parse_framing",
    "struct_mapping",
    "u16",
    "u32",
    "u64",
    "u8",
]
