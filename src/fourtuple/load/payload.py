"""The requests of a run, and the checks of its replies, without sockets and clocks.

A message is a value that the framing encodes: octets, or for RESP a list of words, split like the words of a shell.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any

from fourtuple.errors import EncodeError, OptionError
from fourtuple.framing import Fixed, Framing, Mapped, Resp
from fourtuple.framing.fromoctets import from_octets
from fourtuple.framing.notation import unescape
from fourtuple.load.options import Load
from fourtuple.load.patterns import KINDS, octets_of, of_kind

DEFAULT_SIZE = 64
#: The most octets of requests in flight in one process, if there are several on a connection: a closed loop begins with
#: all of them.
MOST_OCTETS = 1 << 32
#: The counters that a template may name.
COUNTERS = ("n", "connection", "turn", "process")


@dataclass(frozen=True, slots=True)
class Template:
    """Text with counters: ``{n}`` is the number of the request in its process, ``{connection}`` that of the connection,
    ``{turn}`` the number of the request on its connection, ``{process}`` that of the process, all from 0.

    ``{n:08d}`` and ``{n:x}`` are formatted as in Python; ``{{`` and ``}}`` are braces.
    """

    octets: bytes
    counters: tuple[str, ...]

    @classmethod
    def parse(cls, octets: bytes) -> Template:
        """Read a template. Raises :class:`~fourtuple.errors.OptionError` for an invalid one."""
        text = octets.decode("latin-1")  # one character for each octet, and back
        parts: list[str] = []
        counters: list[str] = []
        try:
            for literal, name, form, conversion in Formatter().parse(text):
                parts.append(literal.replace("%", "%%"))
                if name is None:
                    continue
                if name not in COUNTERS or conversion:
                    raise OptionError(f"template {text!r}: {{{name}}} is not one of {', '.join(COUNTERS)}")
                found = re.fullmatch(r"(0?[0-9]{0,4})([dxX]?)", form or "")
                if found is None:
                    raise OptionError(f"template {text!r}: {{{name}:{form}}} is not a format such as 08d, 5 or x")
                counters.append(name)
                parts.append(f"%{found[1]}{found[2] or 'd'}")
        except OptionError:
            raise
        except ValueError as error:
            raise OptionError(f"template {text!r}: {error}") from error
        return cls("".join(parts).encode("latin-1"), tuple(counters))

    def fill(self, values: dict[str, int]) -> bytes:
        """The text with the values of its counters."""
        return self.octets % tuple([values[name] for name in self.counters])


class Payload:
    """The requests of a run: messages in turn, or templates.

    Parameters
    ----------
    messages
        The messages, which are sent one after another and then again from the first.
    templates
        Texts with counters, instead of messages.
    """

    def __init__(self, messages: Sequence[Any] = (), templates: Sequence[bytes] = ()) -> None:
        if bool(messages) == bool(templates):
            raise OptionError("the requests: messages or templates are needed, one of them")
        self.messages: list[Any] = list(messages)
        self.templates: list[bytes] = list(templates)

    @classmethod
    def of(cls, load: Load, framing: Framing, messages: Sequence[Any] = (), templates: Sequence[bytes] = ()) -> Payload:
        """Make the payload of the given messages or templates; by default filler of :attr:`Load.size` octets.

        Raises :class:`~fourtuple.errors.OptionError` if the framing cannot encode it, or it is too large for the depth.
        """
        if load.size is not None and (messages or templates):
            raise OptionError(f"size: {load.size} octets, and messages; expected one of the two")
        filled = not messages and not templates
        if filled:
            size = load.size
            if size is None:
                size = framing.size if isinstance(framing, Fixed) else DEFAULT_SIZE
            messages = [b"PING"] if isinstance(framing, Resp) and load.size is None else [filler(size)]
        payload = cls(messages, templates)
        values = dict.fromkeys(COUNTERS, 0)
        try:
            largest = max(len(framing.encode(maker(values))) for maker in payload._makers(framing))
        except EncodeError as error:
            hint = "; without your own requests (--send), they are letters" if filled else ""
            raise OptionError(f"the requests: {error}{hint}") from error
        if load.depth is not None and load.depth > 1 and load.depth * load.of_a_process * largest > MOST_OCTETS:
            raise OptionError(
                f"depth: {load.depth} requests of {largest} octets in flight on each of {load.of_a_process} "
                f"connections, expected no more than {MOST_OCTETS} octets in one process"
            )
        return payload

    def _makers(self, framing: Framing) -> list[Callable[[dict[str, int]], Any]]:
        if self.templates:
            return [template_maker(framing, octets) for octets in self.templates]
        return [_constant(as_message(framing, message)) for message in self.messages]

    def constants(self, framing: Framing) -> list[Any] | None:
        """The messages, if they never change; None for templates."""
        return None if self.templates else [as_message(framing, message) for message in self.messages]

    def source(self, framing: Framing) -> Callable[[dict[str, int]], Any]:
        """Return a function that makes the next message of the counters."""
        makers = self._makers(framing)
        if len(makers) == 1:
            return makers[0]
        count = len(makers)
        return lambda values: makers[values["n"] % count](values)


def _constant(message: Any) -> Callable[[dict[str, int]], Any]:
    return lambda _values: message


def as_message(framing: Framing, message: Any) -> Any:
    """Octets as a message of the framing: for RESP, a command of words; with +json, the value of a JSON text."""
    if isinstance(framing, Resp) and isinstance(message, bytes):
        return [word.encode("utf-8", "surrogateescape") for word in _words(message)]
    return from_octets(framing, message) if isinstance(message, bytes) else message


def _words(octets: bytes) -> list[str]:
    try:
        return shlex.split(octets.decode("utf-8", "surrogateescape"))
    except ValueError as error:
        raise OptionError(f"the request {octets!r}: {error}") from error


def template_maker(framing: Framing, octets: bytes) -> Callable[[dict[str, int]], Any]:
    """Return a function that fills a template and makes a message of the framing."""
    if isinstance(framing, Resp):
        words = [Template.parse(word.encode("utf-8", "surrogateescape")) for word in _words(octets)]
        return lambda values: [word.fill(values) for word in words]
    template = Template.parse(octets)
    if not isinstance(framing, Mapped):
        return template.fill
    return lambda values: as_message(framing, template.fill(values))


def filler(size: int) -> bytes:
    """``size`` octets that every text framing accepts."""
    letters = b"abcdefghijklmnopqrstuvwxyz"
    return (letters * (size // len(letters) + 1))[:size]


# -- replies ----------------------------------------------------------------------------------------------

#: ``check(reply, expected)`` returns whether the reply is right.
Check = Callable[[Any, Any], bool]


@dataclass(frozen=True, slots=True)
class Expectation:
    """The check of every reply. ``check`` is None if any reply is right; ``expected`` makes the reply to a request.

    With ``same``, the expected reply is the request itself.
    """

    check: Check | None = None
    same: bool = False
    expected: Callable[[dict[str, int]], Any] | None = None

    @property
    def per_request(self) -> bool:
        """Whether each request has its own expected reply."""
        return self.same or self.expected is not None


def expectation(text: str) -> Expectation:
    r"""Read the value of :attr:`Load.expect`. Its texts may contain escapes such as ``\n``, ``\r`` and ``\x1c``.

    Raises :class:`~fourtuple.errors.OptionError` for an invalid value.
    """
    kind, colon, rest = text.partition(":")
    if kind == "any" and not colon:
        return Expectation()
    if kind == "same" and not colon:
        return Expectation(_equal, same=True)
    if not colon:
        raise OptionError(f"expect: {text!r} is not one of any, same, text:, starts:, regex:, size:, template:")
    if kind == "template":
        template = Template.parse(_unescaped(text, rest))
        return Expectation(lambda reply, expected: octets_of(reply) == expected, expected=template.fill)
    if kind not in KINDS:
        raise OptionError(f"expect: {kind!r} is not one of any, same, {', '.join(KINDS)}, template")
    wanted = of_kind("expect", kind, rest)
    return Expectation(lambda reply, _: wanted(reply))


def _unescaped(text: str, rest: str) -> bytes:
    try:
        return unescape(rest)
    except ValueError as error:
        raise OptionError(f"expect: {text!r}: {error}") from error


def _equal(reply: Any, expected: Any) -> bool:
    return bool(reply == expected)
