r"""JSON-RPC 2.0 over a plain connection: JSON values one after the other, with or without line ends between them.

    fourtuple serve examples/protocols/jsonrpc_server.py
    jq -n '{jsonrpc: "2.0", id: 1, method: "add", params: [1, 2]}' | nc -N 127.0.0.1 9999 | jq .result

What jq writes goes over several lines: where a value ends is found by its brackets.
"""

from collections.abc import Callable
from typing import Any

from fourtuple import Service

METHODS: dict[str, Callable[..., Any]] = {
    "add": lambda *numbers: sum(numbers),
    "upper": lambda text: text.upper(),
}

service = Service("json+json")


@service.reply
def call(request: Any) -> Any:
    if not isinstance(request, dict) or request.get("jsonrpc") != "2.0" or "method" not in request:
        return error(None, -32600, "invalid request")
    method, number = METHODS.get(request["method"]), request.get("id")
    if method is None:
        return error(number, -32601, "method not found")
    try:
        result = method(*request.get("params", []))
    except (TypeError, AttributeError) as failure:
        return error(number, -32602, str(failure))
    return None if "id" not in request else {"jsonrpc": "2.0", "id": number, "result": result}


@service.failed
def last_words(_error: Exception, _connection: object) -> Any:
    return error(None, -32700, "parse error")


def error(number: Any, code: int, text: str) -> Any:
    return {"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": text}}
