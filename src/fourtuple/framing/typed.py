"""Messages as typed values, by msgspec: ``msgspec_mapping(kind)``."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, overload

from fourtuple.errors import OptionError
from fourtuple.framing.mapping import Mapping
from fourtuple.framing.memory import look_at_json
from fourtuple.framing.msgpack import look
from fourtuple.options import by_keyword
from fourtuple.typevars import In

MsgspecFormat = Literal["json", "msgpack"]

#: Types of msgspec.inspect whose values may be keys and members: octets, text, and types with few values.
_HASHED = ("StrType", "BytesType", "ByteArrayType", "MemoryViewType", "LiteralType", "EnumType", "BoolType", "NoneType")


@overload
def msgspec_mapping(*, format: MsgspecFormat = "json") -> Mapping[Any, Any, bytes, bytes]: ...
@overload
def msgspec_mapping(kind: type[In], *, format: MsgspecFormat = "json") -> Mapping[In, Any, bytes, bytes]: ...
@overload
def msgspec_mapping(kind: Any, *, format: MsgspecFormat = "json") -> Mapping[Any, Any, bytes, bytes]: ...
@by_keyword()
def msgspec_mapping(kind: Any = Any, *, format: MsgspecFormat = "json") -> Mapping[Any, Any, bytes, bytes]:
    """Return the mapping to values of type ``kind``, checked by msgspec; ``format`` is ``"json"`` or ``"msgpack"``.

    If ``kind`` is a class, a type checker takes it as the type of received messages. You can send whatever msgspec
    encodes; to narrow that, annotate the mapping, as in
    ``orders: Mapping[Order, Receipt | Refusal] = msgspec_mapping(Order)``. If ``kind`` is not a class, for example a
    union, a checker cannot infer a type, and you need the annotation too.

    Keys of a ``dict`` and members of a ``set`` must be text, octets or members of an enumeration: a peer that chooses
    numbers chooses their hashes, and can make them collide. A ``kind`` with other keys or members is rejected. In
    MessagePack without a kind, a message with other keys does not map.

    Raises :class:`~fourtuple.errors.OptionError` if msgspec is not installed, and for a ``kind`` that is rejected.
    """
    try:
        import msgspec  # imported only when a mapping is made
    except ImportError as error:
        raise OptionError("msgspec is not installed") from error
    if format not in ("json", "msgpack"):
        raise OptionError(f"msgspec: the format is {format!r}, it must be 'json' or 'msgpack'")
    open_ = _check(msgspec.inspect.type_info(kind), kind, format, set())
    codec = getattr(msgspec, format)
    text = f"msgspec-{format}" if kind is Any else ""
    look_at = look_at_json if format == "json" else partial(look, keys=open_)
    name = f"msgspec-{format}:{kind.__name__ if isinstance(kind, type) else kind}"
    return Mapping(
        codec.Decoder(kind).decode, codec.Encoder().encode, text, look_at, name=text or name, of_octets="values"
    )


def _check(info: Any, kind: object, format: MsgspecFormat, seen: set[type]) -> bool:
    """Reject keys and members that a peer could make collide. Return whether a value may have any type."""
    if type(info).__name__ == "Metadata":
        info = info.type
    name = type(info).__name__
    if name in ("AnyType", "CustomType"):
        return True
    if name in ("StructType", "DataclassType", "TypedDictType", "NamedTupleType"):
        if info.cls in seen:
            return False  # a recursive type
        seen.add(info.cls)
    if name == "DictType":
        _check_hashed(info.key_type, "keys", kind, format)
    elif name in ("SetType", "FrozenSetType"):
        _check_hashed(info.item_type, "members", kind, "")
    found = [_check(each, kind, format, seen) for each in _inside(info)]  # a list: any() alone would stop early
    return any(found)


def _check_hashed(info: Any, what: str, kind: object, format: str) -> None:
    if type(info).__name__ == "Metadata":
        info = info.type
    each = info.types if type(info).__name__ == "UnionType" else (info,)
    names = [type(one).__name__ for one in each]
    # The keys of a JSON object are text, even if their type is Any. Keys of MessagePack are checked in each message.
    anything = ("AnyType",) if format else ()
    for name in names:
        if name not in _HASHED and name not in anything:
            shown = name.removesuffix("Type").lower()
            raise OptionError(
                f"msgspec: {kind} has {what} of type {shown}, which a peer can choose so that they collide; use str or "
                "bytes, or a list"
            )


def _inside(info: Any) -> list[Any]:
    """The types that a type contains."""
    found = [getattr(info, name) for name in ("key_type", "value_type", "item_type") if hasattr(info, name)]
    found += [*getattr(info, "item_types", ()), *getattr(info, "types", ())]
    return found + [each.type for each in getattr(info, "fields", ())]
