r"""A log server that speaks GELF over TCP: JSON texts, each ended by NUL.

    fourtuple serve --quiet examples/protocols/gelf_server.py

    >>> logging.getLogger().addHandler(graypy.GELFTCPHandler("127.0.0.1", 9999))          (the package graypy)
    >>> logging.warning("it is getting late")

Nothing is replied. What is not JSON is shown and costs nothing else.
"""

from typing import Any

from fourtuple import Service
from fourtuple.framing import Unmapped

LEVELS = ("emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug")

service = Service(r"delimited:\0,max_message=256k+json")


@service.reply
def log(message: Any) -> None:
    fields = {name: value for name, value in message.items() if name[:1] == "_"}
    print(f"{LEVELS[message.get('level', 1)]}: {message['short_message']!r} {fields}", flush=True)


@service.unmapped
def no_gelf(message: Unmapped, _connection: object) -> None:
    print(f"no GELF: {message.octets[:80]!r}", flush=True)
