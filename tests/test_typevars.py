"""Generic classes at run time: subscripted with any number of types, at no price."""

from __future__ import annotations

import subprocess
import sys
import typing
from typing import Any

import pytest

from fourtuple import BlockingConnection, Connection, Server, Service
from fourtuple.connection.info import ConnectionInfo
from fourtuple.framing import Decoder, Fixed, Framing, Mapped, Mapping, Switch
from fourtuple.service import ReplyAndClose
from fourtuple.typevars import Generic

GENERIC = [
    *(BlockingConnection, Connection, ConnectionInfo, Decoder, Framing, Mapped, Mapping, ReplyAndClose, Server),
    *(Service, Switch),
]


@pytest.mark.parametrize("kind", GENERIC)
def test_a_generic_class_takes_any_number_of_types(kind: Any) -> None:
    for types in ((bytes,), (bytes, bytes), (bytes, bytes, int, str)):
        assert typing.get_origin(kind[types]) is kind
        assert typing.get_args(kind[types]) == types
    assert typing.get_args(kind[bytes, bytes] | None) == (kind[bytes, bytes], type(None))


def test_annotations_can_be_evaluated() -> None:
    def handler(message: bytes, connection: Connection[bytes, bytes]) -> Framing[bytes, bytes] | None: ...

    hints = typing.get_type_hints(handler)
    assert hints["connection"] == Connection[bytes, bytes]


def test_a_generic_framing_of_ones_own() -> None:
    value = typing.TypeVar("value")

    class Own(Framing[value, value], typing.Generic[value]):
        word = "own"

        def decoder(self) -> Decoder[Any]:
            raise NotImplementedError

        def encode(self, message: Any) -> bytes:
            return bytes(message)

    assert typing.get_origin(Own[int]) is Own
    assert Own[int]().encode(b"x") == b"x"
    assert Service[bytes, bytes](Fixed(3)).framing == Fixed(3)


@pytest.mark.parametrize("kind", [Connection, BlockingConnection, Decoder, ReplyAndClose])
def test_connections_have_no_dict_for_being_generic(kind: type[Any]) -> None:
    assert Generic in kind.__mro__
    assert typing.Generic not in kind.__mro__
    assert not kind.__dictoffset__


def test_subscripting_needs_no_package() -> None:
    code = (
        "import sys; sys.modules['typing_extensions'] = None\n"
        "from fourtuple import *; import fourtuple.testing, fourtuple.client, fourtuple.options.changes\n"
        "print('fourtuple.options.changes' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")
