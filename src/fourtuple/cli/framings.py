"""``fourtuple framings``: prints the text forms, one per line."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

from fourtuple.cli.terminal import print_table
from fourtuple.framing import Framing
from fourtuple.framing.text import framing_class, known_words


@click.command()
def framings() -> None:
    """List what --framing takes.

    A framing is a word, then arguments after a colon, then options: fixed:16, line:crlf,max_message=4k.
    """
    print_table(_rows())


def _rows() -> Iterator[tuple[str, str]]:
    short = []
    for word in known_words():
        try:
            kind = framing_class(word)
        except KeyError:
            short.append(word)  # u16, u32le ... are short forms of one of the others
            continue
        form = word if kind.argument is None else f"{word}:{kind.argument.upper()}"
        yield form, _first_line(kind)
    yield "and, in short", ", ".join(short)


def _first_line(kind: type[Framing]) -> str:
    line = (kind.__doc__ or "").strip().split("\n")[0]
    # The marks of the API reference mean nothing here: :class:`~name`, ``code``.
    return re.sub(r":\w++:(?=`)", "", line).replace("`~", "`").replace("`", "")
