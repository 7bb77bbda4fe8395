r"""A third-party parser as the framing: HTTP/1.1, read by h11.

    fourtuple serve examples/protocols/http_server.py
    curl --data "hello" http://127.0.0.1:9999/upper

Every event of h11 is a message. It needs the package h11.
"""

from http import HTTPStatus
from typing import Any

import h11

from fourtuple import Connection, Service, reply_and_close
from fourtuple.framing import event_parser

MAX_BODY = 1 << 20


def write(answer: tuple[HTTPStatus, bytes]) -> bytes:
    status, body = answer
    return b"HTTP/1.1 %d %s\r\nContent-Length: %d\r\n\r\n%s" % (status, status.phrase.encode(), len(body), body)


def answered(parser: Any) -> None:
    """Tell the parser that the request was replied to: it reads, and we write."""
    parser.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
    parser.send(h11.EndOfMessage())
    parser.start_next_cycle()


service = Service(
    event_parser(
        lambda: h11.Connection(h11.SERVER),
        write,
        need_data=(h11.NEED_DATA,),
        paused=h11.PAUSED,
        resume=answered,
        name="h11",
    )
)


@service.reply
def serve(event: Any, connection: Connection) -> Any:
    if isinstance(event, h11.Request):
        connection.state = (event, bytearray())
        return None
    request, body = connection.state
    if isinstance(event, h11.Data):
        body += event.data
        return reply_and_close((HTTPStatus.REQUEST_ENTITY_TOO_LARGE, b"")) if len(body) > MAX_BODY else None
    if request.target != b"/upper":
        return HTTPStatus.NOT_FOUND, b"there is /upper\n"
    if request.method != b"POST":
        return HTTPStatus.METHOD_NOT_ALLOWED, b"POST something\n"
    return HTTPStatus.OK, bytes(body.upper()) + b"\n"
