"""Framings that are broken, each in one way: check_framing finds every one, and says what to do about it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from fourtuple.errors import EncodeError, IncompleteMessage, MalformedMessage, MessageError, MessageTooLong
from fourtuple.framing import Decoder, Framing, custom
from fourtuple.testing import check_framing

VECTORS = [(b"<one><two><>", [b"one", b"two", b""]), (b"<x>", [b"x"])]


class Angle(Decoder):
    """``<message>``, by a decoder that has nothing from us: right, until a subclass breaks it."""

    def __init__(self, framing: Angles) -> None:
        self.framing = framing
        self.buffer: Any = bytearray()
        self.seen = 0
        self.error: MessageError | None = None
        self.batch: list[bytes] = []

    def feed(self, data: Any, limit: int | None = None) -> list[Any]:
        self.batch = []
        if self.error is not None:
            raise self.error
        self.add(data)
        messages: list[Any] = []
        while (limit is None or len(messages) < limit) and (got := self.one()) is not None:
            messages.append(got[0])
            self.batch.append(bytes(self.buffer[: got[1]]))
            self.drop(got[1])
        if not messages and self.error is not None:
            raise self.error
        return messages

    def add(self, data: Any) -> None:
        self.buffer += data

    def drop(self, count: int) -> None:
        del self.buffer[:count]
        self.seen = 0

    def one(self) -> tuple[Any, int] | None:
        if self.buffer and self.buffer[0] != ord("<"):
            self.error = MalformedMessage("a message begins with <")
            return None
        at = self.buffer.find(b">", self.seen)
        self.seen = len(self.buffer)
        size = (at if at >= 0 else len(self.buffer)) - 1
        if self.framing.max_message is not None and size > self.framing.max_message:
            self.error = MessageTooLong(self.framing.max_message + 1, self.framing.max_message, announced=False)
            return None
        return (bytes(self.buffer[1:at]), at + 1) if at >= 0 else None

    def finish(self) -> list[Any]:
        messages = self.feed(b"")
        if not messages and self.buffer:
            self.error = self.incomplete()
            raise self.error
        return messages

    def incomplete(self) -> MessageError:
        return IncompleteMessage(len(self.buffer), None)

    @property
    def buffered(self) -> int:
        return len(self.buffer)

    def take(self, undelivered: int = 0) -> bytes:
        octets = b"".join(self.batch[len(self.batch) - undelivered :]) + bytes(self.buffer)
        self.drop(len(self.buffer))
        self.batch, self.error = [], None
        return octets

    def settle(self) -> None:
        self.batch = []


@dataclasses.dataclass(frozen=True)
class Angles(Framing):
    word = "angles"

    max_message: int | None = 1 << 20
    kind: type[Angle] = Angle

    def _overhead(self) -> int:
        return 2

    def decoder(self) -> Angle:
        return self.kind(self)

    def encode(self, message: bytes) -> bytes:
        if b">" in message:
            raise EncodeError("a message holds no >")
        return b"<" + message + b">"

    def __str__(self) -> str:
        return self.kind.__name__


def test_one_that_has_nothing_from_us_and_is_right() -> None:
    check_framing(Angles(), VECTORS, text=False)


# -- work -------------------------------------------------------------------------------------------------


class ScansAgain(Angle):
    def one(self) -> tuple[Any, int] | None:
        self.seen = 0
        return super().one()


class LooksAtEachAgain(Angle):
    def one(self) -> tuple[Any, int] | None:
        at = 0
        while at < len(self.buffer) and self.buffer[at] != ord(">"):
            at += 1
        return super().one()


class LoopsAgain(Angle):
    def one(self) -> tuple[Any, int] | None:
        any(octet == ord(">") for octet in self.buffer)
        return super().one()


class JoinsAgain(Angle):
    def __init__(self, framing: Angles) -> None:
        super().__init__(framing)
        self.buffer = b""

    def add(self, data: Any) -> None:
        self.buffer = self.buffer + bytes(data)

    def drop(self, count: int) -> None:
        self.buffer, self.seen = self.buffer[count:], 0


class ScansAgainWhenAttacked(Angle):
    """Searches again where honest octets never lead it: behind a brace."""

    def one(self) -> tuple[Any, int] | None:
        if self.buffer and self.buffer[-1] == ord("{"):
            self.buffer.rfind(b"<")
        return super().one()


# -- memory -----------------------------------------------------------------------------------------------


class HasNoBound(Angle):
    def __init__(self, framing: Angles) -> None:
        super().__init__(dataclasses.replace(framing, max_message=None))


class ChecksTheBoundOnlyAtTheEnd(Angle):
    def one(self) -> tuple[Any, int] | None:
        if self.buffer.find(b">", self.seen) >= 0:
            return super().one()
        self.seen = len(self.buffer)
        return None


class KeepsEverything(Angle):
    def __init__(self, framing: Angles) -> None:
        super().__init__(framing)
        self.log: list[bytes] = []

    def add(self, data: Any) -> None:
        super().add(data)
        self.log.append(bytes(data))


# -- the cut, and errors ----------------------------------------------------------------------------------


class TrustsTheRead(Angle):
    def add(self, data: Any) -> None:
        super().add(data if len(data) != 1 or data != b">" else b"")


class SkipsUnchecked(Angle):
    def one(self) -> tuple[Any, int] | None:
        while len(self.buffer) > 1 and self.buffer[0] != ord("<"):
            del self.buffer[:1]
        return super().one()


class EatsGoodMessages(Angle):
    def feed(self, data: Any, limit: int | None = None) -> list[Any]:
        messages = super().feed(data, limit)
        if self.error is not None:
            raise self.error
        return messages


class ForgetsItsError(Angle):
    def feed(self, data: Any, limit: int | None = None) -> list[Any]:
        try:
            return super().feed(data, limit)
        except MessageError:
            self.error = None
            self.buffer.clear()
            raise


class RaisesWhatItLikes(Angle):
    def one(self) -> tuple[Any, int] | None:
        if self.buffer and self.buffer[0] != ord("<"):
            raise ValueError("what is this?")
        return super().one()


class KnowsNoLimit(Angle):
    def feed(self, data: Any, limit: int | None = None) -> list[Any]:
        return super().feed(data)


class GivesWhatIsNotBytes(Angle):
    def one(self) -> tuple[Any, int] | None:
        got = super().one()
        return got and (bytearray(got[0]), got[1])


class SharesItsBuffer(Angle):
    shared = bytearray()

    def __init__(self, framing: Angles) -> None:
        super().__init__(framing)
        self.buffer = self.shared


# -- the end of file --------------------------------------------------------------------------------------


class CountsWrongly(Angle):
    def incomplete(self) -> MessageError:
        return IncompleteMessage(len(self.buffer) + 7, None)


class ExpectsTooMuch(Angle):
    def incomplete(self) -> MessageError:
        return IncompleteMessage(len(self.buffer), len(self.buffer) + 900)


class ExpectsWhatItHas(Angle):
    def incomplete(self) -> MessageError:
        return IncompleteMessage(len(self.buffer), len(self.buffer))


class CallsItMalformed(Angle):
    def incomplete(self) -> MessageError:
        return MalformedMessage("end of file")


class SaysNothing(Angle):
    def finish(self) -> list[Any]:
        return self.feed(b"")


class Invents(Angle):
    def finish(self) -> list[Any]:
        messages = self.feed(b"")
        if not messages and self.buffer:
            messages = [bytes(self.buffer[1:])]
            self.drop(len(self.buffer))
        return messages


# -- handing on -------------------------------------------------------------------------------------------


class HoldsNothingItSays(Angle):
    @property
    def buffered(self) -> int:
        return 0


class TakesTooLittle(Angle):
    def take(self, undelivered: int = 0) -> bytes:
        return super().take(0)


class KeepsWhatWasTaken(Angle):
    def take(self, undelivered: int = 0) -> bytes:
        octets = super().take(undelivered)
        self.buffer += octets
        return octets


class HandsOnWhatNeverCame(Angle):
    def take(self, undelivered: int = 0) -> bytes:
        return b"<one>" + super().take(undelivered)


class Interleaved(Angles):
    """Says that messages stand inside others, so that what is handed on need not be the end of what came."""

    @property
    def interleaves(self) -> bool:
        return True


def test_a_framing_that_interleaves_hands_on_only_what_came() -> None:
    check_framing(Interleaved(), VECTORS, text=False)
    with pytest.raises(AssertionError, match=r"take\(0\) gave .*, which are not the octets received"):
        check_framing(Interleaved(kind=HandsOnWhatNeverCame), VECTORS, text=False)


LINEAR = "remember how far you searched"
BOUND = "check max_message"
ERRORS = "and only once no good message is left to give"
END = r"IncompleteMessage\(received, expected\)"
TAKE = "take\\(undelivered\\) returns, unchanged"


@pytest.mark.parametrize(
    ("kind", "told", "to_do"),
    [
        (ScansAgain, r"4098 octets octet by octet: \d+ searched and .* would be linear", LINEAR),
        (LooksAtEachAgain, r"\d{5} searched", LINEAR),
        (LoopsAgain, r"\d{5} searched", LINEAR),
        (JoinsAgain, r"\d{5} copied", LINEAR),
        (ScansAgainWhenAttacked, r"b'\{' forever, 30\d octets octet by octet: \d{4} searched", LINEAR),
        (HasNoBound, "delivers a message of 4096 octets, max_message is 64", BOUND),
        (ChecksTheBoundOnlyAtTheEnd, "holds .* forever, 66 and one read is the bound", BOUND),
        (
            KeepsEverything,
            "after 65536 octets of messages that were all delivered",
            "keep nothing of what was delivered",
        ),
        (TrustsTheRead, "expected the messages", "Messages must not depend on where reads end"),
        (SkipsUnchecked, "the whole at once", "Messages must not depend on where reads end"),
        (EatsGoodMessages, "MalformedMessage", ERRORS),
        (ForgetsItsError, "raised .* first, and then gave", ERRORS),
        (
            RaisesWhatItLikes,
            r"made the decoder raise ValueError\('what is this\?'\), which is not a MessageError",
            ERRORS,
        ),
        (KnowsNoLimit, "asked for at most 1 messages, got 3", "returns no more than limit messages"),
        (GivesWhatIsNotBytes, r"gave .*bytearray\(b'one'\).*expected", "the decoder or the vector is wrong"),
        (SharesItsBuffer, "", ""),
        (CountsWrongly, "received 8 .*whose numbers are wrong: 1 octets were buffered", END),
        (ExpectsTooMuch, "whose numbers are wrong: 1 octets came and at most 11 are missing", END),
        (ExpectsWhatItHas, "whose numbers are wrong", END),
        (CallsItMalformed, r"the end of file after b'<' gave .*MalformedMessage", END),
        (SaysNothing, "1 octets of an unfinished message were ignored silently", END),
        (Invents, "one of them was not sent", END),
        (HoldsNothingItSays, "but 0 octets were reported as buffered", TAKE),
        (TakesTooLittle, r"take\(1\) gave b''; with the rest", TAKE),
        (KeepsWhatWasTaken, "are still buffered", TAKE),
    ],
)
def test_a_broken_framing_is_found_and_its_author_is_told(kind: type[Angle], told: str, to_do: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check_framing(Angles(kind=kind), VECTORS, text=False)
    first = str(caught.value).partition("\n")[0]
    assert first.startswith(f"{kind.__name__}: ")
    caught.match(told)
    caught.match(to_do)


def find(buffer: bytearray, seen: int) -> tuple[bytes, int] | None:
    at = buffer.find(b">", seen)
    return (bytes(buffer[1:at]), at + 1) if at >= 0 else None


def find_from_the_start(buffer: bytearray, seen: int) -> tuple[bytes, int] | None:
    return find(buffer, 0)


def copy_all(buffer: bytearray, seen: int) -> tuple[bytes, int] | None:
    return find(bytearray(bytes(buffer)), seen)


def split_all(buffer: bytearray, seen: int) -> tuple[bytes, int] | None:
    message, end, _ = buffer.partition(b">")
    return (bytes(message[1:]), len(message) + 1) if end else None


@pytest.mark.parametrize("decode", [find_from_the_start, copy_all, split_all])
def test_two_functions_that_search_again(decode: Callable[[bytearray, int], Any]) -> None:
    check_framing(custom(find, Angles().encode), VECTORS, text=False)
    with pytest.raises(AssertionError, match=LINEAR):
        check_framing(custom(decode, Angles().encode), VECTORS, text=False)


def test_an_encoder_that_lets_a_delimiter_pass() -> None:
    with pytest.raises(AssertionError, match="refuses with an EncodeError what the peer could not decode"):
        check_framing(custom(find, lambda message: b"<" + message + b">"), VECTORS, text=False)


@dataclasses.dataclass(frozen=True)
class Boundless(Framing):
    word = "boundless"

    def decoder(self) -> Angle:
        return Angle(Angles(max_message=None))

    def encode(self, message: bytes) -> bytes:
        return Angles().encode(message)


def test_a_framing_without_a_bound() -> None:
    with pytest.raises(AssertionError, match=r"has no bound: .*\n.*\n.*Give it a field max_message"):
        check_framing(Boundless(), VECTORS, text=False)
    check_framing(Angles(max_message=None), VECTORS, text=False)  # somebody typed None


def test_a_custom_framing_has_two_bounds() -> None:
    assert custom(find, Angles().encode, max_message=8).encode(b"1234567") == b"<1234567>"
    with pytest.raises(EncodeError, match=r"9 octets, no more than 8 are allowed \(max_sent\)"):
        custom(find, Angles().encode, max_sent=8).encode(b"1234567")


@dataclasses.dataclass(frozen=True)
class SendsWhatItLikes(Angles):
    """It has the option, and does not look at it."""

    max_sent: int | None = None


@dataclasses.dataclass(frozen=True)
class BoundsBothAlike(Angles):
    max_sent: int | None = None

    def encode(self, message: Any) -> bytes:
        if self.max_sent is not None and len(message) > 2:
            raise EncodeError(f"{len(message)} octets")
        return super().encode(message)


@pytest.mark.parametrize(
    ("framing", "told"),
    [
        (SendsWhatItLikes(), "encode wrote 4098 octets with a max_sent of 64"),
        (BoundsBothAlike(), "refuses b'one' with a max_sent of 64"),
    ],
)
def test_a_bound_of_sending_that_is_not_kept(framing: Framing, told: str) -> None:
    with pytest.raises(AssertionError, match=f"{told}.*\n.*what comes has a bound of its own"):
        check_framing(framing, VECTORS, text=False)
