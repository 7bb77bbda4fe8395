"""What an observer hears of a whole life, and how it stands in JSON lines."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest

from fourtuple import Deadlines, Server, Service, events
from fourtuple.engine import Engine
from fourtuple.errors import DeadlinePassed, MalformedMessage
from fourtuple.four_tuple import FourTuple, UnixName
from fourtuple.framing import Line, custom
from fourtuple.observe.combine import each_of, each_tap
from fourtuple.observe.json import JsonLines
from fourtuple.options import Limits
from fourtuple.printable import MOST_LINES
from fourtuple.stream import Reason, Statistics
from hostile import TANGLES, Unspeakable, every_event
from rig import FakeClock, echo, until
from serving.support import client, says, serving

NAME = FourTuple("127.0.0.1", 9999, "192.0.2.7", 40000)


def lines(*told: events.Event) -> list[dict[str, Any]]:
    out = io.StringIO()
    log = JsonLines(out, clock=lambda: 1_700_000_000.25)
    for event in told:
        log(event)
    assert out.getvalue().isascii()
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_every_event_has_a_kind_of_its_own_and_is_json() -> None:
    everything = every_event("text", ValueError("x"))
    kinds = [event.kind for event in everything]
    assert len(set(kinds)) == len(kinds)
    for event in everything:
        words = re.findall("[A-Z][a-z]*", type(event).__name__)
        assert event.kind == "-".join(words).lower()
    assert [line["event"] for line in lines(*everything)] == kinds


def test_the_fields_of_a_line() -> None:
    (line,) = lines(events.Closed(7, NAME, Reason.RESET, Statistics(1, 2, 3, 4, 5, 6, 7), 1.5, False))
    assert line == {
        "time": "2023-11-14T22:13:20.250000Z", "event": "closed", "id": 7,
        "name": "127.0.0.1:9999 <- 192.0.2.7:40000", "local": "127.0.0.1:9999", "remote": "192.0.2.7:40000",
        "reason": "reset by peer", "side": "peer", "seconds": 1.5, "probe": False,
        "octets_in": 1, "octets_out": 2, "messages_in": 3, "messages_out": 4, "late_replies": 5, "inbox": 6,
        "outbox": 7, "discarded": 0, "skipped": 0,
    }  # fmt: skip
    error = DeadlinePassed("idle_timeout", 60.0, str(NAME))
    (line,) = lines(events.DeadlineMissed(7, NAME, error))
    assert (line["deadline"], line["after"], line["error"]) == ("idle_timeout", 60.0, "DeadlinePassed")
    (line,) = lines(events.Refused(NAME, "deny", "no"))
    assert (line["limit"], line["why"]) == ("deny", "no")
    assert lines(events.Accepted(1, UnixName("/run/\udcff", 2, 3)))[0]["name"].startswith("unix:/run/\\xff")


def test_what_peers_sent_is_escaped() -> None:
    out = io.StringIO()
    JsonLines(out)(events.MessageFailed(1, NAME, MalformedMessage("'\x1b[2J\n\x00\x9b\udc80ü'")))
    (line,) = out.getvalue().splitlines()
    assert line.isprintable()
    assert line.isascii()
    assert json.loads(line)["text"] == "'\x1b[2J\n\x00\x9b\\udc80ü'"


def test_a_log_that_cannot_be_written_harms_no_connection() -> None:
    out = io.StringIO()
    log = JsonLines(out)
    out.close()
    log(events.Drained(0))


def test_several_observers_and_taps() -> None:
    heard: list[Any] = []
    each_of(heard.append, heard.append)(events.Drained(0))
    each_tap(lambda *seen: heard.append(seen), lambda *seen: heard.append(seen))(None, True, b"x")  # type: ignore[arg-type]
    assert heard == [events.Drained(0)] * 2 + [(None, True, b"x")] * 2


def test_one_observer_that_fails_does_not_silence_the_next() -> None:
    heard: list[Any] = []

    def fail(_event: events.Event) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        each_of(heard.append, fail, heard.append)(events.Drained(0))
    assert heard == [events.Drained(0)] * 2


@pytest.mark.parametrize("tangle", TANGLES)
def test_any_exception_is_one_line(tangle: str) -> None:
    (line,) = lines(events.HandlerRaised(1, NAME, "reply", TANGLES[tangle]()))
    assert line["event"] == "handler-raised"
    assert line["traceback"].count("\n") <= MOST_LINES


def test_what_cannot_be_told_costs_its_line_and_no_more() -> None:
    class Odd(DeadlinePassed):
        @property
        def which(self) -> str:  # type: ignore[override]
            raise RuntimeError("no name")

        @which.setter
        def which(self, name: str) -> None: ...

    (line,) = lines(events.DeadlineMissed(1, NAME, Odd("idle_timeout", 1.0, "x")))
    assert (line["event"], line["untold"]) == ("deadline-missed", "RuntimeError: no name")
    (line,) = lines(events.AlarmRaised("connections", object(), 1))  # type: ignore[arg-type]
    assert line["value"].startswith("<object object")


def test_errors_passed_to_the_loop_are_also_a_line() -> None:
    out = io.StringIO()
    log = JsonLines(out)
    log.uncaught(None, {"message": "a task\n failed", "exception": Unspeakable()})
    log.uncaught(None, {"message": Unspeakable()})
    first, second = map(json.loads, out.getvalue().splitlines())
    assert (first["event"], first["message"], first["error"]) == ("uncaught", "a task\n failed", "Unspeakable")
    assert second["message"] == "<Unspeakable without a text: its __str__ failed>"


def test_the_events_of_one_connection_in_order(run_async: Any) -> None:
    async def main() -> None:
        service = Service(Line(max_message=100))

        @service.reply
        def reply(message: bytes) -> bytes:
            if message == b"raise":
                raise ValueError("as asked")
            return message

        async with serving(service) as (server, heard):
            async with client(server) as talk:
                assert await says(talk, b"x\n") == b"x\n"
            await until(lambda: not server.connections)
            async with client(server) as talk:
                assert await says(talk, b"raise\n") == b""
            await until(lambda: not server.connections)
            async with client(server) as talk:
                assert await says(talk, b"x" * 200) == b""
            await until(lambda: not server.connections)
            async with client(server):
                pass
            await until(lambda: len(heard.of(events.Closed)) == 4)
        kinds = [event.kind for event in heard if event.kind != "draining"]
        assert kinds == [
            "listening",
            *("accepted", "closed"),
            *("accepted", "handler-raised", "closed"),
            *("accepted", "message-failed", "closed"),
            *("accepted", "closed"),
            "drained",
        ]
        ends = [(event.reason, event.side, event.probe) for event in heard.of(events.Closed)]
        assert ends == [
            (Reason.PEER_CLOSED, "peer", False),
            (Reason.HANDLER_ERROR, "server", False),
            (Reason.MESSAGE_ERROR, "server", False),
            (Reason.PEER_CLOSED, "peer", True),
        ]
        counted = heard.of(events.Closed)[0].statistics
        assert (counted.octets_in, counted.octets_out, counted.messages_in, counted.messages_out) == (2, 2, 1, 1)

    run_async(main())


@pytest.mark.parametrize(
    ("deadline", "sent"),
    [("first_message_timeout", b""), ("message_timeout", b"half"), ("idle_timeout", b"whole\n")],
)
def test_a_deadline_says_which(run_async: Any, deadline: str, sent: bytes) -> None:
    async def main() -> None:
        clock = FakeClock()
        deadlines = Deadlines(first_message_timeout=12.0, message_timeout=10.0, idle_timeout=15.0)
        engine = Engine(clock=clock)
        async with serving(engine=engine, deadlines=deadlines) as (server, heard), client(server) as (reader, writer):
            writer.write(sent)
            await until(lambda: server.statistics.active and server.statistics.octets_in == len(sent))
            clock.now += getattr(deadlines, deadline) - 0.5
            engine.sweep()
            assert heard.of(events.DeadlineMissed) == []
            clock.now += 1
            engine.sweep()
            (missed,) = heard.of(events.DeadlineMissed)
            assert isinstance(missed.error, DeadlinePassed)
            assert missed.error.which == deadline
            assert await reader.read() == (sent if sent.endswith(b"\n") else b"")

    run_async(main())


def test_json_lines_of_a_server(run_async: Any) -> None:
    async def main() -> None:
        out = io.StringIO()
        async with Server(echo(), observer=JsonLines(out), limits=Limits(deny="127.0.0.2")) as server:
            async with client(server) as talk:
                await says(talk, b"x\n")
            async with client(server, local_addr=("127.0.0.2", 0)) as talk:
                await says(talk, b"x\n")
            await until(lambda: not server.connections)
        told = [json.loads(line)["event"] for line in out.getvalue().splitlines()]
        assert sorted(told) == sorted(["listening", "accepted", "closed", "refused", "draining", "drained"])

    run_async(main())


def test_a_mistake_in_the_framings_code_has_its_traceback() -> None:
    def decode(buffer: bytearray, seen: int) -> Any:
        return buffer.decoed()  # type: ignore[attr-defined]

    with pytest.raises(MalformedMessage) as caught:
        custom(decode).decoder().feed(b"abc")
    wrong = MalformedMessage("not so")
    wrong.__cause__ = ValueError("the peer's")
    for error, told in ((caught.value, True), (wrong, False)):
        (line,) = lines(events.MessageFailed(1, NAME, error))
        assert ("traceback" in line) is told
        assert (f'File "{__file__}"' in line.get("traceback", "")) is told
