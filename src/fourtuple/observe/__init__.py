"""Observers that come with fourtuple: JSON lines, the log of failures, the capture file; and several as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fourtuple._lazy import lazily

if TYPE_CHECKING:
    from fourtuple.observe.combine import each_of, each_tap
    from fourtuple.observe.json import JsonLines
    from fourtuple.observe.log import log_failures
    from fourtuple.observe.pcap import Capture

__all__ = ["Capture", "JsonLines", "each_of", "each_tap", "log_failures"]

if not TYPE_CHECKING:  # a checker would take __getattr__ for a promise that every name exists
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "fourtuple.observe.combine": ("each_of", "each_tap"),
            "fourtuple.observe.json": ("JsonLines",),
            "fourtuple.observe.log": ("log_failures",),
            "fourtuple.observe.pcap": ("Capture",),
        },
    )
