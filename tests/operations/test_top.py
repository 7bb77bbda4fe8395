"""``fourtuple top`` beside a server of fourtuple: its own numbers, through the control socket."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fourtuple.cli import top_rows
from fourtuple.cli.top import _watched
from fourtuple.inspector.filters import Filter, parse_filter
from fourtuple.inspector.window import View, Window
from fourtuple.operations.watching import Watched
from operations.commands import Served, served
from rig import FakeClock


def ask(server: Served, *messages: bytes) -> None:
    with server.connect() as sock:
        sock.sendall(b"".join(message + b"\n" for message in messages))
        with sock.makefile("rb") as replies:
            for message in messages:
                assert replies.readline() == message.upper() + b"\n"


def test_rates_between_two_looks(tmp_path: Path) -> None:
    clock = FakeClock()
    with served(tmp_path, "upper", "--framing", "line") as server:
        watched = Watched(server.control, clock)
        watched.look()
        assert watched.rates == {}
        assert top_rows.server_line(watched, 80).split() == ["upper", "serving", "0", "served"]
        ask(server, *[b"x"] * 40)
        clock.now += 2.0
        watched.look()
        assert (watched.rates["received"], watched.rates["octets_in"]) == (20.0, 40.0)
        line = top_rows.server_line(watched, 160)
        assert "messages in 20/s" in line
        assert "out 20/s" in line
        assert "handler " in line
        assert len(top_rows.server_line(watched, 40)) == 40
        server.process.kill()
        server.process.wait()
        clock.now += 1.0
        watched.look()
        assert top_rows.server_line(watched, 200).strip() == f"unix:{server.control} does not answer"
        clock.now += 1.0
        watched.look()  # not yet again
        watched.close()
        watched.close()


def test_another_server_at_the_same_socket(tmp_path: Path) -> None:
    clock = FakeClock()
    with served(tmp_path, "upper", "--framing", "line") as server:
        watched = Watched(server.control, clock)
        ask(server, b"a", b"b")
        watched.look()
    clock.now += 1.0
    watched.look()
    assert watched.frame is None
    with served(tmp_path, "upper", "--framing", "line"):
        clock.now += 10.0
        watched.look()
        assert watched.frame is not None
        clock.now += 1.0
        watched.look()
        assert min(watched.rates.values()) >= 0.0
        watched.close()


def test_the_screen_has_its_line(tmp_path: Path) -> None:
    from fourtuple.cli._top_app import Top

    window = Window("auto")
    counts: list[int] = []

    def look(asked: Filter, sort: Sequence[str], first: int, count: int) -> View:
        counts.append(count)
        return window.look(asked, sort, first, count)

    async def main(watched: Watched) -> str:
        app: Any = Top(look, parse_filter("listening"), every=60.0, watched=watched)
        async with app.run_test(size=(80, 24)):
            return str(app.query_one("#body").render())

    with served(tmp_path, "upper", "--framing", "line") as server:
        watched = Watched(server.control)
        lines = asyncio.run(main(watched)).splitlines()
        watched.close()
    assert lines[2].startswith("upper serving  0 served")
    assert max(counts) == 19, "one row less"


def test_without_a_server_there_is_no_line(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("FOURTUPLE_CONTROL", raising=False)
    assert _watched(None) is None
    found = _watched("/somewhere")
    assert found is not None
    assert found.path == "/somewhere"
