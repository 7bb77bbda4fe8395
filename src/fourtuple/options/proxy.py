"""Options of the PROXY protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Self, Unpack

from fourtuple.address import parse_networks
from fourtuple.errors import AddressError, OptionError
from fourtuple.options.declaring import Options, option

if TYPE_CHECKING:
    from fourtuple.options.changes import ProxyChanges


@dataclass(frozen=True, kw_only=True)
class Proxy(Options):
    """The PROXY protocol: a balancer in front of the server names the real client."""

    prefix: ClassVar[str] = "proxy_"

    protocol: Literal["off", "optional", "required"] = option(
        "off",
        "whether connections begin with a PROXY header, version 1 or 2: off, optional or required",
        reason="off: any client could claim any address",
    )
    """Whether connections begin with a PROXY header, version 1 or 2: off, optional or required. Default: off (any
    client could claim any address).
    """
    trusted: str = option(
        "127.0.0.0/8, ::1",
        "the networks of the balancers: only their headers are trusted; Unix sockets always are",
        reason="this machine: too few networks fail visibly, too many are a silent security hole",
    )
    """The networks of the balancers: only their headers are trusted; Unix sockets always are. Default: 127.0.0.0/8, ::1
    (this machine: too few networks fail visibly, too many are a silent security hole).
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            parse_networks(self.trusted)
        except AddressError as error:
            raise OptionError(f"trusted: {error}") from None

    if TYPE_CHECKING:

        def replace(self, **changes: Unpack[ProxyChanges]) -> Self: ...  # type: ignore[override]
