"""Whether a regular expression is linear: the ambiguity of its automaton, decided rather than measured.

The engine of :mod:`re` goes back. What it tries grows with its input where one octet can be matched at two places of
a pattern, and both can go on (``a*a*``, ``(a*)*``, ``(a|a)*``, ``.*x.*``). Here the pattern becomes an automaton with
one state for each octet that it can match, and an edge for each way from one to the next. It is ambiguous without a
bound if there are states p and q and octets that lead from p to p, from p to q, and from q to q (Weber and Seidl, "On
the degree of ambiguity of finite automata", 1991, criteria EDA and IDA). A search begins anew at every octet: that is
one more state before the first, which matches anything.

What is possessive or atomic is left once and not entered again: of two edges, the one that leaves it counts only for
octets that the other does not match.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

#: Octets, and one bit for every other character of a pattern of text.
ALPHABET = 257
ALL = (1 << ALPHABET) - 1
#: Repeats up to this many are written out; more count as many without end.
WRITTEN_OUT = 8

CATEGORIES: dict[Any, Callable[[str], bool]] = {
    op.CATEGORY_DIGIT: str.isdigit,
    op.CATEGORY_SPACE: str.isspace,
    op.CATEGORY_WORD: lambda each: each.isalnum() or each == "_",
}
OPPOSITES = {
    op.CATEGORY_NOT_DIGIT: op.CATEGORY_DIGIT,
    op.CATEGORY_NOT_SPACE: op.CATEGORY_SPACE,
    op.CATEGORY_NOT_WORD: op.CATEGORY_WORD,
}


class Unsupported(Exception):
    """A pattern with something that this cannot decide: a reference to a group, a loop in a lookahead."""


class Part:
    """A piece of the pattern: in how many ways it can be empty (2 for more), and the states it can begin and end with.

    What can be had in two ways stands there twice.
    """

    def __init__(self, empty: int, first: Iterable[int] = (), last: Iterable[int] = ()) -> None:
        self.empty, self.first, self.last = min(empty, 2), [*first], [*last]


class Automaton:
    """The states and edges of a pattern; ``searched`` whether it may begin anywhere."""

    def __init__(self, pattern: str | bytes, flags: int = 0, *, searched: bool = False) -> None:
        tree = _parser.parse(pattern, flags)
        self.flags = tree.state.flags
        self.octets: list[int] = []
        #: Of each state, the atomic groups that it stands in.
        self.inside: list[frozenset[int]] = []
        #: From one state to another, and the atomic groups that are left by it.
        self.edges: list[tuple[int, int, frozenset[int]]] = []
        self.open: list[int] = []
        self.atomic = 0
        whole = self.sequence(tree)
        anchored = len(tree) > 0 and tree[0] in ((op.AT, op.AT_BEGINNING), (op.AT, op.AT_BEGINNING_STRING))
        if searched and not (anchored and not self.flags & _parser.SRE_FLAG_MULTILINE):
            before = self.state(ALL)
            self.join([before], [before, *whole.first])

    # -- building -----------------------------------------------------------------------------------------

    def state(self, octets: int) -> int:
        self.octets.append(octets)
        self.inside.append(frozenset(self.open))
        return len(self.octets) - 1

    def join(self, ends: Iterable[int], begins: Iterable[int]) -> None:
        begins = [*begins]
        for end in ends:
            for begin in begins:
                self.edges.append((end, begin, self.inside[end] - frozenset(self.open)))

    def sequence(self, items: Any) -> Part:
        whole = Part(1)
        for code, argument in items:
            whole = self.behind(whole, self.item(code, argument))
        return whole

    def behind(self, one: Part, other: Part) -> Part:
        self.join(one.last, other.first)
        return Part(one.empty * other.empty, one.first + other.first * one.empty, other.last + one.last * other.empty)

    def item(self, code: Any, argument: Any) -> Part:
        if code in (op.LITERAL, op.NOT_LITERAL, op.ANY, op.IN):
            at = self.state(self.matched(code, argument))
            return Part(0, [at], [at])
        if code is op.SUBPATTERN:
            return self.sequence(argument[3])
        if code is op.BRANCH:
            parts = [self.sequence(each) for each in argument[1]]
            return Part(
                sum(each.empty for each in parts),
                [at for each in parts for at in each.first],
                [at for each in parts for at in each.last],
            )
        if code in (op.MAX_REPEAT, op.MIN_REPEAT):
            return self.repeat(*argument)
        if code is op.POSSESSIVE_REPEAT:
            return self.alone(lambda: self.repeat(*argument, alone=True))
        if code is op.ATOMIC_GROUP:
            return self.alone(lambda: self.sequence(argument))
        if code is op.AT:
            return Part(1)
        if code in (op.ASSERT, op.ASSERT_NOT):
            before = len(self.edges)
            self.sequence(argument[1])
            if any(begin <= end for end, begin, _ in self.edges[before:]):
                raise Unsupported("a loop in a lookaround")
            del self.edges[before:]
            return Part(1)
        raise Unsupported(str(code))

    def alone(self, build: Callable[[], Part]) -> Part:
        """What is built stands in an atomic group."""
        self.atomic += 1
        self.open.append(self.atomic)
        made = build()
        self.open.pop()
        return made

    def repeat(self, least: int, most: Any, body: Any, alone: bool = False) -> Part:
        def one() -> Part:
            return self.alone(lambda: self.sequence(body)) if alone else self.sequence(body)

        whole = Part(1)
        if most <= WRITTEN_OUT:
            for _ in range(least):
                whole = self.behind(whole, one())
            rest = Part(1)
            for _ in range(most - least):
                part = one()
                rest = self.behind(part, rest)
                rest.empty = 1
            return self.behind(whole, rest)
        loop = one()
        self.join(loop.last, loop.first)
        loop.empty = 1 if loop.empty or not least else 0
        return loop

    def matched(self, code: Any, argument: Any) -> int:
        """The octets that a state matches, as the bits of a number."""
        if code is op.LITERAL:
            return self.literal(argument)
        if code is op.NOT_LITERAL:
            return ALL & ~self.literal(argument)
        if code is op.ANY:
            return ALL if self.flags & _parser.SRE_FLAG_DOTALL else ALL & ~(1 << 10)
        bits, negate = 0, False
        for kind, value in argument:
            if kind is op.NEGATE:
                negate = True
            elif kind is op.LITERAL:
                bits |= self.literal(value)
            elif kind is op.RANGE:
                for each in range(value[0], min(value[1], 256) + 1):
                    bits |= self.literal(each)
            else:
                bits |= category(value)
        return ALL & ~bits if negate else bits

    def literal(self, value: int) -> int:
        bits = 1 << min(value, 256)
        if self.flags & _parser.SRE_FLAG_IGNORECASE and value < 256:
            for each in (chr(value).lower(), chr(value).upper()):
                bits |= 1 << min(ord(each[0]), 256)
        return bits

    # -- deciding -----------------------------------------------------------------------------------------

    def ways(self) -> dict[int, list[tuple[int, int]]]:
        """From each state: where to, and by which octets. Two ways to the same state are two entries."""
        found: dict[int, list[tuple[int, int]]] = {}
        for end, begin, left in self.edges:
            octets = self.octets[begin]
            for other_end, other, other_left in self.edges:
                if other_end == end and len(other_left) < len(left):
                    octets &= ~self.octets[other]
            if octets:
                found.setdefault(end, []).append((begin, octets))
        return found

    def ambiguity(self) -> str | None:
        """Which two states can match the same again and again; ``None`` for a linear pattern."""
        ways = self.ways()
        loops = [at for at in ways if at in reached(ways, at)]
        for at in loops:
            if self.twice(ways, at):
                return f"{shown(self.octets[at])} can be matched again in two ways"
        for at in loops:
            for other in loops:
                if at != other and self.both(ways, at, other):
                    return f"{shown(self.octets[at])} and {shown(self.octets[other])} behind it can match the same"
        return None

    def twice(self, ways: dict[int, list[tuple[int, int]]], at: int) -> bool:
        """Whether the same octets lead from ``at`` to itself in two ways."""
        seen, waiting = set(), [(at, at, False)]
        while waiting:
            one, other, apart = waiting.pop()
            for number, (to_one, octets) in enumerate(ways.get(one, [])):
                for its_number, (to_other, its_octets) in enumerate(ways.get(other, [])):
                    if not octets & its_octets:
                        continue
                    differ = apart or one != other or number != its_number
                    step = (to_one, to_other, differ)
                    if step == (at, at, True):
                        return True
                    if step not in seen:
                        seen.add(step)
                        waiting.append(step)
        return False

    def both(self, ways: dict[int, list[tuple[int, int]]], p: int, q: int) -> bool:
        """Whether some octets lead from p to p, from p to q and from q to q."""
        if q not in reached(ways, p):
            return False
        seen, waiting = set(), [(p, p, q)]
        while waiting:
            for step in triples(ways, *waiting.pop()):
                if step == (p, q, q):
                    return True
                if step not in seen:
                    seen.add(step)
                    waiting.append(step)
        return False


def triples(ways: dict[int, list[tuple[int, int]]], a: int, b: int, c: int) -> Iterator[tuple[int, int, int]]:
    for to_a, of_a in ways.get(a, []):
        for to_b, of_b in ways.get(b, []):
            if of_a & of_b:
                for to_c, of_c in ways.get(c, []):
                    if of_a & of_b & of_c:
                        yield to_a, to_b, to_c


def reached(ways: dict[int, list[tuple[int, int]]], start: int) -> set[int]:
    found: set[int] = set()
    waiting = [start]
    while waiting:
        for to, _ in ways.get(waiting.pop(), []):
            if to not in found:
                found.add(to)
                waiting.append(to)
    return found


def category(value: Any) -> int:
    if value in OPPOSITES:
        return ALL & ~(category(OPPOSITES[value]) & ~(1 << 256))
    return sum(1 << each for each in range(256) if CATEGORIES[value](chr(each))) | 1 << 256


def shown(octets: int) -> str:
    found = [chr(each) for each in range(256) if octets >> each & 1]
    text = "".join(found[:6])
    return f"[{text!r}{'...' if len(found) > 6 else ''}]"


def ambiguity(pattern: str | bytes, flags: int = 0, *, searched: bool = False) -> str | None:
    """What makes a pattern cost more than its input's length; ``None`` for one that is linear."""
    return Automaton(pattern, flags, searched=searched).ambiguity()
