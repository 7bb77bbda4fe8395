"""PURE: the one language in which sockets are chosen: ``state=time-wait and peer in 10.0.0.0/8 and rtt > 50ms``.

::

    filter     := all ("or" all)*
    all        := one ("and" one)*
    one        := "not" one | "(" filter ")" | flag | field operator value
    operator   := "=" | "!=" | "<" | "<=" | ">" | ">=" | "~" | "in"
    value      := word ("," word)*            a list is for "=", "!=" and "in": any of these

``=`` and ``in`` mean the same; for addresses and ports both take networks and ranges. ``~`` is "contains". A value that
the kernel does not report matches no comparison, not even ``!=``. A text is read once from left to right, and at most
:data:`MOST_CHARACTERS` of it; parentheses and ``not`` stand at most :data:`MOST_NESTED` deep.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from fourtuple.errors import FilterError
from fourtuple.inspector.fields import FIELDS, Field, Value
from fourtuple.inspector.model import Socket
from fourtuple.inspector.values import Check, checked_state, equal_to, number, suggestion

MOST_CHARACTERS = 4096
MOST_NESTED = 50

Test: TypeAlias = Callable[[Socket], bool]

_TOKEN = re.compile(r"""\s*(?:(<=|>=|!=|==|[=<>~(),])|"([^"]*)"|'([^']*)'|([^\s<>=!~(),"']+))""")
_ORDERED = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_OPERATORS = ("=", "!=", "~", "in", *_ORDERED)
_JOINING = ("and", "or")
#: Other people's names for the same things.
_ALIASES = {
    "sport": "local-port", "dport": "peer-port", "lport": "local-port", "rport": "peer-port", "remote": "peer",
    "src": "local", "dst": "peer", "recv-q": "recvq", "send-q": "sendq", "process": "program",
    "&&": "and", "||": "or",
}  # fmt: skip


@dataclass(frozen=True)
class Filter:
    """A filter that was read: call it with a socket.

    ``text`` is what was read, ``fields`` are the names that it asks for, and ``test`` decides.
    """

    text: str
    fields: frozenset[str]
    test: Test

    def __call__(self, socket: Socket) -> bool:
        """Whether the socket is one that was asked for."""
        return self.test(socket)


def parse_filter(text: str) -> Filter:
    """Return the filter that ``text`` says; an empty one chooses everything.

    Raises :class:`~fourtuple.errors.FilterError` for a text that cannot be read.
    """
    if len(text) > MOST_CHARACTERS:
        raise FilterError(text, MOST_CHARACTERS, f"{len(text)} characters, no more than {MOST_CHARACTERS} are allowed")
    if not text.strip():
        return Filter(text, frozenset(), lambda _socket: True)
    reader = _Reader(text)
    test = reader.any_of(0)
    reader.end()
    return Filter(text, frozenset(reader.fields), test)


def one_of(name: str, values: Sequence[str]) -> Filter:
    """Return the filter for sockets whose field ``name`` has one of these values, as ``name in values`` does.

    Raises :class:`ValueError` for a value that cannot be read: its text says what was given and what is expected.
    """
    field = FIELDS[name]
    if not all(values):
        raise ValueError("a value is expected, got an empty one")
    check, get = _check(field, "in", values), field.get

    def test(socket: Socket) -> bool:
        value = get(socket)
        return value is not None and _holds(check, value)

    quoted = ", ".join(f"'{value}'" if '"' in value else f'"{value}"' for value in values)
    return Filter(f"{name} in {quoted}", frozenset({name}), test)


def all_of(filters: Sequence[Filter]) -> Filter:
    """Return the filter for sockets that every one of these chooses; without any, it chooses everything."""
    if len(filters) == 1:
        return filters[0]
    fields = frozenset[str]().union(*(each.fields for each in filters))
    return Filter(" and ".join(each.text for each in filters), fields, lambda socket: all(f(socket) for f in filters))


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # "sign", "text" (in quotes) or "word"
    text: str
    at: int


def _tokens(text: str) -> Iterator[_Token]:
    at, end = 0, len(text.rstrip())
    while at < end:
        found = _TOKEN.match(text, at)
        if found is None:
            at += len(text[at:]) - len(text[at:].lstrip())
            why = "a quote that is not closed" if text[at] in "\"'" else f"{text[at]!r} means nothing here"
            raise FilterError(text, at, why)
        kind = {1: "sign", 2: "text", 3: "text", 4: "word"}[found.lastindex or 0]
        word = found[found.lastindex or 0]
        if kind == "word":
            word = _ALIASES.get(word.lower(), word)
        yield _Token(kind, "=" if word == "==" else word, found.start(found.lastindex or 0))
        at = found.end()


class _Reader:
    """Reads from left to right, one token ahead."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._next = next(self._tokens, None)
        self.fields: set[str] = set()

    def any_of(self, depth: int) -> Test:
        tests = [self._all_of(depth)]
        while self._took("or"):
            tests.append(self._all_of(depth))
        return tests[0] if len(tests) == 1 else lambda socket: any(test(socket) for test in tests)

    def end(self) -> None:
        if self._next is not None:
            raise self._error(f"'and' or 'or' is expected before {self._next.text!r}")

    def _all_of(self, depth: int) -> Test:
        tests = [self._one(depth)]
        while self._took("and"):
            tests.append(self._one(depth))
        return tests[0] if len(tests) == 1 else lambda socket: all(test(socket) for test in tests)

    def _one(self, depth: int) -> Test:
        if depth > MOST_NESTED:
            raise self._error(f"nested more than {MOST_NESTED} deep")
        if self._took("not"):
            test = self._one(depth + 1)
            return lambda socket: not test(socket)
        if self._took("("):
            inner = self.any_of(depth + 1)
            if not self._took(")"):
                raise self._error("')' is expected")
            return inner
        return self._comparison()

    def _comparison(self) -> Test:
        token = self._take("the name of a field")
        field = FIELDS.get(token.text.lower())
        if field is None or token.kind != "word":
            raise FilterError(self._text, token.at, f"no field {token.text!r}{suggestion(token.text, FIELDS)}")
        self.fields.add(field.name)
        sign = self._next
        if sign is None or (sign.text in (*_JOINING, ")") and sign.kind != "text"):
            if field.kind != "flag":
                raise self._error(f"{field.name} is not a flag: it is compared, as in {field.name} {_example(field)}")
            return lambda socket: bool(field.get(socket))
        if sign.text.lower() not in _OPERATORS or sign.kind == "text":
            raise self._error(f"{sign.text!r} is not a comparison: one of {' '.join(_OPERATORS)}")
        if field.kind == "flag":
            raise self._error(f"{field.name} is a flag: it stands alone, or behind 'not'")
        self._advance()
        return self._compared(field, sign.text.lower())

    def _compared(self, field: Field, sign: str) -> Test:
        first = self._take("a value")
        values = [first]
        if sign in ("=", "!=", "in"):
            while self._took(","):
                values.append(self._take("a value"))
        try:
            check = _check(field, sign, [value.text for value in values])
        except ValueError as error:
            raise FilterError(self._text, first.at, f"{field.name}: {error}") from error
        get = field.get
        if sign == "!=":
            return lambda socket: (value := get(socket)) is not None and not _holds(check, value)
        return lambda socket: (value := get(socket)) is not None and _holds(check, value)

    def _took(self, text: str) -> bool:
        token = self._next
        if token is None or token.kind == "text" or token.text.lower() != text:
            return False
        self._advance()
        return True

    def _take(self, what: str) -> _Token:
        token = self._next
        if token is None or token.kind == "sign":
            raise self._error(f"{what} is expected")
        self._advance()
        return token

    def _advance(self) -> None:
        self._next = next(self._tokens, None)

    def _error(self, why: str) -> FilterError:
        return FilterError(self._text, len(self._text) if self._next is None else self._next.at, why)


def _holds(check: Check, value: Value) -> bool:
    return any(map(check, value)) if isinstance(value, tuple) else check(value)


def _check(field: Field, sign: str, texts: Sequence[str]) -> Check:
    if sign in _ORDERED:
        if field.kind in ("word", "address"):
            raise ValueError(f"{sign} compares numbers; here it is =, !=, ~ or in")
        compare, limit = _ORDERED[sign], number("number" if field.kind == "port" else field.kind, texts[0])
        return lambda value: bool(compare(value, limit))  # type: ignore[arg-type]  # a number, as the field's kind says
    if sign == "~":
        part = texts[0].lower()
        return lambda value: part in str(value).lower()
    if field.name == "state":
        texts = [checked_state(text) for text in texts]
    checks = [equal_to(field.kind, text) for text in texts]
    return checks[0] if len(checks) == 1 else lambda value: any(check(value) for check in checks)


_EXAMPLES = {"duration": "> 50ms", "size": "> 64k", "rate": "< 10k", "address": "in 10.0.0.0/8", "port": "= 9999"}


def _example(field: Field) -> str:
    return _EXAMPLES.get(
        field.kind, "= time-wait" if field.name == "state" else "= 1" if field.kind == "number" else "= nginx"
    )
