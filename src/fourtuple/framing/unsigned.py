"""The short forms ``u8``, ``u16``, ``u32`` and ``u64``: a length of so many bits, and then the message."""

from __future__ import annotations

from fourtuple.framing.length import ByteOrder, Length
from fourtuple.options import DEFAULT_MAX_MESSAGE, by_keyword


@by_keyword()
def u8(*, max_message: int | None = DEFAULT_MAX_MESSAGE, max_sent: int | None = None) -> Length:
    """A length of one octet.

    ``max_message`` bounds a received message, in octets (default: 1 MiB), and ``max_sent`` a sent one (default: no
    bound): see :class:`Length`.
    """
    return Length(1, max_message=max_message, max_sent=max_sent)


@by_keyword()
def u16(
    *, byteorder: ByteOrder = "big", max_message: int | None = DEFAULT_MAX_MESSAGE, max_sent: int | None = None
) -> Length:
    """A length of two octets, as in DNS over TCP (RFC 1035, 4.2.2).

    ``byteorder`` is ``"big"``, the default because the protocols of the Internet use it, ``"little"`` or ``"native"``.
    ``max_message`` bounds a received message, in octets (default: 1 MiB), and ``max_sent`` a sent one (default: no
    bound): see :class:`Length`.
    """
    return Length(2, byteorder, max_message=max_message, max_sent=max_sent)


@by_keyword()
def u32(
    *, byteorder: ByteOrder = "big", max_message: int | None = DEFAULT_MAX_MESSAGE, max_sent: int | None = None
) -> Length:
    """A length of four octets.

    ``byteorder`` is ``"big"``, the default because the protocols of the Internet use it, ``"little"`` or ``"native"``.
    ``max_message`` bounds a received message, in octets (default: 1 MiB), and ``max_sent`` a sent one (default: no
    bound): see :class:`Length`.
    """
    return Length(4, byteorder, max_message=max_message, max_sent=max_sent)


@by_keyword()
def u64(
    *, byteorder: ByteOrder = "big", max_message: int | None = DEFAULT_MAX_MESSAGE, max_sent: int | None = None
) -> Length:
    """A length of eight octets.

    ``byteorder`` is ``"big"``, the default because the protocols of the Internet use it, ``"little"`` or ``"native"``.
    ``max_message`` bounds a received message, in octets (default: 1 MiB), and ``max_sent`` a sent one (default: no
    bound): see :class:`Length`.
    """
    return Length(8, byteorder, max_message=max_message, max_sent=max_sent)
