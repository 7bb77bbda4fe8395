"""Octets to messages and back, without sockets, clocks or threads.

A :class:`Framing` is a value that says how a stream of octets is cut into messages. It makes one
:class:`Decoder` per connection. :func:`parse_framing` reads the text form that ``str(framing)`` writes.
"""

from typing import TYPE_CHECKING

from fourtuple._lazy import lazily

if TYPE_CHECKING:
    from fourtuple.framing.base import Decoder, Framing, Octets
    from fourtuple.framing.buffered import BufferedDecoder
    from fourtuple.framing.custom_framing import Custom, custom
    from fourtuple.framing.decimal import Netstring, OctetCounting, Syslog
    from fourtuple.framing.delimited import Delimited
    from fourtuple.framing.duplex_framing import Duplex, duplex
    from fourtuple.framing.escaped import DleStx, Escaped
    from fourtuple.framing.fixed import Fixed
    from fourtuple.framing.guarding import decoder_of as decoder_of
    from fourtuple.framing.headed_framing import Headed, headed
    from fourtuple.framing.header import ContentLength
    from fourtuple.framing.headsize import UNTIL_TRAILER
    from fourtuple.framing.jsontext import Json
    from fourtuple.framing.length import Length
    from fourtuple.framing.line import Line
    from fourtuple.framing.mapped_framing import Mapped, checked, mapped
    from fourtuple.framing.mapping import JSON_MAPPING, TEXT_MAPPING, Mapping, struct_mapping
    from fourtuple.framing.marked import Marked, Mllp, StxEtx
    from fourtuple.framing.nmea import Nmea
    from fourtuple.framing.parser_framing import NOT_YET, Parser, ParserOutput
    from fourtuple.framing.parsers import event_parser, feed_parser
    from fourtuple.framing.resp import Resp
    from fourtuple.framing.respvalues import NULL, NULL_ARRAY, Inline, Members, Pairs, Push, ReplyError, Simple
    from fourtuple.framing.silence import Gap
    from fourtuple.framing.stuffed import Cobs, Hdlc, Slip
    from fourtuple.framing.switch import Switch
    from fourtuple.framing.telnet_framing import Telnet, TelnetCommand
    from fourtuple.framing.text import changed_framing as changed_framing  # for the packages above
    from fourtuple.framing.text import parse_framing
    from fourtuple.framing.typed import msgspec_mapping
    from fourtuple.framing.unmapped import Unmapped
    from fourtuple.framing.unsigned import u8, u16, u32, u64
    from fourtuple.framing.varint import Varint
    from fourtuple.framing.whole import Eof, Raw

__all__ = [
    "BufferedDecoder",
    "Cobs",
    "ContentLength",
    "Custom",
    "Decoder",
    "Delimited",
    "DleStx",
    "Duplex",
    "Eof",
    "Escaped",
    "Fixed",
    "Framing",
    "Gap",
    "Hdlc",
    "Headed",
    "Inline",
    "JSON_MAPPING",
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
    "NULL_ARRAY",
    "Netstring",
    "Nmea",
    "OctetCounting",
    "Octets",
    "Pairs",
    "Parser",
    "ParserOutput",
    "Push",
    "Raw",
    "ReplyError",
    "Resp",
    "Simple",
    "Slip",
    "StxEtx",
    "Switch",
    "Syslog",
    "TEXT_MAPPING",
    "Telnet",
    "TelnetCommand",
    "UNTIL_TRAILER",
    "Unmapped",
    "Varint",
    "checked",
    "custom",
    "duplex",
    "event_parser",
    "feed_parser",
    "headed",
    "mapped",
    "msgspec_mapping",
    "parse_framing",
    "struct_mapping",
    "u16",
    "u32",
    "u64",
    "u8",
]

if not TYPE_CHECKING:  # a checker would take __getattr__ for a promise that every name exists
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "fourtuple.framing.base": ("Decoder", "Framing", "Octets"),
            "fourtuple.framing.buffered": ("BufferedDecoder",),
            "fourtuple.framing.custom_framing": ("Custom", "custom"),
            "fourtuple.framing.decimal": ("Netstring", "OctetCounting", "Syslog"),
            "fourtuple.framing.delimited": ("Delimited",),
            "fourtuple.framing.duplex_framing": ("Duplex", "duplex"),
            "fourtuple.framing.escaped": ("DleStx", "Escaped"),
            "fourtuple.framing.fixed": ("Fixed",),
            "fourtuple.framing.guarding": ("decoder_of",),
            "fourtuple.framing.headed_framing": ("Headed", "headed"),
            "fourtuple.framing.header": ("ContentLength",),
            "fourtuple.framing.headsize": ("UNTIL_TRAILER",),
            "fourtuple.framing.jsontext": ("Json",),
            "fourtuple.framing.length": ("Length",),
            "fourtuple.framing.line": ("Line",),
            "fourtuple.framing.mapped_framing": ("Mapped", "checked", "mapped"),
            "fourtuple.framing.mapping": ("JSON_MAPPING", "TEXT_MAPPING", "Mapping", "struct_mapping"),
            "fourtuple.framing.marked": ("Marked", "Mllp", "StxEtx"),
            "fourtuple.framing.nmea": ("Nmea",),
            "fourtuple.framing.parser_framing": ("NOT_YET", "Parser", "ParserOutput"),
            "fourtuple.framing.parsers": ("event_parser", "feed_parser"),
            "fourtuple.framing.resp": ("Resp",),
            "fourtuple.framing.respvalues": (
                "NULL",
                "NULL_ARRAY",
                "Inline",
                "Members",
                "Pairs",
                "Push",
                "ReplyError",
                "Simple",
            ),
            "fourtuple.framing.silence": ("Gap",),
            "fourtuple.framing.stuffed": ("Cobs", "Hdlc", "Slip"),
            "fourtuple.framing.switch": ("Switch",),
            "fourtuple.framing.telnet_framing": ("Telnet", "TelnetCommand"),
            "fourtuple.framing.text": ("changed_framing", "parse_framing"),
            "fourtuple.framing.typed": ("msgspec_mapping",),
            "fourtuple.framing.unmapped": ("Unmapped",),
            "fourtuple.framing.unsigned": ("u8", "u16", "u32", "u64"),
            "fourtuple.framing.varint": ("Varint",),
            "fourtuple.framing.whole": ("Eof", "Raw"),
        },
    )
