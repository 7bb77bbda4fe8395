r"""The front door of PostgreSQL (protocol 3.0): TLS where it is asked for, a password, and simple queries.

    fourtuple serve examples/protocols/postgres_server.py --tls-dev --tls-mode starttls
    psql "host=127.0.0.1 port=9999 user=alice password=secret dbname=x" -c "select 1"

The first message has no type, all others begin with one: the framing changes after the first. The reply to SSLRequest
is one octet that is not a message at all: `send_octets`.
"""

import struct

from fourtuple import Connection, Service
from fourtuple.framing import Length

SSL_REQUEST, GSS_REQUEST, PROTOCOL = 80877103, 80877104, 196608
TEXT = 25  # the number of the type "text"
PASSWORD = b"secret"

# The length counts itself. A message is a type and what comes after the length.
startup = Length(4, inclusive=True, max_message=10_000)
typed = Length(4, offset=1, adjustment=-4, skip=0, max_message=1 << 20)

service = Service(startup)


@service.conversation
async def session(connection: Connection[bytes, bytes]) -> None:
    while (code := int.from_bytes((await connection.receive())[:4])) in (SSL_REQUEST, GSS_REQUEST):
        encrypt = code == SSL_REQUEST and connection.tls is None
        connection.send_octets(b"S" if encrypt else b"N")
        if encrypt:
            await connection.start_tls()
    connection.change_framing(typed)
    if code != PROTOCOL:
        await connection.send(error("08P01", f"unsupported protocol {code >> 16}.{code & 0xFFFF}"))
        return
    await connection.send(packet(b"R", struct.pack(">i", 3)))  # a password, please
    if (await connection.receive())[5:] != PASSWORD + b"\0":
        await connection.send(error("28P01", "password authentication failed"))
        return
    settings = [packet(b"S", b"client_encoding\0UTF8\0"), packet(b"S", b"server_version\x0017.0 (fourtuple)\0")]
    await connection.send_many([packet(b"R", struct.pack(">i", 0)), *settings, packet(b"Z", b"I")])
    async for message in connection:
        if message[:1] == b"Q":
            await connection.send_many([*answer(message[5:-1].decode()), packet(b"Z", b"I")])
        elif message[:1] == b"X":
            return


def packet(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack(">i", 4 + len(body)) + body


def error(code: str, text: str) -> bytes:
    return packet(b"E", f"SERROR\0C{code}\0M{text}\0\0".encode())


def answer(query: str) -> list[bytes]:
    """`select 'text'` is understood, and nothing else."""
    verb, _, value = query.strip().rstrip(";").partition(" ")
    if verb.lower() != "select":
        return [error("42601", f"cannot {verb}")]
    octets = value.strip("'").encode()
    columns = struct.pack(">h", 1) + b"text\0" + struct.pack(">ihihih", 0, 0, TEXT, -1, -1, 0)
    row = struct.pack(">hi", 1, len(octets)) + octets
    return [packet(b"T", columns), packet(b"D", row), packet(b"C", b"SELECT 1\0")]
