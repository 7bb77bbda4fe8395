r"""JSON values one after another: ``json``. For one value on each line, use ``json-lines``.

::

    {"a": [1, "}"]} [2]3 "four"\n
    |------------|  |-| | |----|        four messages

    [{"a": 1}, [2],  3, "four"...       with elements=on
     |------|  |-|   |  |----|
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from fourtuple.errors import EncodeError, MessageError, OptionError
from fourtuple.framing.base import Framing, Octets
from fourtuple.framing.buffered import BufferedDecoder
from fourtuple.framing.checks import at_least, check_bounds, check_size, octets_of, whole
from fourtuple.framing.jsonelements import JsonElements
from fourtuple.framing.jsonscan import JsonDecoder
from fourtuple.options import DEFAULT_MAX_MESSAGE, seen


@dataclass(frozen=True)
class Json(Framing[bytes, Octets]):
    """A message is the text of one JSON value (RFC 8259), found by balanced scanning; white space between them.

    Only brackets and strings are followed; their contents are not checked. ``json+json`` also maps the text to a
    value. A number or name ends at the first octet that cannot be part of it, or at the end of file. The encoder
    writes an LF after each message.

    With ``elements``, the stream is one array without an end, or several, and each element is a message: it comes when
    it is whole, not when its array is. An end of file between two elements is not an error, in the middle of one it is,
    and a number or name ends at a comma or bracket only. The encoder writes each message as an array of one element;
    to write one long array, send its brackets and commas with ``send_octets()``.

    An octet that cannot begin a value, a wrong closing bracket, and more than ``max_depth`` nested brackets raise
    :class:`~fourtuple.errors.MalformedMessage`. More than ``max_message`` octets raise
    :class:`~fourtuple.errors.MessageTooLong`.

    ``max_sent`` bounds a sent message, in octets. By default there is no bound, because your own program makes these
    messages.
    """

    elements: bool = False
    max_depth: int = 256
    max_message: int | None = DEFAULT_MAX_MESSAGE
    max_sent: int | None = field(default=None, kw_only=True)

    word: ClassVar[str] = "json"

    def __post_init__(self) -> None:
        if not whole(self.max_depth, 1):
            raise OptionError(f"json: max_depth is {seen(self.max_depth)}, it must be {at_least(self.max_depth, 1)}")
        check_bounds(self)

    @property
    def drops_between(self) -> bool:
        return True

    @property
    def stateful(self) -> bool:
        return self.elements

    def decoder(self) -> BufferedDecoder[bytes]:
        make = JsonElements if self.elements else JsonDecoder
        return make(self, self.max_message, self.max_depth)

    def encode(self, message: Octets) -> bytes:
        octets = octets_of(self, message)
        check_size(self, len(octets))
        decoder = JsonDecoder(self, None, self.max_depth)
        try:
            messages = decoder.feed(octets)
            messages += decoder.finish()
        except MessageError as error:
            raise EncodeError(f"{self}: the message is not a JSON value: {error}") from error
        if messages != [octets]:
            raise EncodeError(f"{self}: the message is {len(messages)} JSON values or has white space around, not 1")
        return b"[" + octets + b"]\n" if self.elements else octets + b"\n"
