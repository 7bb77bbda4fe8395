"""The kit finds what is wrong: every promise, broken on purpose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fourtuple.framing import Custom, Line, custom, duplex, mapped
from fourtuple.testing import check_framing

GOOD = [(b"<one><two><>", [b"one", b"two", b""])]


def decode(buffer: bytearray, seen: int) -> tuple[bytes, int] | None:
    at = buffer.find(b">", seen)
    return (bytes(buffer[1:at]), at + 1) if at >= 0 else None


def encode(message: bytes) -> bytes:
    if b">" in message:
        raise ValueError("the peer would see its end too early")
    return b"<" + message + b">"


def test_a_framing_of_ones_own_in_five_lines() -> None:
    check_framing(custom(decode, encode), GOOD, text=False)


def short_sighted(buffer: bytearray, seen: int) -> tuple[bytes, int] | None:
    at = buffer.find(b">", seen + 1)
    return (bytes(buffer[1:at]), at + 1) if at >= 0 else None


def greedy(buffer: bytearray, seen: int) -> tuple[bytes, int] | None:
    at = buffer.rfind(b">")
    return (bytes(buffer[1:at]), at + 1) if at >= 0 else None


def impatient(buffer: bytearray, seen: int) -> tuple[bytes, int] | None:
    return (bytes(buffer[1:-1]), len(buffer))


@pytest.mark.parametrize("wrong", [short_sighted, greedy, impatient])
def test_a_decoder_that_depends_on_the_cut(wrong: Callable[[bytearray, int], Any]) -> None:
    with pytest.raises(AssertionError):
        check_framing(custom(wrong, encode), GOOD, text=False)


def test_an_encoder_that_writes_something_else() -> None:
    with pytest.raises(AssertionError, match="wrote"):
        check_framing(custom(decode, lambda message: b"[" + message + b"]"), GOOD, text=False)


@pytest.mark.parametrize(
    ("framing", "why"),
    [
        (custom(decode, encode), "decode: its text form 'decode' does not read back: there is no 'decode'"),
        (custom(decode, encode, name="line"), "line: its text form 'line' reads back as Line("),
        (
            mapped(Line(), bytes.decode, str.encode),
            "line+mapped:bytes.decode: its text form 'line+mapped:bytes.decode' does not read back: a text cannot name "
            "the functions of mapped()",
        ),
    ],
    ids=["custom", "taken", "mapped"],
)
def test_a_text_form_that_does_not_read_back(framing: Any, why: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check_framing(framing, [(b"<one>\n", ["<one>"])])
    assert str(caught.value).startswith(why)
    assert str(caught.value).endswith("write check_framing(framing, vectors, text=False).")


class _Forgetful(type(custom(decode).decoder())):  # type: ignore[misc]
    """Says that nothing is buffered."""

    __slots__ = ()

    @property
    def buffered(self) -> int:
        return 0


class _Swallowing(type(custom(decode).decoder())):  # type: ignore[misc]
    """Loses the undelivered messages."""

    __slots__ = ()

    def take(self, undelivered: int = 0) -> bytes:
        octets: bytes = super().take(0)
        return octets


class _Quadratic(type(custom(decode).decoder())):  # type: ignore[misc]
    """Searches everything again at every octet."""

    __slots__ = ()

    def _split(self, limit: int | None) -> list[Any]:
        self._buffer.find(b"no such octets", self._start)
        messages: list[Any] = super()._split(limit)
        return messages


class _Hoarding(type(custom(decode).decoder())):  # type: ignore[misc]
    """Checks no bound."""

    __slots__ = ()

    def __init__(self, framing: Custom) -> None:
        super().__init__(framing)
        self._max = None


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (_Forgetful, "were reported as buffered"),
        (_Swallowing, "expected"),
        (_Quadratic, "searched"),
        (_Hoarding, "delivers a message of 4096 octets, max_message is 64"),
    ],
)
def test_a_decoder_that_breaks_a_promise(wrong: type, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Custom, "decoder", lambda self: wrong(self))
    with pytest.raises(AssertionError, match=told):
        check_framing(custom(decode, encode), GOOD, text=False)


def test_a_framing_with_two_directions_is_checked_in_the_one_that_it_receives() -> None:
    ends = duplex("delimited:?", "fixed:2")
    check_framing(ends, [(b"so?", [b"so"])])
    check_framing(ends.mirror(), [(b"ok", [b"ok"])])
    with pytest.raises(AssertionError, match="expected"):
        check_framing(ends, [(b"ok", [b"ok"])])
