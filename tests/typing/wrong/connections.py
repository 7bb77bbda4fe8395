"""Each line that is marked is to be reported, and no other one."""

from fourtuple import BlockingConnection, Connection, Server
from fourtuple import connect as connect_async
from fourtuple.blocking import connect, wait
from fourtuple.framing import Fixed, Line, mapped


def read(message: bytes) -> int:
    return int(message)


def write(number: int) -> bytes:
    return b"%d" % number


numbers = mapped(Line(), read, write)


def block(octets: BlockingConnection[bytes, bytes], counted: BlockingConnection[int, int, list[int]]) -> None:
    octets.send("text")  # wrong
    octets.send_many(["text"])  # wrong
    octets.request("text")  # wrong
    octets.receive().encode()  # wrong
    octets.receive(timeout="1")  # wrong
    octets.begin(3)  # wrong
    for message in octets:
        message.encode()  # wrong
    counted.send(b"octets")  # wrong
    counted.state.add(1)  # wrong
    counted.request_many([b"octets"])  # wrong
    octets.change_framing(numbers).send(b"octets")  # wrong
    octets.change_framing(numbers).receive().decode()  # wrong
    octets.change_framing(3)  # wrong
    octets.change_framing(sends=numbers).send(b"octets")  # wrong
    octets.change_framing(numbers, sends=numbers)  # wrong
    octets.change_framing()  # wrong
    octets.send_octets("text")  # wrong
    other: BlockingConnection[str, str] = octets  # wrong
    wait([octets])[0].send("text")  # wrong
    print(other)


async def wait_for_it(octets: Connection[bytes, bytes], counted: Connection[int, int, list[int], str]) -> None:
    await octets.send("text")  # wrong
    await octets.send_octets("text")  # wrong
    (await octets.change_framing(receives=numbers).receive()).decode()  # wrong
    (await octets.receive()).encode()  # wrong
    octets.receive_nowait().encode()  # wrong
    await counted.request(b"octets")  # wrong
    counted.service_state.append("x")  # wrong
    async for message in counted:
        message.decode()  # wrong
    (await octets.change_framing(numbers).receive()).decode()  # wrong


connect("127.0.0.1:9999", Fixed(16)).send("text")  # wrong
connect("127.0.0.1:9999", 16)  # wrong
connect("127.0.0.1:9999", Fixed(16), time_out=3)  # wrong
connect("127.0.0.1:9999", Fixed(16), timeout="3")  # wrong
connect_async("127.0.0.1:9999", Fixed(16), time_out=3)  # wrong
connect_async("127.0.0.1:9999", Fixed(16)).send(b"text")  # wrong
with connect_async("127.0.0.1:9999", Fixed(16)):  # wrong
    pass


async def open_it() -> None:
    connection = await connect_async("127.0.0.1:9999", numbers)
    await connection.send(b"octets")  # wrong
    async with connect_async("127.0.0.1:9999", numbers) as another:
        await another.send(b"octets")  # wrong


def add(one: int, other: int = 0) -> int:
    return one + other


async def beside_the_messages(octets: Connection[bytes, bytes], server: Server[bytes, bytes, int, str]) -> None:
    octets.every(1, octets.send, "text")  # wrong
    octets.every("1", octets.close)  # wrong
    octets.later(1, add, "text")  # wrong
    octets.later(1)  # wrong
    octets.later(1, 3)  # wrong
    octets.change_deadlines(idel_timeout=1)  # wrong
    octets.change_limits(high_water="64k")  # wrong
    octets.send_soon("text")  # wrong
    await octets.in_thread(add, "text")  # wrong
    await octets.in_thread(add, 1, another=2)  # wrong
    (await octets.in_thread(add, 1)).decode()  # wrong
    server.broadcast(b"news", to=[b"text"])  # wrong
    server.broadcast(b"news", to=3)  # wrong
