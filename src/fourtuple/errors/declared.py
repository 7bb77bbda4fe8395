"""What the program declared or asked for is wrong: an address, an option, a service, a loop, an operation."""

from __future__ import annotations

from fourtuple.errors.base import FourTupleError
from fourtuple.printable import shortened


class AddressError(FourTupleError, ValueError):
    """An address that cannot be read; ``text`` is what was given."""

    def __init__(self, text: str, why: str) -> None:
        """``text`` is what was given, ``why`` says what is wrong with it."""
        super().__init__(f"cannot read address {text!r}: {why}")
        self.text = text


class OptionError(FourTupleError, ValueError):
    """An option with an impossible value."""


class FilterError(FourTupleError, ValueError):
    """A filter over sockets that cannot be read; ``text`` is what was given, ``at`` is where reading stopped."""

    def __init__(self, text: str, at: int, why: str) -> None:
        """``text`` is what was given, ``at`` the index of the character where reading stopped, ``why`` what is wrong
        there.
        """
        super().__init__(f"cannot read filter {shortened(text)!r} at character {at + 1}: {why}")
        self.text = text
        self.at = at


class ServiceError(FourTupleError, TypeError):
    """A service that is declared or used in an invalid way; it is checked before a socket is opened."""


class UnsupportedLoop(FourTupleError, RuntimeError):
    """The event loop has no ``add_reader``: it cannot host the engine."""


class SupervisorError(FourTupleError, RuntimeError):
    """A supervisor cannot do what it was asked to do; its workers go on as before."""


class WorkerNotStarted(SupervisorError):
    """A worker ended, or took too long, before it accepted connections; ``code`` is its exit code, None if it has none.

    The worker itself has printed why.
    """

    def __init__(self, slot: int, why: str, code: int | None = None) -> None:
        """``slot`` is the worker's number, ``why`` says what happened, ``code`` is the exit code, None by default."""
        super().__init__(f"worker {slot} did not start: {why}")
        self.slot = slot
        self.why = why
        self.code = code


class ChannelError(FourTupleError, ConnectionError):
    """A request to another process of this server has failed there, or that process has ended."""


class OperationError(FourTupleError, RuntimeError):
    """An operation on a running server cannot be done, such as to set the number of workers without a supervisor."""
