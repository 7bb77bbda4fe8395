r"""A log server (RFC 6587): each message behind its length in decimal, or ended by a line feed; both at one port.

    fourtuple serve --quiet examples/protocols/syslog_server.py
    logger --tcp --octet-count --server 127.0.0.1 --port 9999 --priority user.warning "it is getting late"

Nothing is replied. A message without a priority is shown as it is.
"""

import re

from fourtuple import Connection, Service
from fourtuple.framing import Syslog

SEVERITIES = ("emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug")

service = Service(Syslog(max_message=8192))


@service.reply
def log(message: bytes, connection: Connection) -> None:
    found = re.match(rb"<(\d{1,3})>", message)
    severity = SEVERITIES[int(found[1]) % 8] if found else "unknown"
    text = message[found.end() if found else 0 :].decode(errors="replace")
    print(f"{severity}: {text!r} from {connection.name}", flush=True)
