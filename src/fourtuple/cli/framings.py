"""``fourtuple framings``: the text forms, with a line each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import click

from fourtuple.cli.terminal import print_table
from fourtuple.framing import Framing
from fourtuple.framing.text import known_words


@click.command()
def framings() -> None:
    """List what --framing takes.

    A framing is its word, then what stands behind the colon, then options: fixed:16, line:crlf,max_message=4k.
    """
    print_table(_rows())


def _rows() -> Iterator[tuple[str, str]]:
    kinds = {kind.word: kind for kind in _kinds(Framing.__subclasses__()) if hasattr(kind, "word")}
    for word in known_words():
        kind = kinds.get(word)
        if kind is None:
            continue  # u16, u32le ... are short for one of the others
        form = word if kind.argument is None else f"{word}:{kind.argument.upper()}"
        yield form, _first_line(kind)
    short = [word for word in known_words() if word not in kinds]
    yield "and, in short", ", ".join(short)


def _kinds(some: Iterable[type[Framing]]) -> Iterator[type[Framing]]:
    for kind in some:
        yield kind
        yield from _kinds(kind.__subclasses__())


def _first_line(kind: type[Framing]) -> str:
    return (kind.__doc__ or "").strip().split("\n")[0]
