"""The options as keyword arguments, which type checkers read, are the options that there are."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import pytest

import fourtuple.blocking.client
import fourtuple.client
from fourtuple.connect_options import Connect, ConnectOptions
from fourtuple.options import FAMILIES, Options, Pool, Pushes, Reconnect, Retries, changes
from fourtuple.server import Server
from fourtuple.serving.run import ServerOptions, run, serve_in_thread
from fourtuple.testing.plugin import ThreadOptions


def typed(keywords: Any) -> dict[str, str]:
    """Their names, and the types as they are written."""
    return {name: kind.__forward_arg__ for name, kind in keywords.__annotations__.items()}


def keywords_of(function: Callable[..., Any]) -> dict[str, str]:
    parameters = inspect.signature(function).parameters.values()
    return {each.name: str(each.annotation) for each in parameters if each.kind is each.KEYWORD_ONLY}


@pytest.mark.parametrize("family", [*FAMILIES, Reconnect, Pool, Retries, Pushes])
def test_the_changes_of_a_family_are_its_fields(family: type[Options]) -> None:
    keywords = getattr(changes, f"{family.__name__}Changes")
    assert typed(keywords) == {field.name: str(field.type) for field in dataclasses.fields(family)}
    assert not keywords.__required_keys__


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


@pytest.mark.parametrize("connect", [fourtuple.blocking.client.connect, fourtuple.client.connect])
def test_the_options_of_connect(connect: Callable[..., Any]) -> None:
    fields = {field.name: str(field.type) for field in dataclasses.fields(Connect)}
    assert typed(ConnectOptions) == keywords_of(connect) == fields
    assert not ConnectOptions.__required_keys__
    for name in fields:
        assert f"\n{name}\n    " in inspect.getdoc(connect)
