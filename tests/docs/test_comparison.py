"""What the comparison says of others is checked again where they are installed."""

from __future__ import annotations

import asyncio
import asyncio.streams
import inspect
import socketserver
from pathlib import Path

import pytest

from fourtuple import Deadlines
from fourtuple.options import DEFAULT_MAX_MESSAGE

PAGE = (Path(__file__).parents[2] / "docs" / "explanation" / "when-not.md").read_text()


def cells(row: str) -> dict[str, str]:
    """A row of the comparison, by the names in its head."""
    lines = [line.split("|")[1:-1] for line in PAGE.splitlines() if line.startswith("|")]
    head = next(line for line in lines if line[1].strip() == "fourtuple")
    found = next(line for line in lines if line[0].strip() == row)
    return {name.strip(): cell.strip() for name, cell in zip(head, found, strict=True)}


def test_our_own_cells() -> None:
    assert cells("default bound of a message")["fourtuple"] == f"{DEFAULT_MAX_MESSAGE >> 20} MiB"
    assert cells("stop that waits for work, in bounded time")["fourtuple"] == f"yes, {Deadlines().drain_timeout:g} s"
    silent = cells("default timeout for a silent peer")["fourtuple"]
    assert f"{Deadlines().first_message_timeout:g} s" in silent
    assert Deadlines().message_timeout == Deadlines().first_message_timeout


def test_the_standard_library() -> None:
    limit = inspect.signature(asyncio.start_server).parameters["limit"].default
    assert cells("default bound of a message")["asyncio"] == f"{limit >> 10} KiB"
    names = {*inspect.signature(asyncio.AbstractEventLoop.create_server).parameters}
    assert not {name for name in names if "max" in name or name in ("timeout", "idle_timeout")}
    assert (
        f"{socketserver.ForkingMixIn.max_children} processes" in cells("default limit of connections")["socketserver"]
    )
    assert socketserver.StreamRequestHandler.timeout is None
    assert socketserver.ThreadingMixIn.block_on_close


@pytest.mark.filterwarnings("ignore")
def test_anyio() -> None:
    buffered = pytest.importorskip("anyio.streams.buffered")
    parameters = inspect.signature(buffered.BufferedByteReceiveStream.receive_until).parameters
    assert parameters["max_bytes"].default is inspect.Parameter.empty
    assert cells("default bound of a message")["anyio"] == "you say it in each call"


@pytest.mark.filterwarnings("ignore")
def test_twisted() -> None:
    basic = pytest.importorskip("twisted.protocols.basic")
    bound = cells("default bound of a message")["Twisted"]
    assert bound == f"{basic.LineReceiver.MAX_LENGTH:,} or {basic.NetstringReceiver.MAX_LENGTH:,} octets"
    assert basic.Int32StringReceiver.MAX_LENGTH == basic.NetstringReceiver.MAX_LENGTH
    assert pytest.importorskip("twisted.protocols.policies").TimeoutMixin.timeOut is None
    pytest.importorskip("twisted.protocols.haproxy")
