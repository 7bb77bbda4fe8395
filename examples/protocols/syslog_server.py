r"""A log server (RFC 6587): each message behind its length in decimal, or ended by a line feed or NUL; all at one port.

    fourtuple serve --quiet examples/protocols/syslog_server.py
    logger --tcp --octet-count --server 127.0.0.1 --port 9999 --priority user.warning "it is getting late"

Python's ``SysLogHandler(("127.0.0.1", 9999), socktype=socket.SOCK_STREAM)`` ends its messages with NUL. If all clients
do, write ``trailer=b"\0"``: a record of several lines, such as a traceback, is then one message.

Nothing is replied. A message without a priority is shown as it is.
"""

import re

from fourtuple import Connection, Service
from fourtuple.framing import Syslog

SEVERITIES = ("emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug")

service = Service(Syslog(trailer=(b"\n", b"\0"), max_message=8192))


@service.reply
def log(message: bytes, connection: Connection) -> None:
    found = re.match(rb"<(\d{1,3})>", message)
    severity = SEVERITIES[int(found[1]) % 8] if found else "unknown"
    text = message[found.end() if found else 0 :].decode(errors="replace")
    print(f"{severity}: {text!r} from {connection.name}", flush=True)
