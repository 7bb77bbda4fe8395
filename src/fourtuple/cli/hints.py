"""What octets look like that could not be cut: for whoever chose the wrong framing, or left out --tls."""

from __future__ import annotations

from fourtuple.framing import Framing, Line

#: So many are looked at.
LOOK = 64
#: Content types of TLS records (RFC 8446, 5.1), of which each begins with one; 3 is the major version behind it.
_RECORDS = range(0x14, 0x18)
_TEXT = frozenset(range(0x20, 0x7F)) | frozenset(b"\t\r\n")


def hint(octets: bytes, framing: Framing, *, tls: bool = False) -> str:
    """What to try, for the octets that the peer began with; empty where they say nothing."""
    head = octets[:LOOK]
    if not tls and len(head) > 1 and head[0] in _RECORDS and head[1] == 3:
        return "What came looks like TLS: try --tls."
    is_text = len(head) > 2 and all(octet in _TEXT for octet in head)
    if is_text and not isinstance(framing, Line):
        return f"What came looks like text, not like {framing}: try --framing line. It begins with {head!r}."
    if head and not is_text and isinstance(framing, Line):
        return f"What came looks like no text: try another --framing than line. It begins with {head!r}."
    return ""


def silence(framing: Framing, *, tls: bool) -> str:
    """What to try where no octet came at all."""
    other = "" if tls else "speaks TLS there (--tls), or "
    return f"No octet came: perhaps the peer {other}cuts messages in another way than {framing} (--framing)."
