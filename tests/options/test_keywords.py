"""The options as keyword arguments, which type checkers read, are the options that there are."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

import fourtuple.blocking.opening
import fourtuple.client
from fourtuple import Alarm, Endpoint, Service, adapters, framing, load, testing, watching
from fourtuple.client.options import ClientOptions, Connect, ConnectOptions
from fourtuple.errors import FourTupleError, OptionError, ServiceError
from fourtuple.load import Load
from fourtuple.operations import Operator, Telemetry
from fourtuple.options import FAMILIES, Options, Pool, Proxy, Pushes, Reconnect, Retries, Tls, changes
from fourtuple.options.checking import choices_of
from fourtuple.server import Server
from fourtuple.serving.in_thread import serve_in_thread
from fourtuple.serving.run import ServerOptions, run
from fourtuple.testing.fixture_types import ThreadOptions
from fourtuple.testing.fuzz import fuzz


def typed(keywords: Any) -> dict[str, str]:
    """Their names, and the types as they are written."""
    return {name: kind.__forward_arg__ for name, kind in keywords.__annotations__.items()}


def choices(family: type[Options]) -> dict[str, tuple[str, ...]]:
    """The options that are one of several texts."""
    kinds = get_type_hints(family)
    return {
        field.name: get_args(kinds[field.name])
        for field in dataclasses.fields(family)
        if get_origin(kinds[field.name]) is Literal
    }


def keywords_of(function: Callable[..., Any]) -> dict[str, str]:
    parameters = inspect.signature(function).parameters.values()
    return {each.name: str(each.annotation) for each in parameters if each.kind is each.KEYWORD_ONLY}


@pytest.mark.parametrize("family", [*FAMILIES, Reconnect, Pool, Retries, Pushes])
def test_the_changes_of_a_family_are_its_fields(family: type[Options]) -> None:
    keywords = getattr(changes, f"{family.__name__}Changes")
    assert typed(keywords) == {field.name: str(field.type) for field in dataclasses.fields(family)}
    assert not keywords.__required_keys__


@pytest.mark.parametrize("family", [Tls, Proxy, Pushes, Load])
def test_a_checker_and_the_runtime_know_the_same_texts(family: type[Options]) -> None:
    assert choices(family)
    for name, texts in choices(family).items():
        assert choices_of(str(family.__dataclass_fields__[name].type)) == [*texts]
        for text in texts:
            assert getattr(family(**{name: text}), name) == text
        with pytest.raises(OptionError, match=rf"^{name}"):
            family(**{name: f"{texts[0]}x"})


def test_the_options_of_a_server() -> None:
    # A TypedDict says what may be left out by being total=False, a parameter by its default.
    assert typed(ServerOptions) == keywords_of(Server.__init__)
    assert not ServerOptions.__required_keys__


def test_the_options_of_a_server_in_a_thread() -> None:
    own = {
        name: kind for name, kind in keywords_of(serve_in_thread).items() if name not in ServerOptions.__annotations__
    }
    assert typed(ThreadOptions) == typed(ServerOptions) | own
    assert keywords_of(run).keys() - own.keys() == {"on_start"}


@pytest.mark.parametrize("connect", [fourtuple.blocking.opening.connect, fourtuple.client.connect])
def test_the_options_of_connect(connect: Callable[..., Any]) -> None:
    fields = {field.name: str(field.type) for field in dataclasses.fields(Connect)}
    assert typed(ConnectOptions) == keywords_of(connect) == fields
    assert not ConnectOptions.__required_keys__
    assert typed(ClientOptions) == {name: kind for name, kind in fields.items() if name != "reconnect"}
    for name in fields:
        assert f"\n{name}\n    " in inspect.getdoc(connect)


#: Where a misspelled option gets its hint. Calls with a ``timeout`` alone, and rooms below the options, have Python's
#: TypeError, which names the call and the option.
TAKE_OPTIONS: list[tuple[Callable[..., Any], str, str]] = [
    (Server, "limit", "limits"),
    (Server.dial, "local_adress", "local_address"),
    (Server.broadcast, "slowly", "slow"),
    (Endpoint, "limit", "limits"),
    (Service, "lifespam", "lifespan"),
    (Service.reply, "thread", "threads"),
    (Service.replies, "cancel_on_loss", "cancel_on_lost"),
    (Service.conversation, "speak_first", "speaks_first"),
    (Alarm, "gauges", "gauge"),
    (watching, "second", "seconds"),
    (Operator, "registries", "registry"),
    (Telemetry, "trace_provider", "tracer_provider"),
    (adapters.install, "limit", "limits"),
    (adapters.protocol, "silent_peer", "silent_peers"),
    (adapters.streams, "limits", "limit"),
    (adapters.socketserver, "names", "name"),
    (load.run, "message", "messages"),
    (load.Run, "message", "messages"),
    (framing.Line, "max_mesage", "max_message"),
    (framing.Custom, "encode", "encoder"),
    (framing.custom, "encod", "encode"),
    (framing.checked, "sizes", "size"),
    (framing.feed_parser, "max_mesage", "max_message"),
    (framing.event_parser, "encod", "encode"),
    (framing.headed, "max_mesage", "max_message"),
    (framing.msgspec_mapping, "formats", "format"),
    (framing.Mapping, "texts", "text"),
    (framing.u8, "max_mesage", "max_message"),
    (framing.u64, "byte_order", "byteorder"),
    (testing.MemoryService, "mayraise", "may_raise"),
    (testing.MemoryService.connect, "cuts", "cut"),
    (testing.memory_pair, "cuts", "cut"),
    (testing.async_memory_pair, "far_frame", "far_framing"),
    (testing.Toxic, "up_stream", "upstream"),
    (testing.Toxics, "latencies", "latency"),
    (testing.Vector, "message", "messages"),
    (testing.drive, "limits", "limit"),
    (testing.check_framing, "texts", "text"),
    (fuzz, "case", "cases"),
]


@pytest.mark.parametrize(("call", "given", "meant"), TAKE_OPTIONS, ids=[each[0].__qualname__ for each in TAKE_OPTIONS])
def test_a_misspelled_option_is_suggested(call: Callable[..., Any], given: str, meant: str) -> None:
    with pytest.raises(FourTupleError) as raised:
        call(**{given: None})
    assert type(raised.value) is (ServiceError if call.__qualname__.startswith("Service.") else OptionError)
    assert str(raised.value) == f"{given}: there is no such option of {call.__qualname__}; did you mean {meant}?"


def test_a_framing_of_one_s_own() -> None:
    @dataclasses.dataclass(frozen=True)
    class Own(framing.Line):
        marker: bytes = b""

    assert Own(marker=b"x").marker == b"x"
    with pytest.raises(OptionError, match=r"markers: there is no such option of Own; did you mean marker\?"):
        Own(markers=b"x")  # type: ignore[call-arg]


def test_an_option_of_another_family() -> None:
    with pytest.raises(ServiceError, match=r"no such option of Service\.reply; it is an option of Limits"):
        Service("line").reply(max_connections=5)  # type: ignore[call-overload]
