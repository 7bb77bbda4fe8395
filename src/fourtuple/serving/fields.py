"""The fields of a connection template on which the C works (``serving/_accept/accept.h``), and their Python twin."""

from __future__ import annotations

from fourtuple import fast_path


@fast_path.fields
class TemplateFields:
    """The fields of :class:`~fourtuple.serving.connection_template.ConnectionTemplate`."""

    __slots__ = (
        "channel",
        "channels",
        "draining",
        "epoll",
        "new_decoder",
        "new_id",
        "on_failed",
        "runner",
        "stream",
        "to_close",
        "watchers",
    )
