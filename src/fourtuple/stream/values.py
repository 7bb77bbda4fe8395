"""The states of a direction and of the way through a stream, and the connections' numbers: values, nothing else."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from enum import Enum
from typing import Final

#: The next connection's number, unique in this process; whoever has a socket for a stream takes one.
new_id = itertools.count(1).__next__


class Half(Enum):
    """The state of one direction."""

    OPEN = "open"
    ENDING = "ending"
    ENDED = "ended"
    BROKEN = "broken"


class Path(Enum):
    """The way of the octets through a stream: which of the questions about it need to be asked at every message."""

    #: None of them: octets go straight to the decoder, and encoded messages straight to the kernel.
    PLAIN = "plain"
    #: As PLAIN, but through an established layer: octets are not what they are on the wire.
    LAYERED = "layered"
    #: All of them.
    SPECIAL = "special"


class Nothing(Enum):
    """In the place of a message: it has not come yet, and may come."""

    NOT_YET = "not yet"


NOT_YET: Final = Nothing.NOT_YET


@dataclass(frozen=True, slots=True)
class Unsendable:
    """In the place of pending replies, the first of which cannot be encoded: its error, until the driver takes it."""

    error: BaseException
