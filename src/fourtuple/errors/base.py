"""The class above all exceptions of fourtuple, what an error says of a client's request, and what is no failure."""

from __future__ import annotations

from enum import StrEnum


class Fate(StrEnum):
    """What may have happened to a request that failed: ``error.fate`` of the errors that a client's request raises.

    - ``NOT_SENT``: no octet of it was given to the kernel, and no TLS record of it was made, so the server
      has not seen it.
    - ``PERHAPS_SENT``: some of its octets were given to the kernel: the server may have carried it out, or not.
    - ``ANSWERED``: its reply came, and the error is about the reply.
    """

    NOT_SENT = "not_sent"
    PERHAPS_SENT = "perhaps_sent"
    ANSWERED = "answered"


class FourTupleError(Exception):
    """The base class of all exceptions that fourtuple raises itself.

    All can be pickled, so that they can be sent to other processes with their data. ``fate`` says what may have
    happened to the request of a client that raised this error; it is None for other errors.
    """

    fate: Fate | None = None

    def __reduce__(self) -> tuple[object, ...]:
        # BaseException.__reduce__ would call the constructor with the text that the constructor made.
        data = dict(self.__dict__)
        if isinstance(self, OSError) and self.errno is not None:
            data |= {"errno": self.errno, "strerror": self.strerror}
        return _rebuilt, (type(self), self.args, data)


def _rebuilt(kind: type[FourTupleError], arguments: tuple[object, ...], data: dict[str, object]) -> FourTupleError:
    error = kind.__new__(kind)
    error.args = arguments
    for name, value in data.items():
        setattr(error, name, value)
    return error


def interrupts(error: BaseException) -> bool:
    """Whether an error ends the program, and is not a failure of the function that it came through.

    Anything else is one, even if it is not an :class:`Exception`: Rust's panics are not, nor is a stray
    :class:`asyncio.CancelledError`.
    """
    return isinstance(error, KeyboardInterrupt | SystemExit)
