"""The examples of caches, queues and brokers, and clients that we did not write."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import Callable
from contextlib import closing
from queue import Queue
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import RunAsync
    from examples.conftest import Served

Protocol = Callable[[str], "Served"]
Package = Callable[[str], Any]

pytestmark = pytest.mark.peers

HARD = b"\r\nEND\r\n\0\xff"


def test_memcached(protocol: Protocol, require_package: Package) -> None:
    pymemcache = require_package("pymemcache")
    with closing(pymemcache.Client(("127.0.0.1", protocol("memcached_server").port), timeout=30)) as client:
        assert client.get("key") is None
        assert client.set("key", HARD, noreply=False)
        assert client.get("key") == HARD
        assert client.set_many({f"k{number}": b"x" * number for number in range(100)}) == []
        assert client.get_many(["k0", "k99", "none"]) == {"k0": b"", "k99": b"x" * 99}
        assert not client.add("key", b"other", noreply=False)
        assert client.append("key", b"!", noreply=False)
        assert client.get("key") == HARD + b"!"
        assert client.delete("key", noreply=False)
        assert not client.delete("key", noreply=False)
        assert client.version() == b"fourtuple"
        with pytest.raises(pymemcache.exceptions.MemcacheUnknownCommandError):
            client.touch("key", 1, noreply=False)


def test_beanstalkd(protocol: Protocol, require_package: Package) -> None:
    greenstalk = require_package("greenstalk")
    address = ("127.0.0.1", protocol("beanstalkd_server").port)
    with greenstalk.Client(address, encoding=None) as producer:
        with greenstalk.Client(address, encoding=None) as worker:
            producer.put(HARD)
            job = worker.reserve(timeout=20)
            assert job.body == HARD
            with pytest.raises(greenstalk.TimedOutError):
                producer.reserve(timeout=0)
            worker.release(job)
            job = worker.reserve(timeout=20)
            assert producer.peek(job.id).body == HARD
        again = producer.reserve(timeout=20)  # the worker has gone without deleting it
        assert (again.id, again.body) == (job.id, HARD)
        producer.delete(again)
        with pytest.raises(greenstalk.NotFoundError):
            producer.delete(again)


def test_nats(protocol: Protocol, require_package: Package, run_async: RunAsync) -> None:
    nats = require_package("nats")
    url = f"nats://127.0.0.1:{protocol('nats_server').port}"

    async def main() -> None:
        one, other = await nats.connect(url), await nats.connect(url)
        news, everything = await one.subscribe("news.*"), await other.subscribe(">")
        await one.flush()
        await other.flush()
        await other.publish("news.weather", HARD)
        await other.publish("news.weather.today", b"two words")
        await other.publish("news.sport", b"one nil", headers={"league": "third"})
        first, second = await news.next_msg(timeout=20), await news.next_msg(timeout=20)
        assert (first.subject, first.data, first.headers) == ("news.weather", HARD, None)
        assert (second.data, second.headers) == (b"one nil", {"league": "third"})
        assert [(await everything.next_msg(timeout=20)).data for _ in range(3)] == [HARD, b"two words", b"one nil"]

        async def answer(message: Any) -> None:
            await message.respond(message.data.upper())

        await other.subscribe("upper", cb=answer)
        await other.flush()
        assert (await one.request("upper", b"hello", timeout=20)).data == b"HELLO"
        await one.close()
        await other.close()
        await asyncio.sleep(0)

    run_async(main())


def test_stomp(protocol: Protocol, require_package: Package) -> None:
    stomp = require_package("stomp")
    received: Queue[tuple[str, str]] = Queue()

    class Listener(stomp.ConnectionListener):  # type: ignore[misc, name-defined]
        def on_message(self, frame: Any) -> None:
            received.put((frame.headers["destination"], frame.body))

        def on_receipt(self, frame: Any) -> None:
            received.put(("receipt", frame.headers["receipt-id"]))

    address = [("127.0.0.1", protocol("stomp_server").port)]
    connection = stomp.Connection12(address, heartbeats=(0, 0), auto_content_length=True)
    connection.set_listener("", Listener())
    connection.connect(wait=True)
    connection.subscribe("/queue/news", id="1", ack="auto", receipt="subscribed")
    assert received.get(timeout=20) == ("receipt", "subscribed")
    connection.send("/queue/news", "it\n\nrains\0")
    connection.send("/queue/other", "nobody reads this")
    connection.send("/queue/news", "")
    assert received.get(timeout=20) == ("/queue/news", "it\n\nrains\0")
    assert received.get(timeout=20) == ("/queue/news", "")
    connection.unsubscribe(id="1", receipt="gone")
    assert received.get(timeout=20) == ("receipt", "gone")
    connection.disconnect(receipt="bye")
    assert received.get(timeout=20) == ("receipt", "bye")


def test_mqtt(protocol: Protocol, require_package: Package) -> None:
    mqtt = require_package("paho.mqtt.client")
    received: Queue[object] = Queue()

    def client(port: int) -> Any:
        made = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv311)
        made.on_connect = lambda *_: received.put("connected")
        made.on_subscribe = lambda *_: received.put("subscribed")
        made.on_message = lambda _client, _data, message: received.put((message.topic, message.payload))
        made.connect("127.0.0.1", port, keepalive=60)
        made.loop_start()
        assert received.get(timeout=20) == "connected"
        return made

    port = protocol("mqtt_server").port
    reader, writer = client(port), client(port)
    reader.subscribe([("news/+", 1), ("all/#", 0)])
    assert received.get(timeout=20) == "subscribed"
    large = HARD * 1000
    writer.publish("news/sport/football", b"two levels").wait_for_publish(20)
    writer.publish("news/weather", large, qos=1).wait_for_publish(20)
    writer.publish("all/of/it", b"").wait_for_publish(20)
    assert [received.get(timeout=20) for _ in range(2)] == [("news/weather", large), ("all/of/it", b"")]
    for each in (reader, writer):
        each.disconnect()
        each.loop_stop()


def test_mqtt_ends_a_client_that_is_silent_for_longer_than_it_said(protocol: Protocol) -> None:
    with socket.create_connection(("127.0.0.1", protocol("mqtt_server").port), timeout=30) as client:
        client.sendall(b"\x10\x0d\0\x04MQTT\x04\x02\0\x01\0\x01x")  # CONNECT, keep-alive of one second
        assert client.recv(100, socket.MSG_WAITALL) == b"\x20\x02\0\0"  # CONNACK, then the end


def test_mqtt_mosquitto(protocol: Protocol, require_program: Callable[[str], str]) -> None:
    subscribe, publish = require_program("mosquitto_sub"), require_program("mosquitto_pub")
    port = str(protocol("mqtt_server").port)
    command = [subscribe, "-p", port, "-t", "news/#", "-C", "1", "-W", "30"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
        while reader.poll() is None:  # it ends with the first message after it has subscribed
            subprocess.run([publish, "-p", port, "-t", "news/now", "-q", "1", "-m", "it rains"], check=True, timeout=30)
        assert (reader.communicate()[0], reader.returncode) == ("it rains\n", 0)
