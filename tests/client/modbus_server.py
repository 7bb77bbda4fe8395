"""The Modbus TCP server of pymodbus with a hundred registers: it prints its port, and serves test_third_party.py."""

import asyncio

from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
from pymodbus.server import ModbusTcpServer


async def main() -> None:
    registers = ModbusDeviceContext(hr=ModbusSequentialDataBlock(1, list(range(100))))
    server = ModbusTcpServer(ModbusServerContext(registers, single=True), address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    print(server.transport.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
