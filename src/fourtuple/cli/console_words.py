"""The words of a console's lines: counts, and the texts of errors."""

from __future__ import annotations

from fourtuple import events
from fourtuple.errors import FramingError
from fourtuple.four_tuple import Name
from fourtuple.observe.raised import place_of
from fourtuple.printable import printable, text_of, text_without
from fourtuple.stream import Statistics


def without_name(error: Exception) -> str:
    """Return the text without the connection's name at its end: the line has it already."""
    return printable(text_of(error.args[0])) if isinstance(error, FramingError) and error.args else text_in_line(error)


def placed(error: Exception) -> str:
    """Return the text of a message's error, and where the framing's code raised, if it did."""
    place = place_of(error.__cause__)
    return f"{without_name(error)}, at {printable(place)}" if place else without_name(error)


def text_in_line(error: BaseException, name: Name | None = None) -> str:
    """Return an exception's text, escaped and cut here, so that what follows on the line is not cut off.

    With ``name``, without the name of this connection: the line has it already.
    """
    return printable(text_of(error) if name is None else text_without(name, error))


def counted(statistics: Statistics, *, messages: bool = True, tls: bool = False) -> str:
    """Return the messages, if they are counted, and the octets received and sent, as text.

    With ``tls`` the octets are those of TLS, which are more than those of the messages.
    """
    of_tls = " of TLS" if tls else ""
    ways = (
        ("in", statistics.messages_in, statistics.octets_in),
        ("out", statistics.messages_out, statistics.octets_out),
    )
    return ", ".join(
        f"{way} {plural(number, 'message') + ' ' if messages else ''}{plural(octets, 'octet')}{of_tls}"
        for way, number, octets in ways
    )


def plural(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def operating_line(event: events.Operating) -> str:
    """Return the line that says where a server is operated."""
    if event.what == "control":
        return f"Control socket at {printable(str(event.address))}"
    return f"Metrics at http://{event.address}/metrics"
