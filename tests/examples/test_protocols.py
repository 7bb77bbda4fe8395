"""One service for each family of framings, and clients that we did not write."""

from __future__ import annotations

import logging
import os
import re
import smtplib
import socket
import subprocess
import sys
import zlib
from collections.abc import Callable
from contextlib import closing
from logging.handlers import SysLogHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from examples.conftest import Served

Protocol = Callable[[str], "Served"]
Program = Callable[[str], str]

pytestmark = pytest.mark.peers


def said(*command: object, stdin: str = "") -> str:
    """What a client printed; it ended well, and complained about nothing."""
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"}
    words = list(map(str, command))
    done = subprocess.run(words, input=stdin.encode(), capture_output=True, timeout=30, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, b""), done.stdout
    return done.stdout.decode()


# -- lines and lengths ------------------------------------------------------------------------------------


def test_lines_smtp(protocol: Protocol) -> None:
    port = protocol("smtp_server").port
    with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
        assert client.ehlo("client.example")[0] == 250
        assert client.sendmail("a@example", ["b@example", "c@example"], "Subject: hello\n\n.\n..dots\nlast") == {}
        client.mail("a@example")
        with pytest.raises(smtplib.SMTPDataError, match="RCPT comes first"):
            client.data("for nobody")
        client.mail("a@example")
        client.rcpt("b@example")
        text = "Subject: hello\r\n\r\n.\r\n..dots\r\nlast\r\n"  # smtplib doubles the dots, the server undoes it
        assert client.data(text) == (250, b"%d octets for 1" % len(text))
        assert client.docmd("HUH")[0] == 500


def test_lines_a_mail_that_is_too_large(protocol: Protocol) -> None:
    port = protocol("smtp_server").port
    too_large = pytest.raises(smtplib.SMTPDataError, match="no more than 1048576 octets")
    with smtplib.SMTP("127.0.0.1", port, timeout=30) as client, too_large:
        client.sendmail("a@example", ["b@example"], ("x" * 78 + "\n") * 13300)


def test_lengths_dns(protocol: Protocol, require_program: Program) -> None:
    dig, port = require_program("dig"), protocol("dns_server").port

    def ask(*question: str) -> str:
        return said(dig, "+tcp", "+tries=1", "+timeout=20", "-p", port, "@127.0.0.1", *question)

    assert ask("+short", "www.example", "A") == "192.0.2.80\n"
    assert ask("+short", "WWW.Example", "A", "mail.example", "A") == "192.0.2.80\n192.0.2.25\n"
    assert ask("+short", "www.example", "TXT") == ""
    told = ask("nowhere.example", "A")
    assert "status: NXDOMAIN" in told
    assert re.search(r"flags: qr aa rd; QUERY: 1, ANSWER: 0", told)
    keeping = ask("+keepopen", "+short", "www.example", "A", "+keepopen", "mail.example", "A")
    assert keeping == "192.0.2.80\n192.0.2.25\n"  # two messages on one connection


@pytest.mark.parametrize("counting", [True, False], ids=["octet counting", "line feeds"])
def test_decimal_lengths_syslog(protocol: Protocol, require_program: Program, counting: bool) -> None:
    logger, served = require_program("logger"), protocol("syslog_server")
    method = ["--octet-count"] if counting else []
    where = ["--tcp", "--server", "127.0.0.1", "--port", served.port]
    assert said(logger, *where, *method, "--priority", "user.warning", "--tag", "test", "it is getting late") == ""
    line = served.line()
    assert line.startswith("warning: '1 ")
    assert "it is getting late' from 127.0.0.1:" in line
    three = "one\ntwo\nthree\n"
    assert said(logger, *where, *method, "--priority", "local0.err", stdin=three) == ""
    lines = [served.line() for _ in range(3)]
    assert [line.split()[0] for line in lines] == ["error:"] * 3
    assert [re.search(r"(\w+)' from", line)[1] for line in lines] == ["one", "two", "three"]  # type: ignore[index]


def test_syslog_of_the_standard_library(protocol: Protocol) -> None:
    """Its handler ends each message with NUL."""
    served = protocol("syslog_server")
    handler = SysLogHandler(("127.0.0.1", served.port), socktype=socket.SOCK_STREAM)
    with closing(handler):
        for number, level in enumerate((logging.WARNING, logging.ERROR)):
            handler.handle(logging.LogRecord("test", level, __file__, 1, "record %d", (number,), None))
        lines = [served.line() for _ in range(2)]
    assert [line.split(" from ")[0] for line in lines] == ["warning: 'record 0'", "error: 'record 1'"]


# -- marked and stuffed -----------------------------------------------------------------------------------

ADMISSION = "MSH|^~\\&|WARD|HOSPITAL|LAB|CITY|20260101120000||ADT^A01|MSG%05d|P|2.5\rPID|1||4711||Doe^John\r"


def test_marked_mllp(protocol: Protocol, require_package: Any) -> None:
    hl7 = require_package("hl7")
    client_of = require_package("hl7.client")
    with client_of.MLLPClient("127.0.0.1", protocol("hl7_server").port) as client:
        for number in range(3):
            framed = client.send_message(ADMISSION % number)
            assert framed[:1] + framed[-2:] == b"\x0b\x1c\r"
            reply = hl7.parse(framed[1:-2].decode())
            assert str(reply.segment("MSA")) == f"MSA|AA|MSG{number:05}"
            assert [str(reply.segment("MSH")[field]) for field in (3, 5, 9)] == ["LAB", "WARD", "ACK"]
        assert b"MSA|AR" in client.send_message("no HL7 at all")


def test_marked_mllp_from_a_file(protocol: Protocol, tmp_path: Path, require_package: Any) -> None:
    """The command that comes with the package hl7."""
    require_package("hl7")
    messages = tmp_path / "admissions.hl7"
    messages.write_bytes("".join(ADMISSION % number for number in range(2)).encode())
    program = "import sys; from hl7.client import mllp_send; sys.exit(mllp_send())"
    port = str(protocol("hl7_server").port)
    replies = said(sys.executable, "-c", program, "--port", port, "--loose", "--file", messages, "127.0.0.1")
    assert re.findall(r"MSA\|AA\|(MSG\d+)", replies) == ["MSG00000", "MSG00001"]


def test_stuffed_slip(protocol: Protocol, require_package: Any) -> None:
    sliplib = require_package("sliplib")
    with closing(sliplib.SlipSocket.create_connection(("127.0.0.1", protocol("slip_server").port), 30)) as device:
        device.send_msg(b"\x01\xc0\xdb\xdc")
        assert device.recv_msg() == b"\x01" + zlib.crc32(b"\xc0\xdb\xdc").to_bytes(4) + b"\xc0\xdb\xdc"
        everything = bytes(range(256))
        device.send_msg(everything)
        reply = device.recv_msg()
        assert reply == b"\0" + zlib.crc32(everything[1:]).to_bytes(4) + everything[1:]


# -- structured -------------------------------------------------------------------------------------------


def test_resp_redis_cli(protocol: Protocol, require_program: Program) -> None:
    redis, port = require_program("redis-cli"), protocol("redis_server").port

    def ask(*words: str, stdin: str = "") -> str:
        return said(redis, "-p", port, "--no-raw", *words, stdin=stdin)

    assert ask("PING") == "PONG\n"
    assert ask("SET", "greeting", "hello there\r\n") == "OK\n"
    assert ask("GET", "greeting") == '"hello there\\r\\n"\n'
    assert ask("GET", "nothing") == "(nil)\n"
    assert ask("INCR", "counter") == "(integer) 1\n"
    assert ask("MGET", "counter", "nothing") == '1) "1"\n2) (nil)\n'
    assert ask("INCR", "greeting").startswith("(error) ERR value is not an integer")
    assert ask("NONSENSE").startswith("(error) ERR unknown command 'NONSENSE'")
    assert ask("-3", "GET", "nothing") == "(nil)\n"
    assert ask(stdin="INCR counter\nINCR counter\n") == "(integer) 2\n(integer) 3\n"
    pipe = subprocess.run(
        [redis, "-p", str(port), "--pipe"],
        input=b"".join(b"*3\r\n$3\r\nSET\r\n$5\r\nk%04d\r\n$1\r\nv\r\n" % number for number in range(5000)),
        capture_output=True,
        timeout=50,
        check=False,
    )
    assert b"errors: 0, replies: 5000" in pipe.stdout
    assert ask("DBSIZE") == "(integer) 5002\n"


@pytest.mark.parametrize("version", [2, 3])
def test_resp_redis_py(protocol: Protocol, version: int, require_package: Any) -> None:
    redis = require_package("redis")
    with redis.Redis(port=protocol("redis_server").port, protocol=version, socket_timeout=30) as client:
        assert client.ping()
        assert client.set("key", b"\r\n\0\xff")
        assert client.get("key") == b"\r\n\0\xff"
        assert client.get("nothing") is None
        pipeline = client.pipeline(transaction=False)
        for _ in range(100):
            pipeline.incr("counter")
        assert pipeline.execute() == list(range(1, 101))
        assert client.mget("counter", "nothing") == [b"100", None]
        with pytest.raises(redis.ResponseError, match="unknown command 'LPUSH'"):
            client.lpush("list", 1)
        assert client.delete("key", "counter", "nothing") == 2


def piped(require_program: Program, port: int, value: str, *query: str) -> str:
    """What `jq -n VALUE | nc -N 127.0.0.1 PORT | jq QUERY` prints."""
    jq, nc = require_program("jq"), require_program("nc")
    return said(jq, "-c", *query, stdin=said(nc, "-N", "127.0.0.1", port, stdin=said(jq, "-n", value)))


def test_json_rpc(protocol: Protocol, require_program: Program) -> None:
    port = protocol("jsonrpc_server").port
    calls = """
        {jsonrpc: "2.0", id: 1, method: "add", params: [1, 2, 3.5]},
        {jsonrpc: "2.0", method: "upper", params: ["a notification"]},
        {jsonrpc: "2.0", id: "two", method: "upper", params: ["{[brackets\\"]}"]},
        {jsonrpc: "2.0", id: 3, method: "nothing"},
        {jsonrpc: "2.0", id: 4, method: "upper", params: [5]},
        [1]
    """
    assert piped(require_program, port, calls, "[.id, .result, .error.code]").splitlines() == [
        "[1,6.5,null]",
        r'["two","{[BRACKETS\"]}",null]',
        "[3,null,-32601]",
        "[4,null,-32602]",
        "[null,null,-32600]",
    ]
    broken = said(require_program("nc"), "-N", "127.0.0.1", port, stdin='{"jsonrpc": ]')
    assert '"code":-32700' in broken


def test_mapped_orders(protocol: Protocol, require_program: Program, require_package: Any) -> None:
    require_package("msgspec")
    jq, nc, port = require_program("jq"), require_program("nc"), protocol("orders_server").port
    orders = said(jq, "-nc", '{item: "screw", count: 3}, {item: "nail"}, {item: "nut"}, {item: 1}, 5, {itme: "nail"}')
    replies = said(jq, "-c", ".", stdin=said(nc, "-N", "127.0.0.1", port, stdin=orders + "no JSON\n")).splitlines()
    assert replies[:3] == ['{"total":15}', '{"total":2}', '{"why":"there is no nut"}']
    assert "Expected `str`, got `int` - at `$.item`" in replies[3]
    assert "Expected `object`, got `int`" in replies[4]
    assert [reply.startswith('{"why":') for reply in replies[5:]] == [True, True]


# -- registers: by length, and by silence -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "framer"), [("modbus_server", "socket"), ("modbus_server:rtu", "rtu")], ids=["TCP", "RTU over TCP"]
)
def test_modbus(protocol: Protocol, target: str, framer: str, require_package: Any) -> None:
    client_of = require_package("pymodbus.client")
    client = client_of.ModbusTcpClient("127.0.0.1", port=protocol(target).port, framer=framer, timeout=20)
    try:
        assert client.connect()
        assert client.read_holding_registers(10, count=3, device_id=1).registers == [10, 11, 12]
        assert not client.write_register(11, 0xC0DB, device_id=1).isError()
        assert client.read_holding_registers(11, count=1, device_id=1).registers == [0xC0DB]
        assert client.read_holding_registers(0, count=100, device_id=1).registers[:2] == [0, 1]
        for beyond in (client.read_holding_registers(99, count=2), client.read_coils(0, count=1)):
            assert beyond.isError()
        assert client.read_holding_registers(99, count=2).exception_code == 2  # illegal address
        assert client.read_coils(0, count=1).exception_code == 1  # illegal function
    finally:
        client.close()


def test_modbus_stays_silent_where_the_crc_is_wrong(protocol: Protocol, require_program: Program) -> None:
    nc, port = require_program("nc"), protocol("modbus_server:rtu").port
    assert said(nc, "-N", "127.0.0.1", port, stdin="\x01\x03\x00\x00\x00\x01\x00\x00") == ""


# -- other people's parsers, and several at once ----------------------------------------------------------


def test_events_h11(protocol: Protocol, require_program: Program, require_package: Any) -> None:
    require_package("h11")
    curl, url = require_program("curl"), f"http://127.0.0.1:{protocol('http_server').port}"
    quiet = (curl, "--silent", "--show-error", "--max-time", 20)
    assert said(*quiet, "--data", "hello", f"{url}/upper") == "HELLO\n"
    assert said(*quiet, "--data-binary", "@-", f"{url}/upper", stdin="x" * 100_000) == "X" * 100_000 + "\n"
    chunked = said(*quiet, "-H", "Transfer-Encoding: chunked", "--data-binary", "@-", f"{url}/upper", stdin="in chunks")
    assert chunked == "IN CHUNKS\n"
    told = said(*quiet, "--write-out", "%{http_code} %{num_connects}\n", f"{url}/a", f"{url}/upper")
    assert told == "there is /upper\n404 1\nPOST something\n405 0\n"  # both on one connection
    assert said(*quiet, "--http1.0", "--data", "old", f"{url}/upper") == "OLD\n"


def test_feeding_hiredis(protocol: Protocol, require_program: Program, require_package: Any) -> None:
    require_package("hiredis")
    redis, port = require_program("redis-cli"), protocol("hiredis_server").port
    assert said(redis, "-p", port, "PING") == "PONG\n"
    assert said(redis, "-p", port, "ECHO", "hello\r\n") == "hello\r\n\n"
    assert said(redis, "-p", port, "--no-raw", "GET", "x") == "(error) ERR there is PING and ECHO\n"
    assert said(redis, "-p", port, stdin="ECHO 1\nECHO 2\n") == "1\n2\n"


def test_switch(protocol: Protocol, require_program: Program) -> None:
    redis, nc, port = require_program("redis-cli"), require_program("nc"), protocol("either_server").port
    assert said(redis, "-p", port, "--no-raw", "reverse", "stressed", "drawer") == '1) "desserts"\n2) "reward"\n'
    both = "stressed\n*2\r\n$1\r\nr\r\n$4\r\nabcd\r\ndrawer\n"
    assert said(nc, "-N", "127.0.0.1", port, stdin=both) == "desserts\n*1\r\n$4\r\ndcba\r\nreward\n"


def test_every_example_is_talked_to() -> None:
    from examples.conftest import PROTOCOLS

    here = Path(__file__).parent
    # The clients have their tests beside those of fourtuple.Client.
    files = [*here.glob("test_*.py"), here.parent / "client" / "test_third_party.py"]
    tests = "".join(path.read_text() for path in files)
    names = sorted(path.stem for path in PROTOCOLS.glob("*.py"))
    assert names
    assert [name for name in names if not re.search(rf"protocol\([\"']{name}[\"']|\"{name}\"", tests)] == []
