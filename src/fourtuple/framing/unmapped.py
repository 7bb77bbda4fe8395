"""The value in place of a message that is framed correctly but cannot be mapped."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, eq=False)
class Unmapped:
    """A message that is framed correctly but cannot be mapped, in its place between the others.

    The stream can still be cut after it. Examples are a wrong checksum, invalid JSON, and a message that was too
    long and is skipped. ``octets`` are the octets of the message (its first ``max_message`` octets if it is too long),
    and ``error`` says what is wrong.
    """

    octets: bytes
    error: Exception

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Unmapped):
            return NotImplemented
        return self.octets == other.octets and repr(self.error) == repr(other.error)

    def __hash__(self) -> int:
        return hash((self.octets, repr(self.error)))
