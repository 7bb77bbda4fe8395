r"""A mail server that takes everything and delivers nothing (RFC 5321): lines that end in CR LF.

    fourtuple serve examples/protocols/smtp_server.py
    python -c "import smtplib; s = smtplib.SMTP('127.0.0.1', 9999); print(s.sendmail('a@b', ['c@d'], 'Hello'))"

The service speaks first. While a mail comes, a conversation is a loop inside of a loop; its size has a bound.
"""

from fourtuple import Connection, Service
from fourtuple.framing import Line

MAX_MAIL = 1 << 20

service = Service(Line("crlf", max_message=1000))  # RFC 5321, 4.5.3.1.6


@service.conversation
async def mail(connection: Connection) -> None:
    await connection.send(b"220 fourtuple.example at your service")
    recipients: list[bytes] = []
    async for line in connection:
        match line.split(b" ", 1)[0].upper():
            case b"HELO" | b"EHLO":
                await connection.send(b"250 fourtuple.example")
            case b"MAIL" | b"RSET" | b"NOOP":
                recipients.clear()
                await connection.send(b"250 OK")
            case b"RCPT":
                recipients.append(line[len(b"RCPT TO:") :])
                await connection.send(b"250 OK")
            case b"DATA" if recipients:
                await connection.send(b"354 end with a line that is one dot")
                octets = await text(connection)
                if octets > MAX_MAIL:
                    await connection.send(b"552 no more than %d octets" % MAX_MAIL)
                    return
                await connection.send(b"250 %d octets for %d" % (octets, len(recipients)))
            case b"DATA":
                await connection.send(b"503 for whom? RCPT comes first")
            case b"QUIT":
                await connection.send(b"221 goodbye")
                return
            case _:
                await connection.send(b"500 unknown command")


async def text(connection: Connection) -> int:
    """Read a mail to its end, or until it is too large; tell how long it is."""
    octets = 0
    async for line in connection:
        if line == b"." or octets > MAX_MAIL:
            break
        octets += len(line.removeprefix(b".")) + 2  # a leading dot was doubled: RFC 5321, 4.5.2
    return octets
