"""What was asked of ``fourtuple sockets``."""

from __future__ import annotations

from dataclasses import dataclass

from fourtuple.inspector.filters import Filter
from fourtuple.inspector.model import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What to show, and how."""

    wanted: Filter
    sort: tuple[str, ...]
    group: str | None
    limit: int | None
    unix: bool
    owners: bool
    source: Source
    form: str
    wide: bool
    explain: bool
