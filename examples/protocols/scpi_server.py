r"""An instrument that speaks SCPI: lines, with blocks of any octets in the middle of a line (IEEE 488.2, 7.7.6).

    fourtuple serve examples/protocols/scpi_server.py

    >>> import pyvisa                                    (the packages PyVISA and PyVISA-py)
    >>> resources = pyvisa.ResourceManager("@py")
    >>> meter = resources.open_resource("TCPIP::127.0.0.1::9999::SOCKET", read_termination="\n", write_termination="\n")
    >>> meter.query("*IDN?")

`#15hello` is a block: one digit says that the length has one digit, 5. A line feed in a block does not end the line, so
the framing is a function of our own.
"""

import re
import struct

from fourtuple import Service
from fourtuple.framing import custom

_BLOCK = re.compile(rb"#([1-9])|\n")
waveform = struct.pack(">4h", 10, -10, 2570, 0)  # 10 is a line feed


def decode(buffer: bytearray, _seen: int) -> tuple[bytes, int] | int | None:
    """A line, without its line feed; the blocks in it are left out of the search for it."""
    at = 0
    while found := _BLOCK.search(buffer, at):
        if found[1] is None:
            return bytes(buffer[: found.start()]).removesuffix(b"\r"), found.end()
        digits = buffer[found.end() : found.end() + int(found[1])]
        if len(digits) < int(found[1]):
            return None
        if not digits.isdigit():
            raise ValueError(f"the length of a block is {bytes(digits)!r}")
        at = found.end() + len(digits) + int(digits)
        if at >= len(buffer):
            return at + 1
    return None


def block(octets: bytes) -> bytes:
    size = b"%d" % len(octets)
    return b"#%d%b%b" % (len(size), size, octets)


def encode(message: bytes) -> bytes:
    return message + b"\n"


service = Service(custom(decode, encode, max_message=1 << 20, name="scpi"))


@service.reply
def handle(message: bytes) -> bytes | None:
    global waveform
    command, _, argument = message.partition(b" ")
    match command.upper():
        case b"*IDN?":
            return b"fourtuple,meter,0,1.0"
        case b"MEAS:VOLT?" | b"MEASURE:VOLTAGE?":
            return b"4.2"
        case b"CURV?":
            return block(waveform)
        case b"CURV":
            waveform = argument[2 + int(argument[1:2]) :]
    return None  # a command has no answer, and a wrong one has none either
