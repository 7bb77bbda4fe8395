"""Parameter types: values that cannot be read are usage errors of click, with our texts."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from fourtuple.address import Address
from fourtuple.cli import user_code
from fourtuple.cli.failure import Exit, Failure
from fourtuple.files import check_writable
from fourtuple.framing import Framing, parse_framing
from fourtuple.framing.text import known_words

if TYPE_CHECKING:
    ParamType = click.ParamType[Any, Any]  # type: ignore[type-arg,unused-ignore]  # only newer versions are generic
else:
    ParamType = click.ParamType


class _Read(ParamType):
    """A parameter whose value ``read`` makes; the user sees the text of its :class:`ValueError`."""

    def __init__(self, name: str, read: Callable[[str], Any]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self._read(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def parameter(name: str, read: Callable[[str], Any]) -> ParamType:
    """A parameter called ``name``, whose value ``read`` makes of the text; a :class:`ValueError` says what is wrong."""
    return _Read(name, read)


def text(what: str) -> ParamType:
    """A text that is not empty: an empty one comes from a variable of the shell that is not set.

    ``what`` is expected, as the error says it: ``a name``.
    """

    def read(given: str) -> str:
        if not given:
            raise ValueError(f"expected {what}, got an empty text")
        return given

    return _Read("text", read)


class _File(click.Path):
    """A path that is not empty: click makes the current directory of an empty one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("expected a file, got an empty text", param, ctx)
        return super().convert(value, param, ctx)


class _Output(_File):
    """A file that the command writes when it has something to write: whether it can be is known before."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = super().convert(value, param, ctx)
        if value != "-" or not self.allow_dash:
            try:
                check_writable(path)
            except OSError as error:
                flag = param.opts[0] if param is not None else self.name
                raise Failure(f"{flag} {value}: {error.strerror or error}", Exit.USAGE) from error
        return path


def file(*, exists: bool = False, dash: bool = False) -> _File:
    """A file to read, as a :class:`~pathlib.Path`; with ``dash``, as a text, which is ``-`` for standard input."""
    return _File(exists=exists, dir_okay=False, allow_dash=dash, path_type=None if dash else Path)


def output(*, dash: bool = False) -> _File:
    """A file to write, as a :class:`~pathlib.Path`; with ``dash``, as a text, which is ``-`` for standard output."""
    return _Output(dir_okay=False, allow_dash=dash, path_type=None if dash else Path)


def address(default_port: int | None = None) -> ParamType:
    """``host:port``, ``[v6]:port``, ``*:port``, ``:port``, ``port``, ``unix:PATH``."""
    return _Read("address", lambda text: Address.parse(text, default_port=default_port))


def local_address() -> ParamType:
    """The address to connect from: a literal, with port 0 if none is given."""

    def read(given: str) -> Address:
        from fourtuple.net.connecting.sources import Source  # imported here: few commands connect
        from fourtuple.options import Sockets

        address = Address.parse(given, default_port=0)
        Source(address, Sockets())  # it checks
        return address

    return _Read("address", read)


class _FramingText(_Read):
    """A shell completes its first word."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(word) for word in known_words() if word.startswith(incomplete)]


def framing() -> ParamType:
    """A framing's text form (``line``, ``fixed:16``, ``u32``), or a framing of the user's: ``file.py:framing``."""
    return _FramingText("framing", framing_of)


def framing_of(text: str) -> Framing:
    """Return the framing of a text; see :func:`framing`. Raises :class:`ValueError`, or a failure of the import."""
    if not user_code.is_file(text):
        return parse_framing(text)
    framing: Framing = user_code.from_file(text, "framing", lambda value: isinstance(value, Framing), "a Framing")
    return framing


def seconds(*, zero: bool = False) -> ParamType:
    """A number of seconds above 0; with ``zero``, at least 0."""
    return _Read("seconds", lambda text: _seconds(text, zero))


def _seconds(text: str, zero: bool) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (0 < value < math.inf or (zero and value == 0)):
        raise ValueError(f"expected a number of seconds {'from 0 on' if zero else 'above 0'}, got {text!r}")
    return value


class _Whole(click.IntRange):
    """click's range of whole numbers, with our text for what is none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            int(value)
        except ValueError:
            bounds = f", {self.min} or more" if self.max is None else f" from {self.min} to {self.max}"
            self.fail(f"expected a whole number{bounds}, got {value!r}", param, ctx)
        return super().convert(value, param, ctx)


def whole(least: int, most: int | None = None) -> click.IntRange:
    """A whole number from ``least`` to ``most``; None for no bound."""
    return _Whole(least, most)


def number(least: float, most: float) -> ParamType:
    """A number from ``least`` to ``most``. click's own range of floats takes ``nan``."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise ValueError(f"expected a number from {least:g} to {most:g}, got {text!r}")
        return value

    return _Read("number", read)


def message() -> ParamType:
    r"""Octets as text: UTF-8, with ``\n``, ``\r``, ``\t``, ``\0``, ``\e``, ``\x1c`` and ``\\``."""
    return _Read("text", unescaped)


_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|(.?))", re.DOTALL)
_ESCAPED = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"0": b"\0", b"e": b"\x1b", b"\\": b"\\"}


def unescaped(text: str) -> bytes:
    """Return the octets of a message's text; raises :class:`ValueError` for an unknown escape.

    This is stricter than a framing's text form: a lost backslash here would change octets that are sent.
    """

    def octets(match: re.Match[bytes]) -> bytes:
        if match[1]:
            return bytes.fromhex(match[1].decode())
        if match[2] not in _ESCAPED:
            raise ValueError(rf"{text!r}: {match[0].decode(errors='replace')} is not one of \n \r \t \0 \e \\ \xHH")
        return _ESCAPED[match[2]]

    return _ESCAPE.sub(octets, text.encode("utf-8", "surrogateescape"))


def from_hex(text: str) -> bytes:
    """Return the octets of hexadecimal digits, with optional spaces between them; raises :class:`ValueError`."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise ValueError(f"cannot read {text!r} as octets in hexadecimal, as in 48 69 or 4869") from None


def complete_target(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete TARGET in a shell: the built-in services, and files."""
    from fourtuple.cli.targets import builtin_names

    names = [CompletionItem(name) for name in builtin_names() if name.startswith(incomplete)]
    return names or [CompletionItem(incomplete, type="file")]
