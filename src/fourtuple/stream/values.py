"""The states of a direction, and the connections' numbers: values, nothing else."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from enum import Enum

#: The next connection's number, unique in this process; whoever has a socket for a stream takes one.
new_id = itertools.count(1).__next__


class Half(Enum):
    """The state of one direction."""

    OPEN = "open"
    ENDING = "ending"
    ENDED = "ended"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Unsendable:
    """In the place of pending replies, the first of which cannot be encoded: its error, until the driver takes it."""

    error: BaseException
