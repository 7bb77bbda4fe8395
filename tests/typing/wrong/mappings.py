"""What a type checker says about a mapping that takes other messages than the framing that it maps has."""

from __future__ import annotations

from fourtuple.framing import TEXT_MAPPING, Line, Mapped, Mapping, duplex, headed, struct_mapping


def read(text: str) -> int:
    return int(text)


def write(number: int) -> str:
    return str(number)


texts = Mapped(Line(), TEXT_MAPPING)

Mapped(texts, TEXT_MAPPING)  # wrong
Mapped(texts, struct_mapping(">HI"))  # wrong
Mapped(Line(), Mapping(read, write))  # wrong
Mapped(duplex(Line(), texts), TEXT_MAPPING)  # wrong
Mapped(headed(Line(), len), TEXT_MAPPING)  # wrong
Mapped("line", TEXT_MAPPING)  # wrong
