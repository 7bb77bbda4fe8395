"""How a running server is operated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, Unpack

from fourtuple.errors import OptionError
from fourtuple.options.checking import check_id
from fourtuple.options.declaring import Options, option

if TYPE_CHECKING:
    from fourtuple.options.changes import OperationsChanges


@dataclass(frozen=True, kw_only=True)
class Operations(Options):
    """How ``fourtuple serve`` can be operated while it runs, and as which user it runs."""

    control: str | None = option(
        None,
        "the path of the control socket, for fourtuple status and the other commands; auto chooses one in "
        "$XDG_RUNTIME_DIR/fourtuple, for root in /run/fourtuple",
        reason="none: off; what is not asked for needs no protection",
    )
    """The path of the control socket, for fourtuple status and the other commands; auto chooses one in
    $XDG_RUNTIME_DIR/fourtuple, for root in /run/fourtuple. Default: none (off; what is not asked for needs no
    protection).
    """
    http: str | None = option(
        None,
        "the address of the HTTP server with /live, /ready and /metrics, such as 127.0.0.1:9101; a port alone is one "
        "of 127.0.0.1",
        reason="none: off; it needs fourtuple[metrics], and counting costs a little time per message",
    )
    """The address of the HTTP server with /live, /ready and /metrics, such as 127.0.0.1:9101; a port alone is one of
    127.0.0.1. Default: none (off; it needs fourtuple[metrics], and counting costs a little time per message).
    """
    dashboard: bool = option(
        False,
        "the HTTP server also has the dashboard, a page of live numbers at /",
        reason="off: names of clients are not on it, but how busy the server is",
        bare=True,
    )
    """The HTTP server also has the dashboard, a page of live numbers at /. Default: off (names of clients are not on
    it, but how busy the server is).
    """
    http_hosts: str = option(
        "",
        "names that requests to the HTTP server may have as their Host, besides addresses, localhost and the name of "
        "the machine: a.example, b.example",
        reason="empty: with DNS rebinding, a page of another site could read the numbers by a name of its own",
    )
    """Names that requests to the HTTP server may have as their Host, besides addresses, localhost and the name of the
    machine: a.example, b.example. Default: empty (with DNS rebinding, a page of another site could read the numbers by
    a name of its own).
    """
    user: str | None = option(
        None,
        "the user, by name or number, that the process becomes once its sockets are bound; with a supervisor, its "
        "workers do",
        reason="none: it stays the user that started it",
    )
    """The user, by name or number, that the process becomes once its sockets are bound; with a supervisor, its workers
    do. Default: none (it stays the user that started it).
    """
    group: str | None = option(
        None,
        "the group, by name or number, that the process gets at the same time",
        reason="none: the group of user, if that is given",
    )
    """The group, by name or number, that the process gets at the same time. Default: none (the group of user, if that
    is given).
    """
    pidfile: str | None = option(
        None,
        "a file for the process number; it is locked while the process runs, so that no second one starts",
        reason="none: service managers know the process themselves",
    )
    """A file for the process number; it is locked while the process runs, so that no second one starts. Default: none
    (service managers know the process themselves).
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("user", "group"):
            check_id(name, getattr(self, name) or "")
        if self.dashboard and self.http is None:
            raise OptionError("dashboard: on, but there is no HTTP server; also give its address with http")

    if TYPE_CHECKING:

        def replace(self, **changes: Unpack[OperationsChanges]) -> Self: ...  # type: ignore[override]

    @property
    def counts(self) -> bool:
        """Whether handlers and events are counted."""
        return self.control is not None or self.http is not None

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names of ``http_hosts``."""
        return tuple(name for name in (each.strip() for each in self.http_hosts.split(",")) if name)
