r"""A client of language servers that stays connected: JSON-RPC, where replies are told by their id.

    fourtuple serve --exec jedi-language-server        (from the package jedi-language-server of PyPI)
    python examples/protocols/lsp_client.py 127.0.0.1:9999

The server answers in any order, and sends notifications whenever it likes: these have a method, and are pushes.
"""

import asyncio
import itertools
import sys
from typing import Any

from fourtuple import Client, Connection


def is_notification(message: Any) -> bool:
    return "method" in message


class LanguageServer:
    """Requests to a language server."""

    def __init__(self, address: str) -> None:
        self.numbers = itertools.count(1)
        self.notifications: list[Any] = []
        self.client: Client = Client(
            address,
            "content-length+json",
            greet=self.greet,
            key=lambda message: message.get("id"),
            is_push=is_notification,
            on_push=self.notifications.append,
        )

    def message(self, method: str, params: Any, **more: Any) -> Any:
        return {"jsonrpc": "2.0", "method": method, "params": params, **more}

    async def greet(self, connection: Connection) -> None:
        await connection.send(self.message("initialize", {"processId": None, "capabilities": {}}, id=0))
        while is_notification(await connection.receive()):
            pass
        await connection.send(self.message("initialized", {}))

    async def ask(self, method: str, **params: Any) -> Any:
        reply = await self.client.request(self.message(method, params, id=next(self.numbers)), idempotent=True)
        if "error" in reply:
            raise ValueError(reply["error"]["message"])
        return reply["result"]

    async def tell(self, method: str, **params: Any) -> None:
        await self.client.send(self.message(method, params))


async def main(address: str) -> None:
    server = LanguageServer(address)
    async with server.client:
        await server.client.wait_ready()
        document = {"uri": "file:///two.py", "languageId": "python", "version": 1, "text": "def two():\n    return 2\n"}
        await server.tell("textDocument/didOpen", textDocument=document)
        found = await server.ask("textDocument/documentSymbol", textDocument={"uri": document["uri"]})
        print([each["name"] for each in found])


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
