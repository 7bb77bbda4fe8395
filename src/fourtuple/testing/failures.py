"""The texts for a broken promise: what happened, the numbers, and how to fix it."""

from __future__ import annotations

from typing import NoReturn

from fourtuple.framing.base import Framing


def broken(framing: Framing, told: str, fix: str, cause: BaseException | None = None) -> NoReturn:
    """Raise the AssertionError for a promise that ``framing`` breaks; ``cause`` is what its functions raised."""
    raise AssertionError(f"{framing}: {told}\n  {fix}") from cause


#: How to keep the promise that decoders break most often.
CUT = (
    "Messages must not depend on where reads end: decide by the octets received. Keep what is "
    "unfinished, take only whole messages out of it."
)
ERRORS = (
    "feed() raises a MessageError (MessageTooLong, MalformedMessage) and nothing else, and only once no good message "
    "is left to give: return those first, raise at the next call, and again at each one after it."
)
LIMIT = (
    "feed(data, limit) returns no more than limit messages and keeps the rest: feed(b'', limit) gives the next ones."
)
END = (
    "finish() returns the messages that are left; with octets of an unfinished message it raises "
    "IncompleteMessage(received, expected): received is what buffered said, expected the octets of the whole message, "
    "or None where the octets so far do not tell."
)
TAKE = (
    "take(undelivered) returns, unchanged, the octets of the latest feed's last undelivered messages and all that "
    "are not decoded yet; then the decoder is as new. The decoder of custom() does all of it."
)
LINEAR = (
    "No octet is searched or copied again and again: remember how far you searched (custom() tells decode() in seen), "
    "start there, and do not copy the buffer at each read (+= on a bytearray and del buffer[:used] do not)."
)
BOUND = (
    "A peer that never ends its message must not fill the memory: check max_message, on the announced length where "
    "there is one, and raise MessageTooLong; keep nothing of what was delivered."
)
SENT = (
    "encode() and encode_many() refuse, with an EncodeError, a message of more than max_sent octets; what comes has a "
    "bound of its own: max_message."
)
TEXT = (
    "Only framings that fourtuple brings have a text form (line:crlf, u32+json). For one of your own, and for mapped() "
    "with functions of your own, write check_framing(framing, vectors, text=False)."
)
HASH = "Equal framings have equal hashes: make the framing a frozen dataclass, or define __eq__ and __hash__ together."
ENCODE = "encode() writes what the decoder reads, and refuses with an EncodeError what the peer could not decode."
