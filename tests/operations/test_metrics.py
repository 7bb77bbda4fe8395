"""The page of metrics says what the clients counted."""

from __future__ import annotations

import asyncio
import math
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families

from fourtuple import Server, Service, Sockets, events, reply_and_close
from fourtuple.errors import DeadlinePassed
from fourtuple.four_tuple import FourTuple
from fourtuple.observe.declared import METRICS
from fourtuple.observe.metrics import Meter
from fourtuple.observe.snapshot import MOST_VALUES, Snapshot, ended, merge
from fourtuple.operations.exposition import exposed
from fourtuple.operations.measuring import LoopMeter
from fourtuple.operations.servers import Servers
from fourtuple.stream import Reason, Statistics
from operations.support import World, conversation, operated, upper
from operations.support import ended as closed
from rig import PATIENT, Peer, limits

NAME = FourTuple.parse("127.0.0.1:1 <- 127.0.0.1:2")


class Page:
    """A parsed page: every sample by its name and labels."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self.samples = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in self.families.values()
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float:
        return self.samples[f"fourtuple_{name}", tuple(sorted(labels.items()))]


async def page_of(world: World) -> Page:
    head, body = await world.get("/metrics")
    assert "Content-Type: text/plain; version=0.0.4; charset=utf-8" in head
    return Page(body.decode())


def test_it_equals_what_the_clients_counted(run_async: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async with operated(tmp_path, limits=limits(max_connections_per_address=4)) as world:
            sent = received = octets = 0
            for number in range(5):
                messages = [b"x" * (20 * number)] * (number + 1)
                replies = await conversation(world.server, *messages)
                sent += len(messages)
                received += len(replies)
                octets += sum(len(each) + 1 for each in messages)
            await conversation(world.server, b"raise")
            with await Peer.connect(world.server) as probe:
                probe.finish()
                await probe.receive_all()
            await closed(world, 7)
            held = [await Peer.connect(world.server) for _ in range(4)]
            await world.seen.wait(events.Accepted, 11)
            with await Peer.connect(world.server) as refused:
                assert await refused.receive_all() == b""
            page = await page_of(world)
            upper = {"service": "upper"}
            assert page("messages_received_total", **upper) == sent + 1
            assert page("messages_sent_total", **upper) == received
            assert page("octets_received_total", **upper) == octets + len(b"raise\n")
            assert page("octets_sent_total", **upper) == octets
            assert page("connections_accepted_total", **upper) == 11
            assert page("connections_open", **upper) == 4
            assert page("connections_closed_total", **upper, reason="closed by peer") == 6
            assert page("connections_closed_total", **upper, reason="handler error") == 1
            assert page("connections_refused_total", **upper, limit="max_connections_per_address") == 1
            assert page("probes_total", **upper) == 1
            assert page("handler_errors_total", **upper) == 1
            assert page("handler_seconds_count", **upper) == sent + 1
            assert page("message_size_octets_count", **upper, direction="in") == sent + 1
            assert page("message_size_octets_sum", **upper, direction="in") == octets - sent + len(b"raise")
            assert page("message_size_octets_sum", **upper, direction="out") == octets - received
            assert page("message_size_octets_bucket", **upper, direction="in", le="16.0") == 2
            assert page("connection_duration_seconds_count", **upper) == 7
            assert page("accept_queue", **upper, address=str(world.server.address)) == 0
            for peer in held:
                peer.close()

    run_async(main())


def test_every_metric_is_declared_and_described(run_async: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async with operated(tmp_path) as world:
            await conversation(world.server, b"a")
            page = await page_of(world)
            assert {
                f"{name}_total" if family.type == "counter" else name for name, family in page.families.items()
            } <= set(METRICS)
            assert all(family.documentation for family in page.families.values())
            _, body = await world.get("/metrics", "Accept: application/openmetrics-text;version=1.0.0")
            assert {family.name for family in open_metrics(body.decode())} == set(page.families)

    run_async(main())


def test_the_sums_do_not_fall_when_a_worker_dies(run_async: Any, tmp_path: Path) -> None:
    """Two workers in one process, and the snapshots as a supervisor gets them: as JSON, and the last one forever."""

    async def main() -> None:
        dead, counted = Snapshot(), 0
        async with operated(tmp_path) as lasting:
            for life in range(3):
                folder = tmp_path / str(life)
                folder.mkdir()
                async with operated(folder) as mortal:
                    for server in (lasting.server, mortal.server):
                        counted += len(await conversation(server, *[b"x"] * (life + 1)))
                    living = [
                        Snapshot.from_json((await world.subject.metrics()).as_json()) for world in (lasting, mortal)
                    ]
                    page = Page(exposed(merge([dead, *living]))[0].decode())
                    assert page("messages_received_total", service="upper") == counted
                    assert page("handler_seconds_count", service="upper") == counted
                last = mortal.subject.snapshot()  # also after the end
                dead = merge([dead, ended(last)])
                whole = merge([dead, lasting.subject.snapshot()])
                assert whole.value("fourtuple_messages_received_total", "upper") == counted
                assert whole.value("fourtuple_connections_accepted_total", "upper") == 2 * (life + 1)

    run_async(main())


def kinds() -> list[Service[Any, Any, Any, Any]]:
    """A service of each kind of reply handler; each gets "ab" three times and replies with 1 + 3 octets."""
    made = []
    for kind in ("plain", "async", "thread", "generator", "async_generator", "thread_generator", "batch", "last"):
        service: Service[Any, Any, Any, Any] = Service("line", name=kind)
        made.append(service)

        def plain(message: bytes) -> bytes:
            return message * 2

        async def later(message: bytes, _connection: Any) -> bytes:
            await asyncio.sleep(0)
            return message * 2

        def several(message: bytes) -> Any:
            yield message
            yield message

        async def several_later(message: bytes) -> Any:
            yield message
            yield message

        def batch(messages: list[bytes]) -> list[bytes]:
            return [message * 2 for message in messages]

        def last(message: bytes) -> Any:
            return reply_and_close(message * 2)

        if kind == "batch":
            service.replies(batch)
        else:
            function: Any = {"plain": plain, "thread": plain, "async": later, "generator": several, "last": last,
                             "thread_generator": several, "async_generator": several_later}[kind]  # fmt: skip
            service.reply(function, **({"threads": True} if "thread" in kind else {}))
    return made


@pytest.mark.parametrize("service", kinds(), ids=lambda service: service.name)
def test_every_kind_of_handler_is_measured_and_works_as_before(
    run_async: Any, tmp_path: Path, service: Service[Any, Any, Any, Any]
) -> None:
    async def main() -> None:
        async with operated(tmp_path, service) as world:
            replies = await conversation(world.server, b"ab", b"ab", b"ab")
            count = 1 if service.name == "last" else 3
            assert b"".join(replies) == b"abab" * count
            await closed(world, 1)
            page = await page_of(world)
            label = {"service": service.name}
            calls = page("handler_seconds_count", **label)
            assert calls == count if service.name != "batch" else 1 <= calls <= 3
            assert page("message_size_octets_sum", **label, direction="in") == 2 * count
            assert page("message_size_octets_sum", **label, direction="out") == 4 * count

    run_async(main())


def test_a_handler_that_raises_keeps_its_name_and_is_measured(run_async: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async with operated(tmp_path) as world:
            await conversation(world.server, b"raise")
            (raised,) = await world.seen.wait(events.HandlerRaised)
            assert raised.handler.endswith("upper.<locals>.shout")
            assert (await page_of(world))("handler_seconds_count", service="upper") == 1

    run_async(main())


def test_connections_that_the_kernel_drops_are_counted_at_their_listener(run_async: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async with operated(tmp_path, sockets=Sockets(backlog=3)) as world:
            await world.subject.status()
            world.server.pause()
            waiting = [await Peer.connect(world.server) for _ in range(4)]  # the kernel holds one more than the backlog
            with socket.socket() as fifth:
                fifth.setblocking(False)
                fifth.connect_ex(("127.0.0.1", world.server.port))
                label = {"service": "upper", "address": str(world.server.address)}
                found = [await page_of(world)]
                deadline = time.monotonic() + 20
                while not found[-1]("accept_queue_drops_total", **label) and time.monotonic() < deadline:
                    found.append(await page_of(world))
                assert found[-1]("accept_queue", **label) == 4
                assert found[-1]("accept_queue_limit", **label) == 3
                assert found[-1]("accept_queue_drops_total", **label) >= 1
                assert found[-1]("accept_paused", **label) == 1
            for peer in waiting:
                peer.close()

    run_async(main())


@pytest.mark.parametrize("decides", [True, False])
def test_messages_that_do_not_map(run_async: Any, tmp_path: Path, decides: bool) -> None:
    service: Service[Any, Any] = Service("json-lines", name="json")
    service.reply(lambda value: value)
    if decides:
        service.unmapped(lambda message, connection: "what?")

    async def main() -> None:
        async with operated(tmp_path, service) as world:
            replies = await conversation(world.server, b"1", b"{", b"]", b"2")
            assert replies == ([b"1", b'"what?"', b'"what?"', b"2"] if decides else [b"1"])
            page = await page_of(world)
            assert page("messages_unmapped_total", service="json") == (2 if decides else 0)
            assert page("message_errors_total", service="json") == (0 if decides else 1)

    run_async(main())


def test_missed_deadlines_by_their_option(run_async: Any, tmp_path: Path) -> None:
    async def main() -> None:
        deadlines = PATIENT.replace(first_message_timeout=0.01, linger_timeout=0.01)
        async with operated(tmp_path, deadlines=deadlines) as world:
            with await Peer.connect(world.server) as peer:
                await peer.receive_all()
            await closed(world, 1)
            page = await page_of(world)
            assert page("deadlines_missed_total", service="upper", deadline="first_message_timeout") == 1

    run_async(main())


def test_no_peer_can_make_a_label_grow() -> None:
    meter = Meter("echo")
    for number in range(5000):
        meter(events.DeadlineMissed(number, NAME, DeadlinePassed(f"deadline {number}", 1.0)))
        meter(events.DeadlineMissed(number, NAME, ValueError(f"{number}")))
        meter(events.LimitExceeded(number, NAME, f"limit {number}", "why"))
        meter(events.Refused(NAME, f"limit {number}", f"why {number}"))
        meter(events.MessageFailed(number, NAME, ValueError(f"{number}")))
    snapshot = Snapshot()
    meter.fill(snapshot)
    sizes = {metric.name: len(series) for metric, series in snapshot}
    assert max(sizes.values()) <= MOST_VALUES
    assert snapshot.total("fourtuple_deadlines_missed_total") == 10_000
    assert snapshot.total("fourtuple_limits_exceeded_total") == 5000


def test_the_longest_hold_of_the_loop(run_async: Any) -> None:
    meter = Meter("echo")
    meter(events.HandlerSlow(1, NAME, "f", 0.5))
    meter(events.LoopHeld("f", 2.5, ()))
    meter(events.HandlerSlow(1, NAME, "f", 0.7))

    async def main() -> None:
        lag = LoopMeter(asyncio.get_running_loop())
        lag.start()
        lag.late(0.02)
        lag.late(4.0)
        lag.late(-0.1)
        lag.stop()
        lag.stop()
        snapshot = Snapshot()
        lag.fill(snapshot)
        assert snapshot.value("fourtuple_loop_longest_hold_seconds") == 4.0
        assert snapshot.distribution("fourtuple_loop_lag_seconds").counts == [1, 0, 0, 1, 0, 0, 0, 1, 0]
        meter.fill(snapshot)
        assert snapshot.value("fourtuple_loop_longest_hold_seconds") == 4.0

    run_async(main())


def test_events_may_come_from_several_threads_at_once() -> None:
    meter = Meter("echo")

    def work() -> None:
        for _ in range(2000):
            meter(events.HandlerSlow(1, NAME, "f", 0.1))
            meter.handled(0.1, [3])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    snapshot = Snapshot()
    meter.fill(snapshot)
    assert snapshot.total("fourtuple_handlers_slow_total") == 8000
    assert snapshot.distribution("fourtuple_handler_seconds", "echo").count == 8000


def test_a_server_that_has_not_started(run_async: Any) -> None:
    async def main() -> None:
        subject = Servers([Server(upper())])
        status = await subject.status()
        assert (status["state"], subject.ready) == ("starting", False)
        assert (await subject.metrics()).value("fourtuple_connections_open", "upper") == 0

    run_async(main())


def test_durations_are_counted_in_buckets(run_async: Any) -> None:
    meter = Meter("echo")
    statistics = Statistics(0, 0, 0, 0, 0, 0, 0)
    for seconds in (0.001, 5.0, 100_000.0):
        meter(events.Closed(1, NAME, Reason.RESET, statistics, seconds, False))
    snapshot = Snapshot()
    meter.fill(snapshot)
    found = snapshot.distribution("fourtuple_connection_duration_seconds", "echo")
    assert (found.counts[0], found.counts[3], found.counts[-1]) == (1, 1, 1)
    assert math.isclose(found.sum, 100_005.001)
