"""What a run of ``fourtuple serve`` checks before anything is opened, in a process that may not import the service.

A supervisor imports nothing of the user's, and its sockets are open before the first worker is ready: what a worker
would find in the options alone is found here.
"""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from fourtuple.address import WILDCARDS, Address, why_no_path
from fourtuple.cli.failure import Exit, Failure
from fourtuple.cli.programs import Program
from fourtuple.config import PREFIX
from fourtuple.errors import FourTupleError, OptionError
from fourtuple.net.passive import check_listening
from fourtuple.net.sockets import apply_options
from fourtuple.net.users import ids_of
from fourtuple.operations.pidfile import check_pidfile
from fourtuple.operations.running import check, control_path, http_address
from fourtuple.options import Operations, Sockets
from fourtuple.supervisor.process import this_command
from fourtuple.supervisor.seat import ONLY_CHECK, for_child
from fourtuple.tls.certificates import Certificates

#: The hosts that stand for all addresses of the machine, in the form that an option takes.
_EVERY = frozenset(("", "*", *WILDCARDS))


def check_for_workers(program: Program) -> None:
    """Raise a :class:`Failure` for options with which no worker could start, and a control socket without a place.

    The certificates are read, as a worker will read them once more.
    """
    check_operations(program)
    check_certificates(program)
    check_sockets(program)


def check_certificates(program: Program) -> None:
    """Raise a :class:`Failure` that names the service, or its endpoint, whose certificates cannot be used."""
    for label, tls in program.tls:
        try:
            Certificates(tls)
        except FourTupleError as error:
            failure = _where_given(error, program.given_at(label))
            raise failure.at(label) if label else failure from error


def _where_given(error: FourTupleError, where: Mapping[str, str]) -> Failure:
    """Return the failure for an option; ``where`` says where each one was given: a flag, a key of the file."""
    name, _, text = str(error).partition(": ")
    place = where.get(name.removeprefix("tls_"), "")
    return Failure(f"{place}: {text}" if place and isinstance(error, OptionError) else error, Exit.USAGE)


def check_operations(program: Program) -> None:
    """Raise a :class:`Failure` for a user, a group, a control socket or an HTTP server that cannot be on this machine.

    Nothing is left open.
    """
    try:
        check(program.options.operations)
    except FourTupleError as error:
        raise _where_given(error, program.options.where) from error
    check_control(program.options.operations, program.options.where)


def check_sockets(program: Program) -> None:
    """Raise a :class:`Failure` for an owner, an interface or a congestion control that this machine does not know.

    The kernel is asked with a socket that is not bound.
    """
    for label, options in program.named_on_machine:
        try:
            if options.unix_owner is not None:
                ids_of(options.unix_owner)
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
                apply_options(probe, Sockets(interface=options.interface, congestion=options.congestion), passive=True)
        except FourTupleError as error:
            raise _where_given(error, program.given_at(label) or program.options.where) from error


def check_refusals(program: Program) -> None:
    """End this process if a refusal does not fit a framing, with the error and the exit code of that.

    The framing may be in the user's code, so a fresh interpreter imports it and ends. Few servers have a refusal.
    """
    if not program.refuses:
        return
    command = this_command()
    done = subprocess.run(
        command.words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,  # the workers print it again
        stderr=subprocess.PIPE,
        env=for_child(command.environment, **{ONLY_CHECK: "1"}),
        cwd=command.directory,
        check=False,
    )
    if done.returncode:
        sys.stderr.flush()
        sys.stderr.buffer.write(done.stderr)
        sys.exit(done.returncode if done.returncode > 0 else Exit.NO_START)


def check_control(operations: Operations, where: Mapping[str, str]) -> None:
    """Raise a :class:`Failure` if no socket file can be made where the control socket or the HTTP server is wanted."""
    if operations.control not in (None, "auto"):
        _check_socket_file(where.get("control", "--control"), operations.control.removeprefix("unix:"))
    http = None if operations.http is None else http_address(operations.http)
    if http is not None and http.is_unix:
        _check_socket_file(where.get("http", "--http"), http.path)


def _check_socket_file(place: str, path: str) -> None:
    if path.startswith("@"):
        return  # a name in the abstract namespace
    impossible = why_no_path(path)
    if impossible:
        raise Failure(f"{place}: {path}: {impossible}", Exit.USAGE)
    folder = Path(path).parent
    if not folder.is_dir():
        raise Failure(f"{place}: {path}: there is no directory {folder}", Exit.USAGE)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise Failure(f"{place}: {path}: no file can be made in {folder}", Exit.USAGE)
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise Failure(f"{place}: {path}: a file that is not a socket exists there", Exit.USAGE)
    except FileNotFoundError:
        pass  # as it should be
    except OSError as error:
        raise Failure(f"{place}: {path}: {error.strerror}", Exit.USAGE) from error


def check_on_this_machine(program: Program) -> None:
    """Raise the :class:`Failure` with which a start would end on this machine as this user. Nothing is left open.

    The certificates are read. It looks for the user, the group, the owner of socket files, and the folders of the
    control socket and the pidfile, and asks the kernel for the interface and the congestion control.
    """
    operations = program.options.operations
    check_operations(program)
    check_certificates(program)
    check_sockets(program)
    try:
        check_pidfile(operations.pidfile)
    except FourTupleError as error:
        raise Failure(error, Exit.NO_START) from error


def check_free(operations: Operations, name: str, where: Mapping[str, str]) -> None:
    """Raise a :class:`Failure` if another process listens where the control socket or the pages are to be.

    ``name`` is that of the control socket, if its path is chosen; "" leaves out one that is chosen. ``where`` says
    where each option was given: an error names a variable, which holds for every program that is started beside it.
    They are opened when the workers serve; this is for those that would not be, and comes before a worker is started.
    """
    if operations.control is not None and (name or operations.control != "auto"):
        _check_free(Address(path=control_path(operations.control, name)), where.get("control", ""))
    if operations.http is not None:
        _check_free(http_address(operations.http), where.get("http", ""))


def _check_free(address: Address, place: str) -> None:
    try:
        check_listening(address)
    except FourTupleError as error:
        told = f"; the variable {place} says so, for this program too" if place.startswith(PREFIX) else ""
        raise Failure(f"{error}{told}", Exit.NO_START) from error


def check_http(
    operations: Operations, addresses: Iterable[Address], where: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Raise a :class:`Failure` if the HTTP server is to listen where a service does.

    ``where`` says where each option was given.
    """
    if operations.http is None:
        return
    try:
        http = http_address(operations.http)
    except FourTupleError as error:
        raise _where_given(error, where) from error
    for address in addresses:
        if _collide(http, address):
            told = f"{http} is also an address of the service ({address}); choose another port for one of them"
            raise Failure(f"{where.get('http', '--http')}: {told}", Exit.USAGE)


def _collide(one: Address, other: Address) -> bool:
    """Return whether two sockets cannot listen at these addresses at once, as far as their texts tell."""
    if one.is_unix or other.is_unix:
        return one.is_unix and other.is_unix and one.path == other.path
    if one.fd is not None or other.fd is not None or one.fd_name or other.fd_name:
        return False
    if not one.port or one.port != other.port:
        return False
    first, second = one.host.lower(), other.host.lower()
    if first == second or "*" in (first, second) or "" in (first, second):
        return True
    every = [host for host in (first, second) if host in _EVERY]
    return bool(every) and all(_version(host) in (None, _version(every[0])) for host in (first, second))


def _version(host: str) -> int | None:
    """Return the version of a numeric IP address; None for a name, which may have both."""
    if ":" in host:
        return 6
    return 4 if host.replace(".", "").isdigit() else None
