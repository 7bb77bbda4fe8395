"""Octets that a person gave, a flag or a line that was typed, as a message of a framing; and messages as octets again.

Most framings send octets. One with a mapping sends values. The values of ``+json``, ``+msgspec-json`` and ``+text``
have one form as octets, which a person can type; those of other mappings have none.
"""

from __future__ import annotations

from typing import Any

from fourtuple.errors import EncodeError
from fourtuple.framing.base import Framing
from fourtuple.framing.duplex_framing import Duplex
from fourtuple.framing.mapped_framing import Mapped
from fourtuple.framing.mapping import JSON_MAPPING, TEXT_MAPPING
from fourtuple.framing.memory import look_at_json
from fourtuple.framing.unmapped import Unmapped
from fourtuple.printable import error_text


def from_octets(framing: Framing, octets: bytes) -> Any:
    """Return the message that these octets stand for: the value of a JSON text with ``+json`` and ``+msgspec-json``,
    a text with ``+text``.

    With other framings these are the octets. Raises :class:`~fourtuple.errors.EncodeError` for octets that are not JSON
    or no UTF-8, and for a framing that sends values of another kind.
    """
    framing = _sent(framing)
    if not isinstance(framing, Mapped):
        return octets
    if not _has_form(framing):
        check_sends_octets(framing, octets)
        return octets
    try:
        # Not by the mapping of msgspec: that checks what is received, which may be of another kind than what is sent.
        return (JSON_MAPPING if _is_json(framing) else TEXT_MAPPING).decode(octets)
    except (ValueError, RecursionError) as error:
        kind = "JSON" if _is_json(framing) else "UTF-8"
        raise EncodeError(f"{framing} sends {kind}, and this is not: {error_text(error)}") from error


def to_octets(framing: Framing, message: Any) -> Any:
    """Return a received message in the form of :func:`from_octets`; as it is, if it has none."""
    framing = framing.receives if isinstance(framing, Duplex) else framing
    if isinstance(framing, Mapped) and _has_form(framing) and not isinstance(message, Unmapped):
        return framing.mapping.encode(message)
    return message


def check_sends_octets(framing: Framing, octets: bytes) -> None:
    """Raise :class:`~fourtuple.errors.EncodeError` if a framing sends values, and these octets are none of them."""
    message: Any = octets
    framing = _sent(framing)
    while isinstance(framing, Mapped):
        try:
            message = framing.mapping.encode(message)
        except EncodeError:
            if framing.mapping.size is not None:
                raise _of_values(framing) from None  # the layout of a struct
            return  # they are octets, and others are needed: encode() says which
        except Exception as error:
            raise _of_values(framing) from error
        framing = framing.inner


def _of_values(framing: Mapped) -> EncodeError:
    return EncodeError(f"{framing} sends values, not octets; use the framing below its mapping, {framing.inner}")


def _sent(framing: Framing) -> Framing:
    """Return the framing of what this end sends."""
    return framing.sends if isinstance(framing, Duplex) else framing


def _has_form(framing: Mapped) -> bool:
    return _is_json(framing) or framing.mapping == TEXT_MAPPING


def _is_json(framing: Mapped) -> bool:
    """Return whether the octets of a message are JSON text, whatever makes values of it."""
    return framing.mapping.look is look_at_json
