r"""A controller with a hundred holding registers (Modbus), over both framings that the world uses.

fourtuple serve examples/protocols/modbus_server.py               Modbus TCP: a header with the length
fourtuple serve examples/protocols/modbus_server.py:rtu           RTU over TCP: ended by silence, with a CRC

>>> from pymodbus.client import ModbusTcpClient                   (from the package pymodbus of PyPI)
>>> controller = ModbusTcpClient("127.0.0.1", port=9999)          (framer="rtu" for the other)
>>> controller.read_holding_registers(0, count=3).registers
"""

import struct

from fourtuple import Connection, Service
from fourtuple.framing import Gap, Length, Unmapped, checked

READ, WRITE = 3, 6
ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 1, 2, 3

registers = list(range(100))


def execute(request: bytes) -> bytes:
    """What the controller does with a request, and its response; both without address and checksum."""
    function = request[0]
    if function not in (READ, WRITE):
        return bytes((function | 0x80, ILLEGAL_FUNCTION))
    if len(request) != 5:
        return bytes((function | 0x80, ILLEGAL_VALUE))
    place, value = struct.unpack(">HH", request[1:])
    if function == READ and not 1 <= value <= 125:
        return bytes((function | 0x80, ILLEGAL_VALUE))
    if place + (value if function == READ else 1) > len(registers):
        return bytes((function | 0x80, ILLEGAL_ADDRESS))
    if function == READ:
        return bytes((READ, 2 * value)) + struct.pack(f">{value}H", *registers[place : place + value])
    registers[place] = value
    return request


# Modbus TCP: transaction, protocol, length, unit; the header stays with the message.
service = Service(Length(2, offset=4, skip=0, max_message=260))


@service.reply
def over_tcp(message: bytes) -> bytes | None:
    transaction, protocol, _length, unit = struct.unpack_from(">HHHB", message + b"\0")
    if protocol or len(message) < 8:
        return None
    response = execute(message[7:])
    return struct.pack(">HHHB", transaction, 0, 1 + len(response), unit) + response


# RTU over TCP: unit, function, data, CRC; nothing says how long it is. What has a wrong CRC does not map.

rtu = Service(checked(Gap(0.02, max_message=256), "crc16-modbus"))


@rtu.reply
def over_rtu(message: bytes) -> bytes | None:
    return message[:1] + execute(message[1:]) if len(message) > 1 else None


@rtu.unmapped
def ignore(_message: Unmapped, _connection: Connection) -> None:
    """As the specification wants it: who hears a broken request stays silent, and the master asks again."""
