"""TLS in the turn in C and in Python: one script, two servers, and nobody can tell from outside which is which.

The peers are those of ``handlers/crowds.py``, over TLS: a record for each piece, and the wire cut at other places.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from functools import cache
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from certificates import serving_context, trusting
from conftest import RunAsync
from fourtuple import fast_path
from handlers.crowds import FRAMINGS, KINDS, WORDS, Speaker, both_played, each_once, pieces_of

pytestmark = pytest.mark.slow  # a sweep

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
ENDS = ["finish", "reset", "stay", "close_notify", "close_notify and stay", "noise", "half a record"]
#: Each peer: words, where they are cut into records, its end, and how many octets of the wire come with the next ones.
scripts = st.lists(
    st.tuples(
        st.lists(st.sampled_from(WORDS), max_size=9),
        st.lists(st.integers(0, 80), max_size=3),
        st.sampled_from(ENDS),
        st.sampled_from([0, 0, 0, 1, 4, 30, 100]),
    ),
    min_size=1,
    max_size=18,  # more than are received from in one stage
)


@cache
def contexts(version: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    server, client = serving_context(), trusting()
    client.minimum_version = client.maximum_version = VERSIONS[version]
    return server, client


class Secure(Speaker):
    """A peer that speaks TLS. What its session tells it is in the octets that it hears, in angle brackets."""

    knows_size = False
    context: ClassVar[ssl.SSLContext]
    lags: ClassVar[list[int]]

    async def begin(self) -> None:
        await super().begin()
        loop = asyncio.get_running_loop()
        self.lag = self.lags.pop(0)
        self.unsent = b""
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.session = self.context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        while True:
            try:
                self.session.do_handshake()
                break
            except ssl.SSLWantReadError:
                await loop.sock_sendall(self.socket, self.outgoing.read())
                flight = await loop.sock_recv(self.socket, 65536)
                self.received += len(flight)
                self.incoming.write(flight)
        await loop.sock_sendall(self.socket, self.outgoing.read())

    def say(self, piece: bytes) -> None:
        if piece:
            self.session.write(piece)
        wire = self.unsent + self.outgoing.read()
        kept = min(self.lag, len(wire))
        self.unsent = wire[len(wire) - kept :]
        self._put(wire[: len(wire) - kept])

    def _put(self, wire: bytes) -> None:
        if wire:
            self.socket.send(wire)

    def hear(self) -> bytes:
        wire = super().hear()
        if not wire:
            return b""
        self.incoming.write(wire)
        heard = b""
        try:
            while octets := self.session.read(65536):
                heard += octets
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            heard += b"<close_notify>"
        except ssl.SSLError as error:
            heard += f"<{error.reason}>".encode()
        return heard or self.hear()

    def end(self, how: str) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):
            last = b""
            if how.startswith("close_notify"):
                with suppress(ssl.SSLError):
                    self.session.unwrap()
                last = self.outgoing.read()
            elif how == "noise":
                last = b"\x17\x03\x03\x00\x20" + bytes(32)
            elif how == "half a record":
                self.session.write(b"half")
                last = self.outgoing.read()[:-1]
            # In one segment: whether the server reads it with what was held back must not depend on the machine.
            self._put(self.unsent + last)
            if how not in ("stay", "close_notify and stay"):
                self.finish()


@pytest.mark.skipif(fast_path.turn is None, reason="there is one turn only: the C is not built, or switched off")
@pytest.mark.parametrize(("kind", "framing"), each_once(KINDS, ["line", "varint"]))
@settings(
    max_examples=max(5, settings().max_examples // 10), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(script=scripts, small=st.booleans(), version=st.sampled_from(sorted(VERSIONS)))
@example(script=[([b"echo"] * 3, [], end, 0) for end in ENDS], small=False, version="1.3")
@example(script=[([b"cha", b"rai", b"not"], [], "finish", 1)], small=True, version="1.2")
@example(script=[([b"echo"] * 9, [7, 30], "close_notify", lag) for lag in (0, 1, 30, 100)], small=True, version="1.2")
def test_c_and_python_are_indistinguishable(
    run_async: RunAsync, readiness: str, kind: str, framing: str, version: str, script: list[Any], small: bool
) -> None:
    crowd = [(pieces_of(FRAMINGS[framing], each[:3]), each[2]) for each in script]
    server, client = contexts(version)

    class Ours(Secure):
        context = client
        lags = [each[3] for each in script] * 2  # two servers

    with_c, in_python = both_played(
        run_async, readiness, kind, FRAMINGS[framing], crowd, small=small, speaker=Ours, tls=server
    )
    assert with_c == in_python
