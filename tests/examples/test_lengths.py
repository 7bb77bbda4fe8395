"""The examples whose messages begin with a length, and clients that we did not write."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from examples.conftest import Served

Protocol = Callable[..., "Served"]
Package = Callable[[str], Any]

pytestmark = pytest.mark.peers


@pytest.mark.parametrize("mode", ["require", "disable"])
def test_postgres(protocol: Protocol, require_package: Package, mode: str) -> None:
    psycopg = require_package("psycopg")
    port = protocol("postgres_server", "--tls-dev", "--tls-mode", "starttls").port
    where = f"host=127.0.0.1 port={port} user=alice dbname=x sslmode={mode} gssencmode=disable connect_timeout=20"
    with psycopg.connect(f"{where} password=secret", autocommit=True) as connection:
        assert connection.pgconn.ssl_in_use is (mode == "require")
        simple = psycopg.ClientCursor(connection)
        assert simple.execute("select 'hello'").fetchall() == [("hello",)]
        assert connection.info.server_version == 170000
        with pytest.raises(psycopg.errors.SyntaxError, match="cannot drop"):
            simple.execute("drop table x")
        assert simple.execute("select 'still here'").fetchone() == ("still here",)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(f"{where} password=wrong")


def test_dicom(protocol: Protocol, require_package: Package) -> None:
    pynetdicom = require_package("pynetdicom")
    port = protocol("dicom_server").port
    node = pynetdicom.AE("TEST")
    node.add_requested_context("1.2.840.10008.1.1")  # verification
    node.add_requested_context("1.2.840.10008.5.1.4.1.1.2")  # storing a CT image: not here
    for _ in range(3):  # one echo for each: pynetdicom's own thread may take the reply to a second one right behind it
        association = node.associate("127.0.0.1", port)
        assert association.is_established
        assert [each.abstract_syntax.name for each in association.accepted_contexts] == ["Verification SOP Class"]
        assert len(association.rejected_contexts) == 1
        assert association.send_c_echo().Status == 0
        association.release()
        assert association.is_released
    node.shutdown()


def test_smpp(protocol: Protocol, require_package: Package) -> None:
    client_of, exceptions = require_package("smpplib.client"), require_package("smpplib.exceptions")
    port = protocol("smpp_server").port
    client = client_of.Client("127.0.0.1", port, timeout=20, allow_unknown_opt_params=True)
    sent, received = [], []
    client.set_message_sent_handler(lambda pdu: sent.append(pdu.message_id))
    client.set_message_received_handler(lambda pdu: received.append((pdu.source_addr, pdu.short_message)))
    client.connect()
    with pytest.raises(exceptions.PDUError, match="bind_transceiver"):
        client.bind_transceiver(system_id="alice", password="wrong")
    client.disconnect()
    client.connect()
    client.bind_transceiver(system_id="alice", password="secret")
    client.send_message(source_addr="1", destination_addr="2", short_message=b"hello")
    client.read_once()
    client.send_message(source_addr="1", destination_addr="2", short_message=b"psst", registered_delivery=True)
    client.read_once()
    client.read_once()
    assert len(sent) == 2
    assert received == [(b"2", b"id:%b stat:DELIVRD text:psst" % sent[1])]
    client.unbind()
    client.disconnect()


def test_kafka(protocol: Protocol, require_package: Package) -> None:
    kafka = require_package("kafka")
    port = protocol("kafka_server").port
    client = kafka.KafkaAdminClient(bootstrap_servers=f"127.0.0.1:{port}", request_timeout_ms=20_000)
    try:
        assert client.list_topics() == []
        brokers = client.describe_cluster()["brokers"]
        assert [(each["host"], each["port"]) for each in brokers] == [("127.0.0.1", port)]
    finally:
        client.close()


def test_iso8583(protocol: Protocol, require_package: Package) -> None:
    iso8583 = require_package("iso8583")
    spec = require_package("iso8583.specs").default_ascii

    with socket.create_connection(("127.0.0.1", protocol("iso8583_server").port), timeout=30) as terminal:
        stream = terminal.makefile("rb")

        def ask(**fields: str) -> dict[str, str]:
            octets, _ = iso8583.encode({key.strip("f"): value for key, value in fields.items()}, spec)
            terminal.sendall(b"%04d" % len(octets) + octets)
            decoded, _ = iso8583.decode(stream.read(int(stream.read(4))), spec)
            return {key: value for key, value in decoded.items() if key.isdigit()} | {"t": decoded["t"]}

        told = ask(t="0800", f7="0101120000", f11="000001", f70="301")
        assert (told["t"], told["7"], told["39"], told["70"]) == ("0810", "0101120000", "00", "301")
        card = {"f2": "4111111111111111", "f3": "000000", "f11": "000002", "f41": "TERM0001"}
        for amount, code in (("000000001000", "00"), ("000000010001", "51")):
            told = ask(t="0200", f4=amount, **card)
            assert (told["t"], told["2"], told["39"], told["41"]) == ("0210", card["f2"], code, "TERM0001")
        terminal.sendall(b"0008nonsense")  # is not answered
        assert ask(t="0800", f11="000003", f70="301")["11"] == "000003"
        stream.close()


def test_fix(protocol: Protocol, require_package: Package) -> None:
    simplefix = require_package("simplefix")

    with socket.create_connection(("127.0.0.1", protocol("fix_server").port), timeout=30) as client:
        parser = simplefix.FixParser()

        def made(kind: str, **fields: str) -> bytes:
            message = simplefix.FixMessage()
            header = {8: "FIX.4.4", 35: kind, 49: "ME", 56: "VENUE", 34: "1", 52: "20260101-12:00:00"}
            for tag, value in (header | {int(key.strip("f")): value for key, value in fields.items()}).items():
                message.append_pair(tag, value)
            octets: bytes = message.encode()
            return octets

        def ask(octets: bytes) -> Any:
            client.sendall(octets)
            while (message := parser.get_message()) is None:
                octets = client.recv(1000)
                assert octets
                parser.append_buffer(octets)
            return message

        logon = ask(made("A", f98="0", f108="30"))
        assert [logon.get(tag) for tag in (35, 49, 56, 108)] == [b"A", b"VENUE", b"ME", b"30"]
        assert ask(made("1", f112="are you there?")).get(112) == b"are you there?"
        order = made("D", f11="order 1", f38="100", f55="ACME")
        garbled = order.replace(b"ACME", b"ACNE")  # its sum is wrong: it is ignored
        filled = ask(garbled + order)
        assert [filled.get(tag) for tag in (35, 11, 14, 55, 34)] == [b"8", b"order 1", b"100", b"ACME", b"3"]
        assert ask(made("Z")).get(58) == b"unknown type"
        assert ask(made("5")).get(35) == b"5"
        assert client.recv(100) == b""
