r"""A small shell for telnet (RFC 854): the client's options are refused, and lines have an answer each.

    fourtuple serve examples/protocols/telnet_server.py
    telnet 127.0.0.1 9999

A command of telnet is a message of its own. One inside a line is taken out of the line and comes before it.
"""

from datetime import UTC, datetime

from fourtuple import ReplyAndClose, Service, reply_and_close
from fourtuple.framing import Telnet, TelnetCommand

Message = bytes | TelnetCommand

service: Service[Message, Message] = Service(Telnet(max_message=1024))


@service.opened
def greet(_connection: object) -> bytes:
    return b"fourtuple: date, echo TEXT, quit"


@service.reply
def handle(message: Message) -> Message | ReplyAndClose[Message] | None:
    if isinstance(message, TelnetCommand):
        return message.refusal()
    verb, _, rest = message.partition(b" ")
    match verb:
        case b"date":
            return f"{datetime.now(UTC):%F %T}".encode()
        case b"echo":
            return rest
        case b"quit":
            return reply_and_close(b"goodbye")
    return b"there are date, echo and quit"
