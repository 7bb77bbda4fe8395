r"""Typed messages: a line of JSON becomes an Order, checked by msgspec; what is none is told so.

    fourtuple serve examples/protocols/orders_server.py
    jq -nc '{item: "screw", count: 3}' | nc -N 127.0.0.1 9999 | jq .total

The handler gets orders and nothing else. It needs the package msgspec.
"""

import msgspec

from fourtuple import Connection, Service
from fourtuple.framing import Line, Mapped, Mapping, Unmapped, msgspec_mapping

PRICES = {"screw": 5, "nail": 2}


class Order(msgspec.Struct, forbid_unknown_fields=True):
    item: str
    count: int = 1


class Receipt(msgspec.Struct):
    total: int


class Refusal(msgspec.Struct):
    why: str


orders: Mapping[Order, Receipt | Refusal] = msgspec_mapping(Order)
service = Service(Mapped(Line(max_message=4096), orders))


@service.reply
def take(order: Order) -> Receipt | Refusal:
    if order.item not in PRICES:
        return Refusal(f"there is no {order.item}")
    return Receipt(PRICES[order.item] * order.count)


@service.unmapped
def refuse(message: Unmapped, _connection: Connection) -> Refusal:
    return Refusal(str(message.error))
