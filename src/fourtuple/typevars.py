"""The type variables of messages and states, and a ``Generic`` that costs nothing at run time.

A type checker sees :class:`typing.Generic` and type variables with defaults (PEP 696): ``Connection`` alone means
``Connection[Any, Any, Any, Any]``, and ``Connection[bytes, bytes]`` leaves the two states open. At run time a generic
class can be subscripted with any number of types, because ``typing.Generic`` counts them and knows no defaults before
Python 3.13. ``typing_extensions`` is imported by type checkers alone, which bring it themselves.
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
        """A base that makes its subclasses subscriptable: no slot, no dict, no metaclass, no count of the types."""

        __slots__ = ()
        __class_getitem__ = classmethod(types.GenericAlias)

    def TypeVar(name, *, default, covariant=False, contravariant=False):  # noqa: N802  # a checker sees the real one
        """A type variable of :mod:`typing`, whose default only type checkers need."""
        return typing.TypeVar(name, covariant=covariant, contravariant=contravariant)


# Of classes. A framing that gives bytes serves where one that gives objects is asked for (covariant), and one that
# takes all octets serves where one that takes bytes is asked for (contravariant).
#: The type of the messages that come in.
In_co = TypeVar("In_co", covariant=True, default=Any)
#: The type of the messages that go out.
Out_contra = TypeVar("Out_contra", contravariant=True, default=Any)
#: The type of ``connection.state``.
S = TypeVar("S", default=Any)
#: The type of ``connection.service_state``, which the service's lifespan makes.
L = TypeVar("L", default=Any)

# Of functions: the same, and a second pair for what they return.
In = TypeVar("In", default=Any)
Out = TypeVar("Out", default=Any)
NewIn = TypeVar("NewIn", default=Any)
NewOut = TypeVar("NewOut", default=Any)
#: The type of messages that come in and go out again.
M = TypeVar("M", default=Any)
