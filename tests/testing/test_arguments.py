"""The kit names an argument that cannot be, and says what to write, before a test runs with it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from fourtuple import Server, Service
from fourtuple.errors import FramingTextError, MalformedMessage, OptionError, WrongThread
from fourtuple.framing import Line
from fourtuple.testing import (
    Clock,
    FlakyListener,
    MemoryService,
    Vector,
    async_memory_pair,
    check_framing,
    drive,
    memory_pair,
)
from fourtuple.testing.fuzz import fuzz
from fourtuple.testing.plugin import TcpServer
from fourtuple.testing.strategies import messages, pieces


def service() -> Service[Any, Any]:
    made: Service[Any, Any] = Service("line")
    made.reply(lambda message: message)
    return made


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "no service": (lambda: MemoryService(Line()), "service: expected Service, got Line("),  # type: ignore[arg-type]
    "may_raise, an exception": (
        lambda: MemoryService(service(), may_raise=ValueError()),  # type: ignore[arg-type]
        "may_raise: expected a class of exceptions, or a tuple of them, got ValueError() (ValueError); write ",
    ),
    "may_raise, in a tuple": (
        lambda: MemoryService(service(), may_raise=(KeyError, "ValueError")),  # type: ignore[arg-type]
        "may_raise: expected a class of exceptions, or a tuple of them, got 'ValueError'",
    ),
    "observer": (lambda: MemoryService(service(), observer=lambda: None), "observer: "),  # type: ignore[misc, arg-type]
    "drive, octets alone": (
        lambda: drive(Line(), b"x\n"),  # type: ignore[arg-type]
        r"pieces: expected several pieces of octets, got b'x\n'; write [b'x\n']",
    ),
    "drive, a text": (
        lambda: drive(Line(), "x"),  # type: ignore[arg-type]
        "pieces: expected several pieces of octets, as in [b'one', b'two'], got 'x'",
    ),
    "drive, texts": (lambda: drive(Line(), ["x"]), "pieces: expected octets in each piece, got 'x'"),  # type: ignore[list-item]
    "drive, a limit": (lambda: drive(Line(), [], 0), "limit: expected a whole number of messages, 1 or more, got 0"),
    "a vector, octets as messages": (
        lambda: check_framing(Line(), [(b"x\n", b"x")]),  # type: ignore[list-item]
        "messages: expected a list of messages, as in [b'x'], got b'x'",
    ),
    "a vector, no list": (
        lambda: Vector(b"x\n", None),  # type: ignore[arg-type]
        "messages: expected a list of messages, as in [None], got None",
    ),
    "a vector, a text": (lambda: Vector("x"), "octets: expected bytes, got 'x'"),  # type: ignore[arg-type]
    "a vector, an exception": (
        lambda: check_framing(Line(), [(b"x", [], MalformedMessage("x"))]),  # type: ignore[list-item]
        "error: expected a class of MessageError or None, got MalformedMessage('x')",
    ),
    "one vector alone": (
        lambda: check_framing(Line(), (b"x\n", [b"x"])),  # type: ignore[arg-type]
        r"vectors: expected a Vector or a tuple (octets, messages[, error]) in each place, got b'x\n'",
    ),
    "no vectors": (lambda: check_framing(Line(), 5), "vectors: expected Iterable, as in [("),  # type: ignore[arg-type]
    "a switch": (lambda: check_framing(Line(), [], text=1), "text: expected True or False, got 1"),  # type: ignore[arg-type]
    "fuzz, octets alone": (
        lambda: fuzz(Line(), b"x", 1),  # type: ignore[arg-type]
        "corpus: expected several pieces of octets, got b'x'; write [b'x']",
    ),
    "fuzz, cases": (lambda: fuzz(Line(), [b"x"], -1), "cases: expected a whole number, not negative, got -1"),
    "strategies, a stream": (lambda: pieces("x"), "stream: expected bytes, got 'x'"),  # type: ignore[arg-type]
    "strategies, values": (
        lambda: messages(Line(), [b"x"]),  # type: ignore[call-overload]
        "values: expected SearchStrategy or None, got [b'x'] (list)",
    ),
    "limits": (lambda: memory_pair("line", limits={}), "limits: expected Limits or None, as in Limits()"),  # type: ignore[call-overload]
    "deadlines": (lambda: memory_pair("line", deadlines=5), "deadlines: expected Deadlines or None"),  # type: ignore[call-overload]
    "threads": (lambda: memory_pair("line", threads=2), "threads: expected True or False, got 2"),  # type: ignore[call-overload]
    "capacity": (lambda: memory_pair("line", capacity=0), "capacity: expected a whole number of octets, 1 or more"),
    "count": (lambda: memory_pair("line").there.deliver(-1), "count: expected a whole number of octets, not negative"),
    "a listener": (lambda: FlakyListener("x"), "listener: expected Listener or Server, got 'x'"),  # type: ignore[arg-type]
    "a server that does not listen": (lambda: FlakyListener(Server(service())), "listener: <Server "),
    "clock": (lambda: Clock("now"), "start: expected a number of seconds, got 'now'"),  # type: ignore[arg-type]
    "advance": (lambda: Clock().advance("5"), "seconds: expected a number of seconds, got '5'"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", WRONG)
def test_an_argument_that_cannot_be_is_named(name: str) -> None:
    call, told = WRONG[name]
    with pytest.raises(OptionError, match=f"^{re.escape(told)}"):
        call()


def test_async_pairs(run_async: Any) -> None:
    async def main() -> None:
        with pytest.raises(OptionError, match="limits: expected Limits or None"):
            async_memory_pair("line", limits=5)  # type: ignore[call-overload]
        with pytest.raises(OptionError, match="cut: expected None, or a whole number of octets"):
            async_memory_pair("line", cut="1")  # type: ignore[call-overload]

    run_async(main())


@pytest.mark.parametrize("kind", [drive, check_framing, fuzz, messages])
def test_a_framing_s_class_is_no_framing(kind: Callable[..., Any]) -> None:
    rest = {drive: ([],), check_framing: ([],), fuzz: ([], 1)}.get(kind, ())
    with pytest.raises(FramingTextError, match=r"it is a class; write Line\(\)"):
        kind(Line, *rest)


def test_a_script_of_names(tcp_server: TcpServer) -> None:
    with pytest.raises(OptionError, match=r"script: expected int, OSError or None, as in errno.EMFILE, got 'EMFILE'"):
        FlakyListener(tcp_server(service()), "EMFILE")  # type: ignore[arg-type]


def test_what_handlers_may_raise_in_a_thread(tcp_server: TcpServer) -> None:
    with pytest.raises(OptionError, match="may_raise: expected a class of exceptions"):
        tcp_server(service(), may_raise=ValueError())  # type: ignore[arg-type]


@pytest.mark.parametrize("make", [lambda: MemoryService(service()), lambda: async_memory_pair("line")])
def test_outside_of_a_loop(make: Callable[[], Any]) -> None:
    with pytest.raises(WrongThread, match="no event loop runs in this thread"):
        make()
