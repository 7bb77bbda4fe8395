"""Each line that is marked is to be reported, and no other one."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from fourtuple import BlockingConnection, Connection, Server, Service, reply_and_close, run, serve_in_thread
from fourtuple.framing import Fixed, Line, Unmapped, mapped
from fourtuple.service import ReplyAndClose


@dataclass
class Visit:
    count: int


def new_visit() -> Visit:
    return Visit(0)


def read(message: bytes) -> int:
    return int(message)


def write(number: int) -> bytes:
    return b"%d" % number


octets = Service(Fixed(16), state=new_visit)
numbers = Service(mapped(Line(), read, write))

Service(16)  # wrong
Service(Fixed(16), silent=True)  # wrong
Service(Fixed(16), state=Visit)  # wrong
Service(Fixed(16), state=3)  # wrong
Service(Fixed(16), lifespan=new_visit)  # wrong
named: Service[str, str] = Service(Fixed(16))  # wrong


@octets.reply  # wrong
def takes_text(message: str) -> bytes:
    return message.encode()


@octets.reply  # wrong
def gives_text(message: bytes) -> str:
    return message.decode()


@octets.reply  # wrong
def gives_text_at_times(message: bytes) -> str | None:
    return None


@octets.reply  # wrong
def gives_several_texts(message: bytes) -> Iterator[str]:
    yield "text"


@octets.reply  # wrong
async def awaits_text(message: bytes) -> str:
    return message.decode()


@octets.reply  # wrong
async def awaits_several_texts(message: bytes) -> AsyncIterator[str]:
    yield "text"


@octets.reply  # wrong
def says_goodbye_in_text(message: bytes) -> ReplyAndClose[str]:
    return reply_and_close("bye")


@octets.reply  # wrong
def takes_nothing() -> bytes:
    return b""


@octets.reply  # wrong
def takes_too_much(message: bytes, connection: Connection, more: int) -> bytes:
    return message


@octets.reply  # wrong
def takes_another_state(message: bytes, connection: Connection[bytes, bytes, int]) -> bytes:
    return message


@octets.reply  # wrong
def takes_another_connection(message: bytes, connection: Connection[str, bytes]) -> bytes:
    return message


@octets.reply  # wrong
def takes_a_blocking_connection(message: bytes, connection: BlockingConnection) -> bytes:
    return message


@octets.reply  # wrong
def takes_by_name(message: bytes, *, connection: Connection) -> bytes:
    return message


@octets.reply(threads=True)  # wrong
async def is_async_in_a_thread(message: bytes) -> bytes:
    return message


@octets.reply(thread=True)  # wrong
def is_misspelt(message: bytes) -> bytes:
    return message


@octets.reply(concurrency=2)  # wrong
async def concurrently_gives_text(message: bytes) -> str:
    return message.decode()


@numbers.reply  # wrong
def takes_octets(message: bytes) -> int:
    return len(message)


@numbers.reply  # wrong
def gives_octets(number: int) -> bytes:
    return b""


@numbers.reply  # wrong
async def awaits_octets(number: int, connection: Connection) -> bytes | None:
    return None


@octets.replies  # wrong
def takes_one_message(message: bytes) -> list[bytes]:
    return [message]


@octets.replies  # wrong
def gives_one_reply(messages: list[bytes]) -> bytes:
    return messages[0]


@octets.replies  # wrong
def gives_texts(messages: list[bytes]) -> list[str]:
    return []


@octets.replies  # wrong
def yields_its_replies(messages: list[bytes]) -> Iterator[bytes]:
    yield from messages


@octets.replies(threads=True)  # wrong
def batch_in_a_thread(messages: list[bytes]) -> list[bytes]:
    return messages


@numbers.replies  # wrong
async def awaits_many_octets(given: list[int]) -> list[bytes]:
    return []


@octets.replies  # wrong
def takes_texts(messages: list[str]) -> list[bytes]:
    return []


@octets.replies  # wrong
def takes_a_batch_and_the_wrong_connection(messages: list[bytes], connection: BlockingConnection) -> list[bytes]:
    return messages


@octets.replies  # wrong
def gives_none_for_all(messages: list[bytes]) -> None: ...


@octets.replies(concurrency=4)  # wrong
async def batch_concurrently(messages: list[bytes]) -> list[bytes]:
    return messages


@numbers.replies  # wrong
def says_goodbye_in_octets(given: list[int]) -> list[ReplyAndClose[bytes]]:
    return [reply_and_close(b"bye")]


@octets.conversation(speak_first=True)  # wrong
async def is_misspelt_too(connection: Connection) -> None: ...


@octets.conversation  # wrong
async def converses_in_numbers(connection: Connection[int, int]) -> None: ...


@numbers.conversation  # wrong
def blocks_in_octets(connection: BlockingConnection[bytes, bytes]) -> None: ...


@octets.conversation  # wrong
async def awaits_a_blocking_connection(connection: BlockingConnection) -> None:
    connection.send(b"")


@octets.conversation  # wrong
def blocks_on_a_connection(connection: Connection) -> None:
    connection.close()


@octets.conversation(speaks_first=True)  # wrong
def speaks_first_on_a_connection(connection: Connection) -> None:
    connection.close()


@octets.conversation  # wrong
async def converses_with_a_message(message: bytes) -> None: ...


@octets.conversation  # wrong
async def converses_with_two(message: bytes, connection: Connection) -> None: ...


@octets.conversation  # wrong
def answers(connection: BlockingConnection) -> bytes:
    return b""


@octets.conversation  # wrong
async def converses_in_text(connection: Connection[str, str]) -> None: ...


@octets.opened  # wrong
def greets_without_parameter() -> bytes:
    return b"hello"


@octets.opened  # wrong
def greets_in_text(connection: Connection) -> str:
    return "hello"


@octets.opened  # wrong
async def greets_later(connection: Connection) -> bytes:
    return b"hello"


@octets.closed  # wrong
def is_told_too_much(connection: Connection, reason: str) -> None: ...


@octets.failed  # wrong
def knows_no_connection(error: Exception) -> bytes:
    return b""


@octets.failed  # wrong
def mixes_them_up(connection: Connection, error: Exception) -> bytes:
    return b""


@octets.goodbye  # wrong
def says_bye_in_text(connection: Connection) -> str:
    return "bye"


@octets.goodbye  # wrong
def says_bye_without_parameter() -> bytes:
    return b"bye"


octets.goodbye("bye")  # wrong
numbers.goodbye(b"bye")  # wrong


@octets.unmapped  # wrong
def takes_the_octets(message: bytes, connection: Connection) -> bytes:
    return message


@numbers.unmapped  # wrong
def decides_in_octets(message: Unmapped, connection: Connection) -> bytes:
    return message.octets


@octets.lifespan  # wrong
async def makes_nothing() -> None: ...


@octets.lifespan  # wrong
async def is_given_a_service(service: Service) -> AsyncIterator[None]:
    yield


server = Server(octets, "127.0.0.1:0")
server.broadcast("text")  # wrong
server.broadcast(b"octets", slow="wait")  # wrong
server.change_limits(max_conections=5)  # wrong
server.call_soon(server.broadcast)  # wrong
server.adopt(3)  # wrong
server.adopt("127.0.0.1:1")  # wrong
server.dial("127.0.0.1:1", tls="yes")  # wrong
server.dial("127.0.0.1:1", time_out=3)  # wrong
server.dial(9999)  # wrong
server.call_soon(server.broadcast, "text")  # wrong
Server(octets, redyness="nested")  # wrong
Server(octets, readiness="fast")  # wrong
run(octets, deadline=None)  # wrong
with serve_in_thread(octets, limit=None):  # wrong
    pass


def started(server: Server[int, int]) -> None: ...


run(octets, on_start=started)  # wrong
