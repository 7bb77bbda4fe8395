"""Each line that is marked is to be reported, and no other one."""

from fourtuple import Deadlines, Limits, Service, Tls
from fourtuple.framing import Fixed, Line, duplex, mapped
from fourtuple.testing import (
    MemoryService,
    TcpClient,
    TcpServer,
    Vector,
    async_memory_pair,
    check_framing,
    drive,
    memory_pair,
)


def read(message: bytes) -> int:
    return int(message)


def write(number: int) -> bytes:
    return b"%d" % number


numbers = mapped(Line(), read, write)
service = Service(numbers)

near, far = memory_pair(numbers)
near.send(b"octets")  # wrong
far.receive().decode()  # wrong
pair = memory_pair(Fixed(16), far_framing=numbers)
pair.near.send(1)  # wrong
pair.far.send(b"octets")  # wrong
octets_end, numbers_end = pair
octets_end.send(1)  # wrong
numbers_end.send(b"octets")  # wrong
_, last = memory_pair(Fixed(16), far_framing=numbers)
last.receive().decode()  # wrong
memory_pair(Fixed(16), cuts=1)  # wrong


async def in_a_loop() -> None:
    near, _ = async_memory_pair(numbers)
    await near.send(b"octets")  # wrong


check_framing(Fixed(3), [(b"one", ["one"])])  # wrong
check_framing(Fixed(3), [Vector(b"one", [1])])  # wrong
check_framing(duplex(numbers, Fixed(3)), [(b"one", [b"one"])])  # wrong
drive(numbers, ["text"])  # wrong
drive(Fixed(3), [b"one"]).messages[0].encode()  # wrong


def test_with_fixtures(tcp_server: TcpServer, tcp_client: TcpClient) -> None:
    tcp_server(service, limit=None)  # wrong
    server = tcp_server(service)
    tcp_client(server).send(b"octets")  # wrong
    tcp_client(server, time_out=3)  # wrong


Limits(max_conections=5)  # wrong
Limits(max_connections="5")  # wrong
Limits().replace(max_conections=5)  # wrong
Deadlines().replace(idle_timeout="5")  # wrong
Tls(certificat="a.pem")  # wrong


async def serve_in_memory() -> None:
    MemoryService(service, limit=None)  # wrong
    async with MemoryService(service) as served:
        await served.connect().near.send(b"octets")  # wrong
        await served.connect().far.send("text")  # wrong
        served.connect(cut="1")  # wrong
        client, far = served.connect()
        await client.send(b"octets")  # wrong
        await far.send(b"octets")  # wrong
        octets, _ = served.connect(Fixed(16))
        (await octets.receive()).bit_length()  # wrong
