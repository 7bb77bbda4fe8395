"""The framing of a client, as a type checker sees it beside the functions that the client is given."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from fourtuple.framing import Decoder, Framing, Unmapped
from fourtuple.typevars import Heard_co, In_co, Out_contra, Ping_contra, Told_contra, Written_co


class FramingOfClient(Protocol[In_co, Out_contra, Ping_contra, Heard_co, Told_contra, Written_co]):
    """A framing whose types are asked for several times, each time with another type variable.

    The types of a client are those of its framing alone. A ping, and what ``greet``, ``is_push``, ``on_push`` and
    ``idempotent`` take, must fit the framing, but must not narrow what the client's requests and replies may be, as it
    would if they shared a type variable: one type variable takes the narrower of two types. A framing's text form has
    no types; then the client has none either.

    ``idempotent`` takes what the program writes. That is bytes for all framings that send octets, although a request
    may also be a bytearray: such a function is written for bytes, and a lambda has no annotation.
    """

    def decoder(self) -> Decoder[In_co | Unmapped]: ...

    def encode(self, message: Out_contra) -> bytes: ...

    def encode_many(self, messages: Iterable[Ping_contra]) -> bytes: ...

    def _itself(self) -> Framing[Heard_co, Told_contra]: ...

    def _written(self) -> Written_co: ...
