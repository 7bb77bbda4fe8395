r"""Two directions that are framed differently: ``duplex:delimited:?,sends=delimited:.``.

::

    octets  --receives-->  message
    octets  <---sends----  message
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from fourtuple.errors import OptionError
from fourtuple.framing.base import Decoder, Framing
from fourtuple.framing.guarding import decoder_of
from fourtuple.framing.text import parse_framing
from fourtuple.framing.unmapped import Unmapped
from fourtuple.framing.usercode import told
from fourtuple.typevars import Generic, In, In_co, NewIn, NewOut, Out, Out_contra, PeerIn_co, PeerOut_contra


@dataclass(frozen=True)
class Duplex(Framing[In_co, Out_contra], Generic[In_co, Out_contra, PeerOut_contra, PeerIn_co]):
    """What this end receives has one framing, and what it sends another; made by :func:`duplex`.

    The decoder and its bounds are those of ``receives``, the encoder is that of ``sends``.
    """

    receives: Framing[In_co, PeerOut_contra]
    sends: Framing[PeerIn_co, Out_contra]

    word: ClassVar[str] = "duplex"
    argument: ClassVar[str | None] = "receives"

    def __post_init__(self) -> None:
        for name in ("receives", "sends"):
            framing = getattr(self, name)
            if not isinstance(framing, Framing):
                raise OptionError(f"duplex: {name}: expected a framing, got {told(framing)}; parse_framing() makes one")
            if isinstance(framing, Duplex):  # one of its two directions is meant
                object.__setattr__(self, name, getattr(framing, name))

    @property
    def max_message(self) -> int | None:
        """The bound of ``receives``, in octets."""
        bound: int | None = getattr(self.receives, "max_message", None)
        return bound

    @property
    def max_buffered(self) -> int | None:
        return self.receives.max_buffered

    @property
    def gap_timeout(self) -> float | None:
        return self.receives.gap_timeout

    @property
    def drops_between(self) -> bool:
        return self.receives.drops_between

    @property
    def _makes_values(self) -> bool:
        return self.receives._makes_values or self.sends._makes_values

    @property
    def stateful(self) -> bool:
        return self.receives.stateful

    @property
    def interleaves(self) -> bool:
        return self.receives.interleaves

    @property
    def ends_stream(self) -> bool:  # type: ignore[override]
        """The same as for ``sends``."""
        return self.sends.ends_stream

    @property
    def delimits_itself(self) -> bool:  # type: ignore[override]
        """The same as for ``receives``."""
        return self.receives.delimits_itself

    def mirror(self) -> Duplex[PeerIn_co, PeerOut_contra, Out_contra, In_co]:
        """The framing of the other end: it receives what this end sends."""
        return of_two(self.sends.mirror(), self.receives.mirror())

    @property
    def _encoder(self) -> Any:
        """The splitter in C of ``sends``, which the turn in C looks for."""
        return getattr(self.sends, "_encoder", None)

    def decoder(self) -> Decoder[In_co | Unmapped]:
        return decoder_of(self.receives)

    def reference(self) -> Decoder[In_co | Unmapped]:
        return self.receives.reference()

    def encode(self, message: Out_contra) -> bytes:
        return self.sends.encode(message)

    def encode_many(self, messages: Iterable[Out_contra]) -> bytes:
        return self.sends.encode_many(messages)


def duplex(receives: Framing[In, NewOut] | str, sends: Framing[NewIn, Out] | str) -> Duplex[In, Out, NewOut, NewIn]:
    """Make a framing whose two directions differ: this end ``receives`` one framing and ``sends`` another.

    Each is a framing or its text form. The framing states this end's view, and nothing turns it around by itself: the
    other end has ``framing.mirror()``. If both are equal, that framing itself is returned.
    """
    return of_two(parse_framing(receives), parse_framing(sends))


def of_two(receives: Framing[In, NewOut], sends: Framing[NewIn, Out]) -> Duplex[In, Out, NewOut, NewIn]:
    """The framing of two directions, in its simplest form. Type checkers see a Duplex, even if both are equal."""
    made = Duplex(receives, sends)
    simplest: Any = made.receives if made.receives == made.sends else made
    return simplest  # type: ignore[no-any-return]
