r"""The first question that every Kafka client asks, answered: ApiVersions, and which brokers there are (Metadata).

    fourtuple serve examples/protocols/kafka_server.py

    >>> from kafka import KafkaAdminClient                            (the package kafka-python)
    >>> KafkaAdminClient(bootstrap_servers="127.0.0.1:9999").list_topics()
    []

A length of four octets, then the kind of the request, its version, and the number that its reply must have.
"""

import struct

from fourtuple import Connection, FourTuple, Service
from fourtuple.framing import u32

METADATA, API_VERSIONS = 3, 18
UNSUPPORTED_VERSION = 35
VERSIONS = {METADATA: (1, 1), API_VERSIONS: (0, 2)}  # first and last

service = Service(u32(max_message=1 << 20))


@service.reply
def handle(message: bytes, connection: Connection) -> bytes | None:
    kind, version, number = struct.unpack_from(">HHI", message)
    first, last = VERSIONS.get(kind, (0, -1))
    reply = struct.pack(">I", number)
    if kind == API_VERSIONS:  # one that is too new is told the versions, in the oldest form
        return reply + api_versions(version if version <= last else 0, 0 if version <= last else UNSUPPORTED_VERSION)
    if kind == METADATA and first <= version <= last:
        return reply + metadata(connection)
    connection.close()  # as Kafka does
    return None


def api_versions(version: int, error: int) -> bytes:
    known = b"".join(struct.pack(">HHH", kind, *limits) for kind, limits in VERSIONS.items())
    throttled = struct.pack(">I", 0) if version else b""
    return struct.pack(">HI", error, len(VERSIONS)) + known + throttled


def metadata(connection: Connection) -> bytes:
    """One broker, at the address that the client has reached; it controls, and there are no topics."""
    assert isinstance(connection.name, FourTuple)
    host = connection.name.local_ip.encode()
    broker = struct.pack(">IH", 0, len(host)) + host + struct.pack(">Ih", connection.name.local_port, -1)
    return struct.pack(">I", 1) + broker + struct.pack(">II", 0, 0)
