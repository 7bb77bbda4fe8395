r"""Two protocols at one port: the first octet of each message says which one it is.

    fourtuple serve examples/protocols/either_server.py
    redis-cli -p 9999 reverse stressed               an array of RESP begins with an asterisk
    echo stressed | nc -N 127.0.0.1 9999             anything else is a line

The reply is of the kind of the question: the encoder takes the framing whose octets begin as its case does.
"""

from typing import Any

from fourtuple import Service
from fourtuple.framing import Line, Resp, Switch

service = Service(Switch(((b"*", Resp()),), otherwise=Line()))


@service.reply
def reverse(message: Any) -> Any:
    if isinstance(message, list):
        return [each[::-1] for each in message[1:] if isinstance(each, bytes)]
    return message[::-1]
