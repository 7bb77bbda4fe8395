r"""A host for payment terminals that speaks ISO 8583 in ASCII: a length of four digits, a kind, a bitmap, fields.

    fourtuple serve examples/protocols/iso8583_server.py

    >>> import iso8583                                                (the package pyiso8583)
    >>> from iso8583.specs import default_ascii as spec
    >>> octets, _ = iso8583.encode({"t": "0800", "11": "000001", "70": "301"}, spec)
    >>> socket.sendall(b"%04d" % len(octets) + octets)

A message with a wrong bitmap or field is framed well: it does not map, and costs nothing but itself.
"""

from fourtuple import Connection, Service
from fourtuple.framing import Length, Unmapped, mapped

# The fields that this host knows: their length, or the number of digits of their length.
FIXED = {3: 6, 4: 12, 7: 10, 11: 6, 12: 6, 13: 4, 14: 4, 22: 3, 25: 2}
FIXED |= {37: 12, 38: 6, 39: 2, 41: 8, 42: 15, 49: 3, 70: 3}
VARIABLE = {2: 2, 32: 2, 35: 2, 48: 3}
LIMIT = 100_00

Message = tuple[str, dict[int, str]]  # kind and fields


def decode(octets: bytes) -> Message:
    text = octets.decode("ascii")
    at = 36 if int(text[4], 16) & 8 else 20  # a second bitmap where the first one says so
    bits = f"{int(text[4:at], 16):0{4 * (at - 4)}b}"
    fields = {}
    for number in (number for number, bit in enumerate(bits, 1) if bit == "1" and number != 1):
        digits = 0 if number in FIXED else VARIABLE[number]
        end = at + digits + (int(text[at : at + digits]) if digits else FIXED[number])
        fields[number], at = text[at + digits : end], end
    if at != len(text):
        raise ValueError(f"{len(text)} octets, the fields have {at}")
    return text[:4], fields


def encode(message: Message) -> bytes:
    kind, fields = message
    size = 128 if max(fields) > 64 else 64
    bits = sum(1 << size - number for number in fields) | (1 << 127 if size == 128 else 0)
    text = f"{kind}{bits:0{size // 4}X}"
    for number, value in sorted(fields.items()):
        text += value if number in FIXED else f"{len(value):0{VARIABLE[number]}}{value}"
    return text.encode("ascii")


service = Service(mapped(Length(4, base="decimal"), decode, encode))


@service.reply
def handle(message: Message) -> Message | None:
    kind, fields = message
    if kind == "0800":
        return "0810", fields | {39: "00"}
    if kind == "0200":
        good = int(fields[4]) <= LIMIT
        return "0210", fields | {39: "00" if good else "51"}
    return None


@service.unmapped
def ignore(_message: Unmapped, _connection: Connection) -> None:
    """The terminal asks again."""
