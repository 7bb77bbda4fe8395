"""The class above all exceptions of fourtuple, and what an error says of a client's request."""

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
