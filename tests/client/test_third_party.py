"""The example clients, each with a server that we did not write, which goes away and comes back."""

from __future__ import annotations

import asyncio
import importlib.util
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from client.conftest import SECONDS
from conftest import absent
from fourtuple import Fate, Gap
from fourtuple.errors import FourTupleError, PermanentFailure

ROOT = Path(__file__).parents[2]
RunAsync = Callable[[Coroutine[Any, Any, Any]], Any]

pytestmark = pytest.mark.peers


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / "protocols" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# -- Redis ------------------------------------------------------------------------------------------------


@contextmanager
def redis_server(program: str, folder: Path, *options: str) -> Iterator[str]:
    """A server at a Unix socket: no port to guess."""
    path = folder / "redis.sock"
    path.unlink(missing_ok=True)
    command = [program, "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(folder), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if "ready to accept connections" in line.lower():
                    break
            else:
                raise AssertionError("redis-server has ended")
            threading.Thread(target=process.stdout.read).start()  # so that it never waits for its reader
            yield f"unix:{path}"
        finally:
            process.send_signal(signal.SIGKILL)


@pytest.fixture
def redis(require_program: Callable[[str], str]) -> str:
    return require_program("redis-server")


def test_redis(run_async: RunAsync, redis: str, tmp_path: Path) -> None:
    async def main() -> None:
        with redis_server(redis, tmp_path) as address:
            client = example("redis_client").Redis(address, b"news")
            async with client.client, client.client.pushes() as pushes:
                assert await client.command(b"SET", b"key", b"value") is not None
                assert await asyncio.gather(*(client.command(b"INCR", b"n") for _ in range(100))) == [*range(1, 101)]
                assert await client.command(b"GET", b"key") == b"value"
                with pytest.raises(ValueError, match="wrong number of arguments"):
                    await client.command(b"GET")
                assert await client.command(b"PUBLISH", b"news", b"it rains") == 1
                seen = [await pushes.receive(SECONDS), await pushes.receive(SECONDS)]
                assert [push[0] for push in seen] == [b"subscribe", b"message"]
                assert seen[1][1:] == [b"news", b"it rains"]
            assert client.client.statistics.connects == 1

    run_async(main())


def test_redis_goes_away_and_comes_back(run_async: RunAsync, redis: str, tmp_path: Path) -> None:
    """The server is killed and started again: requests wait for it, and the subscription is there again."""

    async def main() -> None:
        module = example("redis_client")
        address = f"unix:{tmp_path / 'redis.sock'}"
        client = module.Redis(address, b"news")
        async with client.client, client.client.pushes() as pushes:
            with redis_server(redis, tmp_path):
                await client.command(b"SET", b"key", b"value")
                assert (await pushes.receive(SECONDS))[0] == b"subscribe"
            waiting = asyncio.ensure_future(client.command(b"GET", b"key"))
            await asyncio.sleep(0)
            with redis_server(redis, tmp_path):
                assert await waiting is None  # another server, and the read was sent to it
                assert isinstance(await pushes.receive(SECONDS), Gap)
                assert (await pushes.receive(SECONDS))[0] == b"subscribe"
                assert await client.command(b"PUBLISH", b"news", b"again") == 1
                assert (await pushes.receive(SECONDS))[2] == b"again"

    run_async(main())


def test_redis_with_a_wrong_password(run_async: RunAsync, redis: str, tmp_path: Path) -> None:
    async def main() -> None:
        module = example("redis_client")
        with redis_server(redis, tmp_path, "--requirepass", "secret") as address:
            wrong = module.Redis(address, password=b"guess")
            async with wrong.client:
                with pytest.raises(PermanentFailure, match="WRONGPASS") as caught:
                    await wrong.command(b"GET", b"key")
                assert caught.value.fate is Fate.NOT_SENT
            right = module.Redis(address, password=b"secret")
            async with right.client:
                assert await right.command(b"GET", b"key") is None

    run_async(main())


def test_redis_blocks_while_others_are_killed(run_async: RunAsync, redis: str, tmp_path: Path) -> None:
    """CLIENT KILL in mid-request: a read is repeated, a write is not, and says that it was perhaps sent."""

    async def main() -> None:
        module = example("redis_client")
        with redis_server(redis, tmp_path) as address:
            victim, other = module.Redis(address), module.Redis(address)
            async with victim.client, other.client:
                number = await victim.command(b"CLIENT", b"ID")
                blocked = asyncio.ensure_future(victim.command(b"BLPOP", b"list", b"0"))
                while b"blpop" not in await other.command(b"CLIENT", b"LIST"):
                    await asyncio.sleep(0)
                await other.command(b"CLIENT", b"KILL", b"ID", b"%d" % number)
                with pytest.raises(FourTupleError) as caught:
                    await blocked
                assert caught.value.fate is Fate.PERHAPS_SENT
                assert await victim.command(b"CLIENT", b"ID") != number

    run_async(main())


# -- Modbus TCP -------------------------------------------------------------------------------------------


@contextmanager
def modbus_server() -> Iterator[str]:
    """The server of pymodbus, in a process of its own, which says its port."""
    command = [sys.executable, str(Path(__file__).parent / "modbus_server.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def test_modbus() -> None:
    if find_spec("pymodbus") is None:
        absent("pymodbus is not installed")
    with modbus_server() as address:
        # One request at a time, for all threads: this server drops some of those that come before it has answered.
        controller = example("modbus_client").Controller(address)
        with controller.client:
            controller.write(3, 4711)
            assert controller.read(2, 3) == [2, 4711, 4]
            with pytest.raises(ValueError, match="exception 2 for function 3"):
                controller.read(500)
            threads = [threading.Thread(target=controller.write, args=(place, place * 7)) for place in range(16)]
            for each in threads:
                each.start()
            for each in threads:
                each.join()
            assert controller.read(0, 16) == [place * 7 for place in range(16)]
            assert controller.client.statistics.connects == 1


# -- JSON-RPC ---------------------------------------------------------------------------------------------


@contextmanager
def language_server() -> Iterator[str]:
    """jedi-language-server at its standard input and output, one for each connection."""
    program = Path(sys.executable).with_name("jedi-language-server")
    if not program.exists():
        absent("jedi-language-server is not installed")
    words = [sys.executable, "-m", "fourtuple", "serve", "--quiet", "--bind", "127.0.0.1:0", "--exec", str(program)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[2]
        finally:
            process.terminate()
            process.communicate(timeout=SECONDS)


def test_json_rpc(run_async: RunAsync) -> None:
    async def main() -> None:
        with language_server() as address:
            server = example("lsp_client").LanguageServer(address)
            async with server.client:
                await server.client.wait_ready(SECONDS)
                names = ("one", "two", "three", "four")
                for name in names:
                    text = f"def {name}():\n    return 1\n"
                    document = {"uri": f"file:///{name}.py", "languageId": "python", "version": 1, "text": text}
                    await server.tell("textDocument/didOpen", textDocument=document)
                asked = [
                    server.ask("textDocument/documentSymbol", textDocument={"uri": f"file:///{name}.py"})
                    for name in names
                ]
                found = await asyncio.gather(*asked)
                assert [[each["name"] for each in symbols] for symbols in found] == [[name] for name in names]
                with pytest.raises(ValueError, match=r"[Mm]ethod"):
                    await server.ask("no/such/method")
                assert all("method" in each for each in server.notifications)
                assert server.client.statistics.closed_unexpected == 0

    run_async(main())


def test_the_examples_run_as_programs(redis: str, tmp_path: Path) -> None:
    def run(name: str, address: str) -> str:
        command = [sys.executable, "-W", "error", str(ROOT / "examples" / "protocols" / f"{name}.py"), address]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    with redis_server(redis, tmp_path) as address:
        assert run("redis_client", address) == "visits: 1\nheard by: 1\nnews it rains\n"
    with modbus_server() as address:
        assert run("modbus_client", address) == "[2, 4711, 4]\n"
    with language_server() as address:
        assert run("lsp_client", address) == "['two']\n"
