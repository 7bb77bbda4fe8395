"""What peers send, made harmless: their octets reach no terminal unescaped."""

from __future__ import annotations

from collections.abc import Iterator


def printable(text: str) -> str:
    r"""Text with everything that is no printable character escaped: ``\x1b[2J`` clears no screen."""
    return text if text.isprintable() else "".join(each if each.isprintable() else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # an octet that was not UTF-8, see surrogateescape
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def readable(octets: bytes) -> str:
    """Octets as text for a terminal: UTF-8 where it is, all else escaped, tabs kept."""
    text = octets.decode("utf-8", "surrogateescape")
    return "\t".join(map(printable, text.split("\t")))


def hexdump(octets: bytes, offset: int = 0) -> Iterator[str]:
    """Lines of sixteen octets: the offset of the first, hexadecimal, ASCII."""
    for at in range(0, len(octets), 16):
        row = octets[at : at + 16]
        ascii_ = "".join(chr(each) if 32 <= each < 127 else "." for each in row)
        yield f"{offset + at:08x}  {row[:8].hex(' '):23}  {row[8:].hex(' '):23}  |{ascii_}|"
