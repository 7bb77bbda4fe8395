"""The fields of a server's classes that C works on (``serving/_accept/accept.h``), and their twins."""

from __future__ import annotations

from fourtuple import fast_path


@fast_path.fields
class TemplateFields:
    """Of :class:`~fourtuple.serving.connection_template.ConnectionTemplate`."""

    __slots__ = (
        "by_address",
        "channel",
        "channels",
        "draining",
        "engine",
        "epoll",
        "listeners",
        "max_connections",
        "new_decoder",
        "new_id",
        "observer",
        "on_capacity_freed",
        "on_deaf",
        "on_failed",
        "registry",
        "runner",
        "runners",
        "stream",
        "to_close",
        "watchers",
    )


@fast_path.fields
class RegistryFields:
    """Of :class:`~fourtuple.serving.registry.Registry`."""

    __slots__ = ("_by_name", "_ended", "accepted", "probes", "runners")


@fast_path.fields
class TotalsFields:
    """Of :class:`~fourtuple.serving.registry.Totals`."""

    __slots__ = ("messages_in", "messages_out", "octets_in", "octets_out")
