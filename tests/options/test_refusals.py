"""Invalid values are rejected where they are given: the error has the name, what was seen, and what is expected."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import re
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest

import fourtuple
from fourtuple import Alarm, Deadlines, Limits, Reconnect, Server, Service, run, serve_in_thread, watching
from fourtuple import client as async_client
from fourtuple.blocking import wait
from fourtuple.config import FAMILIES as CONFIGURED
from fourtuple.config import configure
from fourtuple.engine import Engine
from fourtuple.errors import FourTupleError, FramingTextError, OptionError, ServiceError
from fourtuple.framing import (
    Delimited,
    Fixed,
    Gap,
    Length,
    Line,
    Marked,
    Mllp,
    Resp,
    StxEtx,
    Varint,
    custom,
    parse_framing,
)
from fourtuple.load import Load
from fourtuple.load import run as run_load
from fourtuple.options import FAMILIES, Declared, Options, declared
from fourtuple.options.checking import LARGEST, kind_of
from fourtuple.testing.memory import memory_pair

FAMILY = {family.__name__: family for family in (*FAMILIES, Reconnect, Load)}
#: The tables of fourtuple.toml.
TABLES = {family.__name__: table for table, family in CONFIGURED.items()}
EVERYTHING = [each for family in FAMILY.values() for each in declared(family)]


def refused(call: Callable[[], Any], name: str, saw: str = "", kind: type[FourTupleError] = OptionError) -> str:
    """The text of the error that a call raises: with the name in front, and what was given."""
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    text = str(caught.value)
    assert text.startswith(f"{name}: "), text
    assert saw in text
    assert ": expected " in text or "there is no such option" in text
    assert len(text) < 600
    assert text.isprintable()
    return text


# -- every option -----------------------------------------------------------------------------------------

WRONG: dict[str, list[Any]] = {
    "int": ["8", 1.5, True, False, -1, -(1 << 40), [], {}, b"1", object(), timedelta(1), math.nan, 1 + 0j],
    "float": ["1.5", True, False, -1, -0.5, math.nan, math.inf, -math.inf, [], timedelta(1), object()],
    "bool": [0, 1, "on", "yes", 1.0, [], None],
    "str": [1, 1.0, True, b"text", ["10.0.0.0/8"], ("h2",), object()],
}


@pytest.mark.parametrize("each", EVERYTHING, ids=lambda each: f"{each.family}.{each.name}")
def test_every_option_refuses_every_wrong_type_and_what_is_negative(each: Declared) -> None:
    kind = kind_of(each.annotation)
    for value in [*WRONG[kind], *([] if each.optional else [None])]:
        text = refused(lambda value=value: FAMILY[each.family](**{each.name: value}), each.name)
        assert ": expected " in text
        assert ", got " in text


def test_the_error_for_a_misspelt_list_of_networks_has_the_right_form() -> None:
    text = refused(lambda: Limits(allow=["10.0.0.0/8", "::1"]), "allow", "['10.0.0.0/8', '::1'] (list)")  # type: ignore[arg-type]
    assert "expected text, as in '10.0.0.0/8, ::1', got [" in text


@pytest.mark.parametrize("family", FAMILY.values())
def test_an_unknown_name(family: type[Options]) -> None:
    first = next(iter(declared(family))).name
    mistyped = first[:-2] + first[-1]
    for make in (lambda: family(**{mistyped: 1}), lambda: family().replace(**{mistyped: 1})):
        assert refused(make, mistyped).endswith(f"did you mean {first}?")
    assert f"{family.__name__} has " in refused(lambda: family(zzz=1), "zzz")
    refused(lambda: family({first: 1}), family.__name__, f", got {{{first!r}: 1}} (dict)")  # type: ignore[call-arg]


# -- every parameter --------------------------------------------------------------------------------------


def replies() -> Service:
    service = Service("line")
    service.reply(lambda message: message)
    return service


SERVER: list[tuple[str, Any, str]] = [
    ("limits", {"max_connections": 3}, "as in Limits(max_connections=3), got "),
    ("limits", Deadlines(), "expected Limits or None, got "),
    ("deadlines", 5.0, "expected Deadlines or None, got "),
    ("sockets", [], "expected Sockets or None, got "),
    ("proxy", "required", "expected Proxy or None, got "),
    ("tls", True, "expected Tls, SSLContext or None, as in Tls(certificate='server.pem'), got "),
    ("tls", "cert.pem", "Tls, SSLContext or None"),
    ("tls", {"certificate": "a.pem"}, "as in Tls(certificate='a.pem'), got "),
    ("observer", "log", "expected a function or None, got "),
    ("tap", 1, "expected a function or None, got "),
    ("readiness", "portabel", "expected one of auto, nested, portable, got 'portabel'; did you mean portable?"),
    ("readiness", None, "expected one of auto, nested, portable, got "),
    ("engine", "auto", "expected Engine or None, got "),
    ("alarms", [5], "expected Alarm, got "),
    ("alarms", Limits(), "expected Iterable, as in [Alarm(1000, callback=call)], got "),
    ("limit", Limits(), "there is no such option of Server; did you mean limits?"),
    (
        "idle_timeout",
        3,
        "no such option of Server; it is an option of Deadlines, as in deadlines=Deadlines(",
    ),
    ("zzz", Limits(), "there is no such option of Server; there are service, limits, deadlines, sockets"),
]


@pytest.mark.parametrize(("name", "value", "needed"), SERVER)
@pytest.mark.parametrize("make", [Server, run, lambda *a, **o: serve_in_thread(*a, **o).__enter__()])
def test_a_server_refuses_options_that_cannot_work(
    make: Callable[..., Any], name: str, value: Any, needed: str
) -> None:
    shown = value[0] if isinstance(value, list) and value else value
    given = "" if "no such option" in needed else repr(shown)[:70]
    assert needed in refused(lambda: make(replies(), **{name: value}), name, given)


def test_an_option_of_another_family_is_reported() -> None:
    needed = "it is an option of Deadlines"
    refused(lambda: Limits(idle_timeout=3), "idle_timeout", needed)  # type: ignore[call-arg]
    needed += ", as in deadlines=Deadlines(idle_timeout=...)"
    connect: Any = fourtuple.blocking.connect
    refused(lambda: connect("127.0.0.1:1", "line", idle_timeout=3), "idle_timeout", needed)


def test_more_of_a_server() -> None:
    refused(lambda: Server("echo"), "service", "expected Service, got 'echo'")  # type: ignore[arg-type]
    refused(lambda: run(replies(), on_start=5), "on_start", "expected a function or None, got 5")  # type: ignore[arg-type]
    for make in (run, lambda *a, **o: serve_in_thread(*a, **o).__enter__()):
        refused(lambda make=make: make(replies(), loop_factory="uvloop"), "loop_factory", "got 'uvloop'")


def test_a_context_for_the_other_side() -> None:
    """As ssl.create_default_context() makes it, with and without the check of names."""
    for check in (True, False):
        context = ssl.create_default_context()
        context.check_hostname = check
        text = refused(lambda context=context: Server(replies(), tls=context), "tls", "a context for a server")
        assert "Purpose.CLIENT_AUTH" in text
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    address = "127.0.0.1:1"
    refused(lambda: fourtuple.blocking.connect(address, "line", tls=context), "tls", "a context for a client")
    refused(lambda: asyncio.run(opened(address, tls=context)), "tls", "a context for a client")


async def opened(*arguments: Any, **options: Any) -> None:
    await async_client.connect(*arguments, "line", **options)


CLIENT: list[tuple[str, Any, str]] = [
    ("timeout", "5", "expected a number of seconds, 0 or more, or None, got '5'"),
    ("timeout", -1, "expected a number of seconds, 0 or more, or None, got -1"),
    ("timeout", math.nan, "expected a number of seconds, 0 or more, or None, got nan"),
    ("timeout", -math.inf, "expected a number of seconds, 0 or more, or None, got -inf"),
    ("timeout", 10**400, f"expected no more than {LARGEST}, got 1000"),
    ("timeout", True, "expected a number of seconds, 0 or more, or None, got True"),
    ("timeout", timedelta(seconds=5), "expected a number of seconds, 0 or more, or None, got "),
    ("sockets", {"nodelay": False}, "as in Sockets(nodelay=False), got "),
    ("limits", 5, "expected Limits or None, got 5"),
    ("deadlines", Limits(), "expected Deadlines or None, got "),
    ("reconnect", 3, "expected Reconnect or None, got 3"),
    ("tls", "yes", "expected Tls, SSLContext, bool or None, got 'yes'"),
    ("server_hostname", b"example", "expected str or None, got b'example'"),
    ("proxy_header", 3, "expected True, 1, 2, a ProxyHeader or None, got 3"),
    ("proxy_header", "v2", "expected True, 1, 2, a ProxyHeader or None, got 'v2'"),
]


@pytest.mark.parametrize(("name", "value", "told"), CLIENT)
def test_a_client_refuses_options_before_it_connects(name: str, value: Any, told: str) -> None:
    """Before anything is opened: where a connection would be refused, this is what is refused."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        address = f"127.0.0.1:{bound.getsockname()[1]}"
    refused(lambda: fourtuple.blocking.connect(address, "line", **{name: value}), name, told)
    refused(lambda: asyncio.run(opened(address, **{name: value})), name, told)


@pytest.mark.parametrize(
    ("name", "value", "told"), [each for each in CLIENT if each[0] not in "timeoutlimitsdeadlinesreconnect"]
)
def test_a_load_refuses_options_that_cannot_work(name: str, value: Any, told: str) -> None:
    refused(lambda: run_load("127.0.0.1:1", "line", **{name: value}), name, told)


def test_more_of_a_load() -> None:
    refused(lambda: run_load("127.0.0.1:1", "line", {"connections": 3}), "load", "as in Load(connections=3)")  # type: ignore[arg-type]


#: An int that no float can hold, and a float above every other bound.
HUGE = [10**400, 1e300]
TIMEOUTS = ["5", -1, -0.001, math.nan, -math.inf, True, b"1", timedelta(1), [1], *HUGE]
EXPECTED = ["expected a number of seconds, ", f"expected no more than {LARGEST}, got 1"]


def short(value: Any) -> str:
    return repr(value)[:20]


@pytest.mark.parametrize("timeout", TIMEOUTS, ids=short)
@pytest.mark.parametrize("waiting", [False, True], ids=["nothing there", "a message there"])
def test_a_timeout_of_a_blocking_connection(timeout: Any, waiting: bool) -> None:
    one, other = memory_pair("line")
    with one, other:
        if waiting:
            other.send_many([b"a", b"b"])
            assert one.receive(timeout=5) == b"a"
        for call in (
            one.receive,
            lambda timeout: one.receive_exactly(1, timeout),
            lambda timeout: one.receive_until(b"\n", 9, timeout),
            lambda timeout: one.receive_some(9, timeout),
            lambda timeout: one.send(b"x", timeout),
            lambda timeout: one.send_many([b"x"], timeout),
            lambda timeout: one.send_eof(timeout),
            lambda timeout: one.request(b"x", timeout),
            lambda timeout: one.request_many([b"x"], timeout),
            lambda timeout: one.begin(b"x", timeout),
            lambda timeout: one.start_tls(server_hostname="a", timeout=timeout),
            lambda timeout: wait([one], timeout),
            lambda timeout: wait([], timeout),
        ):
            refused(lambda call=call: call(timeout), "timeout", EXPECTED[timeout in HUGE])
        assert one.statistics.messages_out == 0, "nothing was sent"
        if waiting:
            assert one.receive(timeout=0) == b"b", "nothing was lost"


@pytest.mark.parametrize("timeout", TIMEOUTS, ids=short)
def test_a_timeout_of_an_async_connection(run_async: Any, timeout: Any) -> None:
    async def main() -> None:
        async with Server(replies()) as server, async_client.connect(server.address, "line") as connection:
            for call in (
                lambda: connection.receive(timeout),
                lambda: connection.receive_exactly(1, timeout),
                lambda: connection.receive_until(b"\n", 9, timeout),
                lambda: connection.receive_some(9, timeout),
                lambda: connection.request(b"x", timeout),
                lambda: server.drain(timeout),
            ):
                await refused_when_awaited(call, "timeout", EXPECTED[timeout in HUGE])
            assert await connection.request(b"x") == b"x"

    run_async(main())


async def refused_when_awaited(call: Callable[[], Any], name: str, saw: str) -> None:
    with pytest.raises(OptionError) as caught:
        await call()
    assert str(caught.value).startswith(f"{name}: ")
    assert saw in str(caught.value)


@pytest.mark.parametrize("timeout", TIMEOUTS, ids=short)
def test_a_timeout_of_a_client(run_async: Any, timeout: Any) -> None:
    with fourtuple.serve_in_thread(replies()) as server:
        with fourtuple.blocking.Client(server.address, "line") as client:
            for call in (
                lambda: client.request(b"x", timeout),
                lambda: client.wait_ready(timeout),
                lambda: client.drain(timeout),
            ):
                refused(call, "timeout", EXPECTED[timeout in HUGE])
            assert client.request(b"x") == b"x"

        async def main() -> None:
            async with fourtuple.Client(server.address, "line") as client:
                for call in (
                    lambda: client.request(b"x", timeout),
                    lambda: client.wait_ready(timeout),
                    lambda: client.drain(timeout),
                ):
                    await refused_when_awaited(call, "timeout", EXPECTED[timeout in HUGE])
                assert await client.request(b"x") == b"x"

        run_async(main())


@pytest.mark.parametrize("seconds", HUGE, ids=short)
def test_seconds_that_no_clock_holds(run_async: Any, seconds: Any) -> None:
    told = f"expected no more than {LARGEST}, got 1"

    async def main() -> None:
        async with Server(replies()) as server, async_client.connect(server.address, "line") as connection:
            refused(lambda: connection.later(seconds, print), "seconds", told)
            refused(lambda: connection.every(seconds, print), "seconds", told)
            refused(lambda: Alarm(1, interval=seconds), "interval", told)
            refused(lambda: watching(server, seconds=seconds).__enter__(), "seconds", told)
            refused(lambda: watching(server, seconds=0).__enter__(), "seconds", "expected more than 0, got 0")

    run_async(main())


RAW: list[tuple[str, tuple[Any, ...], str, str]] = [
    ("receive_exactly", ("5",), "size", "expected a whole number of octets, not negative, got '5'"),
    ("receive_exactly", (-1,), "size", "got -1"),
    ("receive_exactly", (True,), "size", "got True"),
    ("receive_exactly", (1.0,), "size", "got 1.0"),
    ("receive_until", ("\n", 9), "separator", r"expected at least one octet (bytes), got '\n'"),
    ("receive_until", (b"", 9), "separator", "got b''"),
    ("receive_until", (b"\n", 0), "max_octets", "expected a whole number of octets, 1 or more, got 0"),
    ("receive_until", (b"\n", None), "max_octets", "got None"),
    ("receive_some", (0,), "max_octets", "got 0"),
    ("receive_some", ("9",), "max_octets", "got '9'"),
    ("unread", ("text",), "octets", "expected bytes, bytearray or memoryview, got 'text'"),
    ("unread", (5,), "octets", "got 5"),
]


@pytest.mark.parametrize(("method", "arguments", "name", "told"), RAW)
def test_the_raw_family(run_async: Any, method: str, arguments: tuple[Any, ...], name: str, told: str) -> None:
    one, other = memory_pair("line")
    with one, other:
        other.send(b"x")
        refused(lambda: getattr(one, method)(*arguments), name, told)
        assert one.receive(timeout=5) == b"x"

    async def main() -> None:
        async with Server(replies()) as server, async_client.connect(server.address, "line") as connection:

            async def call() -> None:
                got = getattr(connection, method)(*arguments)
                await got

            await refused_when_awaited(call, name, told)
            assert await connection.request(b"x") == b"x"

    run_async(main())


def test_of_start_tls(run_async: Any) -> None:
    async def main() -> None:
        async with Server(replies()) as server, async_client.connect(server.address, "line") as connection:
            for options, name in (
                ({"tls": "yes"}, "tls"),
                ({"tls": {"verify": "none"}}, "tls"),
                ({"tls": ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)}, "tls"),
                ({"server_hostname": 5}, "server_hostname"),
            ):
                refused(lambda options=options: connection.start_tls(**options), name, "expected ")
            refused(
                lambda: server.broadcast(b"x", to=5),
                "to",
                "expected connections, or a function that tells which, got 5",
            )  # type: ignore[arg-type]
            refused(lambda: server.find(5), "name", "expected str, FourTuple or UnixName, got 5")  # type: ignore[arg-type]
            refused(lambda: server.change_limits(max_conections=3), "max_conections", "did you mean max_connections?")
            refused(lambda: server.change_limits(max_connections="3"), "max_connections", "got '3'")
            assert await connection.request(b"x") == b"x"
            assert server.limits == Limits()

    run_async(main())


def test_wait_for_what_is_no_connection() -> None:
    refused(lambda: wait([5]), "connections", "expected BlockingConnection, got 5")  # type: ignore[list-item]


async def slow(message: bytes) -> bytes:
    return message


async def lifespan() -> AsyncIterator[None]:
    yield


@pytest.mark.parametrize(
    ("hook", "function"),
    [
        ("opened", lambda connection: None),
        ("closed", lambda connection: None),
        ("failed", lambda error, connection: None),
        ("unmapped", lambda message, connection: None),
        ("goodbye", lambda connection: None),
        ("goodbye", b"bye"),
        ("lifespan", lifespan),
    ],
)
def test_a_second_hook_of_a_kind_is_refused_and_the_first_one_stays(hook: str, function: Any) -> None:
    service = Service("line")
    getattr(service, hook)(function)
    before = vars(service).copy()
    with pytest.raises(ServiceError, match=rf"^{hook}: .* is registered already, .* cannot be added"):
        getattr(service, hook)(function)
    assert vars(service) == before


@pytest.mark.parametrize(
    ("call", "name", "told"),
    [
        (
            lambda s: s.reply(concurrency="8")(slow),
            "concurrency",
            "expected a whole number of messages, 1 or more, got '8'",
        ),
        (lambda s: s.reply(concurrency=0)(slow), "concurrency", "got 0"),
        (lambda s: s.reply(concurrency=10_001)(slow), "concurrency", "expected at most 10,000 messages at once"),
        (lambda s: s.reply(concurrency=True)(slow), "concurrency", "got True"),
        (lambda s: s.reply(concurrency=2.0)(slow), "concurrency", "got 2.0"),
        (lambda s: s.reply(concurrency=None)(slow), "concurrency", "got None"),
        (lambda s: s.reply(threads="yes"), "threads", "expected True or False, got 'yes'"),
        (lambda s: s.reply(threads=1), "threads", "got 1"),
        (lambda s: s.reply(cancel_on_lost="no"), "cancel_on_lost", "got 'no'"),
        (lambda s: s.reply("handler"), "reply", "expected a function, got 'handler'"),
        (lambda s: s.conversation(5), "conversation", "expected a function, got 5"),
        (lambda s: s.conversation(speaks_first=1), "speaks_first", "expected True or False, got 1"),
        (lambda s: s.conversation(cancel_on_lost=0), "cancel_on_lost", "got 0"),
        (lambda s: s.opened(b"220 hello"), "opened", "expected a function, got b'220 hello'"),
        (lambda s: s.closed(None), "closed", "got None"),
        (lambda s: s.failed("sorry"), "failed", "got 'sorry'"),
        (lambda s: s.unmapped("skip"), "unmapped", "got 'skip'"),
        (lambda s: s.program("cat", 5), "program", "expected str, got 5"),
    ],
)
def test_a_service_refuses_declarations_that_cannot_work(call: Callable[[Service], Any], name: str, told: str) -> None:
    service = Service("line")
    refused(lambda: call(service), name, told, ServiceError)
    assert service.handler is None


def test_more_of_a_service() -> None:
    refused(lambda: Service("line", name=5), "name", "expected str or None, got 5")  # type: ignore[arg-type]
    refused(lambda: Service("line", silent_peers="yes"), "silent_peers", "got 'yes'")  # type: ignore[arg-type]
    with pytest.raises(FramingTextError, match=r"there is no 'lines'; did you mean line\?"):
        Service("lines")
    with pytest.raises(FramingTextError, match=r"there is no 'lin'; did you mean line\? There are cobs, "):
        Service("lin")
    with pytest.raises(FramingTextError, match=r"there is no 'zzz'; there are cobs, "):
        Service("zzz")
    with pytest.raises(FramingTextError, match=r"'max_mesage=5' is not an option of line; did you mean max_message\?"):
        parse_framing("line,max_mesage=5")


@pytest.mark.parametrize(("kind", "written"), [(Line, r"Line\(\)"), (Fixed, r"Fixed\(\.\.\.\)")])
def test_a_framing_s_class_is_no_framing(kind: Any, written: str) -> None:
    text = rf"cannot read framing '{kind.__name__}': it is a class; write {written}$"
    with pytest.raises(FramingTextError, match=text):
        Service(kind)


SWITCHES = [
    (kind, field.name)
    for kind in (Line, Delimited, Length, Varint, Resp, Marked, Mllp, StxEtx)
    for field in dataclasses.fields(kind)
    if field.type == "bool"
]
NEEDED: dict[Any, dict[str, Any]] = {Marked: {"start": b"<", "end": b">"}, Delimited: {"delimiters": (b"#",)}}


@pytest.mark.parametrize(("kind", "name"), SWITCHES, ids=lambda each: getattr(each, "__name__", each))
@pytest.mark.parametrize("value", ["off", "yes", 0, 1, None, b""], ids=repr)
def test_a_switch_of_a_framing(kind: Any, name: str, value: Any) -> None:
    """``inline="off"`` would be on: what is not empty is true."""
    with pytest.raises(OptionError, match=f"{name} is {re.escape(repr(value))}, it must be True or False"):
        kind(**NEEDED.get(kind, {}), **{name: value})


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Length(2, lead="ab", offset=2), "length: lead is 'ab', it must be bytes"),  # type: ignore[arg-type]
        (lambda: Length(2, lead=5, offset=2), "length: lead is 5, it must be bytes"),  # type: ignore[arg-type]
        (lambda: custom(lambda buffer, seen: None, name=5), "custom: name is 5, it must be text"),  # type: ignore[arg-type]
        (lambda: Gap("1"), "gap: gap_timeout is '1' seconds, it must be above 0 and below 3600"),  # type: ignore[arg-type]
        (lambda: Gap(math.nan), "gap: gap_timeout is nan seconds, it must be above 0"),
        (lambda: Line("crl"), "line: ending is 'crl', it must be one of any, lf, crlf, cr, net; did you mean crlf?"),  # type: ignore[arg-type]
        (lambda: Line(5), "line: ending is 5, it must be one of any, lf, crlf"),  # type: ignore[arg-type]
        (lambda: Line([]), "line: ending is [] (list), it must be one of any, lf, crlf"),  # type: ignore[arg-type]
    ],
)
def test_a_framing_refuses_arguments_that_cannot_work(make: Callable[[], Any], told: str) -> None:
    with pytest.raises(OptionError, match=re.escape(told)):
        make()


@pytest.mark.parametrize(
    ("options", "name", "told"),
    [
        ({"threshold": "5"}, "threshold", "expected a whole number, 1 or more, got '5'"),
        ({"threshold": 0}, "threshold", "got 0"),
        ({"threshold": True}, "threshold", "got True"),
        ({"threshold": 5, "gauge": "thread"}, "gauge", "did you mean threads?"),
        ({"threshold": 5, "gauge": None}, "gauge", "got None"),
        ({"threshold": 5, "interval": "1"}, "interval", "expected a number of seconds, got '1'"),
        ({"threshold": 5, "interval": 0}, "interval", "expected more than 0, got 0 seconds"),
        ({"threshold": 5, "interval": math.nan}, "interval", "got nan"),
        ({"threshold": 5, "callback": "page"}, "callback", "expected a function or None, got 'page'"),
    ],
)
def test_an_alarm_refuses_options_that_cannot_work(options: dict[str, Any], name: str, told: str) -> None:
    refused(lambda: Alarm(**options), name, told)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"loop": "uvloop"}, "loop"),
        ({"readiness": "epoll"}, "readiness"),
        ({"clock": 5.0}, "clock"),
        ({"turn_events": 0}, "turn_events"),
        ({"turn_seconds": "1"}, "turn_seconds"),
        ({"slow_seconds": -1}, "slow_seconds"),
        ({"sweep_seconds": math.inf}, "sweep_seconds"),
    ],
)
def test_an_engine_refuses_options_that_cannot_work(run_async: Any, options: dict[str, Any], name: str) -> None:
    async def main() -> None:
        refused(lambda: Engine(**options), name, "expected ")

    run_async(main())


# -- variables, files, flags ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("FOURTUPLE_MAX_CONECTIONS", "; did you mean FOURTUPLE_MAX_CONNECTIONS?"),
        ("FOURTUPLE_CERTIFICATE", "; did you mean FOURTUPLE_TLS_CERTIFICATE?"),
        ("FOURTUPLE_XYZZY", ""),
        ("FOURTUPLE_", ""),
    ],
)
def test_an_unknown_variable(variable: str, hint: str) -> None:
    with pytest.raises(OptionError, match=f"^{variable}: there is no such option{re.escape(hint)}$"):
        configure(environment={variable: "3"})


def test_variables_of_other_programs_are_ignored() -> None:
    theirs = {
        "FOURTUPLE_SERVICE_HOST": "10.0.0.1",
        "FOURTUPLE_SERVICE_PORT": "9999",
        "FOURTUPLE_SERVICE_PORT_TCP": "9999",
        "FOURTUPLE_PORT": "tcp://10.0.0.1:9999",
        "FOURTUPLE_PORT_9999_TCP": "tcp://10.0.0.1:9999",
        "FOURTUPLE_PORT_9999_TCP_ADDR": "10.0.0.1",
        "FOURTUPLE_C": "off",
        "FOURTUPLES": "x",
        "MAX_CONNECTIONS": "3",
    }
    assert configure(environment=theirs) == configure()


def test_an_unknown_flag() -> None:
    with pytest.raises(OptionError, match=r"^max_conections: there is no such option; did you mean max_connections\?$"):
        configure({"max_conections": "3"})


@pytest.mark.parametrize("each", [each for each in EVERYTHING if each.family in TABLES], ids=lambda each: each.name)
def test_what_is_typed_in_toml(each: Declared, tmp_path: Any) -> None:
    kind = kind_of(each.annotation)
    values = {
        "int": ["1.5", "true", "[1]", "-1", "1979-05-27", "{a = 1}", "'many'", "'-1'", "nan"],
        "float": ["true", "[1]", "-1", "1979-05-27T07:32:00Z", "'soon'", "'nan'", "inf", "'-inf'"],
        "bool": ["0", "1", "1.0", "[]", "'maybe'"],
        "str": ["1", "1.5", "true", "['10.0.0.0/8', '192.0.2.7']", "{a = 'b'}"],
    }[kind]
    table = TABLES[each.family]
    file = tmp_path / "fourtuple.toml"
    for value in values:
        file.write_text(f"[{table}]\n{each.name} = {value}\n")
        with pytest.raises(OptionError) as caught:
            configure(file=file)
        text = str(caught.value)
        assert text.startswith(f"{file}: [{table}] {each.name}: "), text
        assert ": expected " in text or "cannot read " in text


async def not_awaited(*_arguments: object) -> None:
    """Called as a plain function, this would never run."""


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("on_start", lambda: run(replies(), on_start=not_awaited)),
        ("observer", lambda: Server(replies(), observer=not_awaited)),
        ("tap", lambda: Server(replies(), tap=not_awaited)),
        ("callback", lambda: Alarm(1, callback=not_awaited)),
        ("on_row", lambda: run_load("127.0.0.1:1", "line", on_row=not_awaited)),
    ],
)
def test_an_async_function_that_would_not_be_awaited(name: str, call: Callable[[], Any]) -> None:
    with pytest.raises(
        OptionError, match=f"^{name}: .*not_awaited is an async def, which is not awaited: expected a plain def"
    ):
        call()


def test_a_function_that_cannot_be_called_as_meant() -> None:
    with pytest.raises(OptionError, match=r"on_start: .* takes 0 arguments; expected a function of \(server\)"):
        run(replies(), on_start=lambda: None)  # type: ignore[arg-type, misc]
