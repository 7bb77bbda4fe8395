"""The peers of the storm: sockets that know nothing of us but the framings, on a loop of their own."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import struct
from contextlib import suppress
from dataclasses import dataclass, field

from fourtuple.errors import MessageError
from fourtuple.four_tuple import FourTuple
from fourtuple.proxy import ProxyHeader
from storm.plan import Peer, Round
from storm.words import BY_TEXT, CHANGE

#: A peer gives up after so many seconds: the server has hung.
PATIENCE = 30.0


@dataclass
class Came:
    """What a peer got."""

    peer: Peer
    name: FourTuple | None = None
    messages: list[bytes] = field(default_factory=list)
    #: ``eof``, ``reset``, ``left`` (it went itself), ``refused``, ``hung``, ``tls``.
    end: str = ""
    #: What was wrong with what it got.
    wrong: str = ""
    #: Octets behind the last whole message.
    rest: int = 0
    #: Messages that were sent whole.
    sent: int = 0


class Wire:
    """A socket, with TLS once it is begun."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._tls: ssl.SSLObject | None = None
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()

    async def send(self, octets: bytes) -> None:
        if self._tls is not None:
            self._tls.write(octets)
            octets = self._out.read()
        await asyncio.get_running_loop().sock_sendall(self.sock, octets)

    async def receive(self, most: int = 65536) -> bytes:
        """Some octets; none at the end of file."""
        loop = asyncio.get_running_loop()
        while True:
            if self._tls is None:
                return await loop.sock_recv(self.sock, most)
            try:
                return self._tls.read(most)
            except ssl.SSLWantReadError:
                octets = await loop.sock_recv(self.sock, 65536)
                if not octets:
                    return b""  # without close_notify: what came decides whether something is wanting
                self._in.write(octets)
            except ssl.SSLZeroReturnError:
                return b""

    async def start_tls(self, context: ssl.SSLContext) -> None:
        self._tls = context.wrap_bio(self._in, self._out, server_hostname="localhost")
        loop = asyncio.get_running_loop()
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await loop.sock_sendall(self.sock, self._out.read())
                octets = await loop.sock_recv(self.sock, 65536)
                if not octets:
                    raise ConnectionResetError("the end of file in the handshake") from None
                self._in.write(octets)
                continue
            await loop.sock_sendall(self.sock, self._out.read())
            return

    async def finish(self, notifies: bool) -> None:
        if self._tls is not None and notifies:
            with suppress(ssl.SSLError):
                self._tls.unwrap()
            await asyncio.get_running_loop().sock_sendall(self.sock, self._out.read())
        self.sock.shutdown(socket.SHUT_WR)


class Running:
    """One peer at work: what it sends, and beside it what it reads."""

    def __init__(self, peer: Peer, round_: Round, address: tuple[str, int], context: ssl.SSLContext) -> None:
        self.peer = peer
        self.round = round_
        self.came = Came(peer)
        self._address = address
        self._context = context
        self._dice = random.Random(round_.seed * 1000 + peer.number)
        self._changed, self._resumed = asyncio.Event(), asyncio.Event()

    async def run(self) -> Came:
        await asyncio.sleep(self.peer.begins)
        sock = socket.socket()
        sock.setblocking(False)
        if self.peer.reading != "prompt":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        try:
            async with asyncio.timeout(PATIENCE):
                await self._talk(sock)
        except TimeoutError:
            self.came.end = "hung"
        except ssl.SSLError as error:
            self.came.end = f"tls {error.reason}"
        except OSError:
            self.came.end = self.came.end or "reset"
        finally:
            if self.peer.ending == "reset":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
        return self.came

    async def _talk(self, sock: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().sock_connect(sock, self._address)
        except OSError:
            self.came.end = "refused"
            return
        self.came.name = FourTuple(*self._address, *sock.getsockname())
        wire = Wire(sock)
        await self._introduce(wire)
        if self.peer.tls and not await self._shakes_hands(wire):
            return
        reading, writing = asyncio.ensure_future(self._read(wire)), asyncio.ensure_future(self._write(wire))
        try:
            await asyncio.wait({reading, writing}, return_when=asyncio.FIRST_COMPLETED)
            if writing.done() and not (writing.exception() is None and writing.result()):
                # What the server said before it went may still be there.
                await asyncio.wait({reading})
            if reading.done():
                reading.result()
                if self.came.end == "eof" and writing.done() and writing.exception() is not None:
                    self.came.end = "reset"  # the kernel tells of a reset once, and whoever wrote heard it
            elif writing.done() and writing.exception() is None:
                self.came.end = "left"
        finally:
            for task in (reading, writing):
                task.cancel()
            await asyncio.wait({reading, writing})
            for task in (reading, writing):
                task.cancelled() or task.exception()

    async def _shakes_hands(self, wire: Wire) -> bool:
        """Make the handshake, or what the peer does in its place: return whether there is a conversation then."""
        if self.peer.handshake == "proper":
            await wire.start_tls(self._context)
            return True
        await wire.send(b"plain octets\n" if self.peer.handshake == "plain" else b"\x16\x03\x01\x02\x00\x01\x00")
        while await wire.receive():
            pass
        self.came.end = "no handshake"
        return False

    async def _introduce(self, wire: Wire) -> None:
        how = self.peer.proxy
        if not how or how == "none":
            return
        if how == "garbage":
            await wire.send(self._dice.choice((b"PROXY TCP4 lies\r\n", b"\r\n\r\n\0\r\nQUIT\n garbage", b"PRO")))
            return
        assert self.came.name is not None
        name = FourTuple("192.0.2.1", 443, f"198.51.100.{self.peer.number}", 1024 + self.round.seed % 60_000)
        if how == "local":
            header = ProxyHeader(None, 2)
        else:
            header = ProxyHeader(name, 1 if how == "v1" else 2)
            self.came.name = name
        await wire.send(header.encode())

    # -- out ------------------------------------------------------------------------------------------------

    async def _write(self, wire: Wire) -> bool:
        """Send all; return whether the peer has left."""
        peer, way = self.peer, self.round.way
        held = bytearray(peer.head)
        for position, ask in enumerate(peer.asks):
            if peer.ending in ("close", "reset") and position == peer.leaves_behind:
                await self._put(wire, bytes(held[: self._dice.randrange(len(held) + 1)]))
                return True
            held += way.framing.encode(way.pack(ask.octets)) + ask.raw
            if ask.change.startswith("framing "):
                way = BY_TEXT[ask.change.removeprefix("framing ")]
            if ask.change == "tls":
                await self._put(wire, bytes(held))
                held.clear()
                self.came.sent = position + 1
                await self._changed.wait()
                try:
                    await wire.start_tls(self._context)
                finally:
                    self._changed.clear()
                    self._resumed.set()  # where the handshake failed, the reader sees the end
        held += peer.tail
        await self._put(wire, bytes(held))
        self.came.sent = len(peer.asks)
        if peer.ending in ("close", "reset"):
            if self._dice.random() < 0.5:
                await asyncio.sleep(self._dice.choice((0, 0.01, 0.1)))
            return True
        if peer.ending == "after":
            await wire.finish(self.peer.notifies)
        return False

    async def _put(self, wire: Wire, octets: bytes) -> None:
        size = self.peer.piece or len(octets) or 1
        if len(octets) > 2000 * size:
            size = len(octets) // 2000  # a round is not to take forever
        for at in range(0, len(octets), size):
            await wire.send(octets[at : at + size])
            if self.peer.pause and self._dice.random() < 0.05:
                await asyncio.sleep(self.peer.pause)

    # -- in -------------------------------------------------------------------------------------------------

    async def _read(self, wire: Wire) -> None:
        """Read to the end; what is not a whole message, or none at all, is told in the end."""
        way = self.round.way
        decoder = way.framing.reference()
        changes = [ask.change for ask in self.peer.asks if ask.change]
        while octets := await self._some(wire):
            while True:
                try:
                    messages = decoder.feed(octets, 1)
                except MessageError as error:
                    self.came.wrong, self.came.end = f"{way.text}: {error}", "wrong"
                    return
                octets = b""
                if not messages:
                    break
                message = way.unpack(messages[0])
                if not message.startswith(CHANGE):
                    self.came.messages.append(message)
                    continue
                octets, change = decoder.take(), changes.pop(0)
                if change == "tls":
                    self._changed.set()
                    await self._resumed.wait()
                    self._resumed.clear()
                    octets = b""  # a server that sends plain octets behind its word would show in the handshake
                else:
                    way = BY_TEXT[change.removeprefix("framing ")]
                    decoder = way.framing.reference()
        self.came.end = "eof"
        self.came.rest = len(decoder.take().strip())

    async def _some(self, wire: Wire) -> bytes:
        if self.peer.reading == "never":
            await asyncio.sleep(0.5)
            self.peer.reading = "slow"
        if self.peer.reading == "slow":
            await asyncio.sleep(0.001)
        return await wire.receive(65536 if self.peer.reading == "prompt" else 3000)
