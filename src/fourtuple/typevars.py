"""The type variables of messages and states, and a ``Generic`` that costs nothing at run time.

A type checker sees :class:`typing.Generic` and type variables with defaults (PEP 696): ``Connection`` alone means
``Connection[Any, Any, Any, Any]``, and in ``Connection[bytes, bytes]`` the two states are ``Any``. At run time our
``Generic`` can be subscripted with any number of types; ``typing.Generic`` checks their number, and has no defaults
before Python 3.13. Only type checkers import ``typing_extensions``, and they have it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import Generic as Generic

    from typing_extensions import TypeVar
else:
    import types
    import typing

    class Generic:
        """A base class that makes subclasses subscriptable: without slots, a dict, a metaclass, or a count of types."""

        __slots__ = ()
        __class_getitem__ = classmethod(types.GenericAlias)

    def TypeVar(name, *, default, bound=None, covariant=False, contravariant=False):  # noqa: N802  # a checker sees the real one
        """Make a type variable of :mod:`typing`; only type checkers need its default."""
        return typing.TypeVar(name, bound=bound, covariant=covariant, contravariant=contravariant)


# Type variables of classes. A framing that returns bytes can be used as one that returns objects (covariant), and one
# that takes all octets can be used as one that takes bytes (contravariant).
#: The type of the messages received.
In_co = TypeVar("In_co", covariant=True, default=Any)
#: The type of the messages sent.
Out_contra = TypeVar("Out_contra", contravariant=True, default=Any)
#: The types of what a mapping takes, and of what it makes of a value: the messages of the framing that it maps.
Taken_contra = TypeVar("Taken_contra", contravariant=True, default=Any)
Made_co = TypeVar("Made_co", covariant=True, default=Any)
#: The types of the peer's framing, where they differ: what the peer can send, and what it receives.
PeerOut_contra = TypeVar("PeerOut_contra", contravariant=True, default=Any)
PeerIn_co = TypeVar("PeerIn_co", covariant=True, default=Any)
#: The types of a client's ping, and of the messages that its functions take, in the protocol of the client's framing.
Ping_contra = TypeVar("Ping_contra", contravariant=True, default=Any)
Heard_co = TypeVar("Heard_co", covariant=True, default=Any)
Told_contra = TypeVar("Told_contra", contravariant=True, default=Any)
Written_co = TypeVar("Written_co", covariant=True, default=Any)
#: The type of ``connection.state``.
S = TypeVar("S", default=Any)
#: The type of ``connection.service_state``, which the service's lifespan yields.
L = TypeVar("L", default=Any)

# Type variables of functions: the same, and a second pair for what they return.
In = TypeVar("In", default=Any)
Out = TypeVar("Out", default=Any)
NewIn = TypeVar("NewIn", default=Any)
NewOut = TypeVar("NewOut", default=Any)
#: The type of a client's ping: one that its framing sends.
Ping = TypeVar("Ping", default=Any)
#: The types of the messages that the functions of a client take: received, sent, and those that the program writes.
#: The bound is for a lambda beside a framing's text form, whose parameter is then any object, and not a plain one.
Heard = TypeVar("Heard", bound=Any, default=Any)
Told = TypeVar("Told", bound=Any, default=Any)
Written = TypeVar("Written", bound=Any, default=Any)
#: The type of messages that are received and sent back.
M = TypeVar("M", default=Any)
