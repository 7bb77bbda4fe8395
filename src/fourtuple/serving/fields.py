"""The fields of a server's classes on which the C works (``serving/_accept/accept.h``), and their Python twins."""

from __future__ import annotations

from fourtuple import fast_path


@fast_path.fields
class TemplateFields:
    """The fields of :class:`~fourtuple.serving.connection_template.ConnectionTemplate`."""

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
    """The fields of :class:`~fourtuple.serving.registry.Registry`."""

    __slots__ = ("_by_name", "_ended", "accepted", "probes", "runners")


@fast_path.fields
class TotalsFields:
    """The fields of :class:`~fourtuple.serving.registry.Totals`."""

    __slots__ = ("messages_in", "messages_out", "octets_in", "octets_out")
