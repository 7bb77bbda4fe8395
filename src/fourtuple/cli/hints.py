"""Hints for users who chose the wrong framing or forgot --tls: what octets that are not messages look like."""

from __future__ import annotations

from fourtuple.framing import Framing, Line

#: How many octets are examined.
LOOK = 64
#: The content types of TLS records (RFC 8446, 5.1). A record begins with one; the next octet is the major version, 3.
_RECORDS = range(0x14, 0x18)
_TEXT = frozenset(range(0x20, 0x7F)) | frozenset(b"\t\r\n")


def hint(octets: bytes, framing: Framing, *, tls: bool = False) -> str:
    """Return a hint about octets of the peer that are not a whole message; empty for no octets."""
    head = octets[:LOOK]
    if not tls and len(head) > 1 and head[0] in _RECORDS and head[1] == 3:
        return "The octets look like TLS: try --tls."
    is_text = all(octet in _TEXT for octet in head)
    if is_text and len(head) > 2 and not isinstance(framing, Line):
        return f"The octets look like text, not like {framing}: try --framing line. They begin with {head!r}."
    if head and not is_text and isinstance(framing, Line):
        return f"The octets do not look like text: try a --framing other than line. They begin with {head!r}."
    return unfinished(octets)


def unfinished(octets: bytes) -> str:
    """Return what is said of octets behind the last whole message; empty for none."""
    if not octets:
        return ""
    number = f"{len(octets):,} octet{' was' if len(octets) == 1 else 's were'}"
    begin = "" if len(octets) <= LOOK else "beginning "
    return f"{number} received that are not a whole message: {begin}{octets[:LOOK]!r}."


def silence(framing: Framing, *, tls: bool) -> str:
    """Return a hint for a peer that sent nothing."""
    other = "" if tls else "uses TLS at this port (--tls), or "
    return (
        f"Nothing was received: perhaps the peer {other}uses a framing other than {framing} (--framing),"
        " or gives no answer (its log may say why)."
    )
