"""What a type checker says about adapters, the load generator, observers and toxics; every line marked is wrong."""

from __future__ import annotations

from fourtuple import Alarm, Endpoint, Proxy, Service, Sockets
from fourtuple.adapters import protocol, socketserver, streams
from fourtuple.events import Closed, Reason
from fourtuple.framing import Cobs, Gap, Hdlc, Line, checked, mapped, parse_framing
from fourtuple.inspector import parse_filter, sockets
from fourtuple.load import Load, Run
from fourtuple.observe import JsonLines, each_of
from fourtuple.testing import FlakyListener, Toxic, Toxics


def read(message: bytes) -> int:
    return int(message)


def write(number: int) -> bytes:
    return b"%d" % number


service = Service("line")

streams(lambda reader: None)  # wrong
protocol(3)  # wrong
socketserver(3)  # wrong
Load(connections="3")  # wrong
Run("127.0.0.1:1", 16)  # wrong
parse_filter(3)  # wrong
sockets(source="ss")  # wrong
JsonLines(3)  # wrong
each_of(3)  # wrong
Closed(3)  # wrong
reason: Reason = "RESET"  # wrong
Toxic(service)  # wrong
Toxics(latency="1s")  # wrong
FlakyListener(service)  # wrong
Cobs(max_mesage=3)  # wrong
Gap(gap_timeout="50ms")  # wrong
Hdlc(fcs="16bit")  # wrong
checked(mapped(Line(), read, write), "crc32")  # wrong
parse_framing(3)  # wrong
Alarm("threads", threshold="3")  # wrong
Endpoint(3)  # wrong
Proxy(trust="10.0.0.0/8")  # wrong
Sockets(backlog="128")  # wrong
