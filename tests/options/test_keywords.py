"""The options as keyword arguments, which type checkers read, are the options that there are."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

import fourtuple.blocking.opening
import fourtuple.client
from fourtuple.client.options import ClientOptions, Connect, ConnectOptions
from fourtuple.errors import OptionError
from fourtuple.load import Load
from fourtuple.options import FAMILIES, Options, Pool, Proxy, Pushes, Reconnect, Retries, Tls, changes
from fourtuple.options.checking import choices_of
from fourtuple.server import Server
from fourtuple.serving.in_thread import serve_in_thread
from fourtuple.serving.run import ServerOptions, run
from fourtuple.testing.fixture_types import ThreadOptions


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
