"""Values: the states of a direction, the paths of a stream, and connection numbers."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

#: Returns the next connection's number, unique in this process. Each stream with a socket takes one.
new_id: Callable[[], int] = itertools.count(1).__next__


class Half(Enum):
    """The state of one direction."""

    OPEN = "open"
    ENDING = "ending"
    ENDED = "ended"
    BROKEN = "broken"


class Path(Enum):
    """The path of the octets through a stream: which conditions have to be checked for each message."""

    #: No condition: octets go directly to the decoder, and encoded messages directly to the kernel.
    PLAIN = "plain"
    #: As PLAIN, but through an established layer: the decoder's octets differ from those of the wire.
    LAYERED = "layered"
    #: Every condition.
    SPECIAL = "special"


class Nothing(Enum):
    """Returned instead of a message that has not come yet but may still come."""

    NOT_YET = "not yet"


NOT_YET: Final = Nothing.NOT_YET


@dataclass(frozen=True, slots=True)
class Unsendable:
    """Replaces pending replies if one of them cannot be encoded. It holds the error until the driver takes it."""

    error: BaseException
