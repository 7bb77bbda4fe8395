"""What stands in the place of a message that is framed well and means nothing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, eq=False)
class Unmapped:
    """A message that could not be made sense of, in its place between the others.

    The stream can be cut further behind it: a checksum that does not fit, JSON that is none, an oversize
    message that was skipped. ``octets`` are what came of it (of an oversize one the first ``max_message``),
    ``error`` says what is wrong.
    """

    octets: bytes
    error: Exception

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Unmapped):
            return NotImplemented
        return self.octets == other.octets and repr(self.error) == repr(other.error)

    def __hash__(self) -> int:
        return hash((self.octets, repr(self.error)))
