"""The client of the control socket, and where the socket is: for the commands."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from typing import Any

from fourtuple.address import Address
from fourtuple.blocking import BlockingConnection, connect
from fourtuple.errors import ConnectError, ConnectionLost, EndOfFile, FourTupleError, OperationError
from fourtuple.framing import Line

#: The most octets of a reply: 10,000 connections take 3 MiB.
MAX_REPLY = 64 * 1024 * 1024
#: The variable with the path, for the commands.
VARIABLE = "FOURTUPLE_CONTROL"


class Control:
    """A connection to a control socket. Use it as a context manager.

    Raises :class:`~fourtuple.errors.OperationError` for what the server refuses, and the errors of a connection:
    :class:`~fourtuple.errors.ConnectionLost` if the server ends before it has answered.
    """

    def __init__(self, path: str, *, timeout: float | None = 10.0) -> None:
        self.path = path
        self.timeout = timeout
        self._connection: BlockingConnection[bytes, bytes] = connect(
            Address(path=path), Line(max_message=MAX_REPLY), timeout=timeout
        )

    def call(self, op: str, *, timeout: float | None = None, **arguments: Any) -> Any:
        """Do an operation; return its value. ``timeout`` is in seconds, by default that of the connection."""
        request = json.dumps({"op": op, **arguments}).encode()
        try:
            reply = json.loads(self._connection.request(request, timeout=timeout or self.timeout))
        except (EndOfFile, ConnectionLost) as error:
            raise ConnectionLost(f"the server at unix:{self.path} has ended, and did not answer") from error
        if not isinstance(reply, dict) or "ok" not in reply:
            raise OperationError(f"unix:{self.path} does not answer as a control socket of fourtuple")
        if not reply["ok"]:
            raise OperationError(str(reply.get("error")))
        return reply.get("value")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __enter__(self) -> Control:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def folder(environment: Mapping[str, str]) -> str:
    """Return the folder of the sockets without a path: $XDG_RUNTIME_DIR/fourtuple, for root /run/fourtuple.

    Raises :class:`~fourtuple.errors.OperationError` if there is no XDG_RUNTIME_DIR. A folder that everyone can write
    to, such as /tmp, is not a substitute: another user could be there first.
    """
    base = environment.get("XDG_RUNTIME_DIR")
    if not base and os.geteuid() == 0:
        base = "/run"
    if not base:
        raise OperationError("XDG_RUNTIME_DIR is not set: give the path of the control socket")
    return os.path.join(base, "fourtuple")


def automatic_path(name: str, environment: Mapping[str, str]) -> str:
    """Return the path for a service with this name, and make its folder, which only this user can enter."""
    where = folder(environment)
    try:
        os.makedirs(where, mode=0o700, exist_ok=True)
        status = os.lstat(where)
    except OSError as error:
        raise OperationError(f"{where}: {error.strerror}") from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise OperationError(f"{where} is not a folder that only this user can write to")
    safe = "".join(each if each.isalnum() or each in "-_." else "_" for each in name).lstrip(".")[:64]
    return os.path.join(where, f"{safe or 'server'}.sock")


def find(given: str | None, environment: Mapping[str, str]) -> str:
    """Return the path of the socket to connect to: the one given, the variable's, or the only one in the folder.

    ``auto`` means the only one in the folder. An empty path is refused: it is a mistake, such as a shell variable
    without a value, and the only socket may belong to another server than the one that was meant.

    Raises :class:`~fourtuple.errors.OperationError` if there is none or more than one, and for an empty path.
    """
    path = environment.get(VARIABLE) if given is None else given
    if path is not None and path != "auto":
        if not (path := path.removeprefix("unix:")):
            place = VARIABLE if given is None else "--control"
            raise OperationError(f"{place} is empty: the path of a socket is needed")
        return path
    where = folder(environment)
    try:
        found = sorted(each for each in os.listdir(where) if each.endswith(".sock"))
    except OSError:
        found = []
    living = [path for path in (os.path.join(where, each) for each in found) if _lives(path)]
    if len(living) == 1:
        return living[0]
    if not living:
        raise OperationError(
            f"no control socket in {where}: start the server with --control PATH, and give the path here, or in "
            f"the variable {VARIABLE}"
        )
    raise OperationError(f"several control sockets; choose one with --control: {', '.join(living)}")


def _lives(path: str) -> bool:
    try:
        connect(Address(path=path), Line(), timeout=1.0).abort()
    except FourTupleError:
        return False
    return True


def called(path: str, op: str, *, timeout: float | None = 10.0, **arguments: Any) -> Any:
    """Connect, do one operation, and return its value."""
    try:
        control = Control(path, timeout=timeout)
    except ConnectError as error:
        raise OperationError(f"nothing answers at unix:{path}: {error.meaning}") from error
    with control:
        return control.call(op, **arguments)
