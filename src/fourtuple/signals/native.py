"""The part of this room that is C, where it is there: see ``_signals/module.c``."""

from __future__ import annotations

from fourtuple.compiled import compiled

#: The C module, or ``None``.
native = compiled("signals", 2)
